"""A run: submit the gangs, wait until all are Complete or nothing goes on any more, and let the judge see all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ganger.kube.access import from_kubeconfig
from ganger.kube.cluster import Cluster
from ganger.kube.http import HttpCluster
from ganger.kube.resources import TRAINING_JOBS
from ganger_dev.gangs import scale as sizes
from ganger_dev.gangs.expected import Expected
from ganger_dev.gangs.facts import Fact
from ganger_dev.gangs.judge import COMPLETE, in_order, judged
from ganger_dev.gangs.recorder import LostEventsError, Recorder
from ganger_dev.gangs.scale import Scale
from ganger_dev.gangs.summary import figures, last_states
from ganger_dev.gangs.world import NAMESPACE, World

_IN_FLIGHT = 32
_LOOK_SECONDS = 0.5
_SAY_SECONDS = 15.0
_SETTLE_SECONDS = 15.0
Say = Callable[[str], None]


class Outcome(Struct, frozen=True, kw_only=True):
    """How a run ended. trouble: why it ended before its end and how things stood then, [] where it did not.

    facts: of every event, in the order of the writes. ended: when, in seconds of the run.
    """

    figures: dict[str, Any]
    facts: list[Fact]
    ended: float
    trouble: list[str]

    @property
    def is_good(self) -> bool:
        """Whether the run reached its end, and no rule was broken."""
        return not self.trouble and not self.figures["violations"]


class _StoppedError(Exception):
    """The run cannot reach its end; the text says why."""


async def play(world: World, scale: Scale, say: Say = print) -> Outcome:
    """Submit the gangs of that scale to the world and return how it went, after little more than `limit_seconds`."""
    expected, trouble = sizes.expected(scale), list[str]()
    access = await from_kubeconfig(str(world.plane.kubeconfig_for("bench")))
    async with (
        HttpCluster(access, pool=2 * _IN_FLIGHT, call_seconds=60.0) as cluster,
        Recorder(cluster, NAMESPACE) as recorder,
    ):
        try:
            await _Run(world, scale, expected, cluster, recorder, say).to_the_end()
        except (_StoppedError, LostEventsError) as error:
            states = last_states(expected, recorder.jobs, recorder.workloads.values(), recorder.pods.values())
            trouble = [f"after {recorder.now:.0f} s: {error}", *states, *world.last_words()]
        ended, facts = recorder.now, in_order(recorder.facts)
    found = figures(judged(expected, facts, ended), expected)
    return Outcome(figures=found, facts=facts, ended=ended, trouble=trouble)


class _Run:
    def __init__(
        self, world: World, scale: Scale, expected: Expected, cluster: Cluster, recorder: Recorder, say: Say
    ) -> None:
        self._world, self._scale, self._expected = world, scale, expected
        self._cluster, self._recorder, self._say = cluster, recorder, say
        self._complete = 0
        self._moved_at = self._said_at = 0.0

    async def to_the_end(self) -> None:
        """Submit all gangs, the urgent ones when the queues are full, and wait. Raises _StoppedError."""
        await self._submit(urgent=False)
        # By then Kueue has given all quota away, and others wait for it: what is urgent now has to take it from a gang.
        await self._until(lambda: self._num("Running") + self._num(COMPLETE) >= self._scale.fitting // 2)
        await self._submit(urgent=True)
        await self._until(lambda: self._num(COMPLETE) == len(self._expected.gangs))
        end = self._recorder.now + _SETTLE_SECONDS
        while any(workload.queue for workload in self._recorder.workloads.values()):
            if self._recorder.now > end:
                raise _StoppedError("all gangs are Complete, and some still hold quota")
            await asyncio.sleep(_LOOK_SECONDS)
        unread = await self._recorder.unread()
        if unread:
            raise _StoppedError(f"the record lacks events of {len(unread)} objects: {', '.join(unread[:5])}")

    async def _submit(self, *, urgent: bool) -> None:
        limit = asyncio.Semaphore(_IN_FLIGHT)

        async def create(name: str) -> None:
            async with limit:
                body = sizes.job(name, self._expected.gangs[name], self._scale)
                await self._cluster.create(TRAINING_JOBS, NAMESPACE, body)

        names = [name for name, gang in self._expected.gangs.items() if gang.urgent == urgent]
        await asyncio.gather(*(create(name) for name in names))
        self._say(f"  {self._recorder.now:.0f} s: submitted {len(names)} {'urgent ' if urgent else ''}gangs")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._check()
            await asyncio.sleep(_LOOK_SECONDS)

    def _check(self) -> None:
        """Raise where something ended that must not, or nothing goes on, or it takes too long."""
        self._recorder.check()
        ended, now, scale = self._world.ended(), self._recorder.now, self._scale
        if ended:
            raise _StoppedError(f"a program ended: {'; '.join(ended)}")
        complete = self._num(COMPLETE)
        if complete > self._complete:
            self._complete, self._moved_at = complete, now
        if now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            placed = sum(pod.is_live for pod in self._recorder.pods.values())
            self._say(f"  {now:.0f} s: {complete} of {scale.gangs} gangs Complete, {placed} workers on nodes")
        if now > scale.limit_seconds:
            raise _StoppedError(f"{complete} of {scale.gangs} gangs are Complete, and no more time is given")
        if now - self._moved_at > scale.still_seconds:
            raise _StoppedError(f"no further gang was Complete for {scale.still_seconds:g} s: {complete} are")

    def _num(self, phase: str) -> int:
        return sum(job.phase == phase for job in self._recorder.jobs.values())
