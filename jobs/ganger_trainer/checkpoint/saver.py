"""Saving while training goes on: copy, hand over, release before the next update, look at the result later.

At most one save is in flight. The next one, and the end of the attempt, wait for it: the disk is then the bottleneck
and a queue would only grow. A full or failing volume costs a checkpoint, not the training.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ganger.contract import ExitCode
from ganger_trainer.checkpoint import staging, tree
from ganger_trainer.checkpoint.snapshot import Roles, Snapshot
from ganger_trainer.checkpoint.writer import Draft, Verdict, Writer
from ganger_trainer.failures import FencedError, UserError

NO_ROLES: Final = Roles()


class Saver:
    """Takes state dicts of one rank and sees them through to committed checkpoints.

    `heard` is called on the training thread with each verdict and the seconds from copy to verdict.
    """

    def __init__(
        self, writer: Writer, *, rank: int, world_size: int, pin: bool, heard: Callable[[Verdict, float], None]
    ) -> None:
        self._writer = writer
        self._rank = rank
        self._world_size = world_size
        self._pin = pin
        self._heard = heard
        self._staging: staging.Staging | None = None
        self._thread: threading.Thread | None = None
        self._snapshot: Snapshot | None = None  # until it is released
        self._overlaps = False  # once a trial has shown that only the optimizer changes what it steps
        self._tried = False
        self._result: Verdict | BaseException | None = None
        self._seconds = 0.0
        self.last_step: int | None = None  # of the newest commit of this attempt

    def save(
        self,
        step: int,
        *,
        state: dict[str, Any],
        private: dict[str, Any],
        samples: int,
        score: float | None,
        roles: Roles = NO_ROLES,
    ) -> None:
        """Start the save of `step`. The optimizer may step again after `release`; all else may change at once.

        state: parts of the job that are equal on all ranks, by name; each rank writes its share of the tensors.
        private: tensors of this rank alone, by name. roles: without them all is copied when this returns, and nothing
        has to be released. All ranks call it at the same step.
        Waits for the save before it, and raises what that one ended with, as `finish` does.
        """
        self.finish()
        tensors: dict[str, Any] = {}
        trees = {name: tree.flatten(part, name, tensors) for name, part in state.items()}
        mine = {name: tensors[name] for name in staging.shares(tensors, self._world_size)[self._rank]}
        mine |= {f"rank{self._rank}/{name}": tensor for name, tensor in private.items()}
        if self._staging is None or not self._staging.fits(mine):
            self._staging = staging.Staging(mine, pin=self._pin)
        self._snapshot = Snapshot(self._staging, mine, roles, overlap=self._overlaps)
        draft = Draft(step=step, samples=samples, score=score, trees=trees if self._rank == 0 else {})
        self._thread = threading.Thread(
            target=self._run, args=(draft, self._staging, self._snapshot), name="checkpoint", daemon=True
        )
        self._thread.start()

    def release(self) -> tuple[str | None, bool]:
        """Wait until the optimizer may step. Returns what `Snapshot.release` does; (None, True) if nothing is held.

        After a tensor has changed that only the optimizer should change, every later state is copied at once.
        """
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None:
            return None, True
        changed, finite = snapshot.release()
        if changed is not None:
            self._overlaps, self._tried = False, True
        elif snapshot.is_trial and not self._tried:
            self._overlaps, self._tried = True, True
        return changed, finite

    def poll(self) -> None:
        """Take the verdict of a released save if it is there already. Raises as `finish` does."""
        if self._snapshot is None and self._thread is not None and not self._thread.is_alive():
            self.finish()

    def abandon(self) -> None:
        """Wait for the save in flight, whose state may not be sound. Raises FencedError as `finish` does."""
        with contextlib.suppress(UserError):  # NonFiniteLoss: that is why the training goes back
            self.finish()

    def settle(self, seconds: float) -> None:
        """Give the save in flight `seconds` to be committed: the attempt fails, and this is what the next one resumes.

        Raises nothing: the failure at hand is the one to tell.
        """
        if self._thread is None:
            return
        self._thread.join(seconds)
        if not self._thread.is_alive() and isinstance(self._result, Verdict):
            self._thread = None
            self._heard(self._result, self._seconds)

    def finish(self) -> Verdict | None:
        """Wait for the save in flight and return its verdict, or None if there is none.

        Raises FencedError if a later attempt owns the directory, UserError (USER_DATA, NonFiniteLoss) if the state was
        not finite. A volume that is full or broken raises nothing: `heard` tells.
        """
        self._snapshot = None
        if self._thread is None:
            return None
        self._thread.join()
        self._thread = None
        result, self._result = self._result, None
        if not isinstance(result, Verdict):
            assert result is not None
            raise result
        self._heard(result, self._seconds)
        if result.reason == "Fenced":
            raise FencedError(result.message)
        if result.reason == "NonFiniteLoss":
            raise UserError(
                "NonFiniteLoss",
                f"at step {result.step} {result.message}: lower lr, set clipNorm or check the data; no checkpoint "
                "was written",
                ExitCode.USER_DATA,
            )
        if result.reason == "":
            self.last_step = result.step
        return result

    def _run(self, draft: Draft, buffer: staging.Staging, snapshot: Snapshot) -> None:
        began = time.monotonic()
        try:
            self._result = self._writer.write(draft, buffer.image, snapshot.take())
        except Exception as error:  # noqa: BLE001 - carried to the training thread, which raises it
            self._result = error
        self._seconds = time.monotonic() - began
