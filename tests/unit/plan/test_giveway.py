"""Two gangs that each hold half: exactly one gives its places back, and none does so without need."""

from itertools import permutations

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.plan import giveway
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.seen import Seen


def worker(job_, number, *, placed, since=1.0, priority=0):
    """A worker with a place or without since then."""
    plain = pod(job_, number, phase="Running" if placed else "Pending")
    conditions = [{"type": "PodScheduled", "status": str(placed), "lastTransitionTime": at(since)}]
    return msgspec.structs.replace(
        plain,
        spec=msgspec.structs.replace(plain.spec, priority=priority),
        status=msgspec.convert({"phase": plain.status.phase, "conditions": conditions}, type(plain.status)),
    )


def half(job_, *, since=1.0, priority=0):
    """Half of a gang of four with places."""
    return tuple(worker(job_, number, placed=number < 2, since=since, priority=priority) for number in range(4))


def gang_of(uid="uid-1", **spec):
    return job(uid=uid, workers=4, **spec)


def rank(uid, *, priority=0):
    other = gang_of(uid)
    return giveway.rank(other, gang(half(other, priority=priority), 0, 4))


def attempt(decision):
    return decision.status.attempt if decision.status is not None else 0


def test_a_gang_that_comes_later_in_the_order_gives_its_places_back_after_a_while():
    seen = Seen(pods=half(gang_of()), rivals=(rank("uid-0"),))
    assert 0 == attempt(decide(gang_of(), seen, at(30.9)))
    gave = decide(gang_of(), seen, at(31))
    last = gave.status.restarts.last
    assert (1, "GaveWay", "Pods") == (gave.status.attempt, last.reason, last.rung)
    assert (0, 1) == (gave.status.restarts.counted, gave.status.restarts.total)
    assert at(41) == gave.status.restarts.next_attempt_time
    assert "2 of 4 workers had a place" in gave.events[0].message


def test_its_pods_are_deleted_and_none_is_made_until_the_pause_is_over():
    seen = Seen(pods=half(gang_of()), rivals=(rank("uid-0"),))
    after = with_status(gang_of(), decide(gang_of(), seen, at(31)).status)
    stopping = decide(after, seen, at(32))
    assert 4 == len(stopping.deletions)
    assert () == decide(after, Seen(), at(40)).pods
    assert 4 == len(decide(after, Seen(), at(41)).pods)


def test_the_first_of_the_order_waits_for_the_others_to_go():
    seen = Seen(pods=half(gang_of()), rivals=(rank("uid-2"),))
    assert 0 == attempt(decide(gang_of(), seen, at(300)))


def test_the_first_gives_way_too_when_that_did_not_help():
    seen = Seen(pods=half(gang_of()), rivals=(rank("uid-2"),))
    assert 1 == attempt(decide(gang_of(), seen, at(301)))


def test_a_gang_that_is_stuck_alone_keeps_what_it_has():
    assert 0 == attempt(decide(gang_of(), Seen(pods=half(gang_of())), at(3600)))


@pytest.mark.parametrize("since", [1.0, 20.0])
def test_each_new_place_starts_the_wait_anew(since):
    seen = Seen(pods=half(gang_of(), since=since), rivals=(rank("uid-0"),))
    assert 0 == attempt(decide(gang_of(), seen, at(since + 29.9)))
    assert 1 == attempt(decide(gang_of(), seen, at(since + 30)))


def test_the_job_is_looked_at_again_while_it_is_stuck():
    seen = Seen(pods=half(gang_of()), rivals=(rank("uid-2"),))
    assert 20.0 == decide(gang_of(), seen, at(11)).requeue_after_seconds
    assert 30.0 == decide(gang_of(), seen, at(100)).requeue_after_seconds
    assert 1.0 == decide(gang_of(), seen, at(300)).requeue_after_seconds


def test_whoever_waits_without_a_place_or_has_all_of_them_is_not_stuck():
    a_job = gang_of()
    without = tuple(worker(a_job, number, placed=False) for number in range(4))
    with_all = tuple(worker(a_job, number, placed=True) for number in range(4))
    assert [None, None] == [giveway.rival(a_job, pods) for pods in (without, with_all)]
    assert giveway.rival(a_job, half(a_job)) is not None


def test_an_elastic_gang_with_enough_places_goes_on_smaller_instead():
    enough, few = ({"minWorkers": least, "maxWorkers": 8} for least in (2, 3))
    assert giveway.rival(gang_of(elastic=enough), half(gang_of())) is None
    assert giveway.rival(gang_of(elastic=few), half(gang_of())) is not None


def test_a_gang_that_was_complete_or_is_suspended_is_no_rival():
    ready = with_status(
        gang_of(), decide(gang_of(), Seen(pods=tuple(pod(gang_of(), n) for n in range(4))), at(2)).status
    )
    assert giveway.rival(ready, half(ready)) is None
    assert giveway.rival(gang_of(suspend=True), half(gang_of())) is None


def test_the_order_is_by_priority_then_age_then_uid_and_total():
    ranks = [rank("b", priority=5), rank("a"), rank("b")]
    assert all(ranks == sorted(order) for order in permutations(ranks))


def test_the_pause_grows_each_time():
    status, pauses = gang_of().status, []
    for _ in range(6):
        a_job = with_status(gang_of(), status)
        verdict = giveway.verdict(a_job, gang(half(a_job), 0, 4), at(31))
        pauses.append(verdict.delay_seconds)
        status = decide(
            with_status(gang_of(), msgspec.structs.replace(status, attempt=0)),
            Seen(pods=half(a_job), rivals=(rank("uid-0"),)),
            at(31),
        ).status
    assert sorted(pauses) == pauses
    assert pauses[0] < pauses[-1]
