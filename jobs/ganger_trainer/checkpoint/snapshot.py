"""One state on its way into the buffer: while the next step computes its gradients, as far as that is safe.

What an optimizer steps changes in its `step()` alone, so the copy of it need not end before then. All else is copied at
once: buffers, frozen parameters, generators. Autograd counts the writes to each tensor; a count that moved during the
copy means that the task writes to parameters by itself, and the copy is worth nothing. Writes through `.data` are
not counted, so the first save of an attempt is copied at once and compared with the state after the next backward:
only a task that leaves its parameters alone is trusted after that (docs/adr/0005-checkpoint-format.md).
"""

import threading
from typing import Any

from msgspec import Struct

from ganger_trainer.checkpoint.staging import Staging
from ganger_trainer.checkpoint.writer import Flaw

OVERLAP_MIN_BYTES = 8 << 20  # a millisecond of copying: below it two threads cost more than they save


class Roles(Struct, frozen=True):
    """Which tensors are what, by the address of their data. trained: those the optimizer steps."""

    parameters: frozenset[int] = frozenset()
    trained: frozenset[int] = frozenset()

    @classmethod
    def of(cls, model: Any, optimizer: Any) -> "Roles":
        """Return the roles of what `model` and `optimizer` hold now."""
        return cls(
            parameters=frozenset(parameter.data_ptr() for parameter in model.parameters()),
            trained=frozenset(one.data_ptr() for group in optimizer.param_groups for one in group["params"]),
        )


class Snapshot:
    """The state of one step. Made on the training thread; when that returns, all may change but what `release` guards.

    overlap: leave what the optimizer steps to `take`. Without it all is copied at once, and `release` compares.
    """

    def __init__(self, buffer: Staging, tensors: dict[str, Any], roles: Roles, *, overlap: bool) -> None:
        steady = {name: tensor for name, tensor in tensors.items() if _is_steady(name, tensor, roles)}
        if sum(tensor.numel() * tensor.element_size() for tensor in steady.values()) < OVERLAP_MIN_BYTES:
            steady = {}
        self._buffer = buffer
        self._steady = steady
        self._later = steady if overlap else {}
        self._versions = [tensor._version for tensor in self._later.values()]  # noqa: SLF001 - autograd's count
        self._parameters = frozenset(name for name, one in tensors.items() if _address(one) in roles.parameters)
        self._taken = threading.Event()
        self._changed: str | None = None
        self._flaw: Flaw | None = None
        self._finite = True
        buffer.fill({name: tensor for name, tensor in tensors.items() if name not in self._later})

    def take(self) -> Flaw | None:
        """Copy what is left, on a thread of its own, and return why this snapshot is not worth keeping, or None."""
        try:
            self._buffer.take(self._later)
            versions = [tensor._version for tensor in self._later.values()]  # noqa: SLF001 - see above
            moved = zip(self._later, self._versions, versions, strict=True)
            self._changed = next((name for name, before, after in moved if before != after), None)
            if self._changed is not None:
                message = f"{self._changed} was written to outside optimizer.step() while it was copied"
                self._flaw = Flaw(reason="StateChanged", message=message)
                return self._flaw
            self._look()
            return self._flaw
        finally:
            self._taken.set()

    def release(self) -> tuple[str | None, bool]:
        """Wait until all of the state may change. Call it before the next update, on the training thread.

        Returns the name of a tensor that changed although only the optimizer should change it, or None; and whether
        all parameters are finite.
        """
        self._taken.wait()
        if self._steady and not self._later:
            self._changed = self._buffer.differing(self._steady)
        return self._changed, self._finite

    @property
    def is_trial(self) -> bool:
        """True if `release` compares what the task may have changed: it answers for the saves that follow."""
        return bool(self._steady) and not self._later

    def _look(self) -> None:
        """Find a NaN in the model, which no checkpoint may hold; an infinity only a parameter may not."""
        for name in self._buffer.names("model/"):
            found = self._buffer.look(name)
            if found is None or (found == "an infinity" and name not in self._parameters):
                continue
            self._finite = self._finite and name not in self._parameters
            self._flaw = self._flaw or Flaw(reason="NonFiniteLoss", message=f"{name} holds {found}")


def _is_steady(name: str, tensor: Any, roles: Roles) -> bool:
    if not roles.trained or tensor.device.type != "cpu" or tensor.is_inference():  # nothing counts writes to the last
        return False
    return name.startswith("optimizer/") or (name.startswith("model/") and _address(tensor) in roles.trained)


def _address(tensor: Any) -> int:
    return int(tensor.data_ptr())
