"""A kubeconfig that says everything by itself: one file, with a token, a certificate or a password, or nothing.

Most are of that kind, and the client library, which knows the others too (plug-ins, OIDC, several files merged), costs
half a second to load.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OTHERS = ("exec", "auth-provider")  # the client library's business
_YES = frozenset({True, "true", "True"})


@dataclass(frozen=True, kw_only=True)
class Kubeconfig:
    """What one context of a kubeconfig says. authorization: the header, "" where a certificate or nothing proves it."""

    url: str
    authorization: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"
    act_as: str = ""
    act_as_groups: tuple[str, ...] = ()


def plain(path: str, context: str | None = None) -> Kubeconfig | None:
    """Return what the context says, None where the client library has to find out, or to say what is wrong.

    context: None for the current one. Raises OSError, ssl.SSLError or ValueError where a certificate or key that is
    named cannot be used.
    """
    import yaml

    if os.pathsep in path:
        return None
    file = Path(path).expanduser()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(file.read_bytes(), Loader=loader)  # noqa: S506 - both are safe loaders
        chosen = _named(found, "contexts", "context", context or found["current-context"])
        place = _named(found, "clusters", "cluster", chosen["cluster"])
        user = _named(found, "users", "user", chosen["user"]) if chosen.get("user") else {}
        server = str(place["server"]).rstrip("/")
    except (yaml.YAMLError, OSError, LookupError, TypeError, AttributeError):
        return None
    if any(user.get(key) for key in _OTHERS) or not server.startswith(("https://", "http://")):
        return None
    groups = user.get("as-groups") or ()
    return Kubeconfig(
        url=server,
        authorization=_authorization(user, file.parent),
        tls=_tls(place, user, file.parent) if server.startswith("https") else None,
        server_name=place.get("tls-server-name") or None,
        proxy=place.get("proxy-url") or None,
        namespace=str(chosen.get("namespace") or "default"),
        act_as=str(user.get("as") or ""),
        act_as_groups=tuple(str(group) for group in groups),
    )


def _named(found: Any, plural: str, singular: str, name: str) -> Mapping[str, Any]:
    """Return the entry of that name. Raises LookupError or TypeError where there is none, or it is none."""
    entry = next((one for one in found[plural] if one["name"] == name), None)
    if entry is None or not isinstance(entry[singular], Mapping):
        raise LookupError(name)
    value: Mapping[str, Any] = entry[singular]
    return value


def _authorization(user: Mapping[str, Any], folder: Path) -> str:
    if user.get("tokenFile"):
        return f"Bearer {(folder / user['tokenFile']).read_text().strip()}"
    if user.get("token"):
        return f"Bearer {user['token']}"
    if user.get("username") and user.get("password"):
        return "Basic " + base64.b64encode(f"{user['username']}:{user['password']}".encode()).decode()
    return ""


def _tls(place: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _pem(place, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _pem(user, "client-certificate", folder), _pem(user, "client-key", folder)
    if certificate and key:
        # OpenSSL reads a key from a file alone; this one is the owner's, and gone at once.
        with tempfile.NamedTemporaryFile(prefix="ganger-") as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    if place.get("insecure-skip-tls-verify") in _YES:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> bytes:
    """Return a certificate or key, be it in the kubeconfig or in a file that it names; b"" where there is none."""
    data = entry.get(f"{name}-data")
    if data:
        return base64.standard_b64decode(str(data))
    return (folder / str(entry[name])).read_bytes() if entry.get(name) else b""
