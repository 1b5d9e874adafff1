"""Whether the session can be entered, for the kubelet's probe: the one port that is not on loopback alone."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

PATIENCE_SECONDS: Final = 2.0


class Health:
    """Answers GET /healthz on every address at `port`: 200 ok, or 503 and what `word` returns.

    One connection at a time, short patience. port 0 takes a free one. Raises OSError if the port is taken.
    """

    def __init__(self, port: int, word: Callable[[], str]) -> None:
        class Handler(_Handler):
            say = staticmethod(word)

        self._server = _Server(("", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()


class _Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a probe that hangs up is not news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_SECONDS
    say: Callable[[], str]

    def do_GET(self) -> None:
        word = type(self).say() if self.path == "/healthz" else "see /healthz"
        body = f"{word}\n".encode()
        self.send_response(404 if self.path != "/healthz" else 200 if word == "ok" else 503)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Say no versions."""
        return "ganger"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: probes are not news."""
