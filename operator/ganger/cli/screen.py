"""The terminal as a screen that is drawn anew: entered at the first drawing, restored whatever happens. Loads rich."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

from ganger.cli.terminal import Terminal

Result = TypeVar("Result")
BETWEEN_SECONDS = 0.25  # two drawings are at least so far apart
TICK_SECONDS = 1.0  # without news, for the ages


class Screen:
    """The whole terminal. Use it as a context; what was on the terminal before comes back at the end."""

    def __init__(self, terminal: Terminal) -> None:
        coloured = terminal.coloured(terminal.out)
        self.console = Console(
            file=terminal.out, force_terminal=True, color_system="auto" if coloured else None, highlight=False
        )
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def draw(self, make: Callable[[int, int], RenderableType]) -> None:
        """Draw what `make` returns for the width and height that the terminal has now."""
        width, height = self.console.size
        picture = make(width, height)
        if self._live is None:
            self._live = Live(
                picture,
                console=self.console,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
        else:
            self._live.update(picture, refresh=True)


async def drawn(source: Coroutine[Any, Any, Result], draw: Callable[[], None], news: asyncio.Event) -> Result:
    """Return what the source returns; meanwhile draw at its news, four times a second at most, and at every tick.

    The first drawing is at the first news: a source that fails at once draws nothing.
    """
    task = asyncio.create_task(source)
    task.add_done_callback(lambda _: news.set())
    try:
        await news.wait()
        while not task.done():
            news.clear()
            draw()
            await asyncio.sleep(BETWEEN_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS - BETWEEN_SECONDS):
                    await news.wait()
        return await task
    finally:
        task.cancel()
