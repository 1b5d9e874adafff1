"""A rank that is slow at its own work is told of after five windows, and not before; nothing is restarted for it."""

import random

import pytest

from builders import at, job, running_gang, with_status
from ganger.control.reports import Reports
from ganger.plan.decide import decide
from ganger.plan.live import LiveReport, RankBeat
from ganger.plan.seen import Seen
from ganger.plan.track import FAST, SLOW, WINDOW_SECONDS, WINDOWS, Slow, Track, observe

KEY = ("team", "digits")


class Gang:
    """Ranks that take a second a step together; each works so long by itself. One worker for each rank."""

    def __init__(self, *own, step_seconds=1.0):
        self.own, self.step_seconds = list(own), step_seconds
        self.steps, self.busy, self.now, self.track = 0, [0.0] * len(own), 0.0, Track()
        self.look()

    def look(self):
        ranks = {
            rank: (rank, RankBeat(rank=rank, step=self.steps, stage="backward", age_seconds=0.1, steps=self.steps,
                                  busy_seconds=self.busy[rank]))
            for rank in range(len(self.own))
        }  # fmt: skip
        self.track = observe(self.track, ranks, at(self.now))
        return self

    def train(self, windows=1, *own):
        self.own = list(own) or self.own
        for _ in range(windows):
            steps = max(1, round(WINDOW_SECONDS / self.step_seconds))
            self.steps += steps
            self.now += steps * self.step_seconds
            self.busy = [busy + steps * own for busy, own in zip(self.busy, self.own, strict=True)]
            self.look()
        return self

    @property
    def slow(self):
        return [each.rank for each in self.track.slow]


def test_a_rank_of_twice_the_others_work_is_slow_after_five_windows():
    gang = Gang(0.2, 0.2, 0.4, 0.2)

    assert [] == gang.train(WINDOWS - 1).slow
    assert (Slow(worker=2, rank=2, score=0.5),) == gang.train().track.slow


def test_of_two_ranks_the_slower_one_is_found():
    assert [1] == Gang(0.2, 0.4).train(WINDOWS).slow


def test_it_is_slow_until_it_has_kept_up_for_five_windows():
    gang = Gang(0.2, 0.4).train(WINDOWS)

    assert [1] == gang.train(WINDOWS, 0.6, 0.8).slow, f"between {SLOW} and {FAST} nothing changes"
    assert [1] == gang.train(WINDOWS - 1, 0.2, 0.2).slow
    assert [] == gang.train().slow


def test_a_good_window_in_between_begins_the_count_anew():
    gang = Gang(0.2, 0.4).train(WINDOWS - 1).train(1, 0.2, 0.2).train(WINDOWS - 1, 0.2, 0.4)

    assert [] == gang.slow
    assert [1] == gang.train().slow


def test_its_first_score_stays_while_it_is_slow():
    gang = Gang(0.2, 0.4).train(WINDOWS).train(1, 0.2, 0.8)

    assert (Slow(worker=1, rank=1, score=0.5),) == gang.track.slow


@pytest.mark.parametrize("own", [(0.2, 0.25), (0.001, 0.05), (0.0, 0.0), (0.5,)], ids=str)
def test_what_costs_the_gang_little_is_no_reason_to_look(own):
    assert [] == Gang(*own).train(4 * WINDOWS).slow


def test_a_window_lasts_until_every_rank_has_done_a_step():
    gang = Gang(20.0, 45.0, step_seconds=60.0)
    for _ in range(100):
        gang.now += 0.5
        gang.look()
    assert {} == gang.track.slow_for

    assert [1] == gang.train(WINDOWS).slow


@pytest.mark.parametrize("change", ["fewer ranks", "begun anew"])
def test_another_gang_is_measured_from_nothing(change):
    gang = Gang(0.2, 0.2, 0.4).train(WINDOWS)
    if change == "fewer ranks":
        gang.own.pop()
        gang.busy.pop()
    else:
        gang.steps, gang.busy = 0, [0.0] * 3
    gang.look()

    assert ((), {}) == (gang.track.slow, gang.track.slow_for)


def test_a_day_of_noise_names_nobody():
    chance = random.Random(0)
    gang = Gang(*[0.3] * 8)
    for _ in range(8640):
        gang.train(1, *(0.3 * chance.lognormvariate(0, 0.15) for _ in range(8)))
        assert [] == gang.slow


def passed(job_, track, when):
    decision = decide(job_, Seen(pods=running_gang(job_), track=track), at(when))
    return with_status(job_, decision.status), decision


def test_the_condition_names_rank_pod_node_and_score_and_nothing_restarts():
    one, _ = passed(job(), Track(), 5)
    gang = Gang(0.2, 0.4).train(WINDOWS)
    one, decision = passed(one, gang.track, 100)

    condition = one.status.condition("Straggler")
    assert ("True", "SlowRank") == (condition.status, condition.reason)
    assert "rank 1 (pod digits-0-1, node node-1) is slower than the others at its own work: score 0.50" == (
        condition.message
    )
    assert ["Straggler"] == [event.reason for event in decision.events]
    assert (0, ()) == (one.status.attempt, decision.deletions)
    _, again = passed(one, gang.train(20).track, 300)
    assert again.status is None, "it is written once"


def test_the_condition_ends_when_all_keep_up():
    one, _ = passed(job(), Track(), 5)
    gang = Gang(0.2, 0.4).train(WINDOWS)
    one, _ = passed(one, gang.track, 100)
    one, _ = passed(one, gang.train(WINDOWS, 0.2, 0.2).track, 200)

    condition = one.status.condition("Straggler")
    assert ("False", "RanksEven") == (condition.status, condition.reason)


def test_a_new_leader_keeps_the_verdict_until_it_has_measured_and_does_not_write_another_score():
    one, _ = passed(job(), Track(), 5)
    one, _ = passed(one, Gang(0.2, 0.4).train(WINDOWS).track, 100)
    fresh = Gang(0.2, 0.5)
    for _ in range(3 * WINDOWS):
        _, decision = passed(one, fresh.track, 200)
        assert decision.status is None
        fresh.train()

    assert [1] == fresh.slow
    even = Gang(0.2, 0.2)
    assert passed(one, even.train(WINDOWS - 1).track, 200)[1].status is None
    assert not passed(one, even.train().track, 200)[0].status.is_true("Straggler")


def test_the_verdict_ends_with_the_attempt():
    one, _ = passed(job(), Track(), 5)
    one, _ = passed(one, Gang(0.2, 0.4).train(WINDOWS).track, 100)
    decision = decide(one, Seen(pods=running_gang(one)[:1]), at(200))

    assert 1 == decision.status.attempt
    assert "False" == decision.status.condition("Straggler").status


def said(worker, steps, busy, attempt=0):
    beat = RankBeat(rank=worker, step=steps, stage="data", age_seconds=0.0, steps=steps, busy_seconds=busy)
    return LiveReport(attempt=attempt, worker=worker, sequence=steps + 1, phase="Training", step=steps, ranks=(beat,))


def test_reports_of_all_workers_are_compared():
    reports = Reports()
    for seconds in range(0, 10 * (WINDOWS + 2), 5):
        for worker, own in ((0, 0.2), (1, 0.6)):
            report = said(worker, seconds, seconds * own)
            reports.take(KEY, "uid-1", f"pod-{worker}", report, at(seconds), seconds)

    assert [1] == [each.rank for each in reports.track(KEY, "uid-1", 0).slow]
    assert Track() == reports.track(KEY, "uid-1", 1)
    reports.take(KEY, "uid-1", "pod-0", said(0, 1, 0.1, attempt=1), at(99), 99)
    assert () == reports.track(KEY, "uid-1", 1).slow
