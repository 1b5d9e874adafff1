"""Operators that die at a write: every start is a new process object, and nothing of the old one is heard again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ganger.app.process import Process
from ganger.app.settings import Settings
from ganger.kube.gate import Crash, Mode, Write, WriteGate
from ganger.observe.metrics import OperatorMetrics
from ganger.runtime.ports import Clock

RESTART_SECONDS = 0.2


class LastingGate(WriteGate):
    """A gate whose death after a write comes also where the operator is stopped in that write.

    On a machine that is too slow to renew the lease, the write is cancelled before its answer is there, and it is not
    known whether it was made: as after a death.
    """

    _last: Write | None = None

    def _number(self, write: Write) -> Mode | None:
        mode = super()._number(write)
        if mode == "after":
            self._last = write
        return mode

    async def call(self, write: Write, send: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await super().call(write, send)
        except asyncio.CancelledError:
            if write is self._last:
                raise Crash(str(write)) from None
            raise


class DeadlyGate(LastingGate):
    """A gate that knows when the process dies in it: from that moment on nothing more is sent."""

    def __init__(self, plan: Mapping[int, Mode], log: list[Write]) -> None:
        super().__init__(plan=plan, log=log)
        self.die: Callable[[], None] = lambda: None
        self.crashes = 0

    async def call(self, write: Write, send: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await super().call(write, send)
        except Crash:
            self.crashes += 1
            self.die()
            raise


class Operator:
    """One replica. connect: opens a cluster for a gate. restarts: whether it is started again after its death.

    reads_nodes: not where the control plane is real: it finds out some time that its nodes have no kubelets.
    isolates: jobs get a NetworkPolicy each.
    """

    def __init__(
        self,
        name: str,
        namespace: str,
        connect: Callable[[WriteGate], Any],
        *,
        plan: Mapping[int, Mode],
        clock: Clock | None = None,
        restarts: bool = True,
        reads_nodes: bool = True,
        isolates: bool = False,
    ) -> None:
        self.log: list[Write] = []
        self.gate = DeadlyGate(plan, self.log)
        self.is_dead = False
        self._settings = Settings(
            namespace=namespace, identity=name, default_image="pytorch-cuda:v2.15", watch_namespaces=(namespace,),
            read_nodes=reads_nodes, isolate_jobs=isolates,
        )  # fmt: skip
        self._connect = connect
        self._clock = clock
        self._restarts = restarts
        self._died = asyncio.Event()
        self.process: Process | None = None

    async def run(self) -> None:
        """Live and die and live again, until cancelled."""
        while True:
            await self._one_life()
            self.is_dead = not self._restarts
            if self.is_dead:
                return
            await asyncio.sleep(RESTART_SECONDS)

    async def _one_life(self) -> None:
        self._died.clear()
        async with self._connect(self.gate) as cluster:

            def die() -> None:
                cluster.cut()
                self._died.set()

            self.gate.die = die
            process = self.process = Process(self._settings, cluster, self.gate, METRICS, self._clock)
            life = asyncio.create_task(process.run(asyncio.Event()))
            death = asyncio.create_task(self._died.wait())
            try:
                await asyncio.wait({life, death}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                cluster.cut()
                for task in (life, death):
                    task.cancel()
                await asyncio.wait({life, death})
            error = None if life.cancelled() else life.exception()
            if error is not None and not _is_crash(error):
                raise error


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_crash(one) for one in error.exceptions)
    return isinstance(error, Crash)


METRICS = OperatorMetrics()  # one for all: nothing of a job's state lives in it, and it is slow to make
