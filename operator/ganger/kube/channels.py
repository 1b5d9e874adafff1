"""Channels of bytes to a pod over one websocket, as the API server hands them on from the kubelet.

Every message begins with the number of its channel. `kube.exec` and `kube.portforward` say what the channels mean.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, Self

import aiohttp

from ganger import __version__
from ganger.kube.access import Access
from ganger.kube.errors import ApiError, Unreachable, from_answer
from ganger.kube.resources import PODS

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0  # the kubelet looks for the container before it says yes
PING_SECONDS = 20.0  # so that no proxy on the way takes a quiet shell for a dead one
CLOSE = 255  # v5 alone: the next byte is a channel in which nothing more comes
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


class Channels:
    """One open websocket. closes: whether one channel can be closed while the others go on (v5)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.closes = socket.protocol == V5

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes into a channel; waits while the other end does not take them. Raises Unreachable."""
        try:
            await self._socket.send_bytes(bytes((channel,)) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(type(error).__name__) from error

    async def close(self, channel: int) -> None:
        """Say that nothing more comes in a channel; before v5 there is no way to say it, and nothing happens."""
        if self.closes:
            await self.send(CLOSE, bytes((channel,)))

    async def messages(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield channel and bytes until the other end closes, or the connection is cut.

        The API server closes without a word of the protocol, so the two look alike here: who must know has to be told
        in a channel, as `kube.exec` is. Raises Unreachable for what is no websocket.
        """
        async for message in self._socket:
            data: Any = message.data
            if message.type == aiohttp.WSMsgType.TEXT:
                data = data.encode()
            if message.type == aiohttp.WSMsgType.ERROR:
                raise Unreachable(f"the connection to the pod broke ({type(data).__name__})")
            if data and not (self.closes and data[0] == CLOSE):
                yield data[0], data[1:]


class Opens(Protocol):
    """Whatever opens channels to pods: `Streams`, and a test's own."""

    def open(
        self,
        namespace: str,
        pod: str,
        subresource: str,
        query: Sequence[tuple[str, str]],
        protocols: Sequence[str],
    ) -> AbstractAsyncContextManager[Channels]:
        """Open the channels of a pod's subresource. Raises ApiError where it is refused."""
        ...


class Streams:
    """Opens channels to pods behind one API server. Use it as an async context, inside a running loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = access.url.rstrip("/")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # one for each connection that is forwarded
            headers={"User-Agent": f"ganger/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(
        self,
        namespace: str,
        pod: str,
        subresource: str,
        query: Sequence[tuple[str, str]],
        protocols: Sequence[str],
    ) -> AsyncIterator[Channels]:
        """Open the channels of a pod's subresource and close them afterwards. Raises ApiError where it is refused."""
        url = self._url + PODS.path(namespace, pod, subresource)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                socket = await self._session.ws_connect(
                    url,
                    params=list(query),
                    protocols=protocols,
                    headers=await self._access.headers(),
                    max_msg_size=0,  # no bound of ours: what a command writes comes in pieces
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    **self._route(),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise await self._refusal(url, query, error.status) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(type(error).__name__) from error
        # Whether they are answered is not looked at: who is slow to take our bytes is slow to answer too.
        pings = asyncio.create_task(_pings(socket))
        try:
            yield Channels(socket)
        finally:
            pings.cancel()
            await socket.close()

    async def _refusal(self, url: str, query: Sequence[tuple[str, str]], status: int) -> ApiError:
        """Return the error of a refused handshake. Its text is dropped on the way here: asked plainly, it comes."""
        if status == 401:
            self._access.token.reject()
        try:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
            async with self._session.get(
                url,
                params=list(query),
                headers=await self._access.headers(),
                timeout=timeout,
                allow_redirects=False,
                **self._route(),
            ) as answer:
                if answer.status == status:
                    return from_answer(status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return from_answer(status, b"")
        return from_answer(status, b"")

    def _route(self) -> dict[str, Any]:
        access = self._access
        return {
            "ssl": access.tls if access.tls is not None else True,
            "server_hostname": access.server_name,
            "proxy": access.proxy,
        }


async def _pings(socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while not socket.closed:
            await asyncio.sleep(PING_SECONDS)
            await socket.ping()
