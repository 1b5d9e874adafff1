"""How lists and watch lines become objects: typed where they fit the type, `Undecodable` where they do not."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import force_setattr

from ganger.api.observed import Metadata
from ganger.kube.errors import Status
from ganger.runtime.cache import Undecodable
from ganger.runtime.ports import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)
INTERNED_CHARS_MAX = 64  # longer strings are messages, and hardly ever repeat


_shared_fields: dict[type[Struct], tuple[str, ...]] = {}
_PLAIN = (bool, int, float, datetime | None, int | None)


class Torn(Exception):  # noqa: N818 - a state of a stream
    """What came is not whole JSON of the expected shape; nothing after it can be trusted."""


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = field(name="continue", default="")


class _RawPage(Struct, frozen=True):
    metadata: _ListMeta
    items: list[Raw] | None = None


class _Identity(Struct, frozen=True):
    metadata: Metadata = Metadata()


class Event(Struct, frozen=True):
    """One line of a watch; `object` is still JSON."""

    type: str
    object: Raw


_event_decoder = msgspec.json.Decoder(Event)
_raw_page_decoder = msgspec.json.Decoder(_RawPage)
_identity_decoder = msgspec.json.Decoder(_Identity)
_status_decoder = msgspec.json.Decoder(Status)


class Page(Struct, Generic[T], frozen=True):
    """One page of a list. `version` is that of the snapshot which all its pages show; continue_ "" ends it."""

    objects: list[T | Undecodable]
    version: int
    continue_: str


class Codec(Generic[T]):
    """Decodes objects of one type, by `decode` where the type alone is not enough.

    Every method raises Torn for what is no such JSON at all.
    """

    def __init__(self, kind: type[T], decode: Callable[[Raw | bytes], T] | None = None) -> None:
        self._decode = decode or msgspec.json.Decoder(kind).decode

    def page(self, body: bytes) -> Page[T]:
        """Decode a page of a list."""
        try:
            page = _raw_page_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise Torn(f"a list of {len(body)} bytes: {error}") from error
        objects = [self.object(item) for item in page.items or ()]
        return Page(objects, version_of(page.metadata.resource_version), page.metadata.continue_)

    def object(self, body: Raw | bytes) -> T | Undecodable:
        """Decode one object; one of another shape keeps its identity and the decoder's complaint."""
        try:
            obj = self._decode(body)
        except msgspec.ValidationError as error:
            return Undecodable(identity(body), str(error))
        except msgspec.DecodeError as error:
            raise Torn(f"an object: {error}") from error
        _intern(obj)
        return obj


def event(line: bytes) -> Event:
    """Decode the frame of a watch line."""
    try:
        return _event_decoder.decode(line)
    except msgspec.DecodeError as error:
        raise Torn(f"a watch line of {len(line)} bytes: {error}") from error


def identity(body: Raw | bytes) -> Metadata:
    """Decode only the Metadata of an object."""
    try:
        return _identity_decoder.decode(body).metadata
    except msgspec.DecodeError as error:
        raise Torn(f"metadata: {error}") from error


def status(body: Raw | bytes) -> Status:
    """Decode the Status of an ERROR event."""
    try:
        return _status_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Torn(f"a status: {error}") from error


def version_of(text: str) -> int:
    """Return a resourceVersion as the comparable integer that it is."""
    if not (text.isascii() and text.isdigit()):
        raise Torn(f"a resourceVersion that is no number: {text[:20]!r}")
    return int(text)


def _worth_a_look(kind: type[Struct]) -> tuple[str, ...]:
    """Return the fields that may hold strings worth sharing: no numbers, no times, nothing that is unique by nature."""
    found = _shared_fields.get(kind)
    if found is None:
        hints = get_type_hints(kind)
        fields = (name for name in kind.__struct_fields__ if hints[name] not in _PLAIN)
        found = _shared_fields[kind] = tuple(name for name in fields if name != "resource_version")
    return found


def _intern(value: Any) -> None:
    """Let equal short strings of many objects share one copy: namespaces, phases, condition types, label values."""
    for name in _worth_a_look(type(value)):
        part = getattr(value, name)
        if type(part) is str:
            if len(part) <= INTERNED_CHARS_MAX:
                force_setattr(value, name, sys.intern(part))
        elif isinstance(part, Struct):
            _intern(part)
        elif type(part) is tuple:
            for item in part:
                if isinstance(item, Struct):
                    _intern(item)
        elif type(part) is dict:
            for key, item in part.items():
                if type(item) is str and len(item) <= INTERNED_CHARS_MAX:
                    part[key] = sys.intern(item)
