"""A real web server of files, with ranges, validators and, where it is told, the faults of servers and networks."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = 64 * 1024


@dataclass
class File:
    """One file. etag: as it is sent, "" for none. ranges: whether a part of it can be had."""

    content: bytes
    etag: str | None = None
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Its ETag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"' if self.etag is None else self.etag


@dataclass
class Fault:
    """What happens to one request, in place of a whole answer.

    status: is answered. cut: the connection ends after so many bytes. bytes_per_second: of the body. before: is called
    first. ignore_if_range: the part is sent whatever If-Range says. part_status: with which it is sent.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    bytes_per_second: float = 0.0
    before: Callable[[], None] = lambda: None
    ignore_if_range: bool = False
    part_status: int = 206


@dataclass
class Web:
    """The server as tests see it. asked: method, path and headers of every request. faults: one for each request."""

    server: ThreadingHTTPServer
    files: dict[str, File] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    always: Fault | None = None
    token: str = ""
    redirects: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.server.server_address[0]}:{self.server.server_address[1]}"


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Web]:
    """Serve until the end of the `with`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *words: Any) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                _answer(self, web)

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    web = Web(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, web: Web) -> None:
    web.asked.append((handler.path, dict(handler.headers)))
    fault = web.faults.pop(0) if web.faults else web.always or Fault()
    fault.before()
    path = handler.path.partition("?")[0]
    found = web.files.get(path)
    if handler.path in web.redirects:
        fault = Fault(status=302, headers={"Location": web.redirects[handler.path]})
    elif web.token and handler.headers.get("Authorization") != f"Bearer {web.token}":
        fault = Fault(status=401)
    elif found is None and not fault.status:
        fault = Fault(status=404)
    if fault.status or found is None:
        handler.send_response(fault.status)
        for name, value in fault.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start = _start(handler, found, fault)
    body = found.content[start:]
    handler.send_response(fault.part_status if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(found.content) - 1}/{len(found.content)}")
    if found.tag:
        handler.send_header("ETag", found.tag)
    for name, value in found.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    _send(handler, web, body, fault)


def _start(handler: BaseHTTPRequestHandler, found: File, fault: Fault) -> int:
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range", "")
    same = not condition or condition == found.tag or fault.ignore_if_range
    return int(asked[1]) if asked and found.ranges and same and int(asked[1]) < len(found.content) else 0


def _send(handler: BaseHTTPRequestHandler, web: Web, body: bytes, fault: Fault) -> None:
    for at in range(0, len(body), PIECE):
        piece = body[at : at + PIECE]
        if fault.cut is not None and at + len(piece) > fault.cut:
            handler.wfile.write(piece[: fault.cut - at])
            web.sent += fault.cut - at
            handler.wfile.flush()
            handler.connection.shutdown(2)
            handler.close_connection = True
            return
        handler.wfile.write(piece)
        web.sent += len(piece)
        if fault.bytes_per_second:
            time.sleep(len(piece) / fault.bytes_per_second)
