"""Days of healthy training without one suspicion, and hangs that are found when they should be.

A gang is simulated second by second as its reports show it: steps of noisy length, a first step that compiles, long
evaluations on one rank, checkpoints, stalls of the data, reports that come late or not at all.
"""

import random

import msgspec
import pytest

from builders import at, job, running_gang, with_status
from ganger.contract import REPORT_SECONDS
from ganger.plan import hang
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.live import Heard, LiveReport, Longest, RankBeat
from ganger.plan.seen import Seen

HOURS = 24
WAITING = "backward"


class Stretch(msgspec.Struct):
    """Some time in which each rank is in one stage; `step_seconds` > 0 while they train, step after step."""

    began: float
    ended: float
    stages: tuple[str, ...]
    step_seconds: float = 0.0
    first: bool = False


def healthy(chance, *, ranks, hours, step_seconds, compiling, evaluating, saving, stalling):
    """The stretches of a run. Each of the last four is the longest that such a stretch may take, in seconds."""
    now, end = 0.0, hours * 3600.0

    def during(seconds, *stages, **more):
        nonlocal now
        now += seconds
        return Stretch(began=now - seconds, ended=now, stages=stages, **more)

    yield during(chance.uniform(0.3, 1.0) * compiling, *["forward"] * ranks, first=True)
    while now < end:
        noisy = step_seconds * chance.lognormvariate(0, 0.3)
        yield during(max(noisy, chance.uniform(30, 900)), *[WAITING] * ranks, step_seconds=noisy)
        kind, others = chance.randrange(3), [WAITING] * (ranks - 1)
        if kind == 0:  # rank 0 evaluates, the others wait for it in their next step
            yield during(chance.uniform(0.2, 1.0) * evaluating, "evaluate", *others)
        elif kind == 1:
            yield during(chance.uniform(0.2, 1.0) * saving, *["checkpoint"] * ranks)
        else:
            slow = chance.randrange(ranks)
            stages = ["data" if rank == slow else WAITING for rank in range(ranks)]
            yield during(min(stalling, chance.expovariate(8 / stalling)), *stages)


class Gang:
    """A gang that lives through stretches, and what its workers (two, with half of the ranks each) report."""

    def __init__(self, stretches, chance, *, ranks, frozen_at=None, stopped=None):
        self.stretches, self.chance, self.ranks = list(stretches), chance, ranks
        self.frozen_at, self.stopped = frozen_at, stopped
        self.longest = [Longest() for _ in range(ranks)]
        self.index, self.step = 0, 0

    def report(self, worker, now):
        live = now if self.frozen_at is None else min(now, self.frozen_at)
        self._until(live)
        here = self.stretches[self.index]
        mine = [rank for rank in range(self.ranks) if rank % 2 == worker]
        beats = []
        for rank in mine:
            age = self.chance.uniform(0, here.step_seconds) if here.step_seconds else live - here.began
            state = "T" if rank == self.stopped and now > live else "S"
            beats.append(
                RankBeat(
                    rank=rank, step=self.step, stage=here.stages[rank], age_seconds=age + now - live,
                    steps=0 if here.first else 1 + self.step, state=state,
                )
            )  # fmt: skip
        known = [self.longest[rank] for rank in mine]
        least = {
            name: min((value for each in known if (value := getattr(each, name))), default=0.0)
            for name in Longest.__struct_fields__
        }
        report = LiveReport(
            attempt=0, worker=worker, sequence=1, phase="Training", ranks=tuple(beats), longest=Longest(**least)
        )
        return Heard(report=report, at=at(now))

    def _until(self, now):
        while self.stretches[self.index].ended <= now and self.index + 1 < len(self.stretches):
            self._learn(self.stretches[self.index])
            self.index, self.step = self.index + 1, self.step + 1

    def _learn(self, over):
        for rank, stage in enumerate(over.stages):
            names = {"evaluate": "evaluation", "checkpoint": "checkpoint"}
            name = "first" if over.first else names.get(stage, "step")
            seconds = over.step_seconds or over.ended - over.began
            old = self.longest[rank]
            self.longest[rank] = msgspec.structs.replace(old, **{name: max(getattr(old, name), seconds)})


def watch(gang_, plain, *, until, lost=0.0, chance=None):
    """Pass over the job at every report; yield the seconds and the job after each pass."""
    pods = running_gang(plain)
    current = with_status(plain, decide(plain, Seen(pods=pods), at(0)).status)
    heard, due, now = {}, {0: 1.0, 1: 3.5}, 0.0
    while now < until and current.status.round == 0:
        worker = min(due, key=due.__getitem__)
        now = due[worker]
        due[worker] = now + REPORT_SECONDS
        if chance is not None and chance.random() < lost:
            continue
        heard[worker] = gang_.report(worker, now)
        said = tuple(each for _, each in sorted(heard.items()))
        # Only these two functions look at the silence; the rest of a pass is tested elsewhere and costs a minute here.
        members = gang(pods, 0, 2)
        status, _ = hang.noted(current, members, said, current.status, at(now))
        if hang.failure(current, members, said, at(now)) is not None:
            current = with_status(current, decide(current, Seen(pods=pods, heard=said), at(now)).status)
        else:
            current = with_status(current, status)
        yield now, current


KINDS = {
    "quick steps": {"step_seconds": 0.01, "compiling": 5, "evaluating": 60, "saving": 5, "stalling": 100},
    "steps of a minute": {"step_seconds": 60, "compiling": 200, "evaluating": 600, "saving": 60, "stalling": 100},
    "compiles long": {"step_seconds": 2, "compiling": 1500, "evaluating": 120, "saving": 30, "stalling": 60},
    "evaluates long": {"step_seconds": 0.5, "compiling": 30, "evaluating": 1700, "saving": 600, "stalling": 100},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_a_day_of_healthy_training_raises_no_suspicion(kind, lost):
    chance = random.Random(f"{kind} {lost}")
    stretches = healthy(chance, ranks=4, hours=HOURS, **KINDS[kind])
    one, passes = Gang(stretches, chance, ranks=4), 0
    for now, current in watch(one, job(), until=HOURS * 3600, lost=lost, chance=chance):
        assert not current.status.is_true("HangSuspected"), f"after {now:.0f} s"
        passes += 1

    assert current.status.round == 0
    assert passes > 0.6 * 2 * HOURS * 3600 / REPORT_SECONDS
    assert one.index > 30, "the day had evaluations, checkpoints and stalls"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(10))
def test_a_hang_is_found_within_its_timeout_two_reports_and_the_confirmation(kind, seed):
    chance = random.Random(f"{kind} {seed}")
    stretches = list(healthy(chance, ranks=4, hours=4, **KINDS[kind]))
    frozen_at, stopped = chance.uniform(600, 3 * 3600), chance.randrange(4)
    one = Gang(stretches, chance, ranks=4, frozen_at=frozen_at, stopped=stopped)
    limit = suspected_at = None
    for now, current in watch(one, job(), until=24 * 3600):
        if current.status.is_true("HangSuspected") and suspected_at is None:
            suspected_at = now
            heard = (one.report(0, now), one.report(1, now))
            limit = hang.silence(current.spec.failure_policy.hang, gang(running_gang(current), 0, 2), heard)

    assert (1, "Hang", stopped) == (
        current.status.round,
        current.status.restarts.last.reason,
        current.status.restarts.last.rank,
    )
    assert frozen_at < suspected_at < now
    here = one.stretches[one.index]
    silent_since = here.began if not here.step_seconds else frozen_at - here.step_seconds
    assert now - silent_since >= limit.limit_seconds + hang.CONFIRM_SECONDS
    assert now - frozen_at <= limit.limit_seconds + 2 * REPORT_SECONDS + hang.CONFIRM_SECONDS


def test_the_simulated_days_are_as_hard_as_they_should_be():
    """Stalls above the half of the least timeout, and silences far beyond it in evaluations: else nothing was shown."""
    chance = random.Random(1)
    stretches = list(healthy(chance, ranks=4, hours=HOURS, **KINDS["evaluates long"]))
    silences = [each.ended - each.began for each in stretches if not each.step_seconds]

    assert sum(hang.FLOOR_SECONDS / 2 < each for each in silences) > 20
    assert max(silences) > 10 * hang.FLOOR_SECONDS
