"""A job on simulated time, its pods and its operator, and the faults of a plan: the world of `bench.goodput`."""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from bench.faultcosts import COSTS, FAULT_EVERY_SECONDS, HANG_SECONDS, MIX, STEP_SECONDS, Costs
from ganger.api.observed import (
    Condition,
    ContainerState,
    ContainerStatus,
    Metadata,
    Pod,
    PodSpec,
    PodStatus,
    Running,
    Service,
    Terminated,
)
from ganger.api.types import TrainingJob, decode
from ganger.contract import CONTAINER, LABEL_ATTEMPT, LABEL_WORKER
from ganger.plan.decide import decide
from ganger.plan.live import AttemptSeconds, Heard, Live, LiveReport, Longest, RankBeat, ReportedFailure
from ganger.plan.report import ReportedCheckpoint
from ganger.plan.seen import Seen
from ganger.plan.site import Site

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
SITE = Site(restarts_containers=True)  # Kubernetes 1.36 and later
LOST_PEER = ReportedFailure(reason="PeerLost", message="a peer hung up", rank=0, exit_code=1)


def at(seconds: float) -> datetime:
    """That moment of the simulation."""
    return BIRTH + timedelta(seconds=seconds)


class Worker:
    """A simulated pod."""

    def __init__(self, job: TrainingJob, manifest: dict, now: float, uid: str) -> None:
        meta = manifest["metadata"]
        self.metadata = Metadata(
            name=meta["name"], namespace=meta["namespace"], uid=uid, labels=meta["labels"], creation_timestamp=at(now)
        )
        self.attempt, self.index = int(meta["labels"][LABEL_ATTEMPT]), int(meta["labels"][LABEL_WORKER])
        self.running_at: float | None = None
        self.ended: Terminated | None = None
        self.conditions: tuple[Condition, ...] = ()
        self.dead_node = False

    def pod(self) -> Pod:
        """What the kubelet says of it."""
        state, phase = ContainerState(), "Pending"
        if self.ended is not None:
            state, phase = ContainerState(terminated=self.ended), "Succeeded" if self.ended.exit_code == 0 else "Failed"
        elif self.running_at is not None:
            state, phase = ContainerState(running=Running(started_at=at(self.running_at))), "Running"
        status = PodStatus(
            phase=phase,
            pod_ip="10.0.0.1" if self.running_at is not None else "",
            conditions=self.conditions,
            container_statuses=(ContainerStatus(name=CONTAINER, state=state),),
        )
        return Pod(metadata=self.metadata, spec=PodSpec(node_name=f"node-{self.index}"), status=status)


class World:
    """One job of two workers, its pods, its operator, and the faults of a plan."""

    def __init__(self, seed: int, hours: float, costs: Costs = COSTS) -> None:
        self.random, self.costs, self.end = random.Random(seed), costs, hours * 3600.0
        self.job = decode(
            {
                "metadata": {"name": "long", "namespace": "team", "uid": "uid-1", "creationTimestamp": BIRTH},
                "spec": {
                    "image": "pytorch-cuda:v2.15",
                    "task": "m:t",
                    "workers": 2,
                    "checkpoint": {"volume": {"claimName": "disk"}, "everySeconds": max(1, round(costs.save_every))},
                    "failurePolicy": {"maxRestarts": 10_000, "hang": {"timeoutSeconds": HANG_SECONDS}},
                },
            }
        )
        self.now = 0.0
        self.sequence = 0
        self._service: Service | None = None
        self.workers: dict[str, Worker] = {}
        self.heard: dict[int, Heard] = {}
        self.restarts: list[tuple[float, str, str | None, bool]] = []  # when, reason, rung, counted
        self.faults: list[tuple[float, str]] = []
        self.out: dict[str, list[float]] = defaultdict(list)  # seconds until the next step, by kind of fault
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._since: float | None = None  # when the gang last began to step; None while it does not
        self._moved = 0.0  # up to when the training is accounted for
        self._hold = 0.0  # seconds for which the next steps are held up
        self._life = 0  # grows whenever what the ranks were about to do is void
        self._productive = self._saving = 0.0
        self._base = self.step = self.saved = self.resumed = 0.0
        self._hung_at: float | None = None
        self._of_attempt, self._starting = 0, 0.0
        self._open: tuple[str, float] | None = None
        self._requeued_at = float("inf")

    @property
    def down(self) -> bool:
        """Whether the last fault is still being dealt with."""
        return self._open is not None

    # --- time ---
    def later(self, seconds: float, act: Callable[[], None], *, life: int | None = None) -> None:
        """Do it then, unless the life of the gang's processes that it belongs to is over."""
        self._count += 1

        def alive() -> None:
            if life is None or life == self._life:
                act()

        heapq.heappush(self._heap, (self.now + seconds, self._count, alive))

    def run(self) -> None:
        """Let everything happen, up to the end of the plan."""
        when = 0.0
        while True:
            when += self.random.expovariate(1.0 / FAULT_EVERY_SECONDS)
            if when >= self.end:
                break
            kind = self.random.choices(list(MIX), list(MIX.values()))[0]
            self.later(when, lambda kind=kind: self.fault(kind))
        self.later(0.0, self.decide)
        self.later(5.0, self._tick)
        while self._heap and self._heap[0][0] <= self.end:
            moment, _, act = heapq.heappop(self._heap)
            self._advance(moment)
            act()
        self._advance(self.end)
        self.report()
        self.decide()

    def _advance(self, moment: float) -> None:
        if self._since is not None:
            seconds = moment - self._moved
            held = min(self._hold, seconds)
            self._hold -= held
            self._saving += held
            self._productive += seconds - held
            self.step += (seconds - held) / STEP_SECONDS
        self._moved = self.now = moment

    def _tick(self) -> None:
        self.report()
        self.decide()
        self.later(5.0, self._tick)

    # --- the operator ---
    def decide(self) -> None:
        """Let the operator decide until nothing is left to do."""
        for _ in range(20):
            heard = tuple(self.heard[index] for index in sorted(self.heard))
            live = Live(report=heard[0].report, at=heard[0].at) if heard else None
            pods = tuple(worker.pod() for worker in self.workers.values())
            decision = decide(
                self.job, Seen(pods=pods, service=self._service, live=live, heard=heard), at(self.now), site=SITE
            )
            if decision.requeue_after_seconds is not None:
                self._again(decision.requeue_after_seconds)
            if decision.empty:
                return
            if decision.status is not None:
                self._written(decision.status)
            for deletion in decision.deletions:
                self._deleted(self.workers[deletion.metadata.name])
            for manifest in decision.shared:
                self._service = msgspec.convert(manifest, Service)
            for manifest in decision.pods:
                self._created(manifest)
        raise AssertionError(f"the operator does not settle: {self.job.status}")

    def _again(self, seconds: float) -> None:
        moment = self.now + max(0.01, seconds)
        if self._requeued_at <= self.now or moment < self._requeued_at:
            self._requeued_at = moment
            self.later(moment - self.now, self.decide)

    def _written(self, status) -> None:
        old = self.job.status
        self.job = msgspec.structs.replace(self.job, status=status)
        restarts = status.restarts
        if restarts is not None and restarts.total > (old.restarts.total if old.restarts else 0):
            counted = restarts.counted > (old.restarts.counted if old.restarts else 0)
            self.restarts.append((self.now, restarts.last.reason, restarts.last.rung, counted))
        if status.attempt > old.attempt:
            self.heard = {}
        elif status.round > old.round:
            wait = (restarts.next_attempt_time - at(self.now)).total_seconds() if restarts.next_attempt_time else 0.0
            cost = {"Process": self.costs.process_round, "Container": self.costs.container_round}[restarts.last.rung]
            self._start(max(0.0, wait) + self.costs.write + cost)

    # --- the kubelet ---
    def _created(self, manifest: dict) -> None:
        self._count += 1
        worker = Worker(self.job, manifest, self.now, f"pod-{self._count}")
        self.workers[worker.metadata.name] = worker

        def run() -> None:
            if worker.metadata.name not in self.workers or worker.metadata.deletion_timestamp is not None:
                return
            worker.running_at = self.now
            mine = [each for each in self.workers.values() if each.attempt == self.job.status.attempt]
            if len(mine) == 2 and all(each.running_at is not None and each.ended is None for each in mine):
                self._start(self.costs.worker_start)
            self.decide()

        self.later(self.costs.write + self.costs.pod_start, run)

    def _deleted(self, worker: Worker, conditions: tuple[Condition, ...] = ()) -> None:
        worker.metadata = msgspec.structs.replace(worker.metadata, deletion_timestamp=at(self.now))
        worker.conditions += conditions
        if worker.dead_node:
            return
        if worker.ended is not None or worker.running_at is None:
            self._gone(worker)
            return
        if self._since is not None and worker.attempt == self._of_attempt:
            self._stop_together()
        else:
            self.later(self.costs.pod_end, lambda: self._gone(worker))

    def _gone(self, worker: Worker) -> None:
        if self.workers.get(worker.metadata.name) is worker:
            del self.workers[worker.metadata.name]
            self.later(0.0, self.decide)

    # --- the workers ---
    def _start(self, seconds: float) -> None:
        """The ranks begin to step so many seconds from now, from the newest checkpoint."""
        self._halt()
        life = self._life
        self._of_attempt = self.job.status.attempt
        began = self.now

        def step() -> None:
            self._since = self._moved = self.now
            self.step = self.resumed = self.saved
            self._productive = self._saving = 0.0
            self._starting = self.now - began
            if self._open is not None:
                kind, when = self._open
                self.out[kind].append(self.now - when)
                self._open = None
            self.report()
            self.decide()
            self.later(self.costs.save_every, self._save, life=life)

        self.later(seconds, step, life=life)

    def _halt(self) -> None:
        """The ranks do nothing any more, and what was written at that moment is not committed."""
        self._life += 1
        self._since = None
        self._hung_at = None
        self._hold = 0.0

    def _save(self) -> None:
        life, step = self._life, self.step
        self._hold += self.costs.save_hold

        def commit() -> None:
            self.saved = step

        self.later(self.costs.save_write, commit, life=life)
        self.later(self.costs.save_every, self._save, life=life)

    def _stop_together(self) -> None:
        """SIGTERM reached one of them: all stop at one step, commit and end with 143."""
        life = self._life

        def end() -> None:
            self.saved = self.step
            self._halt()
            said = msgspec.json.encode(
                {
                    "outcome": "Preempted",
                    "reason": "Preempted",
                    "step": int(self.step),
                    "checkpoint": {"step": int(self.step)},
                    "resumedFromStep": int(self.resumed),
                }
            ).decode()
            for worker in list(self.workers.values()):
                if worker.attempt != self._of_attempt or worker.ended is not None:
                    continue
                worker.ended = Terminated(exit_code=143, reason="Error", message=said, finished_at=at(self.now))
                if worker.metadata.deletion_timestamp is not None:
                    self._gone(worker)
            self.decide()

        self.later(self.costs.stop, end, life=life)

    def report(self, failures: dict[int, ReportedFailure] | None = None) -> None:
        """Every worker that runs says where it is."""
        self.sequence += 1
        for worker in self.workers.values():
            current = worker.attempt == self.job.status.attempt and worker.running_at is not None
            if not current or worker.ended is not None or worker.dead_node:
                continue
            if self._since is None and self._hung_at is None and failures is None:
                known = self.heard.get(worker.index)
                if known is not None and known.report.failure is not None:
                    continue  # it waits for the answer
            stepping = self._since is not None or self._hung_at is not None
            stage = "starting" if not stepping else "backward"
            silent = self._hung_at if self._hung_at is not None else self.now
            slow = self._hung_at is not None and worker.index == 1
            beat = RankBeat(
                rank=worker.index, step=int(self.step), stage="forward" if slow else stage,
                age_seconds=self.now - silent, steps=max(1, int(self.step - self.resumed)), state="T" if slow else "R",
            )  # fmt: skip
            seconds = AttemptSeconds(
                starting=self._starting if stepping else self.now - worker.running_at,
                productive=self._productive, checkpointing=self._saving,
            )  # fmt: skip
            failure = (failures or {}).get(worker.index)
            self.heard[worker.index] = Heard(
                report=LiveReport(
                    attempt=worker.attempt, worker=worker.index, sequence=self.sequence,
                    phase="Failed" if failure is not None else "Training" if stepping else "Starting",
                    round=self.job.status.round, failure=failure, step=int(self.step), total_steps=10**9,
                    resumed_from_step=int(self.resumed), checkpoint=ReportedCheckpoint(step=int(self.saved)),
                    seconds=seconds, ranks=(beat,), longest=Longest(first=1.0, step=0.2),
                ),
                at=at(self.now),
                step_at=at(self.now),
            )  # fmt: skip

    # --- the faults ---
    def fault(self, kind: str) -> None:
        """Let it happen to a gang that trains; one that is still down from the fault before gets it a second later."""
        if self._since is None or any(each.metadata.deletion_timestamp for each in self.workers.values()):
            self.later(1.0, lambda: self.fault(kind))
            return
        self.faults.append((self.now, kind))
        if kind != "slowCheckpoint":
            self._open = (kind, self.now)
        getattr(self, f"_{kind}")()

    def _victims(self, failures: dict[int, ReportedFailure], notice: float) -> None:
        def tell() -> None:
            self.report(failures)
            self.decide()

        self.later(notice, tell)

    def _crash(self) -> None:
        self._halt()
        killed = ReportedFailure(reason="ProcessKilled", message="rank 1 was ended by SIGKILL", rank=1, exit_code=137)
        self._victims({0: LOST_PEER, 1: killed}, self.costs.notice)

    def _outOfMemory(self) -> None:  # noqa: N802
        self._halt()
        worker = next(each for each in self.workers.values() if each.index == 1 and each.ended is None)
        worker.ended = Terminated(exit_code=137, reason="OOMKilled", finished_at=at(self.now))
        self._victims({0: LOST_PEER}, self.costs.notice)

    def _eviction(self) -> None:
        worker = next(each for each in self.workers.values() if each.index == 1 and each.ended is None)
        target = Condition(type="DisruptionTarget", status="True", reason="EvictionByEvictionAPI")
        self._deleted(worker, (target,))
        self.later(self.costs.notice, self.decide)

    def _nodeLost(self) -> None:  # noqa: N802
        self._halt()
        worker = next(each for each in self.workers.values() if each.index == 1 and each.ended is None)
        worker.dead_node = True

        def removed() -> None:
            target = Condition(type="DisruptionTarget", status="True", reason="DeletionByTaintManager")
            worker.conditions += (target,)
            worker.metadata = msgspec.structs.replace(worker.metadata, deletion_timestamp=at(self.now))
            self.decide()
            self._gone(worker)  # the node is taken out of service

        self.later(self.costs.node_silence, removed)

    def _hang(self) -> None:
        self._halt()
        self._hung_at = self.now

    def _nan(self) -> None:
        self._halt()
        self._start(self.costs.roll_back)

    def _slowCheckpoint(self) -> None:  # noqa: N802
        self._hold += self.costs.slow_save
