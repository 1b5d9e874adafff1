"""When the loop saves, what it saves, and how an attempt comes back to it.

Steps decide by arithmetic on every rank; seconds, and requests, by rank 0 at an agreement. The state is
everything that the next step depends on, so that a resumed run is the uninterrupted one, bit for bit, on the CPU at
the same world size. At another one sums differ in the last bits, and generators are seeded by (seed, step, rank).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ganger.contract import QUARANTINED_MAX
from ganger_trainer import heartbeat, randomness, state
from ganger_trainer.checkpoint import layout, loader, ownership
from ganger_trainer.checkpoint.exchange import Exchange
from ganger_trainer.checkpoint.saver import NO_ROLES, Saver
from ganger_trainer.checkpoint.snapshot import Roles
from ganger_trainer.checkpoint.writer import FULL, Verdict, Writer
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.failures import TrainerError
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Entered, Quarantined, Saved, Sender, during
from ganger_trainer.save_requests import SaveRequests

if TYPE_CHECKING:
    from ganger_trainer.loop import Parts

FAILURES_SAID: Final = 3  # log lines about a full disk before only the metric goes on counting


class Keeper(Protocol):
    """What the loop needs of checkpoints. `every_steps`: steps between two by the policy, 0 if it does not count."""

    every_steps: int

    def resume(self, parts: "Parts") -> int | None: ...  # noqa: D102
    def due(self) -> bool: ...  # noqa: D102
    def roll_back(self, parts: "Parts") -> int | None: ...  # noqa: D102
    def save(self, parts: "Parts", loss: Any) -> None: ...  # noqa: D102
    def save_last(self, parts: "Parts", loss: Any) -> None: ...  # noqa: D102
    def release(self, parts: "Parts") -> None: ...  # noqa: D102
    def poll(self) -> None: ...  # noqa: D102
    def settle(self, seconds: float) -> None: ...  # noqa: D102


class NoKeeper:
    """The keeper of a job without checkpoints: an interrupted attempt begins again at step 0."""

    every_steps = 0

    def resume(self, parts: "Parts") -> int | None:
        """Return None: there is nothing to resume from."""
        return None

    def roll_back(self, parts: "Parts") -> int | None:
        """Return None: there is nothing to go back to."""
        return None

    def due(self) -> bool:
        """Return False."""
        return False

    def save(self, parts: "Parts", loss: Any) -> None:
        """Do nothing."""

    def save_last(self, parts: "Parts", loss: Any) -> None:
        """Check the numbers: a job must not end well on a NaN. Raises NonFiniteError."""
        parts.soundness.check(parts.step)

    def release(self, parts: "Parts") -> None:
        """Do nothing."""

    def poll(self) -> None:
        """Do nothing."""

    def settle(self, seconds: float) -> None:
        """Do nothing."""


class DirectoryKeeper:
    """Keeps the checkpoints of one attempt in a directory that all ranks share."""

    def __init__(
        self, directory: Path, policy: CheckpointPolicy, owner: ownership.Owner, exchange: Exchange, ranks: Ranks,
        sender: Sender, score: Callable[[], float | None], requests: SaveRequests, *, writable: bool,
    ) -> None:  # fmt: skip
        self.every_steps = policy.every_steps or 0
        self._directory = directory
        self._policy = policy
        self._ranks = ranks
        self._sender = sender
        self._score = score
        self._writable = writable
        self._requests = requests
        self._saved_at = time.monotonic()
        self._begun_step = -1
        self._owed = False  # a checkpoint that says what a rollback skipped, or in place of one that was dropped
        self._held = False  # a state that is not released
        self._failures = 0
        writer = Writer(directory, owner, policy, exchange, rank=ranks.rank, world_size=ranks.world_size)
        pin = ranks.device.type == "cuda"
        self._saver = Saver(writer, rank=ranks.rank, world_size=ranks.world_size, pin=pin, heard=self._heard)

    def resume(self, parts: "Parts") -> int | None:
        """Put the newest valid checkpoint into `parts` and return its step, None without one. A collective call."""
        if self._policy.resume != "Never" and layout.look(self._directory).steps:
            self._sender.send(Entered(rank=self._ranks.rank, phase="Restoring"))
        chosen = self._choose(self._policy)
        if chosen is None:
            if self._ranks.is_first and self._writable:
                layout.supersede(self._directory)
            return None
        return self._restore(parts, chosen)

    def roll_back(self, parts: "Parts") -> int | None:
        """Put the newest valid checkpoint of this job into `parts` and return its step, None without one.

        A collective call. The save in flight is waited for: it is committed if it is sound.
        """
        self._held = False
        self._saver.abandon()
        if not self._writable:  # what lies there may be another run's
            return None
        with during(self._sender, self._ranks.rank, "Restoring"), parts.beat.during(heartbeat.STARTING):
            policy = msgspec.structs.replace(self._policy, resume="Auto", on_no_valid_checkpoint="Restart")
            chosen = self._choose(policy)
            if chosen is None:
                return None
            self._begun_step, self._owed = -1, True
            return self._restore(parts, chosen)

    def _choose(self, policy: CheckpointPolicy) -> loader.Loaded | None:
        try:
            return loader.choose(self._directory, policy, self._ranks, _say)
        finally:
            if self._ranks.is_first:
                damaged = layout.look(self._directory).corrupt[:QUARANTINED_MAX]
                self._sender.send(Quarantined(names=list(damaged)), surely=True)

    def _restore(self, parts: "Parts", loaded: loader.Loaded) -> int:
        state.restore(parts, loaded, self._ranks)
        self._saver.last_step = loaded.step
        return loaded.step

    def due(self) -> bool:
        """True if a checkpoint was asked for since the last call, or the seconds of the policy are over."""
        asked = self._requests.take() or self._owed
        self._owed = False
        every = self._policy.every_seconds
        return asked or (every is not None and time.monotonic() - self._saved_at >= every)

    def save(self, parts: "Parts", loss: Any) -> None:
        """Start a save. What the optimizer steps may change after `release`. Raises NonFiniteError, FencedError.

        A collective call. A second one at the same step does nothing: the policy's steps and a request may meet there.
        """
        self._saved_at = time.monotonic()
        if self._writable and parts.step != self._begun_step:
            with during(self._sender, self._ranks.rank, "Checkpointing"), parts.beat.during(heartbeat.SAVE):
                parts.soundness.check_losses(parts.step)
                self._begin(parts, loss, Roles.of(parts.model, parts.optimizer))
                self._held = True

    def release(self, parts: "Parts") -> None:
        """Wait until what the last save holds may change; call it before that. Costs nothing if nothing is held.

        A collective call. Raises NonFiniteError if a parameter of that save was not finite: it is not committed.
        """
        if not self._held:
            return
        self._held = False
        changed, finite = self._saver.release()
        if changed is not None:
            _say(
                f"rank {self._ranks.rank}: {changed} changed outside optimizer.step(); from now on the training waits "
                "for the copy of each checkpoint"
            )
        parts.soundness.agree(parts.step, fit=finite)

    def _begin(self, parts: "Parts", loss: Any, roles: Roles = NO_ROLES) -> None:
        parts.soundness.compare(parts.step)
        self._begun_step = parts.step
        value = None if loss is None else float(loss.item())
        score = self._score()
        self._saver.save(
            parts.step,
            state=state.capture(parts),
            private=randomness.capture(),
            samples=parts.order.samples_before(parts.order.position(parts.step)),
            score=value if score is None else score,
            roles=roles,
        )

    def save_last(self, parts: "Parts", loss: Any) -> None:
        """Commit the state of this very step and return when it is on the disk. A collective call.

        Raises TrainerError (RETRYABLE, CheckpointFailed) if the volume refuses: the work would be lost in silence.
        """
        parts.soundness.check(parts.step)
        with during(self._sender, self._ranks.rank, "Checkpointing"), parts.beat.during(heartbeat.SAVE):
            self._held = False
            self._saver.finish()
            if self._saver.last_step == parts.step or not self._writable:
                return
            self._begin(parts, loss)
            verdict = self._saver.finish()
            if verdict is not None and verdict.reason in FULL:  # older ones made room, where the policy can spare any
                self._begin(parts, loss)
                verdict = self._saver.finish()
        if verdict is not None and verdict.reason:
            raise TrainerError(
                "CheckpointFailed",
                f"the last checkpoint, of step {parts.step}, could not be written: {verdict.message}",
            )

    def poll(self) -> None:
        """Look at the save in flight without waiting for it. Raises as `finish` of the saver does."""
        self._saver.poll()

    def settle(self, seconds: float) -> None:
        """Give the save in flight `seconds` to be committed, before this process ends with a failure."""
        self._saver.settle(seconds)

    def _heard(self, verdict: Verdict, seconds: float) -> None:
        self._owed |= verdict.reason == "StateChanged"
        if not self._ranks.is_first:
            return
        self._sender.send(
            Saved(
                step=verdict.step, seconds=seconds, bytes=verdict.bytes, kept=verdict.kept, saved_at=verdict.saved_at,
                reason=verdict.reason, message=verdict.message,
            ),
            surely=True,
        )  # fmt: skip
        if verdict.reason == "":
            _say(
                f"checkpoint {verdict.step} committed, {verdict.bytes / 1e6:.1f} MB in {seconds:.2f} s, "
                f"{verdict.kept} kept"
            )
            return
        self._failures += 1
        if self._failures <= FAILURES_SAID:
            _say(f"checkpoint {verdict.step} failed ({verdict.reason}): {verdict.message}; training goes on")


def _say(text: str) -> None:
    print(text, flush=True)
