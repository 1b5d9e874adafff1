"""`decide` in a small world: it settles, and its invariants hold, whatever fails and in whatever order."""

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import at, job, pod, with_spec
from ganger.api.observed import Claim, Metadata, OwnerReference, Pod, Service
from ganger.api.status import TrainingJobStatus
from ganger.contract import LABEL_JOB, LABEL_MANAGED_BY
from ganger.plan.decide import decide
from ganger.plan.gang import attempt_of, is_over, worker_of
from ganger.plan.lost import lost
from ganger.plan.seen import Seen


@dataclass
class World:
    """An API server, a kubelet and a clock in a few lines; deletions end at once, as with a fast kubelet."""

    job: object
    now: float = 0.0
    pods: dict[str, Pod] = field(default_factory=dict)
    service: Service | None = None
    claim: Claim | None = None
    created: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)  # pods of nodes that answer no more: they never end

    def step(self) -> bool:
        """One pass and its execution; True when something was done."""
        seen = Seen(pods=tuple(self.pods.values()), service=self.service, claim=self.claim)
        decision = decide(self.job, seen, at(self.now))
        if decision.status is not None:
            self._check(self.job.status, decision.status)
            self.job = msgspec.structs.replace(self.job, status=decision.status)
        for deletion in decision.deletions:
            self._delete(deletion.metadata.name)
        for manifest in decision.shared:
            meta = Metadata(
                name=manifest["metadata"]["name"],
                labels={LABEL_MANAGED_BY: "ganger", LABEL_JOB: self.job.metadata.name},
                owner_references=(OwnerReference(uid=self.job.metadata.uid, controller=True),),
            )
            if manifest["kind"] == "Service":
                self.service = Service(metadata=meta)
            else:
                self.claim = Claim(metadata=meta)
        for manifest in decision.pods:
            labels = manifest["metadata"]["labels"]
            new = pod(
                self.job,
                int(labels["ganger.dev/worker"]),
                attempt=int(labels["ganger.dev/attempt"]),
                phase="Pending",
            )
            assert new.metadata.name not in self.pods, "a name is never created twice"
            assert not self.job.status.finished, "nothing is created after the end"
            self.pods[new.metadata.name] = new
            self.created.append(new.metadata.name)
        given_up = lost(self.job, tuple(self.pods.values()), at(self.now))
        alive = [worker_of(p) for name, p in self.pods.items() if not is_over(p) and name not in given_up]
        assert len(alive) == len(set(alive)), f"a worker runs twice: {sorted(self.pods)}"
        return not decision.empty

    def settle(self) -> None:
        """Passes until nothing is left to do."""
        for _ in range(12):
            if not self.step():
                return
        raise AssertionError("does not settle")

    def _check(self, old: TrainingJobStatus, new: TrainingJobStatus) -> None:
        assert not old.finished, "terminal states are absorbing"
        assert new.attempt in (old.attempt, old.attempt + 1)
        before, after = (s.restarts.counted if s.restarts else 0 for s in (old, new))
        assert before <= after <= before + 1
        assert after <= self.job.spec.failure_policy.max_restarts
        types = [condition.type for condition in new.conditions]
        assert len(types) == len(set(types))

    def run_pods(self) -> None:
        """The kubelet starts whatever waits."""
        for name, waiting in list(self.pods.items()):
            if waiting.status.phase == "Pending":
                self.pods[name] = pod(self.job, worker_of(waiting), attempt=attempt_of(waiting))

    def end(self, index: int, exit_code: int) -> None:
        """A running worker ends."""
        live = sorted(name for name, p in self.pods.items() if p.status.phase == "Running" and name not in self.dead)
        if live:
            name = live[index % len(live)]
            old = self.pods[name]
            self.pods[name] = pod(
                self.job, worker_of(old), attempt=attempt_of(old), exit_code=exit_code, ended=self.now
            )

    def _delete(self, name: str) -> None:
        if name in self.dead:
            metadata = msgspec.structs.replace(self.pods[name].metadata, deletion_timestamp=at(self.now))
            self.pods[name] = msgspec.structs.replace(self.pods[name], metadata=metadata)
        else:
            self.pods.pop(name)

    def die(self, index: int, *, evicted: bool) -> None:
        """The node of a live pod dies; the taint manager deletes the pod at once, or somebody does later."""
        live = sorted(name for name, p in self.pods.items() if p.status.phase == "Running" and name not in self.dead)
        if live:
            name = live[index % len(live)]
            self.dead.add(name)
            if evicted:
                self._delete(name)

    def lose(self, index: int) -> None:
        """Somebody deletes a pod."""
        if there := sorted(set(self.pods) - self.dead):
            self.pods.pop(there[index % len(there)])


ACTIONS = st.one_of(
    st.just(("run",)),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from([0, 0, 1, 137, 143, 75, 78])),
    st.tuples(st.just("lose"), st.integers(0, 5)),
    st.tuples(st.just("die"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 10.0, 400.0])),
    st.just(("suspend",)),
    st.just(("resume",)),
    st.just(("pass",)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.integers(1, 4), st.integers(0, 3))
def test_gang_settles_after_any_history(actions, workers, max_restarts):
    world = World(
        job(
            workers=workers,
            failurePolicy={"maxRestarts": max_restarts},
            checkpoint={"volume": {"size": "1Gi"}, "everySteps": 5},
        )
    )
    for action, *arguments in actions:
        if action == "run":
            world.run_pods()
        elif action == "end":
            world.end(*arguments)
        elif action == "lose":
            world.lose(*arguments)
        elif action == "die":
            world.die(arguments[0], evicted=arguments[1])
        elif action == "sleep":
            world.now += arguments[0]
        elif action == "suspend":
            world.job = with_spec(world.job, suspend=True)
        elif action == "resume":
            world.job = with_spec(world.job, suspend=False)
        world.step()
    for _ in range(3):  # a backoff, and a worker that is deleted and then given up
        world.now += 1000.0
        world.settle()
    if world.job.spec.suspend or world.job.status.finished:
        assert not [name for name, p in world.pods.items() if not is_over(p) and name not in world.dead]
    else:
        world.run_pods()
        world.settle()
        assert "Running" == world.job.status.phase
