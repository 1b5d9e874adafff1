"""The pure parts of a watch: curves, series, time left, where the time went, silence."""

from datetime import timedelta

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.api.observed import Condition
from ganger.api.status import Failure, Goodput, GoodputSeconds, Progress, Restarts, TrainingJobStatus
from ganger.cli import curve, eta, figures, lastfailure, ledger
from ganger.cli.reporting import FIRST_REPORT, NEXT_REPORT, silence
from ganger.cli.seen import Seen
from ganger.cli.series import POINTS_MAX, Series
from ganger.contract import ANNOTATION_CONTROL_CA

RUNNING = (Condition(type="Running", status="True", last_transition_time=at(0)),)


def running(**fields) -> TrainingJobStatus:
    return TrainingJobStatus(conditions=RUNNING, **fields)


def test_a_falling_line_runs_from_the_upper_left_to_the_lower_right():
    assert ["⠑⢄  ", "  ⠑⢄"] == curve.braille([(0, 3.0), (10, 0.0)], 4, 2)


def test_a_step_is_drawn_without_a_gap():
    assert ["⢸⠉", "⡸ "] == curve.braille([(0, 0.0), (1, 1.0), (3, 1.0)], 2, 2)


@pytest.mark.parametrize("points", [[(5, 1.0)], [(5, 1.0), (9, 1.0)]])
def test_a_level_line_runs_through_the_middle(points):
    assert ["   ", "⠤⠤⠤", "   "] == curve.braille(points, 3, 3)


def test_no_points_are_blank_lines():
    assert ["  ", "  "] == curve.braille([], 2, 2)


@pytest.mark.parametrize(
    "values, expected", [([0.0, 4.0, 8.0], "▁▅█"), ([9.0, 1.0, 2.0, 4.0], "▃▅█"), ([], ""), ([0.0, 0.0], "▁▁")]
)
def test_a_row_of_blocks_shows_the_newest_values_from_nothing_up(values, expected):
    assert expected == curve.blocks(values, 3)


@pytest.mark.parametrize(
    "parts, width, expected",
    [
        ([100.0, 1.0, 0.0, 1.0], 10, [8, 1, 0, 1]),
        ([1.0, 1.0, 1.0], 10, [4, 3, 3]),
        ([3.0, 1.0], 4, [3, 1]),
        ([0.0, 0.0], 4, [0, 0]),
        ([1.0], 0, [0]),
    ],
)
def test_a_bar_is_shared_out_whole_and_nothing_that_is_there_vanishes(parts, width, expected):
    assert expected == curve.shares(parts, width)


def test_more_parts_than_characters_still_make_a_bar_of_its_width():
    assert 2 == sum(curve.shares([5.0, 1.0, 1.0], 2))


def test_steps_that_are_done_again_replace_those_that_were_lost():
    series = Series()
    for step, value in ((10, 3.0), (20, 2.0), (30, 1.0), (20, 2.5), (25, float("nan"))):
        series.add(step, value)

    assert [(10, 3.0), (20, 2.5)] == series.points


def test_a_series_stays_bounded_and_keeps_its_ends():
    series = Series()
    for step in range(5 * POINTS_MAX):
        series.add(step, float(step))

    assert len(series.points) <= POINTS_MAX
    assert (0, 5 * POINTS_MAX - 1) == (series.points[0][0], series.points[-1][0])
    assert sorted(series.points) == series.points


@pytest.mark.parametrize(
    "eta_, earliest, latest, words",
    [
        (720, 660, 840, "in 12 min, between 11 and 14"),
        (719, 718, 721, "in 12 min"),
        (90, 80, 100, "in 90 s, between 80 and 100"),
        (4 * 3600, 3.5 * 3600, 5 * 3600, "in 4.0 h, between 3.5 and 5.0"),
        (3 * 86400, 2 * 86400, 5 * 86400, "in 3.0 d, between 2.0 and 5.0"),
        (60, -30, 90, "in 60 s, between 0 and 90"),
        (720, None, None, "in 12 min"),
        (-1, -5, 5, "any moment"),
        (None, None, None, ""),
    ],
)
def test_the_time_left_is_told_in_one_unit(eta_, earliest, latest, words):
    def time(seconds):
        return None if seconds is None else at(seconds)

    progress = Progress(step=1, eta_time=time(eta_), eta_earliest_time=time(earliest), eta_latest_time=time(latest))

    assert words == eta.in_words(with_status(job(), running(progress=progress)), at(0))


def test_a_job_that_does_not_train_has_no_time_left():
    progress = Progress(step=1, eta_time=at(60))

    assert "" == eta.in_words(with_status(job(), TrainingJobStatus(phase="Restarting", progress=progress)), at(0))


def test_losses_come_largest_first_and_the_ledger_in_its_order():
    goodput = Goodput(seconds=GoodputSeconds(queued=5, productive=1, lost=9, image=0))

    assert ["productive", "lost", "queued"] == list(ledger.seconds(goodput))
    assert [("lost", 9.0), ("queued", 5.0)] == ledger.losses(goodput)


def test_the_ledger_knows_every_cause():
    assert set(GoodputSeconds.__struct_fields__) == set(ledger.CAUSES)


@pytest.mark.parametrize("value, text", [(0.0123, "0.0123"), (9.876, "9.88"), (123.4, "123"), (123456.7, "123457")])
def test_rates_have_no_exponent(value, text):
    assert text == figures.rate(value)


def test_a_failure_of_which_little_is_known_is_told_with_that():
    assert "Error in a worker (attempt 2)" == lastfailure.headline(Failure(attempt=2, reason="Error"), at(0))


@pytest.mark.parametrize("attempt, worker, found", [(1, None, 2), (1, 1, 2), (1, 0, 0), (0, None, 0)])
def test_last_lines_are_those_of_the_attempt_and_the_worker_that_failed(attempt, worker, found):
    failure = Failure(attempt=1, pod="digits-1-1", last_lines=("a\nb",))
    failed = with_status(job(), TrainingJobStatus(restarts=Restarts(last=failure)))

    assert found == len(lastfailure.of_attempt(failed, attempt, worker))


@pytest.mark.parametrize(
    "spec, fix",
    [
        ({"script": ["train.py"]}, "ganger_trainer.report(step=..., loss=...)"),
        ({"command": ["python", "x.py"]}, "a transformers whose Trainer has KubeflowCallback"),
        ({}, "'ganger request digits stacks'"),
    ],
)
def test_a_job_that_reports_nothing_is_told_how_to_report(spec, fix):
    silent = with_status(job(task="m:t" if not spec else None, **spec), running())

    assert None is silence(Seen(job=silent, now=at(0) + FIRST_REPORT - timedelta(seconds=1)))
    found = silence(Seen(job=silent, now=at(0) + FIRST_REPORT))
    assert found is not None
    assert "the workers have run for 3m and no progress was reported" == found.cause
    assert fix in found.fix


def test_workers_without_a_channel_are_told_apart_from_workers_that_say_nothing():
    silent = with_status(job(), running())
    there = pod(silent, 0)

    found = silence(Seen(job=silent, pods=(there,), now=at(0)))

    assert found is not None
    assert "nothing is reported before the end: its workers were made without a control channel" == found.cause
    annotated = msgspec.structs.replace(there.metadata, annotations={ANNOTATION_CONTROL_CA: "PEM"})
    heard = msgspec.structs.replace(there, metadata=annotated)
    assert None is silence(Seen(job=silent, pods=(heard,), now=at(0)))


def test_a_report_is_late_by_the_measure_of_the_steps_of_the_job():
    progress = Progress(step=10, updated_time=at(100))
    quick = with_status(job(), running(progress=progress))
    slow = with_status(
        job(), running(progress=progress, goodput=Goodput(seconds=GoodputSeconds(productive=600)))
    )  # a step takes a minute
    late = at(100) + NEXT_REPORT

    assert None is silence(Seen(job=quick, now=late - timedelta(seconds=1)))
    found = silence(Seen(job=quick, now=late))
    assert found is not None
    assert "nothing new was reported for 3m: the workers hang, or cannot reach the operator" == found.cause
    assert None is silence(Seen(job=slow, now=late))
    assert None is not silence(Seen(job=slow, now=at(700)))


def test_a_report_from_before_a_restart_is_not_late_at_once():
    since = (msgspec.structs.replace(RUNNING[0], last_transition_time=at(5000)),)
    status = TrainingJobStatus(conditions=since, progress=Progress(step=10, updated_time=at(100)))

    assert None is silence(Seen(job=with_status(job(), status), now=at(5001)))
