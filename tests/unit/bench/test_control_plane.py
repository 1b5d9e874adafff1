from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest
from bench import control_plane
from bench.sidebyside import Turn
from bench.subjects import SUBJECTS
from bench.turns import Size

from ganger_dev.errors import DevError


def test_the_sizes_of_a_setting_are_its_own_and_a_size_without_one_is_for_all():
    asked = control_plane.plan({"GANGER_BENCH_SIZES": "tuned:200x8*4 10x4*1"})

    assert {
        "tuned": {Size(jobs=200, pods=8): 4, Size(jobs=10, pods=4): 1},
        "defaults": {Size(jobs=10, pods=4): 1},
    } == asked.sizes


def test_what_is_asked_for_is_chosen_by_name():
    asked = control_plane.plan(
        {"GANGER_BENCH_SETTINGS": "defaults", "GANGER_BENCH_SUBJECTS": "floor ganger", "GANGER_BENCH_KINDS": "burst"}
    )

    assert (["defaults"], ["floor", "ganger"], ("burst",)) == (
        [one.name for one in asked.settings],
        [one.name for one in asked.subjects],
        asked.kinds,
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GANGER_BENCH_SIZES", "200x8", "jobs x pods"),
        ("GANGER_BENCH_SIZES", "200x0*1", "jobs x pods"),
        ("GANGER_BENCH_SUBJECTS", "volcano", "there are floor, ganger, job, jobset, trainer"),
        ("GANGER_BENCH_SETTINGS", "fast", "there are tuned, defaults"),
        ("GANGER_BENCH_KINDS", "all", "there are burst, latency, loaded, failures"),
        ("GANGER_BENCH_TRIALS", "0", "whole number from 1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_what_can(name, value, says):
    with pytest.raises(ValueError, match=says) as refused:
        control_plane.plan({name: value})

    assert name in str(refused.value)


def journal(*turns):
    return b"".join(msgspec.json.encode(turn) + b"\n" for turn in turns)


def turn(subject, number, **more):
    more = {"commit": "c1", "result": {"runningSeconds": 1.0}} | more
    return Turn(setting="tuned", kind="burst", size="10x4", round=number, subject=subject, **more)


PAIR = (SUBJECTS["floor"], SUBJECTS["ganger"])


def test_a_run_goes_on_after_its_last_whole_round():
    lines = journal(turn("floor", 0), turn("ganger", 0), turn("floor", 1))

    assert [("floor", 0), ("ganger", 0)] == [
        (one.subject, one.round) for one in control_plane.earlier(lines, "c1", PAIR)
    ]


def test_a_turn_with_an_error_or_of_another_commit_is_done_again():
    lines = journal(
        turn("floor", 0), turn("ganger", 0, error="timeout"), turn("floor", 1, commit="c0"), turn("ganger", 1)
    )

    assert [] == control_plane.earlier(lines, "c1", PAIR)


def test_the_objects_of_every_subject_ask_for_the_same_number_of_pods_of_one_image():
    floor = SUBJECTS["floor"].objects("j", 4)
    assert 4 == len(floor)

    job = SUBJECTS["job"].objects("j", 4)[0]["spec"]
    inner = SUBJECTS["jobset"].objects("j", 4)[0]["spec"]["replicatedJobs"][0]["template"]["spec"]
    train = SUBJECTS["trainer"].objects("j", 4)[0]["spec"]["trainer"]
    own = SUBJECTS["ganger"].objects("j", 4)[0]["spec"]

    assert [4] * 4 == [job["completions"], inner["completions"], train["numNodes"], own["workers"]]
    images = {spec["template"]["spec"]["containers"][0]["image"] for spec in (job, inner)}
    images |= {train["image"], own["image"], *(pod["spec"]["containers"][0]["image"] for pod in floor)}
    assert 1 == len(images)
    requests = {str(spec["template"]["spec"]["containers"][0]["resources"]) for spec in (job, inner)} | {
        str(train["resourcesPerNode"]),
        str(own["resources"]),
    }
    assert {str(floor[0]["spec"]["containers"][0]["resources"])} == requests


class Stage:
    """A stage on which nothing runs, that tells what was asked of it."""

    def __init__(self, folder):
        self.asked = []
        self.plane = SimpleNamespace(audit_log=folder / "audit.log")
        self.plane.audit_log.write_text("requests of before")

    @asynccontextmanager
    async def running(self, subject):
        self.asked.append(f"start {subject.name}")
        yield
        self.asked.append(f"stop {subject.name}")

    async def clean(self, subject, namespace):
        self.asked.append(f"clean {namespace}")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(control_plane, "JOURNAL", tmp_path / "journal")
    return control_plane.Run(control_plane.plan({}), "c1", [])


async def well(stage, subject, namespace):
    return {"runningSeconds": 2.0}


async def badly(stage, subject, namespace):
    raise DevError("jobset ended while starting", "it said nothing", "Read its log.")


async def test_a_turn_is_in_the_journal_and_nothing_of_it_stays(run, tmp_path):
    stage = Stage(tmp_path)

    await control_plane._turn(run, stage, turn("jobset", 0), well)

    assert ["start jobset", "clean tuned-burst-10x4-0-jobset", "stop jobset"] == stage.asked
    assert b"" == stage.plane.audit_log.read_bytes()
    assert run.turns == [msgspec.json.decode(control_plane.JOURNAL.read_bytes(), type=Turn)]
    assert {"runningSeconds": 2.0} == run.turns[0].result


async def test_a_turn_that_goes_wrong_is_cleaned_up_and_told_and_the_next_one_runs(run, tmp_path):
    stage = Stage(tmp_path)

    await control_plane._turn(run, stage, turn("jobset", 0), badly)
    await control_plane._turn(run, stage, turn("ganger", 0), well)

    assert "clean tuned-burst-10x4-0-jobset" in stage.asked
    assert "jobset ended while starting" in run.turns[0].error
    assert ("ganger", "", {"runningSeconds": 2.0}) == (run.turns[1].subject, run.turns[1].error, run.turns[1].result)


async def test_a_subject_that_goes_wrong_twice_is_left_alone_with_the_same_reason(run, tmp_path):
    stage = Stage(tmp_path)

    for number in range(4):
        await control_plane._turn(run, stage, turn("jobset", number), badly)

    assert 2 == stage.asked.count("start jobset")
    assert 1 == len({each.error for each in run.turns})
    assert [{}] * 4 == [each.result for each in run.turns]


async def test_one_error_is_forgiven_by_a_turn_that_goes_well(run, tmp_path):
    stage = Stage(tmp_path)

    for number, work in enumerate((badly, well, badly, well)):
        await control_plane._turn(run, stage, turn("jobset", number), work)

    assert 4 == stage.asked.count("start jobset")


def test_a_control_plane_that_does_not_start_is_a_reason_and_no_crash(monkeypatch, tmp_path):
    def refused(folder, setting):
        raise DevError("kube-apiserver was not ready", "it said nothing", "Read its log.")

    monkeypatch.setattr(control_plane, "JOURNAL", tmp_path / "journal")
    monkeypatch.setattr(control_plane, "_opened", refused)
    monkeypatch.setenv("GANGER_BENCH_SUBJECTS", "floor ganger")

    found = control_plane.measure()

    assert {None} == set(found["keys"]["control_plane"].values())
    assert "kube-apiserver was not ready" in found["reasons"]["control_plane.share_of_floor"]
    assert [] == found["tables"]
