"""Kubeconfig files and the one request helper that needs no client library."""

from __future__ import annotations

import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ganger_dev import paths
from ganger_dev.pki import Pair


def write(path: Path, *, name: str, url: str, ca: Path, user: Pair | None = None, token: str | None = None) -> Path:
    """Write a kubeconfig for one user of one cluster; certificates are named, not embedded. Return its path."""
    who: dict[str, str] = {"token": token} if token else {}
    if user is not None:
        who = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": name, "user": who}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    paths.write(path, yaml.safe_dump(content, sort_keys=False), mode=0o600)
    return path


@dataclass(frozen=True, kw_only=True)
class Api:
    """An API server and the certificate to speak to it with; every request opens a connection of its own."""

    url: str
    ca: Path
    user: Pair

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of this user."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.user.certificate, self.user.key)
        return context

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Send one request and return the decoded answer; raises urllib.error.HTTPError on a refusal."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - always https, from our own kubeconfig
            self.url + path, data=data, method=method, headers={"Content-Type": content_type}
        )
        # No proxy: the server is on this machine.
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context()))
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content[:1] == b"{" else content.decode()

    def ready(self) -> bool:
        """Return whether the server says that it is ready."""
        try:
            return bool(self.request("GET", "/readyz") == "ok")
        except OSError:
            return False
