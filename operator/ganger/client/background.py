"""An event loop in a thread of its own, for plain code and for notebooks, whose own loop is taken."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, TypeVar, cast

T = TypeVar("T")
ENDED = object()


class Background:
    """The loop and its thread. Calls may come from any thread but its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ganger-client", daemon=True)
        self._thread.start()

    def run(self, body: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns. An exception here, such as Ctrl-C, cancels it."""
        future = asyncio.run_coroutine_threadsafe(body, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, stream: AsyncIterator[T]) -> Iterator[T]:
        """Yield what the stream yields, one item ahead at most. It is closed when nobody goes on."""
        queue: asyncio.Queue[object] = asyncio.Queue(maxsize=1)

        async def pump() -> None:
            # All in one task: a generator may hold a time-out or a group of tasks, which belong to the task that began.
            try:
                async with aclosing(cast("Any", stream)) as items:
                    async for item in items:
                        await queue.put(item)
                await queue.put(ENDED)
            except Exception as error:  # noqa: BLE001 - it is raised where the items are taken
                await queue.put(_Raised(error))

        pumping = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        try:
            while (item := self.run(queue.get())) is not ENDED:
                if isinstance(item, _Raised):
                    raise item.error
                yield cast("T", item)
        finally:
            pumping.cancel()

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        if self._loop.is_closed():
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
