# ruff: noqa: N818 - each class is named after what the server said
"""What can go wrong between us and the API server, by meaning.

The runtime decides by class: a conflict is a quick second look, a throttle waits, a server error backs off.
A message is cut, and a body that is not a Kubernetes Status is dropped whole, so that a log never carries a payload.
"""

import os
from typing import ClassVar

import msgspec
from msgspec import Struct

MESSAGE_CHARS_MAX = 500  # a guess: an admission sentence fits, a rendered manifest does not


class Cause(Struct, frozen=True):
    """One detail of a refusal: `field` is the path in the manifest, "" where the server names none."""

    reason: str = ""
    message: str = ""
    field: str = ""


class ApiError(Exception):
    """An API call that did not succeed.

    status: HTTP status, 0 where no answer came. retry_after_seconds: what the server asked for, None if it did not.
    label: value for a metric's `error` label; one for each class, so that the label has few values.
    """

    label: ClassVar[str] = "other"

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        causes: tuple[Cause, ...] = (),
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message[:MESSAGE_CHARS_MAX]
        self.retry_after_seconds = retry_after_seconds
        self.causes = causes
        super().__init__(f"{status} {reason}: {self.message}")


class Conflict(ApiError):
    """The object changed since it was read, or a precondition on its UID or version did not hold."""

    label = "conflict"


class AlreadyExists(ApiError):
    """An object of that name is there already; whose it is, the caller must read."""

    label = "already_exists"


class NotFound(ApiError):
    """No such object, or no such resource type."""

    label = "not_found"


class Gone(ApiError):
    """The resourceVersion or continue token is too old: list again."""

    label = "gone"


class Invalid(ApiError):
    """The server refuses the manifest as such; sending it again cannot help."""

    label = "invalid"


class Forbidden(ApiError):
    """RBAC, admission or quota says no."""

    label = "forbidden"

    @property
    def is_quota(self) -> bool:
        """Whether a ResourceQuota said no; the API has no reason of its own for it, only this sentence."""
        return "exceeded quota" in self.message

    @property
    def is_namespace_terminating(self) -> bool:
        """Whether the namespace is being deleted, so that nothing can be made in it any more."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)


class Unauthorized(ApiError):
    """The server does not know who we are; the token is read anew before the next call."""

    label = "unauthorized"


class Throttled(ApiError):
    """The server asks us to wait."""

    label = "throttled"


class ServerError(ApiError):
    """The server failed; a write may or may not have happened."""

    label = "server"


class Unreachable(ApiError):
    """No answer: refused, cut off or too late; a write may or may not have happened."""

    label = "unreachable"

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


class _Details(Struct, frozen=True, rename="camel"):
    retry_after_seconds: int = 0
    causes: tuple[Cause, ...] = ()


class Status(Struct, frozen=True):
    """The part of a Kubernetes Status that is read; also the object of a watch's ERROR event."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_status_decoder = msgspec.json.Decoder(Status)
_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Throttled,
}


def from_status(status: Status, *, retry_after: str = "") -> ApiError:
    """Return the error that a Status describes. retry_after: the header's text, which beats the body's number."""
    kind = AlreadyExists if status.reason == "AlreadyExists" else _class_of(status.code)
    details = status.details or _Details()
    seconds = float(details.retry_after_seconds) if details.retry_after_seconds > 0 else None
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after[:6])
    return kind(
        status.code,
        status.reason or kind.__name__,
        status.message,
        retry_after_seconds=seconds,
        causes=details.causes,
    )


def from_answer(code: int, body: bytes, *, retry_after: str = "") -> ApiError:
    """Return the error for an HTTP answer; a body that is no Status (a proxy's HTML page) leaves only its size."""
    try:
        status = _status_decoder.decode(body)
    except msgspec.DecodeError:
        status = Status()
    if status.kind != "Status":
        status = Status(message=f"answer of {len(body)} bytes that is not a Kubernetes Status")
    return from_status(msgspec.structs.replace(status, code=code), retry_after=retry_after)


def reason_of(error: Exception) -> str:
    """Name what happened without the address or anything that was sent."""
    return type(error).__name__ + (
        f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and error.errno else ""
    )


def _class_of(code: int) -> type[ApiError]:
    if code >= 500:
        return ServerError
    return _BY_STATUS.get(code, ApiError)
