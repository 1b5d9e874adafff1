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
from ganger.contract import GRACE_SECONDS, LABEL_ATTEMPT, LABEL_WORKER, METRICS_PORT
from ganger.plan.decide import decide
from ganger.plan.pods import SUPERVISOR
from ganger.plan.seen import Decision, Event, Seen

HASTE_SECONDS = 1.0  # after a second request to stop


class LocalGang:
    """One job on this machine. job: filled, with a UID. checkpoints: None where it keeps none."""

    def __init__(
        self,
        job: TrainingJob,
        *,
        checkpoints: Path | None,
        scratch: Path,
        gpus: Sequence[str],
        environ: Mapping[str, str],
        say: Callable[[int, str], None],
        tell: Callable[[Event], None],
    ) -> None:
        self.job = job
        self._checkpoints = checkpoints
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
        self._all_well = False

    @property
    def completed(self) -> bool:
        """Whether every worker ended well, even where it was asked to stop at the same moment."""
        return self.job.status.is_true("Complete") or self._all_well

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
            while not self._over():
                decision = decide(self.job, self._seen(), datetime.now(UTC))
                if not await self._execute(decision):
                    await self._wait(decision.requeue_after_seconds)
        finally:
            await self._end()
        return self.job

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
            for event in decision.events:
                self._tell(event)
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
        for process in [process for process in self._workers if process.metadata.name == name]:
            if process.alive:
                process.stop(GRACE_SECONDS if grace_seconds is None else grace_seconds)
            else:
                self._note_end()
                self._workers.remove(process)

    def _note_end(self) -> None:
        codes = [process.exit_code for process in self._workers]
        self._all_well = self._all_well or (len(codes) == self.job.spec.workers and set(codes) == {0})

    async def _start(self, manifest: Mapping[str, Any]) -> None:
        metadata = msgspec.convert(manifest["metadata"], Metadata)
        attempt, worker = int(metadata.labels[LABEL_ATTEMPT]), int(metadata.labels[LABEL_WORKER])
        if self._rendezvous[0] != attempt:
            # A new port for each attempt: a process that is slow to die must not be met by its successors.
            self._rendezvous = (attempt, machine.free_port())
        last_word = self._scratch / f"{metadata.name}.json"
        environment = machine.environment(
            self.job,
            attempt,
            worker,
            rendezvous_port=self._rendezvous[1],
            metrics_port=machine.free_port(METRICS_PORT + worker),
            checkpoint_dir=os.fspath(self._checkpoints) if self._checkpoints is not None else None,
            termination_log=os.fspath(last_word),
            found_gpus=self._gpus,
            inherited=self._environ,
        )
        process = WorkerProcess(
            msgspec.structs.replace(metadata, uid=metadata.name, creation_timestamp=datetime.now(UTC)),
            worker,
            last_word=last_word,
            say=self._say,
            ended=self._happened.set,
        )
        self._workers.append(process)
        await process.start(self._command(), environment)

    def _command(self) -> tuple[str, ...]:
        return self.job.spec.command or (sys.executable, *SUPERVISOR[1:])

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        self._happened.clear()

    async def _end(self) -> None:
        self._note_end()
        for process in self._workers:
            process.kill()
        await asyncio.gather(*(process.gone() for process in self._workers))
