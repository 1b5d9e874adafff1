"""A gang of processes that obeys the operator's own decisions.

`plan.decide` is asked after everything that happens, as the operator asks it, and what it wants is done to processes
instead of pods: so restarts, backoff, deadlines and the failure policy mean here what they mean in a cluster.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ganger.api.observed import Claim, Metadata, Service
from ganger.api.types import TrainingJob
from ganger.cli import machine
from ganger.cli.process import WorkerProcess
from ganger.contract import LABEL_QUEUE, METRICS_PORT
from ganger.plan import exportpod
from ganger.plan.decide import decide
from ganger.plan.gang import export_of, gang
from ganger.plan.pods import SUPERVISOR
from ganger.plan.seen import Decision, Event, Seen

HASTE_SECONDS = 1.0  # after a second request to stop


class LocalGang:
    """One job on this machine.

    job: filled, with a UID. checkpoints: None where it keeps none. data: stands for /data.
    """

    def __init__(
        self,
        job: TrainingJob,
        *,
        checkpoints: Path | None,
        data: Path,
        scratch: Path,
        gpus: Sequence[str],
        environ: Mapping[str, str],
        say: Callable[[int, str], None],
        tell: Callable[[Event], None],
    ) -> None:
        labels = {key: value for key, value in job.metadata.labels.items() if key != LABEL_QUEUE}
        # No queue holds this machine: what it has is the job's.
        self.job = msgspec.structs.replace(job, metadata=msgspec.structs.replace(job.metadata, labels=labels))
        self._checkpoints = checkpoints
        self._data = data
        self._scratch = scratch
        self._gpus = gpus
        self._environ = environ
        self._say = say
        self._tell = tell
        self._workers: list[WorkerProcess] = []
        self._service: Service | None = None
        self._claim: Claim | None = None
        self._rendezvous: tuple[int, int] = (-1, 0)  # attempt and port
        self._happened = asyncio.Event()

    @property
    def completed(self) -> bool:
        """Whether every worker ended well, even where it was asked to stop at the same moment."""
        if self.job.status.is_true("Complete"):
            return True
        if self.job.spec.export:
            return False  # its model files are not there
        last = [process for process in self._workers if process.attempt == self.job.status.attempt]
        return len(last) == self.job.spec.workers and all(process.exit_code == 0 for process in last)

    def stop(self) -> None:
        """Let every worker save a checkpoint and end; asked again, end them at once."""
        if self.job.spec.suspend:
            for process in self._workers:
                process.stop(HASTE_SECONDS)
            return
        self.job = msgspec.structs.replace(self.job, spec=msgspec.structs.replace(self.job.spec, suspend=True))
        self._happened.set()

    async def run(self) -> TrainingJob:
        """Run the job to its end and return it, with its last status. No process is left, whatever happens."""
        try:
            while True:
                decision = decide(self.job, self._seen(), datetime.now(UTC))
                if await self._execute(decision):
                    continue  # what was done may call for more
                if self._over():
                    return self.job
                await self._wait(decision.requeue_after_seconds)
        finally:
            await self._end()

    def _over(self) -> bool:
        ended = self.job.status.finished or (self.job.spec.suspend and self.job.status.is_true("Suspended"))
        return ended and not any(process.alive for process in self._workers)

    def _seen(self) -> Seen:
        pods = tuple(process.pod() for process in self._workers)
        return Seen(pods=pods, service=self._service, claim=self._claim)

    async def _execute(self, decision: Decision) -> bool:
        """Do what was decided, in the operator's order. Returns whether anything has changed by it."""
        if decision.status is not None:
            self.job = msgspec.structs.replace(self.job, status=decision.status)
            for event in () if self.job.status.finished else decision.events:
                self._tell(event)  # the end is told by who asked for the run
        for deletion in decision.deletions:
            self._delete(deletion.metadata.name, deletion.grace_seconds)
        for manifest in decision.shared:
            # Loopback and a folder serve as the Service and the claim.
            if manifest["kind"] == "Service":
                self._service = msgspec.convert(manifest, Service)
            else:
                self._claim = msgspec.convert(manifest, Claim)
        for manifest in decision.pods:
            await self._start(manifest)
        return not decision.empty

    def _delete(self, name: str, grace_seconds: int | None) -> None:
        for process in self._workers:
            if process.metadata.name == name:
                process.stop(self.job.spec.termination_grace_period_seconds if grace_seconds is None else grace_seconds)

    async def _start(self, manifest: Mapping[str, Any]) -> None:
        metadata = msgspec.convert(manifest["metadata"], Metadata)
        process = WorkerProcess(
            msgspec.structs.replace(metadata, uid=metadata.name, creation_timestamp=datetime.now(UTC)),
            last_word=self._scratch / f"{metadata.name}.json",
            say=self._say,
            ended=self._happened.set,
        )
        if process.worker < 0:
            await self._start_export(process)
            return
        attempt, worker = process.attempt, process.worker
        if self._rendezvous[0] != attempt:
            # A new port for each attempt: a process that is slow to die must not be met by its successors.
            self._rendezvous = (attempt, machine.free_port())
        environment = machine.environment(
            self.job,
            attempt,
            worker,
            rendezvous_port=self._rendezvous[1],
            metrics_port=machine.free_port(METRICS_PORT + worker),
            checkpoint_dir=os.fspath(self._checkpoints) if self._checkpoints is not None else None,
            data_dir=os.fspath(self._data),
            termination_log=os.fspath(process.last_word),
            found_gpus=self._gpus,
            inherited=self._environ,
        )
        self._workers.append(process)
        await process.start(self._command(), environment)

    async def _start_export(self, process: WorkerProcess) -> None:
        """Start the process that makes model files, as its pod would be."""
        number = export_of(process.pod())
        environment = machine.environment(
            exportpod.alone(self.job),
            number,
            0,
            rendezvous_port=machine.free_port(),
            metrics_port=machine.free_port(),
            checkpoint_dir=os.fspath(self._checkpoints) if self._checkpoints is not None else None,
            data_dir=os.fspath(self._data),
            termination_log=os.fspath(process.last_word),
            found_gpus=(),
            inherited=self._environ,
        )
        members = gang(tuple(each.pod() for each in self._workers), self.job.status.attempt, self.job.spec.workers)
        environment |= exportpod.export_environment(self.job, members)
        self._workers.append(process)
        await process.start((sys.executable, *exportpod.PROGRAM[1:]), environment)

    def _command(self) -> tuple[str, ...]:
        return self.job.spec.command or (sys.executable, *SUPERVISOR[1:])

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        self._happened.clear()

    async def _end(self) -> None:
        for process in self._workers:
            process.kill()
        await asyncio.gather(*(process.gone() for process in self._workers))
