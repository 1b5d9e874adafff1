"""Hands a report to the operator that leads the job's shard: a worker's connection ends at any of them.

The request goes on as it came, with the worker's own token, so the one that takes it in checks all of it. TLS is by the
certificate that the replicas share.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from http import HTTPStatus

import aiohttp

from ganger.observe.server import Request, Response

log = logging.getLogger(__name__)
FORWARDED = "x-ganger-forwarded"  # a request that came from another operator goes no further
ANSWER_SECONDS = 8.0  # a failed worker is kept waiting for what is decided
RETRY_SECONDS = 2


class Peers:
    """Connections to the other operators, kept. authority: PEM that their certificate is of; host: its name."""

    def __init__(self, authority: Callable[[], str], host: str) -> None:
        self._authority = authority
        self._host = host
        self._trusted = ""
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, address: str, request: Request) -> Response:
        """Return the answer of the operator at host:port; 503 where it gives none. Never raises."""
        try:
            session = await self._open()
            async with session.post(
                f"https://{address}{request.path}",
                data=request.body,
                headers={"Authorization": request.headers.get("authorization", ""), FORWARDED: "1"},
                server_hostname=self._host,
            ) as reply:
                later = reply.headers.get("Retry-After", "")
                return Response(
                    status=reply.status,
                    body=await reply.read(),
                    content_type=reply.headers.get("Content-Type", "text/plain; charset=utf-8"),
                    retry_after_seconds=int(later) if later.isascii() and later.isdigit() else None,
                )
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError) as error:
            log.info("the operator at %s, which leads that job, did not answer: %s", address, error or "in time")
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, body=b"away\n", retry_after_seconds=RETRY_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is not None and self._trusted == self._authority():
            return self._session
        old, self._trusted = self._session, self._authority()
        context = ssl.create_default_context(cadata=self._trusted or None)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit_per_host=32),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=1.0),
        )
        if old is not None:
            await asyncio.shield(old.close())
        return self._session
