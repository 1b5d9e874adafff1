"""When a gang that reports is taken for hung, whom that is blamed on, and what follows."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_status
from ganger.api.status import Restarts
from ganger.plan import hang
from ganger.plan.decide import decide
from ganger.plan.directives import directives
from ganger.plan.hang import CONFIRM_SECONDS, FACTOR, FLOOR_SECONDS, PATIENCE_SECONDS
from ganger.plan.live import Heard, LiveReport, Longest, RankBeat
from ganger.plan.seen import Seen

QUICK = Longest(first=3.0, step=0.5, evaluation=8.0, checkpoint=1.0)


def beat(rank, step=40, stage="backward", *, age, **more):
    more.setdefault("steps", 30)
    return RankBeat(rank=rank, step=step, stage=stage, age_seconds=age, **more)


def said(worker, *beats, when, longest=QUICK, phase="Training", sequence=1, attempt=0):
    report = LiveReport(
        attempt=attempt, worker=worker, sequence=sequence, phase=phase, step=40, ranks=beats, longest=longest
    )
    return Heard(report=report, at=at(when))


def still(when, *, age, stages=("backward", "backward"), steps=(40, 40), states=("S", "S"), **more):
    """Both workers at that second, neither of whose ranks has moved for so long."""
    return tuple(
        said(rank, beat(rank, steps[rank], stages[rank], age=age, state=states[rank]), when=when, **more)
        for rank in (0, 1)
    )


class Watched:
    """A running job of two workers, and what a pass makes of what they say."""

    def __init__(self, **spec):
        self.job = job(**spec)
        self.pods = running_gang(self.job)
        self.events = []
        self.pass_(5)

    def pass_(self, when, heard=()):
        decision = decide(self.job, Seen(pods=self.pods, heard=heard), at(when))
        self.job = with_status(self.job, decision.status)
        self.events += decision.events if decision.status is not None else ()
        return decision

    @property
    def suspected(self):
        return self.job.status.is_true("HangSuspected")

    def said_events(self, reason):
        return [event.message for event in self.events if event.reason == reason]


@pytest.fixture
def watched():
    return Watched


def limit(watched_, heard):
    found = hang.silence(watched_.job.spec.failure_policy.hang, _members(watched_), heard)
    return found and found.limit_seconds


def _members(watched_):
    from ganger.plan.gang import gang

    return gang(watched_.pods, 0, 2)


def test_a_gang_that_stands_still_is_suspected_then_restarted_with_its_culprit(watched):
    one = watched(checkpoint={"volume": {"size": "1Gi"}, "everySteps": 10})
    one.pass_(200, still(200, age=FLOOR_SECONDS - 1))
    assert not one.suspected

    one.pass_(202, still(202, age=FLOOR_SECONDS + 1, stages=("backward", "data")))
    assert one.suspected
    (message,) = one.said_events("HangSuspected")
    assert "no rank has made progress for 121 s (limit 120 s); rank 1 is behind, at step 40, data" in message
    assert "stacks/attempt-0-worker-*-rank-*.txt" in message

    later = 202 + CONFIRM_SECONDS
    age = FLOOR_SECONDS + 1 + CONFIRM_SECONDS
    one.pass_(later, still(later, age=age, stages=("backward", "data")))
    last = one.job.status.restarts.last
    assert (1, "Hang", 1, "digits-0-1", "node-1") == (
        one.job.status.round, last.reason, last.rank, last.pod, last.node,
    )  # fmt: skip
    assert (1, 1) == (one.job.status.restarts.counted, one.job.status.restarts.total)
    assert not one.suspected, "the next round is judged by itself"
    (message,) = one.said_events("Restarting")
    assert message.startswith("Hang: no rank has made progress for 131 s")
    assert "in the same pods round 1 starts" in message, "its supervisors are well and end the ranks"


def test_who_hangs_needs_no_time_to_save_when_its_pods_go(watched):
    one = watched()
    restarts = Restarts(in_place=2)  # the rungs before are spent
    one.job = with_status(one.job, msgspec.structs.replace(one.job.status, restarts=restarts))
    one.pass_(202, still(202, age=130))
    later = 202 + CONFIRM_SECONDS
    one.pass_(later, still(later, age=FLOOR_SECONDS + 1 + CONFIRM_SECONDS))

    assert 1 == one.job.status.attempt
    assert {5} == {deletion.grace_seconds for deletion in one.pass_(later + 1).deletions}


def test_a_rank_that_moves_again_ends_the_suspicion(watched):
    one = watched()
    one.pass_(202, still(202, age=130))
    one.pass_(207, (still(207, age=135)[0], said(1, beat(1, 41, age=0.1), when=207)))

    assert not one.suspected
    assert ["the ranks move again"] == one.said_events("HangOver")
    one.pass_(300, still(300, age=90))
    assert 0 == one.job.status.attempt


def test_a_suspicion_is_written_once(watched):
    one = watched()
    one.pass_(202, still(202, age=130))
    version = one.job.status
    for seconds in range(1, int(CONFIRM_SECONDS)):
        one.pass_(202 + seconds, still(202 + seconds, age=130 + seconds))

    assert version == one.job.status
    assert 1 == len(one.said_events("HangSuspected"))


def test_workers_that_fall_silent_after_the_suspicion_are_not_restarted(watched):
    """The channel is broken, or the operator was away: nobody has said that the ranks still stand."""
    one = watched()
    heard = still(202, age=130)
    one.pass_(202, heard)
    one.pass_(5000, heard)
    one.pass_(5001, (heard[0], said(1, beat(1, age=4929), when=5001)))

    assert 0 == one.job.status.attempt


@pytest.mark.parametrize(
    "heard",
    [
        (),
        still(9000, age=8000)[:1],
        (still(9000, age=8000)[0], said(1, beat(1, age=8000), when=9000, phase="Stopping")),
        (still(9000, age=8000)[0], said(1, beat(1, 0, "starting", age=8000), when=9000)),
        (still(9000, age=8000)[0], said(1, beat(1, age=1), when=9000)),
        (said(0, when=9000), said(1, when=9000)),
        (said(0, beat(0, stage="script", age=8000), when=9000), said(1, when=9000)),
    ],
    ids=["nobody", "one of two", "stopping", "starting", "one moves", "no heartbeat", "script"],
)
def test_what_proves_no_hang(watched, heard):
    one = watched()
    one.pass_(9000, heard)

    assert not one.suspected


def test_a_worker_that_has_ended_well_makes_a_gang_that_is_not_judged(watched):
    one = watched()
    one.pods = (one.pods[0], pod(one.job, 1, exit_code=0))
    one.pass_(9000, still(9000, age=8000))

    assert not one.suspected


@pytest.mark.parametrize(
    ("longest", "stages", "expected"),
    [
        (QUICK, ("backward", "backward"), FLOOR_SECONDS),
        (Longest(first=100.0, step=1.0), ("backward", "backward"), 200.0),
        (Longest(first=3.0, step=60.0), ("data", "backward"), FACTOR * 60),
        (QUICK, ("evaluate", "backward"), PATIENCE_SECONDS),
        (Longest(step=0.5, evaluation=900.0), ("evaluate", "backward"), FACTOR * 900),
        (Longest(step=0.5, evaluation=900.0), ("backward", "backward"), FLOOR_SECONDS),
        (QUICK, ("checkpoint", "checkpoint"), PATIENCE_SECONDS),
        (Longest(step=0.5, checkpoint=700.0), ("checkpoint", "checkpoint"), FACTOR * 700),
    ],
)
def test_the_automatic_timeout_follows_what_was_seen(watched, longest, stages, expected):
    assert expected == limit(watched(), still(9000, age=1, longest=longest, stages=stages))


def test_the_first_step_may_compile_for_long(watched):
    heard = tuple(said(rank, beat(rank, 0, age=1, steps=0), when=9, longest=Longest()) for rank in (0, 1))

    assert PATIENCE_SECONDS == limit(watched(), heard)


def test_a_step_that_waited_for_another_ranks_evaluation_teaches_nothing(watched):
    waited = said(1, beat(1, age=1), when=9, longest=Longest(step=900.0))

    assert FLOOR_SECONDS == limit(watched(), (said(0, beat(0, age=1), when=9), waited))


def test_a_timeout_in_the_spec_bounds_steps_and_scripts_and_no_evaluation(watched):
    one = watched(failurePolicy={"hang": {"timeoutSeconds": 20}})
    script = (said(0, beat(0, stage="script", age=1, steps=0), when=9), said(1, when=9))

    assert 20 == limit(one, still(9, age=1))
    assert 20 == limit(one, script)
    assert PATIENCE_SECONDS == limit(one, still(9, age=1, stages=("evaluate", "backward")))


def test_the_spec_may_ask_for_a_report_alone(watched):
    one = watched(failurePolicy={"hang": {"action": "Report"}})
    one.pass_(202, still(202, age=130))
    one.pass_(9000, still(9000, age=8928))

    assert (True, 0) == (one.suspected, one.job.status.attempt)


def test_a_rule_may_end_the_job_for_a_hang(watched):
    rule = {"name": "hang", "onReasons": ["Hang"], "action": "FailJob"}
    one = watched(failurePolicy={"rules": [rule]})
    one.pass_(202, still(202, age=130))
    one.pass_(220, still(220, age=148))

    assert ("Failed", "Hang") == (one.job.status.phase, one.job.status.condition("Failed").reason)


def test_clocks_that_are_set_forward_prove_nothing(watched):
    one = watched()
    one.pass_(202, still(202, age=121))
    one.pass_(90000, still(90000, age=126))

    assert 0 == one.job.status.attempt


def test_every_worker_is_asked_for_its_stacks_once_for_each_suspicion(watched):
    one = watched()
    assert () == directives(one.job, one.pods[0])

    one.pass_(202, still(202, age=130))
    (asked,) = directives(one.job, one.pods[1])
    assert ("DumpStacks", directives(one.job, one.pods[0])) == (asked.kind, (asked,))
    assert () == directives(one.job, one.pods[1], done=(asked.id,))
    one.pass_(300, still(300, age=1))
    assert () == directives(one.job, one.pods[1])
    one.pass_(502, still(502, age=130))
    assert asked.id != directives(one.job, one.pods[1], done=(asked.id,))[0].id


def test_a_report_that_matters_to_a_hang_is_looked_at_at_once(watched):
    one, strict = watched(), watched(failurePolicy={"hang": {"timeoutSeconds": 20}})
    stands, moves = (
        said(0, beat(0, age=130), beat(1, age=125), when=9),
        said(0, beat(0, age=130), beat(1, age=1), when=9),
    )
    short = said(0, beat(0, age=21), when=9)

    assert (True, False) == (hang.is_news(one.job, stands.report), hang.is_news(one.job, moves.report))
    assert (False, True) == (hang.is_news(one.job, short.report), hang.is_news(strict.job, short.report))
    assert not hang.is_news(one.job, said(0, when=9).report)
    one.pass_(202, still(202, age=130))
    assert hang.is_news(one.job, moves.report), "it may end the suspicion"


def ranks(*where):
    """A silence of ranks at (step, stage, state), all of worker 0 but the last."""
    beats = tuple(
        (int(rank == len(where) - 1), beat(rank, step, stage, age=500, state=state))
        for rank, (step, stage, state) in enumerate(where)
    )
    return hang.Silence(seconds=500, limit_seconds=120, said_at=at(900), beats=beats)


@pytest.mark.parametrize(
    ("where", "rank", "words"),
    [
        ([(4, "data", "S"), (4, "backward", "T")], 1, "is stopped (process state T)"),
        ([(4, "backward", "D"), (4, "data", "S"), (4, "backward", "S")], 1, "is behind, at step 4, data"),
        ([(5, "forward", "S"), (4, "update", "S"), (5, "forward", "S")], 1, "is behind, at step 4, update"),
        ([(5, "evaluate", "S"), (5, "backward", "S"), (5, "backward", "S")], 0, "is behind, at step 5, evaluate"),
        ([(5, "data", "S"), (5, "data", "S"), (5, "update", "S"), (5, "backward", "S")], 0, "is behind, as 1 more"),
        ([(5, "data", "S"), (5, "data", "S"), (5, "backward", "S")], None, "ranks differ, and nothing tells"),
        ([(5, "backward", "S"), (5, "backward", "D")], 1, "waits for a device or a volume"),
        ([(5, "backward", "S"), (5, "backward", "S")], None, "all ranks are at step 5, backward, and nothing tells"),
        ([(5, "backward", "D"), (5, "backward", "D")], None, "all ranks are at step 5, backward, and nothing tells"),
    ],
)
def test_the_culprit_is_who_is_stopped_else_behind_else_in_io(where, rank, words):
    found = hang.culprit(ranks(*where))

    assert rank == found.rank
    assert words in found.sentence
    assert (None if rank is None else int(rank == len(where) - 1)) == found.worker


def test_a_new_leader_goes_on_from_the_suspicion_in_the_status(watched):
    one = watched()
    one.pass_(202, still(202, age=130))
    other = watched()
    other.job = msgspec.structs.replace(other.job, status=one.job.status)
    other.pass_(203)  # it has heard nobody yet
    assert other.suspected

    other.pass_(215, still(215, age=143))
    assert ("Hang", 1) == (other.job.status.restarts.last.reason, other.job.status.round)
