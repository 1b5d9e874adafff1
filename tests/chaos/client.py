"""What the user, the kubelet and the scheduler of a scenario ask of the API server: the same for every server."""

import asyncio
from typing import Any, Protocol

import msgspec

from chaos.sim.server import ApiServer

Object = dict[str, Any]
MERGE = "application/merge-patch+json"


class StatusError(Exception):
    """The API server said no; `code` is the HTTP status."""

    def __init__(self, code: int, answer: Object) -> None:
        super().__init__(f"{code} {answer.get('reason')}: {answer.get('message')}")
        self.code = code
        self.answer = answer


class Client(Protocol):
    """Sends one request. Raises StatusError."""

    async def call(self, method: str, path: str, body: Object | None = None, content_type: str = "") -> Object: ...


class SimClient:
    """A client of the server in memory; a request takes 1 ms."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def call(self, method: str, path: str, body: Object | None = None, content_type: str = "") -> Object:
        await asyncio.sleep(0.001)
        sent = b"" if body is None else msgspec.json.encode(body)
        code, answer = self._server.request(method, path, {}, sent, content_type)
        return decoded(code, answer)


def decoded(code: int, answer: bytes) -> Object:
    """The object in an answer. Raises StatusError."""
    obj: Object = msgspec.json.decode(answer or b"{}")
    if code >= 300:
        raise StatusError(code, obj)
    return obj
