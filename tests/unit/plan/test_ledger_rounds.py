"""Where the time of a restart in place goes."""

import random

import msgspec
import pytest

from builders import at, job, running_gang, with_status
from ganger.plan import ledger
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.live import AttemptSeconds, Heard, Live, LiveReport, ReportedFailure
from ganger.plan.seen import Seen
from ganger.plan.site import Site

FAILURE = ReportedFailure(reason="ProcessKilled", rank=0, exit_code=137)
SITE = Site(restarts_containers=True)


def report(seconds, *, round_=0, phase="Training", **parts):
    failure = FAILURE if phase == "Failed" else None
    said = LiveReport(
        attempt=0, worker=0, sequence=1, phase=phase, round=round_, failure=failure, step=40,
        seconds=AttemptSeconds(**parts),
    )  # fmt: skip
    return Heard(report=said, at=at(seconds))


class Life:
    """A job of one worker, from pass to pass."""

    def __init__(self):
        self.job = job(workers=1)
        self.pods = running_gang(self.job)
        self.pass_(2)

    def pass_(self, seconds, word=None):
        seen = Seen(pods=self.pods, heard=(word,) if word else (), live=self._live(word))
        self.job = with_status(self.job, decide(self.job, seen, at(seconds), site=SITE).status)

    def parts(self, seconds, word):
        goodput = ledger.account(self.job, gang(self.pods, 0, 1), self._live(word), at(seconds))
        return {cause: value for cause, value in msgspec.structs.asdict(goodput.seconds).items() if value}

    @staticmethod
    def _live(word):
        return Live(report=word.report, at=word.at) if word else None


def test_the_time_from_the_failure_to_the_first_process_of_the_round_is_restarting():
    life = Life()
    before = life.parts(100, report(100, starting=4, productive=95))
    life.pass_(100.5, report(100, phase="Failed", starting=4, productive=95))
    assert 1 == life.job.status.round

    life.pass_(103, report(103, round_=1, phase="Starting", starting=1))
    after = life.parts(110, report(110, round_=1, starting=1.5, restoring=0.5, productive=6))

    assert 2.0 == after["restarting"], "from 100 to 102"
    assert before["starting"] + 1.5 == after["starting"]
    assert 0.5 == after["restoring"]
    assert 110.0 == pytest.approx(sum(after.values()))


def test_all_time_is_restarting_while_no_process_of_the_round_is_heard():
    life = Life()
    failed = report(100, phase="Failed", starting=4, productive=95)
    life.pass_(100, failed)

    for word in (failed, None):
        assert 60.0 == life.parts(160, word)["restarting"]


@pytest.mark.parametrize("seed", range(40))
def test_the_parts_sum_to_the_age_over_any_number_of_rounds(seed):
    chance = random.Random(seed)
    life, now, word = Life(), 2.0, None
    for _ in range(30):
        now += chance.uniform(0.1, 40)
        round_ = max(0, life.job.status.round - (chance.random() < 0.2))
        phase = chance.choice(["Training", "Training", "Starting", "Checkpointing", "Failed"])
        parts = {cause: chance.uniform(0, 50) for cause in ("starting", "restoring", "productive", "checkpointing")}
        word = report(now - chance.uniform(0, 3), round_=round_, phase=phase, **parts)
        old = life.parts(now, word)
        assert now == pytest.approx(sum(old.values()), abs=0.002)
        assert min(old.values()) >= 0
        life.pass_(now, word)
        if life.job.status.attempt or life.job.status.finished:
            break
