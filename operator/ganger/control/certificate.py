"""The certificate in the operator's Secret: found, made where the Secret is empty, renewed, and served.

All replicas share it, so that a pod that trusts one trusts the next. A Secret with `tls.crt`, `tls.key` and `ca.crt`
but without our `renewAfter` is somebody else's, such as cert-manager's: it is read again from time to time and never
written.
"""

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec
from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.control.authority import Material, issue
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError, Conflict
from ganger.kube.resources import SECRETS

log = logging.getLogger(__name__)
CHECK_SECONDS = 3600.0
RETRY_SECONDS = 2.0
_KEYS = {"tls.crt": "certificate", "tls.key": "key", "ca.crt": "authority", "ca.key": "authority_key"}


class _Secret(Struct, frozen=True):
    metadata: Metadata = Metadata()
    data: dict[str, str] = {}


class Certificate:
    """Serves with what the Secret holds. name "" keeps everything in this process, for an operator on its own."""

    def __init__(
        self, cluster: Cluster, *, namespace: str, name: str, hosts: tuple[str, ...], now: Callable[[], datetime]
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.authority = ""  # PEM, for those who are to trust it
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._hosts = hosts
        self._now = now
        self._used: Material | None = None

    async def load(self) -> None:
        """Take the certificate from the Secret, made or renewed where that is due. Raises ApiError, ValueError."""
        for _ in range(5):
            try:
                self._use(await self._obtain())
            except Conflict:
                continue  # another replica was first: take what it made
            return
        raise ValueError(f"secret {self._name} changes faster than it can be read")

    async def keep(self) -> None:
        """Load now, until that works, and again every hour, for ever."""
        while True:
            try:
                await self.load()
            except (ApiError, ValueError, ssl.SSLError, msgspec.DecodeError) as error:
                log.warning("the certificate in secret %s cannot be used: %s", self._name, error)
                await asyncio.sleep(RETRY_SECONDS if not self.authority else CHECK_SECONDS / 60)
                continue
            await asyncio.sleep(CHECK_SECONDS)

    async def _obtain(self) -> Material:
        now = self._now()
        if not self._name:
            due = self._used is None or self._used.renew_after is None or now >= self._used.renew_after
            return issue(self._hosts, now, self._used) if due else self._used or issue(self._hosts, now)
        body = await self._cluster.get(SECRETS, self._namespace, self._name)
        secret = msgspec.json.decode(body, type=_Secret)
        found = _material(secret)
        if found is not None and (found.renew_after is None or now < found.renew_after):
            return found
        made = issue(self._hosts, now, found)
        texts = {key: getattr(made, field) for key, field in _KEYS.items()}
        texts["renewAfter"] = made.renew_after.isoformat() if made.renew_after else ""
        patch = {
            "metadata": {"resourceVersion": secret.metadata.resource_version},
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()},
        }
        await self._cluster.patch(SECRETS, self._namespace, self._name, patch)
        log.info("a certificate was %s in secret %s", "renewed" if found else "made", self._name)
        return made

    def _use(self, material: Material) -> None:
        if material == self._used:
            return
        # Connections that stand keep theirs; the context is the same object for as long as the server lives.
        with _as_file(material.certificate) as certificate, _as_file(material.key) as key:
            self.context.load_cert_chain(certificate, key)
        self._used, self.authority = material, material.authority


def _material(secret: _Secret) -> Material | None:
    """Return what a Secret holds, None for an empty one. Raises ValueError for half a certificate."""
    if not any(secret.data.get(key) for key in _KEYS):
        return None
    try:
        texts = {field: base64.b64decode(secret.data.get(key, "")).decode() for key, field in _KEYS.items()}
        after = base64.b64decode(secret.data.get("renewAfter", "")).decode()
        renew_after = datetime.fromisoformat(after) if after else None
    except ValueError:
        raise ValueError("its data is not text in base64") from None
    missing = [key for key, field in _KEYS.items() if not texts[field] and key != "ca.key"]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}: fill them in, or empty it and Ganger makes its own")
    return Material(**texts, renew_after=renew_after)


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Give the text a path without a file: the ssl module reads paths alone, and the root file system is read-only."""
    number = os.memfd_create("ganger-pem")
    try:
        os.write(number, text.encode())
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
