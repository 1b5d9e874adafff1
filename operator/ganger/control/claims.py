"""What a pod's token says of itself, before anybody has confirmed it.

Nothing here is proof. It decides only whether a TokenReview is worth a request: garbage, an expired token, another
job's or a dead pod's is turned away without one. The layout is that of bound service account tokens (KEP-1205).
"""

import base64
import binascii

import msgspec
from msgspec import Struct

TOKEN_BYTES_MAX = 8192


class _Named(Struct, frozen=True):
    name: str = ""
    uid: str = ""


class _Kubernetes(Struct, frozen=True):
    namespace: str = ""
    pod: _Named = _Named()


class _Payload(Struct, frozen=True):
    aud: str | tuple[str, ...] = ()
    exp: float = 0.0
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io", default=_Kubernetes())


class Claims(Struct, frozen=True, kw_only=True):
    """Pod and audiences that a token claims, and until when it holds (seconds since the epoch)."""

    namespace: str
    pod_name: str
    pod_uid: str
    audiences: tuple[str, ...]
    expires: float


_decoder = msgspec.json.Decoder(_Payload)


def read(token: str) -> Claims | None:
    """Return what the token claims, or None for text that is no pod's token. Never raises."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > TOKEN_BYTES_MAX:
        return None
    try:
        payload = _decoder.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None
    pod = payload.kubernetes.pod
    if not (pod.name and pod.uid and payload.kubernetes.namespace):
        return None
    return Claims(
        namespace=payload.kubernetes.namespace,
        pod_name=pod.name,
        pod_uid=pod.uid,
        audiences=(payload.aud,) if isinstance(payload.aud, str) else payload.aud,
        expires=payload.exp,
    )
