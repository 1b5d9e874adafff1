"""How the background writers of all ranks tell each other what they wrote, without a collective.

A collective from a background thread would have to be ordered against those of the training; keys in the agent's own
TCP store need no order. A gang of one answers itself. Payloads are bytes, keys are unique per attempt, save and step:
after a rollback a step is saved again, and the verdict on the first time must not be taken for that on the second.
"""

import os
from datetime import timedelta
from typing import Any, Final, Protocol

from torch.distributed import PrefixStore, TCPStore

WAIT: Final = timedelta(minutes=15)  # for the slowest rank's shard; a guess, far above any volume seen


class Exchange(Protocol):
    """Post what this rank did for `step`; rank 0 gathers and publishes a verdict that all await."""

    def post(self, step: int, payload: bytes) -> None: ...  # noqa: D102
    def gather(self, step: int) -> list[bytes]: ...  # noqa: D102
    def publish(self, step: int, verdict: bytes) -> None: ...  # noqa: D102
    def verdict(self, step: int) -> bytes: ...  # noqa: D102


class Alone:
    """The exchange of a gang of one."""

    def __init__(self) -> None:
        self._posted = b""
        self._verdict = b""

    def post(self, step: int, payload: bytes) -> None:
        """Remember `payload`."""
        self._posted = payload

    def gather(self, step: int) -> list[bytes]:
        """Return the one payload."""
        return [self._posted]

    def publish(self, step: int, verdict: bytes) -> None:
        """Remember `verdict`."""
        self._verdict = verdict

    def verdict(self, step: int) -> bytes:
        """Return the verdict."""
        return self._verdict


class Shared:
    """The exchange of a gang, over a connection of its own to the agent's store: waiting here blocks nobody else."""

    def __init__(self, *, rank: int, world_size: int, attempt: int) -> None:
        store: Any = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=WAIT,
        )
        self._store = PrefixStore(f"ganger/checkpoint/{attempt}", store)
        self._rank = rank
        self._world_size = world_size
        self._saves = 0  # every rank posts once for each save

    def post(self, step: int, payload: bytes) -> None:
        """Tell rank 0 what this rank wrote."""
        self._saves += 1
        self._store.set(f"{self._saves}/{step}/{self._rank}", payload)

    def gather(self, step: int) -> list[bytes]:
        """Return the payloads of all ranks, by rank. Waits for the slowest."""
        payloads = [self._store.get(f"{self._saves}/{step}/{rank}") for rank in range(self._world_size)]
        for rank in range(self._world_size):
            self._store.delete_key(f"{self._saves}/{step}/{rank}")
        return payloads

    def publish(self, step: int, verdict: bytes) -> None:
        """Tell every rank how the commit ended."""
        self._store.set(f"{self._saves}/{step}/verdict", verdict)

    def verdict(self, step: int) -> bytes:
        """Return how the commit ended. Waits for it."""
        return bytes(self._store.get(f"{self._saves}/{step}/verdict"))
