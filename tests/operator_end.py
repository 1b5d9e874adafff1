"""The operator's end of the control channel for tests: HTTPS with an authority of its own, answers as told."""

import ipaddress
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(subject: str, key: Any, issuer: str, issuer_key: Any, extensions: list[Any]) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def authority(directory: Path, name: str = "authority") -> tuple[Path, Path]:
    """Write an authority's certificate, and a certificate of it for 127.0.0.1 with its key; return both paths."""
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    root = _sign(name, ours, name, ours, [(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _sign("ganger-control", theirs, name, ours, [(address, False)])
    private = theirs.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    trusted, served = directory / f"{name}.crt", directory / f"{name}.pem"
    trusted.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    served.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)
    return trusted, served


@dataclass
class OperatorEnd:
    """Keeps every report; answers with `status` and `answer`, and with each of `directives` until it is done.

    rungs: what the next failures are answered with, one round each; `ordered`: those that were.
    """

    directory: Path
    status: int = 200
    answer: dict[str, Any] = field(default_factory=lambda: {"nextReportSeconds": 1.0})
    directives: list[dict[str, str]] = field(default_factory=list)
    raw: bytes | None = None
    hang_up: bool = False  # close the connection after each answer, without a word
    rungs: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)  # monotonic seconds
    tokens: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> "OperatorEnd":
        end = self
        self.authority, served = authority(self.directory)
        self.token = self.directory / "token"
        self.token.write_text("secret-1\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(served)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                end.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                end.arrivals.append(time.monotonic())
                end.reports.append(body)
                end.tokens.append(self.headers["Authorization"])
                end.paths.append(self.path)
                self._reply(end.respond(body))

            def _reply(self, data: bytes) -> None:
                self.send_response(end.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection |= end.hang_up

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that trusts somebody else hangs up in the handshake."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def respond(self, report: dict[str, Any]) -> bytes:
        if self.raw is not None:
            return self.raw
        wanted = [one for one in self.directives if one["id"] not in report.get("done", [])]
        return json.dumps(self.answer | {"directives": wanted} | self._round(report)).encode()

    def _round(self, report: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if report.get("phase") == "Failed" and report.get("round", 0) == len(self.ordered) and self.rungs:
                self.ordered.append(self.rungs.pop(0))
            return {"round": len(self.ordered), "rung": self.ordered[-1]} if self.ordered else {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/v1/jobs/uid-1"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "GANGER_CONTROL_URL": self.url,
            "GANGER_CONTROL_TOKEN": str(self.token),
            "GANGER_CONTROL_CA": str(self.authority),
        }

    def of(self, worker: int) -> list[dict[str, Any]]:
        return [report for report in list(self.reports) if report["worker"] == worker]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
