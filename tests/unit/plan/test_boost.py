"""The boost of a gang in Kueue: what is written, when, and what is left alone."""

import json

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_status
from ganger.api.conditions import upsert
from ganger.api.observed import Metadata
from ganger.plan import boost, lifecycle
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.report import ReportedCheckpoint
from ganger.plan.seen import Seen
from ganger.plan.site import Site
from unit.plan.queueing import queued, served, workload

KUEUE, MARK = "kueue.x-k8s.io/priority-boost", "ganger.dev/priority-boost"
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}
SITE = Site(priority_boost=10)
FREED = {KUEUE: None, MARK: None}


def training(**spec):
    """A job of two workers in a queue, all of which run."""
    a_job = queued(checkpoint=CHECKPOINT, **spec)
    told = a_job.status.conditions
    for type_ in (lifecycle.PODS_READY, lifecycle.RUNNING):
        told = upsert(told, type_, True, "AllWorkersRun", "", now=at(4), generation=1)
    return with_status(a_job, msgspec.structs.replace(a_job.status, conditions=told))


def live(lost, *, attempt=0, step=1000):
    """What worker 0 says when so many seconds are not in a checkpoint; a step takes one."""
    point = ReportedCheckpoint(step=step - lost)
    seconds = AttemptSeconds(productive=float(step))
    said = LiveReport(
        attempt=attempt, worker=0, sequence=1, phase="Training", step=step, checkpoint=point, seconds=seconds
    )
    return Live(report=said, at=at(20))


def mark(level, since=20):
    return json.dumps({"boost": level, "time": at(since).isoformat()})


def told(a_job, conditions=None, **annotations):
    """Its Workload, admitted, with these annotations; `kueue` and `mark` for the two of the boost."""
    ready = {"PodsReady": ("True", "Started", "")}
    found = workload(a_job, admitted=True, conditions=ready | (conditions or {}))
    names = {"kueue": KUEUE, "mark": MARK}
    notes = found.metadata.annotations | {names[key]: value for key, value in annotations.items() if value is not None}
    metadata = msgspec.structs.replace(found.metadata, annotations=notes)
    return msgspec.structs.replace(found, metadata=metadata)


def written(found, a_job=None, said=None, *, now=65, most=10):
    """The annotations that `boost.kept` writes for a gang of two; values of the mark as numbers and times."""
    a_job = a_job or training()
    notes = boost.kept(a_job, gang(running_gang(a_job), 0, 2), found, said, most, at(now))
    return {key: json.loads(value) if key == MARK and value else value for key, value in notes.items()}


@pytest.mark.parametrize(
    "seconds, expected",
    [(0, 0), (299.9, 0), (300, 1), (599, 1), (600, 2), (1200, 3), (300 * 2**8, 9), (300 * 2**9, 10), (1e30, 10)],
)
def test_each_level_begins_with_twice_the_work_of_the_one_below_up_to_the_highest(seconds, expected):
    assert expected == boost.level(seconds, 0, 10)


@pytest.mark.parametrize("seconds, expected", [(2399, 4), (1200, 4), (1199, 2), (0, 0), (4800, 5)])
def test_a_level_goes_up_at_once_and_down_only_when_half_would_do(seconds, expected):
    assert expected == boost.level(seconds, 4, 10)


def test_the_highest_level_of_a_new_setting_holds_at_once():
    assert 2 == boost.level(300 * 2**8, 9, 2)


def test_work_since_the_checkpoint_becomes_a_boost_with_a_mark_of_ours():
    a_job = training()

    assert {KUEUE: "2", MARK: {"boost": 2, "time": "2026-01-01T12:01:05Z"}} == written(told(a_job), a_job, live(300))


def test_gpus_count_each():
    a_job = training(resources={"limits": {"nvidia.com/gpu": 8}})

    assert "5" == written(told(a_job), a_job, live(300))[KUEUE]


def test_a_checkpoint_takes_the_boost_away_and_leaves_the_time_of_that_write():
    a_job = training()
    found = told(a_job, kueue="6", mark=mark(6))

    assert {KUEUE: None, MARK: {"boost": 0, "time": "2026-01-01T12:01:05Z"}} == written(found, a_job, live(0))


def test_what_is_written_already_is_not_written_again():
    a_job = training()

    assert {} == written(told(a_job, kueue="2", mark=mark(2)), a_job, live(300))
    assert {} == written(told(a_job), a_job, live(0))
    assert {} == written(told(a_job, mark=mark(0)), a_job, live(0))


def test_two_writes_of_a_gang_that_trains_lie_half_a_minute_apart():
    a_job = training()
    found = told(a_job, kueue="2", mark=mark(2, since=65))

    assert {} == written(found, a_job, live(900), now=94.9)
    assert {KUEUE, MARK} == set(written(found, a_job, live(900), now=95))
    assert {KUEUE, MARK} == set(written(found, a_job, live(900), now=60)), "a clock that was set back holds nothing up"


@pytest.mark.parametrize("said", [None, live(300, attempt=7)])
def test_what_nobody_tells_changes_nothing(said):
    a_job = training()

    assert {} == written(told(a_job, kueue="2", mark=mark(2)), a_job, said)


def test_a_worker_that_knows_no_step_changes_nothing():
    a_job = training()
    silent = Live(report=LiveReport(attempt=0, worker=0, sequence=1, phase="Training"), at=at(20))

    assert {} == written(told(a_job, kueue="2", mark=mark(2)), a_job, silent)


def test_a_gang_that_does_not_run_has_nothing_to_lose():
    a_job = queued(checkpoint=CHECKPOINT)

    assert FREED == written(told(a_job, kueue="2", mark=mark(2, since=64)), a_job, live(300))
    assert {} == written(told(a_job), a_job, live(300))


@pytest.mark.parametrize(
    "kueue, marked",
    [
        ("-100000", None),
        ("7", mark(2)),
        (None, mark(2)),
        ("2", mark(0)),
        ("0", mark(0)),
        ("2", "since noon"),
        (None, "since noon"),
        ("999", mark(999)),
    ],
)
def test_what_somebody_else_has_set_changed_or_removed_is_left_alone(kueue, marked):
    a_job = training()
    found = told(a_job, kueue=kueue, mark=marked)

    assert {} == written(found, a_job, live(300))
    assert {} == written(found, a_job, live(300), most=0)
    assert {} == boost.dropped(found)


def test_turned_off_it_takes_away_what_is_ours_and_never_writes():
    a_job = training()

    assert FREED == written(told(a_job, kueue="2", mark=mark(2)), a_job, live(300), most=0)
    assert {} == written(told(a_job), a_job, live(300), most=0)


def decided(a_job, found, said=None, site=SITE, pods=None):
    pods = running_gang(a_job) if pods is None else pods
    return decide(a_job, Seen(pods=pods, live=said, quota=served(found)), at(65), site=site).workload


def test_the_boost_is_written_over_nothing_that_was_not_seen():
    a_job = training()
    change = decided(a_job, told(a_job), live(300))

    assert ("patch", "7", "2") == (
        change.verb,
        change.body["metadata"]["resourceVersion"],
        change.body["metadata"]["annotations"][KUEUE],
    )
    assert None is decided(a_job, told(a_job), live(300), site=Site())


def test_an_evicted_gang_loses_its_boost_while_it_stops_and_before_it_is_queued_again():
    a_job = training()
    evicted = {"Evicted": ("True", "Preempted", "")}
    found = told(a_job, evicted, kueue="2", mark=mark(2, since=64))
    gone = tuple(pod(a_job, worker, exit_code=143) for worker in (0, 1))

    for pods in (running_gang(a_job), gone):
        assert FREED == decided(a_job, found, live(300), pods=pods).body["metadata"]["annotations"]
    assert "status" == decided(a_job, told(a_job, evicted), live(300), pods=gone).verb
    assert "status" == decided(a_job, told(a_job, evicted, kueue="9"), live(300), pods=gone).verb


def test_a_job_that_waits_has_no_boost():
    a_job = queued(checkpoint=CHECKPOINT)
    waiting = {"Admitted": ("False", "NoReservation", ""), "QuotaReserved": ("False", "Pending", "")}

    assert FREED == decided(a_job, told(a_job, waiting, kueue="2", mark=mark(2))).body["metadata"]["annotations"]
    assert None is decided(a_job, told(a_job, waiting))


def test_a_job_in_no_queue_costs_nothing():
    a_job = job(checkpoint=CHECKPOINT)

    assert None is decide(a_job, Seen(pods=running_gang(a_job), live=live(300)), at(65), site=SITE).workload
    assert {} == boost.dropped(msgspec.structs.replace(workload(queued()), metadata=Metadata()))
