"""The law of the ledger under random histories, and where the time went against a world that knows it.

The world advances in whole milliseconds and notes what each of them was spent on, from its own state and not from what
the ledger reads. Passes come when they like: what the pods' own times tell must not be lost by a late pass.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import T0, job, pod, with_spec
from ganger.api.observed import Condition, ContainerState, ContainerStatus, Pod, Running, Terminated
from ganger.api.status import Goodput, GoodputSeconds
from ganger.contract import CONTAINER
from ganger.plan import ledger
from ganger.plan.decide import decide
from ganger.plan.gang import gang, is_over
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.seen import Refusal, Seen

CAUSES = tuple(cause for cause in GoodputSeconds.__struct_fields__ if cause != "exporting")  # no job here exports
BOOT, RESTORE = 700, 400  # milliseconds of a worker before its first step; an attempt after the first restores
REFUSAL = Refusal(reason="QuotaExceeded", message="no quota")


def moment(milliseconds):
    return T0 + timedelta(milliseconds=milliseconds)


@dataclass
class Member:
    """A pod in the world; times in ms."""

    made: int
    placed: int | None = None
    started: int | None = None
    ended: int | None = None
    code: int = 0

    def pod(self, job_, attempt, worker) -> Pod:
        state, phase, conditions = ContainerState(), "Pending", ()
        if self.placed is not None:
            conditions = (Condition(type="PodScheduled", status="True", last_transition_time=moment(self.placed)),)
        if self.started is not None:
            state, phase = ContainerState(running=Running(started_at=moment(self.started))), "Running"
        if self.ended is not None:
            end = Terminated(self.code, started_at=moment(self.started), finished_at=moment(self.ended))
            state, phase = ContainerState(terminated=end), "Failed" if self.code else "Succeeded"
        plain = pod(job_, worker, attempt=attempt)
        return msgspec.structs.replace(
            plain,
            metadata=msgspec.structs.replace(plain.metadata, creation_timestamp=moment(self.made)),
            status=msgspec.structs.replace(
                plain.status,
                phase=phase,
                conditions=conditions,
                container_statuses=(ContainerStatus(name=CONTAINER, state=state),),
            ),
        )


@dataclass
class World:
    """One job, its pods and its clock. `slow` is by how much the operator's clock is behind, in ms."""

    workers: int = 2
    saving: float = 0.1  # share of the training that goes into checkpoints
    now: int = 0
    slow: int = 0
    quota: bool = True
    silent: int = 0  # ms for which the others trained after worker 0 had ended well
    again: bool = False  # the attempt follows a failure
    job: object = None
    live: Live | None = None
    members: dict[tuple[int, int], Member] = field(default_factory=dict)
    truth: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    worked: dict[str, int] = field(default_factory=dict)  # what worker 0 has done in its attempt, in ms

    def __post_init__(self):
        policy = {"maxRestarts": 20, "backoff": {"baseSeconds": 1, "capSeconds": 2}}
        self.job = job(workers=self.workers, failurePolicy=policy)

    @property
    def present(self):
        """Members of the present attempt."""
        return [one for (attempt, _), one in self.members.items() if attempt == self.job.status.attempt]

    @property
    def broken(self):
        """Whether a worker has failed."""
        return any(one.ended is not None and one.code for one in self.present)

    def cause(self):
        """What this millisecond is spent on."""
        status, present = self.job.status, self.present
        if status.is_true("Suspended"):
            return "suspended"
        if self.broken:
            return "restarting"
        if not present:
            refused = status.condition("PodsReady") is not None and status.condition("PodsReady").reason
            return "restarting" if self.again and refused != "QuotaExceeded" else "queued"
        if any(one.placed is None for one in present):
            return "restarting" if self.again else "scheduling"
        if any(one.started is None for one in present):
            return "restarting" if self.again else "image"
        return self.work()

    def work(self):
        """What worker 0 does once all run."""
        if self.worked.get("starting", 0) < self.boot_until - self.present[0].started:
            return "starting"
        if self.job.status.attempt and self.worked.get("restoring", 0) < RESTORE:
            return "restoring"
        return "productive"

    @property
    def boot_until(self):
        """Worker 0 meets the others before it trains."""
        return max(one.started for one in self.present) + BOOT

    def advance(self, milliseconds):
        for _ in range(milliseconds // 100):
            if self.job.status.finished:
                self.now += 100
                continue
            cause = self.cause()
            self.truth[cause] += 100
            leads = self.members.get((self.job.status.attempt, 0))
            self.silent += 100 * (cause == "productive" and leads.ended is not None)
            if leads is not None and leads.started is not None and cause not in ("restarting", "suspended"):
                did = "starting" if cause in ("queued", "scheduling", "image") else cause
                self.worked[did] = self.worked.get(did, 0) + 100
            elif leads is not None and leads.started is not None and cause == "restarting" and not self.broken:
                self.worked["starting"] = self.worked.get("starting", 0) + 100  # it waits for the others
            self.now += 100
            self.speak(leads)

    def speak(self, leads):
        """Worker 0 reports while it runs and nothing has failed."""
        if leads is None or leads.started is None or leads.ended is not None or self.job.status.is_true("Suspended"):
            return
        if self.broken:
            return
        up = all(one.started is not None for one in self.present)
        phase = {"starting": "Starting", "restoring": "Restoring"}.get(self.work(), "Training") if up else "Starting"
        trained = self.worked.get("productive", 0) / 1000
        said = LiveReport(
            attempt=self.job.status.attempt,
            worker=0,
            sequence=self.now,
            phase=phase,
            step=int(trained * 10),
            seconds=AttemptSeconds(
                starting=self.worked.get("starting", 0) / 1000,
                restoring=self.worked.get("restoring", 0) / 1000,
                productive=trained * (1 - self.saving),
                checkpointing=trained * self.saving,
            ),
        )
        self.live = Live(report=said, at=moment(self.now - self.slow))

    def gang(self):
        pods = tuple(one.pod(self.job, *key) for key, one in self.members.items())
        return pods, gang(pods, self.job.status.attempt, self.workers)

    def step(self):
        """One pass: account, decide, store, execute."""
        old, now = self.job.status, moment(self.now - self.slow)
        pods, members = self.gang()
        goodput = ledger.account(self.job, members, self.live, now)
        self.check(old.goodput or Goodput(), goodput)
        half = ledger.account(self.job, members, self.live, now - timedelta(milliseconds=self.now // 3))
        between = msgspec.structs.replace(self.job, status=msgspec.structs.replace(old, goodput=half))
        assert close(goodput, ledger.account(between, members, self.live, now)), "one account or two, it is the same"
        decision = decide(self.job, Seen(pods=pods, refusal=None if self.quota else REFUSAL), now)
        status = decision.status or old
        if status.attempt > old.attempt:
            steps, seconds = ledger.lost(self.job, members, self.live)
            goodput = ledger.lose(goodput, steps=steps, seconds=seconds)
            self.again, self.worked = True, {}
        if old.is_true("Suspended") and not status.is_true("Suspended"):
            self.again, self.worked = False, {} if not self.present else self.worked
        if not old.finished:
            self.job = msgspec.structs.replace(self.job, status=msgspec.structs.replace(status, goodput=goodput))
        names = {one.metadata.name: key for key, one in zip(self.members, pods, strict=True)}
        for deletion in decision.deletions:
            del self.members[names[deletion.metadata.name]]
        for manifest in decision.pods:
            labels = manifest["metadata"]["labels"]
            key = int(labels["ganger.dev/attempt"]), int(labels["ganger.dev/worker"])
            self.members[key] = Member(self.now)

    def check(self, old, new):
        """The law."""
        parts = msgspec.structs.asdict(new.seconds or GoodputSeconds())
        assert min(parts.values()) >= 0
        if new.accounted_time is not None:
            age = (new.accounted_time - T0) // timedelta(milliseconds=1)
            assert age == round(1000 * sum(parts.values()))
            assert old.accounted_time is None or old.accounted_time <= new.accounted_time
        if self.job.status.finished:
            assert old == new, "nothing is added after the end"

    def settle(self):
        for _ in range(4):
            self.step()

    def rise(self, moments):
        """A pass, and then the pods come up with some time between any two facts; no pass sees them."""
        self.settle()
        self.advance(100 * moments)
        self.place()
        for _ in range(self.workers):
            self.advance(100 * (moments + 1))
            self.start(moments)
        self.advance(500 * moments)

    def place(self):
        for one in self.present:
            one.placed = self.now if one.placed is None else one.placed

    def start(self, index):
        waiting = [one for one in self.present if one.placed is not None and one.started is None]
        if waiting:
            waiting[index % len(waiting)].started = self.now

    @property
    def trains(self):
        """Whether all run and have taken a step."""
        return (
            bool(self.present) and all(one.started is not None for one in self.present) and "productive" in self.worked
        )

    def end(self, index, code):
        alive = [one for one in self.present if one.started is not None and one.ended is None]
        if alive and (code or self.trains):
            one = alive[index % len(alive)]
            one.ended, one.code = self.now, code

    def complete(self):
        if self.trains:
            for one in self.present:
                if one.ended is None:
                    one.ended, one.code = self.now, 0

    def do(self, action, *arguments):
        """Whatever may happen; a change of the spec, of the quota and of the clock is seen at once."""
        if action == "suspend":
            self.job = with_spec(self.job, suspend=arguments[0])
        elif action == "quota":
            self.quota = arguments[0]
        elif action == "clock":
            self.slow += arguments[0]
        elif action == "lose":
            for key in list(self.members)[arguments[0] :][:1]:
                del self.members[key]
        else:
            getattr(self, {"pass": "settle"}.get(action, action))(*arguments)
        if action in ("suspend", "quota", "clock", "lose"):
            self.settle()


def close(one, other):
    """Whether two accounts agree, but for the rounding of the part that went into saving."""
    mine, theirs = (msgspec.structs.astuple(each.seconds or GoodputSeconds()) for each in (one, other))
    return all(abs(a - b) < 0.0025 for a, b in zip(mine, theirs, strict=True))


def assert_true(world, *, passes):
    """The ledger tells what the world knows. Productive and saving: to a millisecond for each pass."""
    parts = msgspec.structs.asdict(world.job.status.goodput.seconds or GoodputSeconds())
    found = {cause: round(1000 * seconds) for cause, seconds in parts.items()}
    assert 0 == found.pop("exporting")
    trained = found.pop("productive") + found.pop("lost")
    saving, expected = found.pop("checkpointing"), dict(world.truth)
    productive = expected.pop("productive")
    expected.pop("lost"), expected.pop("checkpointing")
    assert expected == found
    assert productive == trained + saving
    assert abs(world.saving * productive - saving) <= passes + world.saving * world.silent


ADVANCE = st.tuples(st.just("advance"), st.sampled_from([100, 500, 1000, 2500, 10_000]))
EVENTS = st.one_of(
    ADVANCE,
    ADVANCE,
    st.tuples(st.just("rise"), st.integers(0, 5)),
    st.tuples(st.just("rise"), st.integers(0, 5)),
    st.just(("pass",)),
    st.just(("place",)),
    st.tuples(st.just("start"), st.integers(0, 3)),
    st.tuples(st.just("start"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from([0, 1, 137, 143])),
    st.just(("complete",)),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("quota"), st.booleans()),
)
WILD = st.one_of(
    EVENTS,
    st.tuples(st.just("clock"), st.sampled_from([-60_000, -500, 500, 60_000])),
    st.tuples(st.just("lose"), st.integers(0, 3)),
)


def play(world, events):
    """All events, with a moment between any two, and a last pass."""
    for event in events:
        world.do(*event)
        world.advance(100)
    world.settle()


@settings(max_examples=300, deadline=None)
@given(st.lists(WILD, min_size=5, max_size=30), st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.37]))
def test_parts_sum_to_the_age_of_the_job_whatever_happens(events, workers, saving):
    play(World(workers=workers, saving=saving), events)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=30), st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.37]))
def test_time_goes_to_what_it_was_spent_on(events, workers, saving):
    world = World(workers=workers, saving=saving)

    play(world, events)

    assert_true(world, passes=4 * (len(events) + 1))


WAY_UP = [("pass",), ("advance", 500), ("place",), ("advance", 1000), ("start", 0), ("advance", 200), ("start", 0)]
EVERY_CAUSE = [
    ("quota", False), ("advance", 1000), ("quota", True), *WAY_UP, ("pass",), ("advance", 30_000), ("pass",),
    ("end", 1, 137), ("advance", 500), *WAY_UP, ("advance", 30_000), ("suspend", True), ("advance", 2500),
    ("suspend", False), *WAY_UP, ("advance", 30_000), ("complete",),
]  # fmt: skip


def test_one_history_spends_time_on_everything():
    world = World()

    play(world, EVERY_CAUSE)

    assert_true(world, passes=4 * len(EVERY_CAUSE))
    spent = msgspec.structs.asdict(world.job.status.goodput.seconds)
    assert list(CAUSES) == [cause for cause, seconds in spent.items() if seconds]
    assert not [one for one in world.gang()[0] if not is_over(one)]


@pytest.mark.parametrize("dropped", [cause for cause in CAUSES if cause not in ("productive", "lost", "checkpointing")])
def test_a_ledger_that_forgets_a_cause_is_found_out(monkeypatch, dropped):
    spans = ledger._spans

    def forgetful(*arguments):
        kept = [span for span in spans(*arguments) if span.cause != dropped]
        return kept or [ledger.Span(ledger._OPEN, "queued" if dropped != "queued" else "image")]

    monkeypatch.setattr(ledger, "_spans", forgetful)

    with pytest.raises(AssertionError):
        test_one_history_spends_time_on_everything()


@pytest.mark.parametrize("unsaid", ["_saving", "lost"])
def test_a_ledger_without_saving_or_losses_is_found_out(monkeypatch, unsaid):
    monkeypatch.setattr(ledger, unsaid, {"_saving": lambda *_: 0, "lost": lambda *_: (0, 0.0)}[unsaid])

    with pytest.raises(AssertionError):
        test_one_history_spends_time_on_everything()
