"""An elastic gang: when it changes its size, what it leaves alone, and what is told of it."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.api.observed import Metadata, OwnerReference, Service
from ganger.contract import ENV_WORKERS, ENV_WORKERS_MAX
from ganger.plan import elastic, pods
from ganger.plan.decide import decide
from ganger.plan.live import Live, LiveReport
from ganger.plan.seen import Refusal, Seen

SERVICE = Service(
    metadata=Metadata(name="digits-gang", owner_references=(OwnerReference(uid="uid-1", controller=True),))
)
ELASTIC = {"minWorkers": 2, "maxWorkers": 8, "shrinkAfterSeconds": 60, "growAfterSeconds": 300}
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}


def elastic_job(workers=4, **spec):
    """The job after its first pass: its size is written down."""
    new = job(workers=workers, elastic=ELASTIC, checkpoint=CHECKPOINT, **spec)
    return with_status(new, decide(new, Seen(), at(0)).status)


def running(job_, seconds=2):
    """The job after the pass that saw the whole gang of its attempt run."""
    return with_status(job_, decide(job_, Seen(pods=gang_of(job_)), at(seconds)).status)


def gang_of(job_):
    return tuple(pod(job_, worker, attempt=job_.status.attempt) for worker in range(elastic.size(job_)))


def probe(job_, number, *, placed, since=400.0):
    """A probe of the present attempt; placed or not since then."""
    plain = pod(job_, 0, attempt=job_.status.attempt, phase="Running" if placed else "Pending")
    status = {"type": "PodScheduled", "status": str(placed), "lastTransitionTime": at(since)}
    return msgspec.structs.replace(
        plain,
        metadata=msgspec.structs.replace(
            plain.metadata,
            name=f"digits-{job_.status.attempt}-probe-{number}",
            labels=plain.metadata.labels | {"ganger.dev/worker": f"probe-{number}"},
        ),
        status=msgspec.convert({"phase": plain.status.phase, "conditions": [status]}, type(plain.status)),
    )


def names_of(manifests):
    return [manifest["metadata"]["name"] for manifest in manifests]


def shrunk(now=100.0):
    """A job of four of which one found no place, running with three."""
    a_job = elastic_job()
    waiting = (*(pod(a_job, worker) for worker in range(3)), pod(a_job, 3, phase="Pending"))
    moved = decide(a_job, Seen(pods=waiting), at(now))
    return running(with_status(a_job, moved.status), now + 5), moved


def test_the_size_is_written_before_the_first_pod_and_costs_one_write():
    new = job(workers=4, elastic=ELASTIC)
    first = decide(new, Seen(), at(0))
    second = decide(with_status(new, first.status), Seen(), at(0))

    assert (4, 0.0, (), ()) == (first.status.gang_size, first.status_delay_seconds, first.pods, first.shared)
    assert 4 == len(second.pods)


def test_a_job_that_is_not_elastic_has_no_size_of_its_own():
    a_job = job(workers=2)

    assert decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status.gang_size is None


def test_a_worker_is_told_the_size_of_its_attempt_and_the_largest_there_may_be():
    a_job = with_spec(elastic_job(), workers=6)
    (container,) = pods.pod(a_job, 0, 0)["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert ("4", "8") == (env[ENV_WORKERS], env[ENV_WORKERS_MAX])


def test_a_gang_of_one_that_may_grow_meets_under_a_name_and_on_a_volume_for_many():
    alone = job(workers=1, elastic=ELASTIC | {"minWorkers": 1})
    manifest = pods.pod(alone, 0, 0)

    assert "digits-gang" == manifest["spec"]["subdomain"]


def test_a_smaller_scale_stops_the_gang_with_all_its_grace_and_counts_nothing():
    a_job = running(elastic_job())
    smaller = with_spec(a_job, workers=2)
    moved = decide(smaller, Seen(pods=gang_of(a_job)), at(50))
    after = with_status(smaller, moved.status)
    stopping = decide(after, Seen(pods=gang_of(a_job)), at(50))

    assert (1, 2, "0/2") == (moved.status.attempt, moved.status.gang_size, moved.status.workers)
    assert moved.status.restarts is None
    assert (1, "Scaled", 4, 2) == (
        moved.status.resizes.total,
        moved.status.resizes.last.reason,
        moved.status.resizes.last.from_workers,
        moved.status.resizes.last.to_workers,
    )
    assert ["Resized"] == [event.reason for event in moved.events]
    assert "attempt 1 goes on with 2 workers instead of 4 (not counted)" in moved.events[0].message
    assert () == moved.deletions == moved.pods
    assert [None] * 4 == [deletion.grace_seconds for deletion in stopping.deletions]
    assert () == stopping.pods
    assert ["digits-1-0", "digits-1-1"] == names_of(decide(after, Seen(), at(60)).pods)


def test_steps_since_the_last_checkpoint_are_not_lost_where_the_gang_stops_with_one():
    a_job = running(elastic_job())
    report = LiveReport(attempt=0, worker=0, sequence=1, phase="Training", step=40)
    live = Live(report=report, at=at(49))
    moved = decide(with_spec(a_job, workers=2), Seen(pods=gang_of(a_job), live=live), at(50))
    broken = decide(a_job, Seen(pods=gang_of(a_job)[1:], live=live), at(50))

    assert (1, 0, 40) == (moved.status.attempt, moved.status.goodput.lost_steps, moved.status.progress.step)
    assert (1, 40) == (broken.status.attempt, broken.status.goodput.lost_steps)


def test_a_larger_scale_probes_for_room_and_trains_on():
    a_job = running(elastic_job())
    larger = with_spec(a_job, workers=6)
    decision = decide(larger, Seen(pods=gang_of(a_job)), at(50))
    status = decision.status

    assert ["digits-0-probe-0", "digits-0-probe-1"] == names_of(decision.pods)
    assert () == decision.deletions
    assert (0, 4, "4/6", "Running") == (status.attempt, status.gang_size, status.workers, status.phase)
    assert "4 of 6 workers" in status.condition("Shrunk").message


def test_a_probe_asks_for_what_a_worker_asks_for_and_does_nothing():
    a_job = elastic_job(resources={"limits": {"cpu": "2"}}, nodeSelector={"pool": "a"})
    worker, found = pods.pod(a_job, 0, 1), pods.probe(a_job, 0, 1)
    (like,), (container,) = worker["spec"]["containers"], found["spec"]["containers"]

    assert ["sleep", "infinity"] == container["command"]
    assert like["resources"] == container["resources"]
    assert like["volumeMounts"] == container["volumeMounts"]
    assert worker["spec"]["nodeSelector"] == found["spec"]["nodeSelector"]
    assert "subdomain" not in found["spec"]
    assert "env" not in container
    assert {"ganger.dev/job-uid"} == worker["metadata"]["labels"].keys() - found["metadata"]["labels"].keys()


def test_the_gang_grows_as_soon_as_every_probe_has_its_place():
    a_job = with_spec(running(elastic_job()), workers=6)
    one = (*gang_of(a_job), probe(a_job, 0, placed=True), probe(a_job, 1, placed=False))
    both = (*gang_of(a_job), probe(a_job, 0, placed=True), probe(a_job, 1, placed=True))
    moved = decide(a_job, Seen(pods=both), at(401))

    assert 0 == decide(a_job, Seen(pods=one), at(401)).status.attempt
    assert (1, 6, "Grown") == (moved.status.attempt, moved.status.gang_size, moved.status.resizes.last.reason)
    after = with_status(a_job, moved.status)
    stopping = decide(after, Seen(pods=both), at(401))
    assert 6 == len(stopping.deletions)  # the probes too
    assert () == stopping.pods


def test_the_gang_grows_by_those_that_found_a_place_when_the_others_have_had_their_time():
    a_job = with_spec(running(elastic_job()), workers=6)
    pods_now = (*gang_of(a_job), probe(a_job, 0, placed=True, since=400), probe(a_job, 1, placed=False))
    waiting = decide(a_job, Seen(pods=pods_now), at(430))

    assert (0, 30.0) == (waiting.status.attempt, waiting.requeue_after_seconds)
    assert 5 == decide(a_job, Seen(pods=pods_now), at(460)).status.gang_size


def test_probes_that_nobody_waits_for_go():
    a_job = with_spec(running(elastic_job()), workers=4)
    pods_now = (*gang_of(a_job), probe(a_job, 0, placed=False))

    assert ["digits-0-probe-0"] == [
        deletion.metadata.name for deletion in decide(a_job, Seen(pods=pods_now), at(50)).deletions
    ]


def test_a_refused_probe_is_not_asked_for_again_while_the_refusal_is_fresh():
    a_job = with_spec(running(elastic_job()), workers=6)
    refusal = Refusal(reason="QuotaExceeded", message="no")

    assert () == decide(a_job, Seen(pods=gang_of(a_job), refusal=refusal), at(50)).pods


def test_a_gang_goes_on_without_the_worker_that_finds_no_place():
    a_job = elastic_job()
    waiting = (*(pod(a_job, worker) for worker in range(3)), pod(a_job, 3, phase="Pending"))
    early = decide(a_job, Seen(pods=waiting), at(30.5))
    moved = decide(a_job, Seen(pods=waiting), at(60.5))

    assert (0, 30.0) == (a_job.status.attempt, early.requeue_after_seconds)
    assert (1, 3, "Shrunk") == (moved.status.attempt, moved.status.gang_size, moved.status.resizes.last.reason)
    assert "1 of 4 workers found no place in 60 s" in moved.events[0].message
    assert moved.status.restarts is None
    assert at(360.5) == moved.status.resizes.grow_time


def test_fewer_than_the_fewest_workers_wait_on():
    a_job = elastic_job()
    waiting = (pod(a_job, 0), *(pod(a_job, worker, phase="Pending") for worker in range(1, 4)))
    decision = decide(a_job, Seen(pods=waiting), at(1000))

    assert 0 == (decision.status or a_job.status).attempt
    assert decision.requeue_after_seconds is None


def test_a_worker_that_has_a_place_and_does_not_start_yet_is_no_reason_to_shrink():
    a_job = elastic_job()
    pulling = msgspec.structs.replace(pod(a_job, 3, phase="Pending"), spec=pod(a_job, 3).spec)
    decision = decide(a_job, Seen(pods=(*(pod(a_job, worker) for worker in range(3)), pulling)), at(1000))

    assert 0 == (decision.status or a_job.status).attempt


def test_a_quota_for_fewer_workers_shrinks_the_gang_too():
    a_job = elastic_job()
    some = tuple(pod(a_job, worker) for worker in range(3))
    refusal = Refusal(reason="QuotaExceeded", message="no")

    assert () == decide(a_job, Seen(pods=some, refusal=refusal), at(30)).deletions
    assert 3 == decide(a_job, Seen(pods=some, refusal=refusal), at(61)).status.gang_size
    assert 1 == len(decide(a_job, Seen(pods=some[:1], refusal=refusal), at(61)).deletions)  # no gang: all or none


def test_a_shrunk_gang_says_so_and_looks_for_room_when_its_time_has_come():
    a_job, _ = shrunk(100)
    early = decide(a_job, Seen(pods=gang_of(a_job)), at(150))
    later = decide(a_job, Seen(pods=gang_of(a_job)), at(400))

    assert ("3/4", "Running") == (a_job.status.workers, a_job.status.phase)
    assert ("True", "FewerWorkers") == (
        a_job.status.condition("Shrunk").status,
        a_job.status.condition("Shrunk").reason,
    )
    assert ((), 250.0) == (early.pods, early.requeue_after_seconds)
    assert ["digits-1-probe-0"] == names_of(later.pods)


def test_a_gang_that_has_all_again_says_so():
    a_job, _ = shrunk(100)
    grown = decide(a_job, Seen(pods=(*gang_of(a_job), probe(a_job, 0, placed=True))), at(401))
    back = running(with_status(a_job, grown.status), 410)

    assert ("4/4", 4, "False") == (
        back.status.workers,
        back.status.gang_size,
        back.status.condition("Shrunk").status,
    )


@pytest.mark.parametrize(("lasted", "seconds"), [(0, 600), (3000, 600), (3601, 300)])
def test_a_growth_that_does_not_last_puts_the_next_one_off(lasted, seconds):
    a_job, _ = shrunk(100)  # may grow from second 400 on
    grown = with_status(
        a_job, decide(a_job, Seen(pods=(*gang_of(a_job), probe(a_job, 0, placed=True))), at(400)).status
    )
    now = 400 + lasted + 60.5
    waiting = tuple(pod(grown, worker, attempt=2, phase="Pending" if worker == 3 else "Running") for worker in range(4))
    moved = decide(grown, Seen(pods=waiting), at(now))

    assert "Shrunk" == moved.status.resizes.last.reason
    assert at(now + seconds) == moved.status.resizes.grow_time


def test_growth_is_put_off_by_an_hour_at_most():
    a_job = elastic_job()
    for now in (0.0, 400.0, 1100.0, 2400.0, 5000.0, 8700.0, 12400.0):
        waiting = tuple(
            pod(a_job, worker, attempt=a_job.status.attempt, phase="Pending" if worker == 3 else "Running")
            for worker in range(4)
        )
        a_job = with_status(
            msgspec.structs.replace(a_job, status=msgspec.structs.replace(a_job.status, gang_size=4)),
            decide(msgspec.structs.replace(a_job, status=msgspec.structs.replace(a_job.status, gang_size=4)),
                   Seen(pods=waiting), at(now + 61)).status,
        )  # fmt: skip

    assert at(12400 + 61 + 3600) == a_job.status.resizes.grow_time


def test_a_failure_keeps_the_size_and_is_counted_as_ever():
    a_job, _ = shrunk(100)
    gang = (*gang_of(a_job)[:2], pod(a_job, 2, attempt=1, exit_code=1, ended=200))
    failed = decide(a_job, Seen(pods=gang), at(200))

    assert (2, 3) == (failed.status.attempt, failed.status.gang_size)
    assert (1, 1) == (failed.status.restarts.counted, failed.status.restarts.total)
    assert 1 == failed.status.resizes.total


def test_a_lost_worker_is_asked_for_again_and_then_done_without():
    a_job = running(elastic_job())
    lost = decide(a_job, Seen(pods=gang_of(a_job)[:3]), at(100))
    after = with_status(a_job, lost.status)
    waiting = tuple(pod(after, worker, attempt=1, phase="Pending" if worker == 3 else "Running") for worker in range(4))
    moved = decide(after, Seen(pods=waiting), at(200))

    assert (1, 4, 0) == (lost.status.attempt, lost.status.gang_size, lost.status.restarts.counted)
    assert (2, 3) == (moved.status.attempt, moved.status.gang_size)


def test_a_gang_that_is_ending_is_not_resized():
    a_job = running(elastic_job())
    gang = (*gang_of(a_job)[:3], pod(a_job, 3, exit_code=0))
    decision = decide(with_spec(a_job, workers=2), Seen(pods=gang), at(100))
    done = tuple(pod(a_job, worker, exit_code=0) for worker in range(4))

    assert 0 == decision.status.attempt
    assert "Complete" == decide(with_spec(a_job, workers=2), Seen(pods=done), at(100)).status.phase


def test_a_suspended_job_takes_its_new_size_when_it_is_resumed():
    a_job, _ = shrunk(100)
    held = with_spec(a_job, suspend=True)
    held = with_status(held, decide(held, Seen(pods=gang_of(a_job)), at(200)).status)
    waiting = probe(a_job, 0, placed=False)
    stopping = decide(held, Seen(pods=(*gang_of(a_job), waiting)), at(201))
    resumed = with_spec(held, suspend=False, workers=6)
    status = decide(resumed, Seen(), at(300)).status

    assert 4 == len(stopping.deletions)
    assert (1, 6) == (status.attempt, status.gang_size)
    assert 6 == len(decide(with_status(resumed, status), Seen(), at(301)).pods)


def test_an_attempt_whose_size_is_not_known_is_not_gone_on_with():
    a_job = elastic_job()
    strangers = tuple(pod(a_job, worker, attempt=3) for worker in range(3))
    status = decide(a_job, Seen(pods=strangers), at(10)).status

    assert (4, 4) == (status.attempt, status.gang_size)


def test_probes_of_a_finished_job_go_whatever_the_policy_keeps():
    a_job = running(elastic_job(cleanPodPolicy="None"))
    done = tuple(pod(a_job, worker, exit_code=0) for worker in range(4))
    over = with_status(a_job, decide(a_job, Seen(pods=done), at(100)).status)
    left = decide(over, Seen(pods=(*done, probe(a_job, 0, placed=True))), at(101)).deletions

    assert ["digits-0-probe-0"] == [deletion.metadata.name for deletion in left]


def test_a_running_elastic_gang_costs_nothing():
    new = job(workers=4, elastic=ELASTIC)
    a_job = running(with_status(new, decide(new, Seen(), at(0)).status))

    assert decide(a_job, Seen(pods=gang_of(a_job), service=SERVICE), at(1000)).empty
