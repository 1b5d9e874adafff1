"""Who holds a token, and what its holder may do: TokenReview and SubjectAccessReview."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from ganger.kube.cluster import Cluster
from ganger.kube.errors import ServerError
from ganger.kube.resources import ACCESS_REVIEWS, TOKEN_REVIEWS

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"


class User(Struct, frozen=True):
    """Whom a token names. `extra` of a pod's token tells the pod (KEP-1205)."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}

    @property
    def pod(self) -> tuple[str, str]:
        """Name and UID of the pod that the token is bound to, "" where it is bound to none."""
        return _first(self.extra, POD_NAME), _first(self.extra, POD_UID)


class _TokenStatus(Struct, frozen=True):
    authenticated: bool = False
    user: User = User()
    audiences: tuple[str, ...] = ()


class _TokenReview(Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(Struct, frozen=True):
    allowed: bool = False


class _AccessReview(Struct, frozen=True):
    status: _AccessStatus = field(default_factory=_AccessStatus)


Answer = TypeVar("Answer")
_tokens = msgspec.json.Decoder(_TokenReview)
_accesses = msgspec.json.Decoder(_AccessReview)


async def who(cluster: Cluster, token: str, audience: str = "") -> User | None:
    """Return whom the token names, None when it is not valid for that audience ("": the API server's own).

    Raises ApiError when the API server gives no answer.
    """
    spec: dict[str, Any] = {"token": token} | ({"audiences": [audience]} if audience else {})
    status = _answer(_tokens, await cluster.review(TOKEN_REVIEWS, spec)).status
    if not status.authenticated or (audience and audience not in status.audiences):
        return None
    return status.user


async def may_get(cluster: Cluster, user: User, path: str) -> bool:
    """Return whether the user may get a path that is no resource, such as /metrics. Raises ApiError."""
    spec = {
        "user": user.username,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {name: list(values) for name, values in user.extra.items()},
        "nonResourceAttributes": {"path": path, "verb": "get"},
    }
    return _answer(_accesses, await cluster.review(ACCESS_REVIEWS, spec)).status.allowed


def _answer(decoder: msgspec.json.Decoder[Answer], body: bytes) -> Answer:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ServerError(200, "NotJson", f"a review of {len(body)} bytes: {error}") from error


def _first(extra: Mapping[str, tuple[str, ...]], key: str) -> str:
    return next(iter(extra.get(key, ())), "")
