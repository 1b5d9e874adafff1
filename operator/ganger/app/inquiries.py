"""Asks for the nodes of failures beside the passes: no pass waits for an answer (docs/adr/0009)."""

import asyncio
import logging
from collections.abc import Callable

from ganger.app.caches import Key
from ganger.app.memory import JobMemory
from ganger.kube.nodes import NodeReader
from ganger.plan.inquiry import Answer, Question

log = logging.getLogger(__name__)


class Inquiries:
    """The questions under way. enqueue: told of a job whose question was answered, or has no answer."""

    def __init__(self, reader: NodeReader, enqueue: Callable[[Key], None], monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._enqueue = enqueue
        self._monotonic = monotonic
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, key: Key, question: Question, memory: JobMemory) -> None:
        """Have the node read, once for each question of a job; the answer comes into its memory."""
        if memory.question == question:
            return
        memory.ask(question, self._monotonic())
        task = asyncio.create_task(self._ask(key, question, memory), name=f"inquiry of {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End what is under way; whoever leads next asks again."""
        for task in self._tasks:
            task.cancel()
        self._reader.close()

    async def _ask(self, key: Key, question: Question, memory: JobMemory) -> None:
        answer = None
        try:
            node = await self._reader.read(question.node)
            answer = Answer(question=question, node=node) if node is not None else None
        except asyncio.CancelledError:
            if memory.question == question:
                memory.unasked()
            raise
        except Exception:
            log.exception("reading node %s failed", question.node)
        if memory.question == question:
            memory.answered(answer)
            self._enqueue(key)
