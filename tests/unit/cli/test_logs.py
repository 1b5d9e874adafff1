"""`ganger logs`: order, prefixes, restarts, cut connections, and a readable word where there is nothing."""

import asyncio

import pytest

from ganger.cli.lines import LINE_BYTES_MAX, lines
from ganger.cli.podlog import split
from ganger.kube.errors import Forbidden, Invalid, Unreachable


def stamped(second: int, text: str) -> str:
    return f"2026-01-01T12:00:{second:02d}.5Z {text}\n"


def test_the_logs_of_a_gang_are_merged_by_time(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.pod(1)
    ganger.logs.pods = {
        "digits-0-0": [stamped(1, "a"), stamped(3, "c") + stamped(5, "e")],
        "digits-0-1": [stamped(2, "b"), stamped(4, "d")],
    }

    said = ganger("logs", "digits")

    assert 0 == said.code, said.err
    assert [
        "worker-0 | a",
        "worker-1 | b",
        "worker-0 | c",
        "worker-1 | d",
        "worker-0 | e",
    ] == said.out.splitlines()


def test_one_worker_one_attempt_and_no_prefix_can_be_chosen(ganger):
    ganger.job(Running="Test", attempt=1)
    ganger.pod(1, attempt=0, phase="Failed")
    ganger.pod(1, attempt=1)
    ganger.logs.pods = {"digits-0-1": [stamped(1, "old")], "digits-1-1": [stamped(2, "new")]}

    assert "new\n" == ganger("logs", "digits", "--worker", "1", "--no-prefix").out
    assert "worker-1 | old\n" == ganger("logs", "digits", "--attempt", "0").out


def test_tail_and_since_reach_the_kubelet(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)

    ganger("logs", "digits", "--tail", "5", "--since", "30s")

    (_, asked), *_ = ganger.logs.asked
    assert (5, 30) == (asked["tail"], (ganger.now - asked["since"]).total_seconds())


def test_what_a_pod_writes_never_reaches_the_terminal_as_a_command(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    bar = stamped(1, " 10%\r 50%\r100%\r")
    ganger.logs.pods = {"digits-0-0": [stamped(0, "\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07 \u202egnp"), bar]}

    said = ganger("logs", "digits")

    assert ["worker-0 | red \\x1b]52;c;ZXZpbA==\\x07 \\u202egnp", "worker-0 | 100%"] == said.out.splitlines()


@pytest.mark.parametrize("phase", [None, "Pending"])
def test_a_job_that_has_not_begun_is_told_with_what_it_waits_for(ganger, phase):
    ganger.job(message="0 of 2 workers run")
    if phase is not None:
        ganger.pod(0, phase=phase)

    said = ganger("logs", "digits")

    assert 3 == said.code
    assert [
        "error: job digits has no logs yet",
        "  why: digits waits: 0 of 2 workers run (60s)",
        "  fix: 'ganger logs -f digits' waits for them; 'ganger status digits' tells what it waits for",
    ] == said.problem


def test_pods_that_were_cleaned_up_and_workers_that_are_none_are_told(ganger):
    ganger.job(Complete="Test")

    assert "error: job digits has no logs any more" == ganger("logs", "digits").problem[0]
    said = ganger("logs", "digits", "--worker", "2")
    assert ["error: job digits has no worker 2", "  why: it has workers 0 to 1"] == said.problem
    assert 3 == ganger("logs", "nothing").code


@pytest.mark.parametrize("end, phase", [("Complete", "Succeeded"), ("Failed", "Failed")])
@pytest.mark.parametrize("options", [(), ("-f",)])
def test_a_finished_job_that_keeps_its_pods_shows_its_logs(ganger, end, phase, options):
    ganger.job(spec={"cleanPodPolicy": "None"}, **{end: "Test"})
    ganger.pod(0, phase=phase)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "a"), stamped(2, "b")]}

    said = ganger("logs", "digits", *options)

    assert (0, ["worker-0 | a", "worker-0 | b"]) == (said.code, said.out.splitlines())


@pytest.mark.parametrize(
    "policy, why, fix",
    [
        ("All", "its pods were removed (spec.cleanPodPolicy is All)", "spec.cleanPodPolicy None keeps the pods"),
        ("None", "its pods were deleted by hand or with their nodes", "a store of logs outlives pods and nodes"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-f",)])
def test_of_a_job_whose_pods_are_gone_the_last_lines_of_its_failure_are_left(ganger, policy, why, fix, options):
    last = {"attempt": 1, "reason": "Error", "pod": "digits-1-1", "lastLines": ["Traceback", "OSError: \x1b]0;x\x07"]}
    ganger.job(spec={"cleanPodPolicy": policy}, Failed="Test", attempt=1, restarts={"total": 1, "last": last})

    said = ganger("logs", "digits", *options)

    assert (3, ["worker-1 | Traceback", "worker-1 | OSError: \\x1b]0;x\\x07"]) == (said.code, said.out.splitlines())
    assert "the last lines that the status of digits kept of attempt 1:" == said.err.splitlines()[0]
    assert ["error: job digits has no logs any more", f"  why: {why}"] == said.problem[:2]
    assert fix in said.problem[2]
    assert "" == ganger("logs", "digits", "--worker", "0").out
    assert "" == ganger("logs", "digits", "--attempt", "0").out


def test_a_restart_is_followed_and_announced(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "first")], "digits-1-0": [stamped(3, "second")]}

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.pod(0, phase="Failed")
        ganger.job(phase="Restarting", attempt=1)
        ganger.pod(0, attempt=1)
        await asyncio.sleep(0.02)
        ganger.pod(0, attempt=1, phase="Succeeded")
        ganger.job(Complete="Test", attempt=1)

    ganger.scenario = scenario

    said = ganger("logs", "-f", "digits")

    assert 0 == said.code, said.err
    assert ["worker-0 | first", "worker-0 | second"] == said.out.splitlines()
    assert "--- attempt 1 ---" in said.err
    assert said.err.splitlines()[-1].startswith("digits is complete")


def test_the_last_pods_are_read_even_where_they_came_and_went_unseen(ganger):
    ganger.job(Complete="Test")
    ganger.pod(1, phase="Succeeded")
    ganger.logs.pods = {"digits-0-1": [stamped(1, "short life")]}

    assert "worker-1 | short life\n" == ganger("logs", "-f", "digits").out


def test_a_cut_stream_goes_on_without_a_gap_or_a_repetition(ganger):
    ganger.job(Complete="Test")
    ganger.pod(0, phase="Succeeded")
    parts = [stamped(1, "a"), stamped(2, "b"), Unreachable("cut"), stamped(3, "c")]
    ganger.logs.pods = {"digits-0-0": parts}

    said = ganger("logs", "-f", "digits")

    assert ["worker-0 | a", "worker-0 | b", "worker-0 | c"] == said.out.splitlines()
    assert [None, 2] == [asked["since"] and asked["since"].second for _, asked in ganger.logs.asked]


def test_a_container_that_is_about_to_start_is_waited_for(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {"digits-0-0": [Invalid(400, "BadRequest", "is waiting to start"), stamped(1, "begun")]}

    async def scenario():
        await asyncio.sleep(0.05)
        ganger.pod(0, phase="Succeeded")
        ganger.job(Complete="Test")

    ganger.scenario = scenario

    assert "worker-0 | begun\n" == ganger("logs", "-f", "digits").out


def test_a_refusal_ends_the_following_with_three_lines(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {"digits-0-0": [Forbidden(403, "Forbidden", "cannot get resource pods/log")]}

    said = ganger("logs", "-f", "digits")

    assert 5 == said.code
    assert "error: reading the log of digits-0-0 failed" == said.problem[0]
    assert 3 == len(said.problem)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-01-01T00:00:00Z x", (1767225600_000000000, "x")),
        ("2026-01-01T00:00:00.25Z x y", (1767225600_250000000, "x y")),
        ("2026-01-01T00:00:00.000000001Z ", (1767225600_000000001, "")),
        ("unable to retrieve container logs", (0, "unable to retrieve container logs")),
        ("2026-99-01T00:00:00Z x", (0, "2026-99-01T00:00:00Z x")),
    ],
)
def test_the_time_of_a_line_is_split_off(text, expected):
    assert expected == split(text)


async def test_lines_are_cut_at_their_ends_and_where_they_have_none():
    async def pieces():
        for piece in (b"a", b"b\nc\n\n", b"\xff", b"x" * (LINE_BYTES_MAX + 1)):
            yield piece

    found = [line async for line in lines(pieces())]

    assert ["ab", "c", ""] == found[:3]
    assert [LINE_BYTES_MAX, 2] == [len(line) for line in found[3:]]


def test_lines_are_chosen_by_what_is_in_them_and_shown_with_their_time(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {
        "digits-0-0": [stamped(1, "step 1 loss=0.5"), stamped(2, "saved"), stamped(3, "step 20 loss=0.1")]
    }

    assert ["worker-0 | step 1 loss=0.5", "worker-0 | step 20 loss=0.1"] == ganger(
        "logs", "digits", "--grep", r"^step \d+"
    ).out.splitlines()
    assert "worker-0 | 2026-01-01T12:00:02.500Z saved\n" == ganger("logs", "digits", "--timestamps", "--grep=sav").out


def test_grep_and_timestamps_hold_while_the_logs_are_followed(ganger):
    ganger.job(spec={"cleanPodPolicy": "None"}, Complete="Test")
    ganger.pod(0, phase="Succeeded")
    ganger.logs.pods = {"digits-0-0": [stamped(1, "a"), stamped(2, "b")]}

    said = ganger("logs", "-f", "digits", "--grep", "b", "--timestamps", "--no-prefix")

    assert "2026-01-01T12:00:02.500Z b\n" == said.out


def test_a_rank_is_found_in_its_worker(ganger):
    ganger.job(spec={"processesPerWorker": 4}, Running="Test")
    for worker in (0, 1):
        ganger.pod(worker)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "a")], "digits-0-1": [stamped(1, "b")]}

    assert ["worker-0 | a\n", "worker-1 | b\n"] == [ganger("logs", "digits", "--rank", rank).out for rank in ("3", "7")]
    assert ["error: job digits has no rank 8", "  why: it has ranks 0 to 7"] == ganger(
        "logs", "digits", "--rank", "8"
    ).problem


def test_previous_is_the_attempt_before_where_a_restart_made_new_pods(ganger):
    ganger.job(Running="Test", attempt=1)
    ganger.pod(0, attempt=0, phase="Failed")
    ganger.pod(0, attempt=1)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "old")], "digits-1-0": [stamped(2, "new")]}

    assert "worker-0 | old\n" == ganger("logs", "digits", "--previous").out


def test_previous_is_the_container_before_where_a_restart_kept_the_pods(ganger):
    ganger.job(Running="Test", attempt=1)
    ganger.pod(0, attempt=0, phase="Failed")
    pod = ganger.pod(0, attempt=1)
    pod["status"]["containerStatuses"][0]["restartCount"] = 1
    ganger.cluster.put("pods", pod)
    ganger.logs.pods = {"digits-1-0": [stamped(2, "new")], "digits-1-0 previous": [stamped(1, "before")]}

    assert "worker-0 | before\n" == ganger("logs", "digits", "-p").out


def test_a_job_that_was_never_restarted_has_nothing_previous(ganger):
    ganger.job(Running="Test")
    ganger.pod(0)

    said = ganger("logs", "digits", "--previous")

    assert 3 == said.code
    assert ["error: job digits has no previous logs", "  why: it was never restarted"] == said.problem[:2]


@pytest.mark.parametrize(
    "options, text",
    [
        (("-f", "--previous"), "leave --previous out"),
        (("-f", "--attempt", "0"), "leave --attempt out"),
        (("--previous", "--attempt", "0"), "leave one out"),
        (("--rank", "0", "--worker", "0"), "leave one out"),
        (("--grep", "("), "'(' is no regular expression"),
    ],
)
def test_options_that_contradict_each_other_are_told(ganger, options, text):
    said = ganger("logs", "digits", *options)

    assert (2, True) == (said.code, text in said.err), said.err
