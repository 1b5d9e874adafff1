"""A very small HTTP server for /metrics: GET only, few connections, short patience.

It runs in the supervisor, so a hostile scraper must not be able to hold threads or memory. `/healthz` answers while the
supervisor lives; it says nothing about training.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any, Final

CONNECTIONS_MAX: Final = 8
PATIENCE_SECONDS: Final = 5.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Endpoint:
    """Serves `render()` on every address at `port`; 0 takes a free one. Raises OSError if the port is taken."""

    def __init__(self, port: int, render: Callable[[], bytes]) -> None:
        class Handler(_Handler):
            page = staticmethod(render)

        self._server = _Server(("", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, *arguments: Any) -> None:
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(*arguments)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a scraper that hangs up is not news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    page: Callable[[], bytes]

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/metrics":
            try:
                status, body = 200, type(self).page()
            except Exception as error:  # noqa: BLE001 - else the scraper would only see a closed connection
                status, body = 500, f"{type(error).__name__}: {error}\n".encode()
            self._answer(status, body)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n")
        else:
            self._answer(404, b"see /metrics\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: scrapes are not news."""
