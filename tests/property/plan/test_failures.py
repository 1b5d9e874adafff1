"""Random sequences of failures against a model of a few lines."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import at, job, pod, running_gang, with_status
from ganger.plan.decide import decide
from ganger.plan.seen import Seen

RULES = [
    {"name": "free", "onExitCodes": [10, 11], "action": "Ignore"},
    {"name": "fatal", "onExitCodes": [11, 12], "action": "FailJob"},
    {"name": "count", "onExitCodes": [78], "action": "Count"},
]
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]


@dataclass
class Model:
    """What the policy promises, told again in the simplest words."""

    max_restarts: int
    no_progress: int | None
    counted: int = 0
    total: int = 0
    since: int = 0  # counted restarts since the last checkpoint
    died: list[int] = field(default_factory=list)
    end: str = ""

    def fail(self, code, disrupted, progressed, step):
        self.since, self.died = (0, []) if progressed else (self.since, self.died)
        counts = not (disrupted or code in (10, 11, 75, 143))
        if counts and code in (12, 65):
            self.end = "ProcessExited"
        elif counts and self.counted == self.max_restarts:
            self.end = "MaxRestartsReached"
        elif counts and self.no_progress is not None and self.since >= self.no_progress:
            self.end = "NoProgress"
        else:
            self.total, self.counted = self.total + 1, self.counted + counts
            self.since, self.died = self.since + counts, [*self.died, *([step] if counts else [])]


FAILURES = st.tuples(st.sampled_from([1, 10, 11, 12, 65, 75, 78, 130, 139, 143]), st.booleans(), st.booleans())


@settings(max_examples=200, deadline=None)
@given(st.lists(FAILURES, max_size=12), st.integers(0, 6), st.none() | st.integers(1, 4))
def test_restarts_are_counted_as_the_policy_says(failures, max_restarts, no_progress):
    policy = {"maxRestarts": max_restarts, "rules": RULES}
    a_job = job(failurePolicy=policy | ({"noProgressRestarts": no_progress} if no_progress else {}))
    model, step, now = Model(max_restarts, no_progress), 0, 0.0
    for code, disrupted, progressed in failures:
        attempt, now, step = a_job.status.attempt, now + 1000.0, step + 1
        up = decide(a_job, Seen(pods=running_gang(a_job, attempt=attempt)), at(now))
        a_job = with_status(a_job, up.status)
        said = {"outcome": "Failed", "step": step} | ({"checkpoint": {"step": step}} if progressed else {})
        failed = pod(
            a_job, 1, attempt=attempt, exit_code=code, said=said, ended=now, conditions=DISRUPTED if disrupted else None
        )
        decision = decide(a_job, Seen(pods=(pod(a_job, 0, attempt=attempt), failed)), at(now + 5))
        before, a_job = a_job.status.restarts, with_status(a_job, decision.status)
        model.fail(code, disrupted, progressed, step)
        restarts = a_job.status.restarts
        if model.end:
            assert model.end == a_job.status.condition("Failed").reason
            if model.end == "NoProgress":
                died = ", ".join(map(str, [*model.died, step]))
                assert f"it died at step {died}; " in a_job.status.condition("Failed").message
            return
        assert (model.counted, model.total) == (restarts.counted, restarts.total)
        assert (model.since, tuple(model.died)) == (restarts.without_progress, restarts.steps_without_progress)
        assert attempt + 1 == a_job.status.attempt
        assert restarts.counted - (before.counted if before else 0) <= 1
        assert restarts.counted <= max_restarts
