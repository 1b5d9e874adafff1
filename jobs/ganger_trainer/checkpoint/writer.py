"""One checkpoint from buffer to commit, in the order that survives a power cut.

Every rank writes and syncs its shard into a directory named for this attempt; rank 0 then writes the manifest, syncs,
checks the fence and renames. Until that rename nothing of it is a checkpoint, after it all of it is.
Runs on a background thread: no collective, no torch call that would start threads of its own.
"""

import contextlib
import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ganger_trainer.checkpoint import durable, layout, manifest, ownership, retention
from ganger_trainer.checkpoint.exchange import Exchange
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.failures import TrainerError

FULL: Final = ("ENOSPC", "EDQUOT")


class Verdict(Struct, frozen=True, kw_only=True):
    """How the save of one step ended, the same on every rank.

    reason is "" for a commit, "Fenced" when this attempt must end, "NonFiniteLoss" when the state is not worth
    keeping, "StateChanged" when it changed while it was copied, else the name of what the volume said (ENOSPC, EIO
    ...): training goes on then.
    """

    step: int
    reason: str = ""
    message: str = ""
    bytes: int = 0
    kept: int = 0
    saved_at: str = ""


class Flaw(Struct, frozen=True, kw_only=True):
    """Why a state is not worth keeping: NonFiniteLoss or StateChanged, and a sentence."""

    reason: str
    message: str


class Posted(Struct, frozen=True, kw_only=True):
    """What one rank did: the file it wrote, or why it could not."""

    file: manifest.File | None = None
    reason: str = ""
    message: str = ""


class Draft(Struct, frozen=True, kw_only=True):
    """What rank 0 needs besides the shards to write a manifest."""

    step: int
    samples: int
    score: float | None
    trees: dict[str, Any]


class Writer:
    """Writes checkpoints of one attempt into one directory."""

    def __init__(
        self,
        directory: Path,
        owner: ownership.Owner,
        policy: CheckpointPolicy,
        exchange: Exchange,
        *,
        rank: int,
        world_size: int,
    ) -> None:
        self._directory = directory
        self._owner = owner
        self._policy = policy
        self._exchange = exchange
        self._rank = rank
        self._world_size = world_size

    def write(self, draft: Draft, image: memoryview, flaw: Flaw | None) -> Verdict:
        """Write this rank's shard and see the step through to its verdict. Raises only what the exchange raises."""
        temporary = self._directory / layout.temporary(draft.step, self._owner.attempt)
        self._exchange.post(draft.step, msgspec.json.encode(self._shard(temporary, image, flaw)))
        if self._rank == 0:
            posted = [msgspec.json.decode(raw, type=Posted) for raw in self._exchange.gather(draft.step)]
            verdict = self._commit(draft, temporary, posted)
            self._exchange.publish(draft.step, msgspec.json.encode(verdict))
        return msgspec.json.decode(self._exchange.verdict(draft.step), type=Verdict)

    def _shard(self, temporary: Path, image: memoryview, flaw: Flaw | None) -> Posted:
        if flaw is not None:
            return Posted(reason=flaw.reason, message=flaw.message)
        name = layout.shard(self._rank)
        try:
            temporary.mkdir(exist_ok=True)
            digest = durable.write(temporary / name, image)
        except OSError as error:
            return Posted(reason=_errno(error), message=f"{temporary / name}: {error.strerror}")
        return Posted(file=manifest.File(name=name, size=len(image), sha256=digest))

    def _commit(self, draft: Draft, temporary: Path, posted: list[Posted]) -> Verdict:
        for entry in posted:
            if entry.file is None:
                return self._failed(draft.step, temporary, entry.reason, entry.message)
        files = tuple(entry.file for entry in posted if entry.file is not None)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        whole = manifest.Manifest(
            format=manifest.FORMAT,
            job=self._owner.job,
            job_uid=self._owner.job_uid,
            attempt=self._owner.attempt,
            step=draft.step,
            world_size=self._world_size,
            samples=draft.samples,
            saved_at=now,
            score=draft.score,
            files=files,
            trees=draft.trees,
        )
        try:
            durable.write(temporary / layout.MANIFEST, manifest.encode(whole))
            durable.sync_directory(temporary)
            with ownership.held(self._directory, self._owner):
                durable.rename(temporary, self._directory / layout.committed(draft.step))
        except OSError as error:
            message = f"{error.filename or temporary}: {error.strerror}"
            return self._failed(draft.step, temporary, _errno(error), message)
        except TrainerError as error:
            _abandon(temporary)
            return Verdict(step=draft.step, reason="Fenced", message=str(error))
        try:
            kept = retention.prune(self._directory, self._policy)
        except OSError:
            kept = len(layout.look(self._directory).steps)  # committed all the same; the next prune tries again
        return Verdict(step=draft.step, bytes=whole.bytes, kept=kept, saved_at=now)

    def _failed(self, step: int, temporary: Path, reason: str, message: str) -> Verdict:
        """Remove what was written, and make room if that is what lacks: the next save finds it."""
        _abandon(temporary)
        if reason in FULL:
            # Not for an attempt that is no longer the newest: what lies there is another's now.
            with contextlib.suppress(OSError, TrainerError), ownership.held(self._directory, self._owner):
                freed = retention.make_room(self._directory, self._policy)
                message += f" ({freed} older checkpoints were removed to make room)" if freed else ""
        return Verdict(step=step, reason=reason, message=message)


def _abandon(temporary: Path) -> None:
    shutil.rmtree(temporary, ignore_errors=True)


def _errno(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, os.strerror(error.errno or 0))
