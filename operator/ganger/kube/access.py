"""Where the API server is and how to prove who we are: in a pod by its service account, else by a kubeconfig.

A pod needs two files and two variables, read here; importing the client library for that would cost 20 MiB.
A kubeconfig that says all by itself is read by `kube.kubeconfig`; merging, exec plug-ins and OIDC are the client
library's business.
"""

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ganger.kube.errors import Unauthorized
from ganger.kube.kubeconfig import Kubeconfig, plain

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_AGE_MAX_SECONDS = 60.0
EXPIRY_MARGIN_SECONDS = 60.0


class AccessError(Exception):
    """There is no way to the API server; the message says what was looked for, and where."""


class Token(Protocol):
    """Proves who we are, again and again."""

    async def header(self) -> str:
        """Return the Authorization header, "" where the client certificate or nothing at all proves it."""
        ...

    def reject(self) -> None:
        """Take the news that the server did not accept it: get a new one before the next call."""
        ...


class NoToken:
    """A client certificate or an open port is proof enough."""

    async def header(self) -> str:
        """Return ""."""
        return ""

    def reject(self) -> None:
        """Do nothing: there is nothing else to offer."""


class FileToken:
    """A token that somebody else renews in a file; it is read anew at least each minute."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._text = ""
        self._read_at = -TOKEN_AGE_MAX_SECONDS

    async def header(self) -> str:
        """Return the header. Raises AccessError when the file was never readable; later the last token serves on."""
        if self._monotonic() - self._read_at >= TOKEN_AGE_MAX_SECONDS:
            try:
                # A read of a tmpfs file: shorter than the hop to a thread would be.
                self._text = self._path.read_text().strip()
                self._read_at = self._monotonic()
            except OSError as error:
                if not self._text:
                    raise AccessError(f"the token file {self._path} cannot be read: {error.strerror}") from error
        return f"Bearer {self._text}"

    def reject(self) -> None:
        """Read the file again before the next call."""
        self._read_at = -TOKEN_AGE_MAX_SECONDS


@dataclass(frozen=True, kw_only=True)
class Access:
    """A way to one API server. namespace: where none is named. act_as: whom to impersonate, "" for nobody."""

    url: str
    token: Token
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"
    act_as: str = ""
    act_as_groups: tuple[str, ...] = ()

    async def headers(self) -> list[tuple[str, str]]:
        """Return the headers that say who asks. Raises Unauthorized where there is no token to be had."""
        try:
            token = await self.token.header()
        except AccessError as error:
            raise Unauthorized(0, "NoToken", str(error)) from error
        found = [("Authorization", token)] if token else []
        return found + impersonation(self.act_as, self.act_as_groups)


def impersonation(user: str, groups: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the headers that ask as somebody else, none for nobody."""
    found = [("Impersonate-User", user)] if user else []
    return found + [("Impersonate-Group", group) for group in groups]


async def find(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """Return the access asked for, else the pod's own, else that of the default kubeconfig. Raises AccessError."""
    asked = kubeconfig or context or os.environ.get("KUBECONFIG")
    if not asked and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster()
    return await from_kubeconfig(kubeconfig, context)


def in_cluster(directory: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ) -> Access:
    """Return the access that Kubernetes gives to a pod. Raises AccessError."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise AccessError("KUBERNETES_SERVICE_HOST is not set: this is not a pod")
    try:
        tls = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    except OSError as error:
        raise AccessError(f"the certificate authority {directory / 'ca.crt'} cannot be read: {error}") from error
    namespace = directory / "namespace"
    return Access(
        url=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        token=FileToken(directory / "token"),
        tls=tls,
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


async def from_kubeconfig(path: str | None = None, context: str | None = None) -> Access:
    """Return the access of a kubeconfig's context. Runs its exec plug-in, if it has one. Raises AccessError."""
    where = path or default_kubeconfig()
    if not _exists(where):
        raise AccessError(f"there is no kubeconfig at {where}")
    token = KubeconfigToken(where, context)
    found = await token.load()
    return Access(
        url=found.url,
        token=token,
        tls=found.tls,
        server_name=found.server_name,
        proxy=found.proxy,
        namespace=found.namespace,
        act_as=found.act_as,
        act_as_groups=found.act_as_groups,
    )


def default_kubeconfig() -> str:
    """Return where kubectl looks for its configuration where none is named."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


class KubeconfigToken:
    """The token of a kubeconfig's user: a plug-in's until it expires, any other read anew at least each minute."""

    def __init__(self, path: str, context: str | None) -> None:
        self._path = path
        self._context = context
        self._text = ""
        self._until = 0.0

    async def header(self) -> str:
        """Return the header. Raises AccessError."""
        if time.time() >= self._until:  # wall clock: an expiry is a time of day
            await self.load()
        return self._text

    def reject(self) -> None:
        """Load the kubeconfig again before the next call."""
        self._until = 0.0

    async def load(self) -> Kubeconfig:
        """Read the kubeconfig, or have the client library read it. Raises AccessError."""
        try:
            found = plain(self._path, self._context)
        except (OSError, ValueError) as error:
            raise AccessError(f"kubeconfig {self._path}: {error}") from error
        if found is None:
            return await self._ask_library()
        self._text, self._until = found.authorization, time.time() + TOKEN_AGE_MAX_SECONDS
        return found

    async def _ask_library(self) -> Kubeconfig:
        # Imported late: it is large, and a pod never needs it.
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import ConfigException, load_kube_config

        config = Configuration()
        try:
            loader = await load_kube_config(self._path, self._context, config, persist_config=False)
        except (ConfigException, OSError, ValueError) as error:
            raise AccessError(f"kubeconfig {self._path}: {error}") from error
        self._text = config.api_key.get("BearerToken", "")
        # Which kind of user it is the loader tells by no public name.
        plugin = bool(loader._user) and "exec" in loader._user  # noqa: SLF001
        if plugin and not self._text and not config.cert_file:
            raise AccessError(f"kubeconfig {self._path}: the exec plug-in gave no credentials (its message is logged)")
        expiry = getattr(loader, "exec_plugin_expiry", None)
        if expiry is not None:
            self._until = expiry.timestamp() - EXPIRY_MARGIN_SECONDS
        else:
            self._until = float("inf") if plugin else time.time() + TOKEN_AGE_MAX_SECONDS
        return Kubeconfig(
            url=config.host,
            tls=_tls(config) if config.host.startswith("https") else None,
            server_name=config.tls_server_name,
            proxy=config.proxy,
            namespace=loader.current_context["context"].get("namespace") or "default",
        )


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep))


def _tls(config: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ssl_ca_cert)
    if config.cert_file:
        context.load_cert_chain(config.cert_file, config.key_file)
    if not config.verify_ssl:  # only where the kubeconfig says insecure-skip-tls-verify
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
