import math
import tracemalloc

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from builders import at, job, with_status
from ganger.api.observed import Condition
from ganger.api.status import (
    CheckpointStatus,
    Failure,
    Goodput,
    GoodputSeconds,
    LiveValue,
    NamedNumber,
    Progress,
    Restarts,
    TrainingJobStatus,
)
from ganger.observe import catalog
from ganger.observe.jobs import JobFigures, JobSeries, WorkerRow
from unit.observe.told import told_of

NOTHING = JobFigures()
PROGRESS = Progress(
    step=50,
    total_steps=200,
    epoch=1,
    loss="0.25",
    samples_per_second=1200.5,
    metrics=(NamedNumber(name="accuracy", value=0.9),),
    eta_time=at(1000),
    eta_earliest_time=at(900),
    eta_latest_time=at(1200),
)
RUNNING = TrainingJobStatus(
    phase="Running",
    attempt=3,
    ready_workers=2,
    completion_time=at(5000),  # never so while it runs; here so that every family has a sample
    progress=PROGRESS,
    checkpoint=CheckpointStatus(latest_step=40, latest_time=at(60), bytes=4096),
    restarts=Restarts(total=3, counted=1, last=Failure(reason="Oom", rank=1, attempt=2)),
    goodput=Goodput(ratio=0.75, seconds=GoodputSeconds(queued=5.0, productive=15.0), lost_steps=7),
    live_config=(LiveValue(name="lr", value="0.1", applied_at_step=30),),
)
CHECKPOINT = {"volume": {"claimName": "c"}, "everySteps": 100}
FIGURES = JobFigures(
    gpus=4,
    last_step_time=at(70),
    step_seconds=0.5,
    checkpoint_failures=2,
    workers=(WorkerRow(pod="digits-3-0", worker=0, node="n1"), WorkerRow(pod="digits-3-1", worker=1)),
    stragglers=((3, 0.5),),
)


def full(**spec):
    job_ = job(checkpoint=CHECKPOINT, priorityClassName="batch", **spec)
    labels = {"kueue.x-k8s.io/queue-name": "team-queue"}
    metadata = msgspec.structs.replace(job_.metadata, labels=labels)
    return with_status(msgspec.structs.replace(job_, metadata=metadata), RUNNING)


def shown(*jobs):
    """The page with these jobs and their figures."""
    series = JobSeries()
    for job_, figures in jobs:
        series.update(job_, figures)
    return series.exposition().decode()


def samples(page):
    """Values by name without ganger_ and labels but the job's, checked to be of the job `digits` of `team`."""
    told_of(page)
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert ("team", "digits") == (labels.pop("namespace"), labels.pop("training_job"))
            text = ",".join(f"{name}={value}" for name, value in labels.items())
            found[sample.name.removeprefix("ganger_") + (f"{{{text}}}" if text else "")] = sample.value
    return found


def of(status, figures=NOTHING, **spec):
    return samples(shown((with_status(job(**spec), status), figures)))


def test_a_job_with_everything_shows_every_family_of_the_catalog():
    expected = {family.name: (family.type, set(family.labels), family.help) for family in catalog.JOBS}

    assert expected == told_of(shown((full(), FIGURES)))


def test_a_job_with_everything_shows_it_with_its_values():
    expected = {
        "job_info{queue=team-queue,priority_class=batch}": 1,
        "job_phase{phase=Running}": 1,
        "job_workers_wanted": 2,
        "job_workers_ready": 2,
        "job_gpus": 4,
        "job_attempt": 3,
        "job_created_timestamp_seconds": at(0).timestamp(),
        "job_completed_timestamp_seconds": at(5000).timestamp(),
        "job_step": 50,
        "job_steps_planned": 200,
        "job_epoch": 1,
        "job_progress_ratio": 0.25,
        "job_loss": 0.25,
        "job_samples_per_second": 1200.5,
        "job_metric{name=accuracy}": 0.9,
        "job_eta_timestamp_seconds{bound=earliest}": at(900).timestamp(),
        "job_eta_timestamp_seconds{bound=expected}": at(1000).timestamp(),
        "job_eta_timestamp_seconds{bound=latest}": at(1200).timestamp(),
        "job_last_step_timestamp_seconds": at(70).timestamp(),
        "job_step_seconds": 0.5,
        "job_straggler_ratio{rank=3}": 0.5,
        "job_checkpoint_step": 40,
        "job_checkpoint_bytes": 4096,
        "job_checkpoint_timestamp_seconds": at(60).timestamp(),
        "job_checkpoint_interval_seconds": 50,
        "job_checkpoint_failures": 2,
        "job_restarts_total{counted=true}": 1,
        "job_restarts_total{counted=false}": 2,
        "job_failure_info{reason=Oom,rank=1}": 1,
        "job_seconds{cause=queued}": 5,
        "job_seconds{cause=productive}": 15,
        "job_goodput_ratio": 0.75,
        "job_lost_steps": 7,
        "job_live_config_step{name=lr}": 30,
        "worker_info{pod=digits-3-0,worker=0,node=n1}": 1,
        "worker_info{pod=digits-3-1,worker=1,node=}": 1,
    }

    assert expected == samples(shown((full(), FIGURES)))


def test_a_job_without_a_status_shows_what_its_spec_says_and_no_zeros_besides():
    expected = {
        "job_info{queue=,priority_class=}": 1,
        "job_phase{phase=Pending}": 1,
        "job_workers_wanted": 2,
        "job_workers_ready": 0,
        "job_gpus": 0,
        "job_attempt": 0,
        "job_created_timestamp_seconds": at(0).timestamp(),
        "job_restarts_total{counted=true}": 0,
        "job_restarts_total{counted=false}": 0,
    }

    assert expected == of(TrainingJobStatus())


def test_nothing_is_shown_of_no_job():
    assert b"" == JobSeries().exposition()


def test_workers_of_a_job_without_gpus_are_not_shown():
    figures = msgspec.structs.replace(FIGURES, gpus=0)

    assert "ganger_worker_info" not in shown((full(), figures))


@pytest.mark.parametrize(
    ("phase", "speed", "eta"),
    [
        ("Running", True, True),
        ("Starting", False, True),
        ("Restarting", False, True),
        ("Suspended", False, False),
        ("Complete", False, False),
        ("Failed", False, False),
    ],
)
def test_speed_and_end_are_told_only_while_they_mean_something(phase, speed, eta):
    found = of(TrainingJobStatus(phase=phase, progress=PROGRESS))

    assert (speed, eta) == ("job_samples_per_second" in found, "job_eta_timestamp_seconds{bound=expected}" in found)
    assert 50 == found["job_step"]


@pytest.mark.parametrize(
    ("loss", "expected"), [("0.5", 0.5), ("1e-7", 1e-7), ("inf", math.inf), ("-Infinity", -math.inf), ("none", None)]
)
def test_a_loss_is_read_from_its_text(loss, expected):
    assert expected == of(TrainingJobStatus(progress=Progress(loss=loss))).get("job_loss")


def test_a_loss_that_is_no_number_any_more_shows_as_nan():
    assert "NaN" in shown((with_status(job(), TrainingJobStatus(progress=Progress(loss="nan"))), NOTHING))
    assert math.isnan(of(TrainingJobStatus(progress=Progress(loss="nan")))["job_loss"])


@pytest.mark.parametrize("total", [None, 0])
def test_progress_of_an_unknown_number_of_steps_has_no_ratio(total):
    assert "job_progress_ratio" not in of(TrainingJobStatus(progress=Progress(step=5, total_steps=total)))


@pytest.mark.parametrize(
    ("every", "step_seconds", "expected"),
    [
        ({"everySeconds": 600}, None, 600),
        ({"everySeconds": 600}, 2.0, 600),
        ({"everySteps": 100}, 2.0, 200),
        ({"everySteps": 100}, None, None),
    ],
)
def test_the_interval_between_checkpoints_follows_the_spec(every, step_seconds, expected):
    found = of(
        TrainingJobStatus(),
        JobFigures(step_seconds=step_seconds),
        checkpoint={"volume": {"claimName": "c"}} | every,
    )

    assert expected == found.get("job_checkpoint_interval_seconds")


FAILED = (Condition(type="Failed", status="True", reason="DeadlineExceeded"),)


@pytest.mark.parametrize(
    ("conditions", "last", "expected"),
    [
        ((), Failure(reason="Oom", rank=0, attempt=1), ["job_failure_info{reason=Oom,rank=0}"]),
        ((), Failure(reason="NodeLost", attempt=1), ["job_failure_info{reason=NodeLost,rank=}"]),
        (FAILED, Failure(reason="Oom", rank=0, attempt=2), ["job_failure_info{reason=Oom,rank=0}"]),
        (FAILED, Failure(reason="Oom", rank=0, attempt=1), ["job_failure_info{reason=DeadlineExceeded,rank=}"]),
        (FAILED, None, ["job_failure_info{reason=DeadlineExceeded,rank=}"]),
        ((), None, []),
    ],
)
def test_the_cause_is_that_of_the_newest_restart_or_of_the_end(conditions, last, expected):
    status = TrainingJobStatus(attempt=2, conditions=conditions, restarts=Restarts(last=last))

    assert expected == [name for name in of(status) if name.startswith("job_failure_info")]


def named(*names):
    metrics = tuple(NamedNumber(name=name, value=number) for number, name in enumerate(names))
    found = of(TrainingJobStatus(progress=Progress(metrics=metrics)))
    return {name: value for name, value in found.items() if name.startswith("job_metric")}


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\nb", "} 1\nganger_job_gpus 9", "漢字", "\r", "a\0b"], ids=ascii)
def test_a_metric_may_have_any_name(name):
    assert {f"job_metric{{name={name}}}": 0} == named(name)


def test_a_name_that_would_spoil_the_page_is_mended():
    assert {"job_metric{name=a?b}": 0} == named("a\udcffb")


def test_long_names_are_cut_and_of_two_that_become_the_same_the_first_stays():
    assert {f"job_metric{{name={'x' * 64}}}": 0, "job_metric{name=y}": 2} == named("x" * 65, "x" * 70, "y")


def test_a_job_has_so_many_metrics_and_no_more():
    found = named(*(f"m{number}" for number in range(150)))

    assert [f"job_metric{{name=m{number}}}" for number in range(100)] == list(found)


def test_an_update_replaces_all_that_was_shown_of_the_job():
    series = JobSeries()
    series.update(full(), FIGURES)
    series.update(job(), NOTHING)

    assert shown((job(), NOTHING)) == series.exposition().decode()


def test_jobs_of_one_family_stand_in_one_block():
    page = shown(*((job(name=f"j{number}"), NOTHING) for number in range(3)), (full(name="last"), FIGURES))
    expected = {family.name: (family.type, set(family.labels), family.help) for family in catalog.JOBS}

    assert expected == told_of(page)
    assert [2.0] * 4 == [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if family.name == "ganger_job_workers_wanted"
    ]


def test_one_job_goes_and_the_others_stay():
    series = JobSeries()
    series.update(full(), FIGURES)
    series.update(full(name="other"), FIGURES)
    series.forget(("team", "digits"))
    series.forget(("team", "digits"))

    assert shown((full(name="other"), FIGURES)) == series.exposition().decode()


def test_a_process_that_leads_no_more_shows_no_job():
    series = JobSeries()
    series.update(full(), FIGURES)
    series.clear()

    assert b"" == series.exposition()


def test_a_thousand_jobs_that_come_and_go_leave_nothing_behind():
    series = JobSeries()
    jobs = [full(name=f"job-{number}") for number in range(1000)]

    def come_and_go(jobs):
        for number, job_ in enumerate(jobs):
            series.update(job_, FIGURES)
            if number >= 10:
                series.forget(jobs[number - 10].key)
        for job_ in jobs[-10:]:
            series.forget(job_.key)

    come_and_go(jobs[:30])  # what is made once and kept
    tracemalloc.start()
    come_and_go(jobs[30:])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert b"" == series.exposition()
    assert held < 50_000  # one job has 3,000 bytes of text
