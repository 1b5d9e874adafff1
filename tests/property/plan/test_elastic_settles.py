"""An elastic gang in a small world of few places: it settles at the right size, and never flaps, whatever happens."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import at, job, pod, with_spec
from ganger.api.observed import Claim, Metadata, OwnerReference, Pod, Service
from ganger.api.status import TrainingJobStatus
from ganger.contract import ENV_WORKERS, LABEL_ATTEMPT, LABEL_JOB, LABEL_MANAGED_BY, LABEL_WORKER
from ganger.plan.decide import decide
from ganger.plan.gang import attempt_of, is_over, probe_of, worker_of
from ganger.plan.lost import lost
from ganger.plan.seen import Seen

FEWEST, MOST = 1, 6
SHRINK, GROW = 60, 300


@dataclass
class World:
    """An API server, a scheduler with `places` for pods, a kubelet and a clock; a deleted pod stops when it is told."""

    job: object
    places: int
    now: float = 1.0
    pods: dict[str, Pod] = field(default_factory=dict)
    told_size: dict[str, int] = field(default_factory=dict)  # what a pod's environment says of its gang
    service: Service | None = None
    claim: Claim | None = None
    resized_at: list[tuple[float, str]] = field(default_factory=list)
    writes: int = 0  # those that cannot wait for company

    def step(self, writes: int | None = None) -> bool:
        """One pass and its execution; True when something was done. writes: the operator dies after so many."""
        decision = decide(
            self.job, Seen(pods=tuple(self.pods.values()), service=self.service, claim=self.claim), at(self.now)
        )
        if writes is not None:
            decision = cut(decision, writes)
        self.writes += len(decision.shared) + len(decision.pods) + len(decision.deletions)
        if decision.status is not None:
            self.writes += decision.status_delay_seconds == 0
            self._check(self.job.status, decision.status)
            moved = decision.status.attempt != self.job.status.attempt
            assert not moved or not (decision.pods or decision.deletions), "write ahead, then act"
            self.job = msgspec.structs.replace(self.job, status=decision.status)
        for deletion in decision.deletions:
            old = self.pods[deletion.metadata.name]
            meta = msgspec.structs.replace(old.metadata, deletion_timestamp=at(self.now))
            self.pods[old.metadata.name] = msgspec.structs.replace(old, metadata=meta)
            if is_over(old) or not old.spec.node_name:
                self.pods.pop(old.metadata.name)  # nothing runs that would have to stop
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
            self._create(manifest)
        self._look()
        return not decision.empty

    def _create(self, manifest) -> None:
        name, labels = manifest["metadata"]["name"], manifest["metadata"]["labels"]
        assert name not in self.pods, "a name is never created twice"
        assert not self.job.status.finished, "nothing is created after the end"
        plain = pod(self.job, 0, attempt=int(labels[LABEL_ATTEMPT]), phase="Pending")
        self.pods[name] = msgspec.structs.replace(
            plain,
            metadata=msgspec.structs.replace(
                plain.metadata,
                name=name,
                uid=f"uid-{name}-{self.now}",
                creation_timestamp=at(self.now),
                labels=plain.metadata.labels | {LABEL_WORKER: labels[LABEL_WORKER]},
            ),
        )
        for entry in manifest["spec"]["containers"][0].get("env", ()):
            if entry["name"] == ENV_WORKERS:
                self.told_size[name] = int(entry["value"])

    def _look(self) -> None:
        """What must hold at every moment."""
        given_up = lost(self.job, tuple(self.pods.values()), at(self.now))
        workers = [
            found
            for name, found in self.pods.items()
            if worker_of(found) >= 0 and not is_over(found) and name not in given_up
        ]
        numbers = [worker_of(found) for found in workers]
        assert len(numbers) == len(set(numbers)), f"a worker runs twice: {sorted(self.pods)}"
        assert len({attempt_of(found) for found in workers}) <= 1, "two attempts live side by side"
        sizes = {self.told_size[found.metadata.name] for found in workers}
        assert len(sizes) <= 1, "workers of one gang disagree about its size"
        if sizes and {attempt_of(found) for found in workers} == {self.job.status.attempt}:
            size = self.job.status.gang_size
            assert {size} == sizes or self.job.spec.suspend or self.job.status.is_true("Suspended")
            assert FEWEST <= size <= MOST

    def _check(self, old: TrainingJobStatus, new: TrainingJobStatus) -> None:
        assert not old.finished, "terminal states are absorbing"
        assert new.attempt in (old.attempt, old.attempt + 1)
        resized = (new.resizes.total if new.resizes else 0) - (old.resizes.total if old.resizes else 0)
        restarted = (new.restarts.total if new.restarts else 0) - (old.restarts.total if old.restarts else 0)
        assert new.attempt - old.attempt == resized + restarted, "an attempt opens with a restart or with a resize"
        parts = msgspec.structs.asdict(new.goodput.seconds)
        assert abs(sum(parts.values()) - (new.goodput.accounted_time - at(0)).total_seconds()) < 0.01
        if resized:
            assert (new.restarts.counted if new.restarts else 0) == (old.restarts.counted if old.restarts else 0)
            self.resized_at.append((self.now, new.resizes.last.reason))
        if new.attempt == old.attempt and old.gang_size is not None and not old.is_true("Suspended"):
            assert old.gang_size == new.gang_size, "an attempt never changes its size"

    def settle(self) -> None:
        """Passes, and a cluster that does its part, until nothing is left to do."""
        for _ in range(40):
            self.cluster()
            if not self.step():
                return
        raise AssertionError("does not settle")

    def cluster(self) -> None:
        """Deleted pods are gone; the scheduler gives its free places away, and the kubelet runs what has one."""
        self.stop()
        free = self.places - self.taken()
        for name in sorted(self.pods):
            waiting = self.pods[name]
            if waiting.status.phase == "Pending" and free > 0:
                free -= 1
                self.pods[name] = msgspec.structs.replace(
                    pod(self.job, 0, attempt=attempt_of(waiting)), metadata=waiting.metadata
                )

    def stop(self) -> None:
        for name in [name for name, found in self.pods.items() if found.metadata.deletion_timestamp is not None]:
            del self.pods[name]

    def taken(self) -> int:
        return sum(bool(found.spec.node_name) and not is_over(found) for found in self.pods.values())

    def live(self) -> list[str]:
        return sorted(name for name, found in self.pods.items() if found.status.phase == "Running")

    def end(self, index: int, exit_code: int) -> None:
        """A running worker ends, or a probe."""
        if live := self.live():
            old = self.pods[live[index % len(live)]]
            ended = pod(self.job, 0, attempt=attempt_of(old), exit_code=exit_code, ended=self.now)
            self.pods[old.metadata.name] = msgspec.structs.replace(ended, metadata=old.metadata)

    def lose(self, index: int, *, place: bool) -> None:
        """A pod is gone, with its node or without."""
        if live := self.live():
            del self.pods[live[index % len(live)]]
            self.places -= place

    def scale(self, workers: int) -> None:
        """As the API server allows it: a finished job is scaled by nobody."""
        if not self.job.status.finished:
            self.job = with_spec(self.job, workers=workers)


def cut(decision, writes):
    """The decision of which only the first writes are done, in the order of the executor."""
    left = {}
    if decision.status is not None:
        left["status"], writes = (decision.status if writes else None), max(0, writes - 1)
    for name in ("deletions", "shared", "pods"):
        left[name] = getattr(decision, name)[:writes]
        writes -= len(left[name])
    return msgspec.structs.replace(decision, **left)


ACTIONS = st.one_of(
    st.just(("cluster",)),
    st.just(("cluster",)),
    st.tuples(st.just("scale"), st.integers(FEWEST, MOST)),
    st.tuples(st.just("places"), st.integers(0, MOST)),
    st.tuples(st.just("lose"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from([0, 1, 137, 143])),
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 10.0, 61.0, 400.0, 4000.0])),
    st.tuples(st.just("crash"), st.integers(0, 8)),
    st.just(("suspend",)),
    st.just(("resume",)),
    st.just(("stop",)),
    st.just(("settle",)),
)


def act(world, action, arguments):
    if action == "lose":
        world.lose(arguments[0], place=arguments[1])
    elif action == "places":
        world.places = max(world.taken(), arguments[0])
    elif action == "sleep":
        world.now += arguments[0]
    elif action in ("suspend", "resume"):
        world.job = with_spec(world.job, suspend=action == "suspend")
    else:
        getattr(world, action)(*arguments)


def world(workers, places, max_restarts=3):
    elastic = {
        "minWorkers": FEWEST,
        "maxWorkers": MOST,
        "shrinkAfterSeconds": SHRINK,
        "growAfterSeconds": GROW,
    }
    checkpoint = {"volume": {"size": "1Gi"}, "everySteps": 5}
    policy = {"maxRestarts": max_restarts}
    return World(job(workers=workers, elastic=elastic, failurePolicy=policy, checkpoint=checkpoint), places)


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, min_size=12, max_size=40), st.integers(FEWEST, MOST), st.integers(0, MOST))
def test_an_elastic_gang_settles_at_the_size_it_may_have_after_any_history(actions, workers, places):
    small = world(workers, places)
    for action, *arguments in actions:
        if action == "crash":
            small.step(*arguments)
        else:
            act(small, action, arguments)
            small.step()
        small.now += 0.25
    small.job = with_spec(small.job, suspend=False)
    small.places = max(1, small.places)
    # A failure's backoff, a shrink, the longest wait for growth, and what a probe waits for its fellows.
    for seconds in (1000.0, SHRINK + 1.0, 3700.0, SHRINK + 1.0, 1.0):
        small.now += seconds
        small.settle()

    if small.job.status.finished:
        assert not [found for found in small.pods.values() if not is_over(found)]
        return
    running = [found for found in small.pods.values() if worker_of(found) >= 0 and not is_over(found)]
    ended = [found for found in small.pods.values() if worker_of(found) >= 0 and is_over(found)]
    if any(attempt_of(found) == small.job.status.attempt for found in ended):
        return  # some have ended well, and the others go on to their end at this size
    assert "Running" == small.job.status.phase
    assert min(small.places, small.job.spec.workers) == small.job.status.gang_size == len(running)
    assert small.job.spec.workers - small.job.status.gang_size == sum(probe_of(p) >= 0 for p in small.pods.values())


@pytest.mark.parametrize("workers", [2, 4, 6])
def test_an_elastic_job_costs_one_write_more_than_another_until_it_runs_and_none_afterwards(workers):
    small = world(workers, workers)
    small.settle()
    assert ("Running", workers + 4) == (small.job.status.phase, small.writes)
    small.now += 1000
    small.settle()

    assert workers + 4 == small.writes


@settings(max_examples=60, deadline=None)
@given(st.integers(2, MOST), st.lists(st.tuples(st.booleans(), st.integers(1, 400)), min_size=50, max_size=200))
def test_a_gang_never_grows_sooner_after_a_shrink_than_it_was_told_to(workers, moments):
    small = world(workers, workers)
    small.settle()
    for there, seconds in moments:
        come_or_go(small, workers if there else workers - 1)
        small.now += seconds
        small.settle()

    assert ["Shrunk", "Grown"] * (len(small.resized_at) // 2) == [why for _, why in small.resized_at][
        : len(small.resized_at) // 2 * 2
    ]
    for (shrunk, _), (grown, _) in zip(small.resized_at[::2], small.resized_at[1::2], strict=False):
        assert grown - shrunk >= GROW


def test_a_place_that_comes_and_goes_makes_the_gang_grow_ever_more_rarely():
    small = world(4, 4)
    small.settle()
    while small.now < 6 * 3600:
        come_or_go(small, 4 if small.job.status.gang_size == 3 else 3)  # gone as soon as it is used
        small.now += 10
        small.settle()

    grown = [time for time, why in small.resized_at if why == "Grown"]
    shrunk = [time for time, why in small.resized_at if why == "Shrunk"]
    waits = [round(after - before, -2) for before, after in zip(shrunk, grown, strict=False)]
    assert [300, 600, 1200, 2400, 3600, 3600, 3600, 3600] == waits


def come_or_go(small, places):
    """The cluster has so many places now; a worker that sat on one that is gone is lost."""
    small.places = places
    while small.taken() > places:
        small.lose(0, place=False)
