"""The logs of containers, streamed as the API server hands them on from the kubelet."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Self

import aiohttp

from ganger import __version__
from ganger.kube.access import Access
from ganger.kube.errors import Unreachable, from_answer, reason_of
from ganger.kube.resources import PODS

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 240.0  # a quiet job and a dead connection look alike: the caller connects anew


class PodLogs:
    """Reads logs from one API server. Use it as an async context, inside a running loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._url = access.url.rstrip("/")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # one stream for each pod of a gang
            headers={"User-Agent": f"ganger/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield the log in pieces as they come; each of its lines begins with its time and a space.

        follow: go on until the container has ended. tail: only so many of the last lines. since: only later ones, to
        the second. previous: of the container before the present one. Raises NotFound where there is no pod, Invalid
        while the container has not started or where there was none before, Unreachable.
        """
        query = {"container": container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if previous:
            query["previous"] = "true"
        if tail is not None:
            query["tailLines"] = str(tail)
        if since is not None:
            query["sinceTime"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._url + PODS.path(namespace, pod, "log"),
                params=query,
                headers=await self._access.headers(),
                timeout=timeout,
                ssl=self._access.tls if self._access.tls is not None else True,
                server_hostname=self._access.server_name,
                proxy=self._access.proxy,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 300:
                    raise from_answer(answer.status, await answer.read())
                async for piece in answer.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(reason_of(error)) from error
