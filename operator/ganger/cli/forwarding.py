"""A port of this machine that leads to a port of a session's pod, for as many connections as come.

It listens at the loopback alone. Each connection is a way of its own through the API server; the pod of the moment is
asked for at each, so a session that is moved to another node is found again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ganger.cli.connection import Connection
from ganger.kube.errors import ApiError

LOOPBACK = "127.0.0.1"
PIECE_BYTES = 32 * 1024
LINGER_SECONDS = 30.0  # for what the pod still sends to somebody who has sent all and waits


class Forwarder:
    """Carries bytes. find: waits for the pod of the moment. tell: hears why a connection failed."""

    def __init__(
        self, connection: Connection, port: int, find: Callable[[], Awaitable[str]], tell: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._port = port
        self._find = find
        self._tell = tell

    async def carry(self, pieces: AsyncIterator[bytes], write: Callable[[bytes], Awaitable[None]]) -> None:
        """Carry one connection both ways until the pod closes it. Raises ApiError where there is no way.

        pieces: what we send; its end does not end the other direction. write: takes what the pod sends.
        """
        from ganger.kube import portforward

        pod = await self._find()
        async with portforward.connect(self._connection.streams, self._connection.namespace, pod, self._port) as pipe:
            ended = asyncio.Event()

            async def send() -> None:
                with contextlib.suppress(ApiError, OSError):
                    async for piece in pieces:
                        await pipe.write(piece)
                ended.set()

            async def receive() -> None:
                async for piece in pipe.pieces():
                    await write(piece)

            sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
            lingering = asyncio.create_task(_linger(ended))
            try:
                await asyncio.wait({receiving, lingering}, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    receiving.result()
            finally:
                for task in (sending, receiving, lingering):
                    task.cancel()
                await asyncio.gather(sending, receiving, lingering, return_exceptions=True)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        """Listen at a port of the loopback, a free one for 0, and yield its number. Raises OSError."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._serve(reader, writer)
            finally:
                tasks.discard(task)

        server = await asyncio.start_server(accept, LOOPBACK, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            await self.carry(_pieces(reader), write)
        except (ApiError, OSError) as error:
            if isinstance(error, ApiError):
                self._tell(error.message or error.reason)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _linger(ended: asyncio.Event) -> None:
    await ended.wait()
    await asyncio.sleep(LINGER_SECONDS)


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(PIECE_BYTES):
        yield data
