"""Manifests as text: the YAML that means the same to everybody, read without ever running anything.

Read from the parser's events, so that no alias is expanded and no tag constructs anything. What YAML 1.1 and 1.2 read
differently (no, 010, 1_000) is refused with its line rather than guessed: kubectl reads it one way, Python another.
Like kubectl, a whole number written as 2.0 or 1e3 is an integer, since JSON knows no difference.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from ganger.api.field_error import below, printable

SIZE_BYTES_MAX = 1 << 20  # etcd takes no more in one object
DEPTH_MAX = 64
_INT64 = 1 << 63
_EXACT = 1 << 53  # a float beyond has no exact integer

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BOOLEAN_TO_SOME = re.compile(r"[yYnN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
# Leading zeros, other bases and underscores; not 0.5, and not 0.0.0.0 or 2024-01-01, which are text to everybody.
_NUMBER_TO_SOME = re.compile(
    r"[-+]?(0[0-9_]+(\.[0-9_]*)?|0o[0-7_]+|0b[01_]+|0x[0-9a-fA-F]*_[0-9a-fA-F_]*|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"
    r"|[0-9]*\.[0-9]*_[0-9_]*)([eE][-+]?[0-9]+)?"
)
# JSON writes a character beyond U+FFFF as two escapes, `json.dumps` does so by itself; YAML knows no such pairs, and \/
# only since 1.2: kubectl's reader refuses it.
_SLASH = re.compile(r"(?<!\\)(\\\\)*\\/")
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)


class ManifestError(ValueError):
    """A text that cannot be read as manifests. Its text is one sentence; line counts from 1, or is None."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.message, self.line = message, line
        super().__init__(message if line is None else f"line {line}: {message}")


class Located(Struct, frozen=True):
    """One document with the line of every field in it."""

    manifest: dict[str, Any]
    lines: dict[str, int]

    def line(self, path: str) -> int:
        """Return the line of a field, or of the nearest field around it when it is not there. Lines count from 1."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines[path]


def load(text: str | bytes) -> list[Located]:
    """Return the documents of a text, empty ones left out. Raises ManifestError; never runs anything."""
    documents = list(_Reader(_decoded(text)).documents())
    if not documents:
        raise ManifestError("the manifest is empty")
    return documents


def _decoded(text: str | bytes) -> str:
    if len(text) > SIZE_BYTES_MAX:
        raise ManifestError(f"the manifest is larger than {SIZE_BYTES_MAX} bytes")
    if isinstance(text, bytes):
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ManifestError("the manifest is UTF-16: save it as UTF-8")
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise ManifestError("the manifest is not text in UTF-8") from None
    if "\0" in text:
        raise ManifestError("the manifest is binary, not text in UTF-8")
    text = text.removeprefix("\ufeff")
    return _ESCAPE.sub(_as_yaml, text) if text.lstrip().startswith("{") and _is_json(text) else text


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _as_yaml(escape: re.Match[str]) -> str:
    high, low = escape.groups()
    if high is None:
        return "/" if escape[0] == r"\/" else escape[0]
    return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)


class _Reader:
    """Builds values from the events of one text."""

    def __init__(self, text: str) -> None:
        # libyaml's parser where PyYAML has it: a manifest of 1 MiB takes tenths of a second instead of many.
        self._loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._text = text
        self._lines: dict[str, int] = {}

    def documents(self) -> Iterator[Located]:
        self._next()
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            line = event.start_mark.line + 1
            self._lines = {}
            event = self._next()
            value = self._value(event, "", 0)
            self._next()
            if value is None:
                continue
            if not isinstance(value, dict):
                raise ManifestError("a manifest must be an object such as 'kind: TrainingJob'", line)
            self._lines[""] = event.start_mark.line + 1
            yield Located(value, self._lines)

    def _next(self) -> Any:
        try:
            return self._loader.get_event()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise ManifestError(f"not YAML: {error.problem}", mark.line + 1 if mark else None) from None
        except yaml.reader.ReaderError as error:
            raise ManifestError(f"not YAML: {error.reason}") from None

    def _value(self, event: Any, path: str, depth: int) -> Any:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ManifestError(
                f"YAML aliases are not allowed: write out what *{printable(event.anchor or '')} stands for", line
            )
        # "!" alone asks for a string, and is as rare as any other.
        if event.tag is not None:
            raise ManifestError(
                f"YAML tags are not allowed: remove {printable(event.tag.replace('tag:yaml.org,2002:', '!!'))}", line
            )
        if depth > DEPTH_MAX:
            raise ManifestError(f"the manifest is nested deeper than {DEPTH_MAX} levels", line)
        if isinstance(event, yaml.ScalarEvent):
            if event.style == '"' and _SLASH.search(self._raw(event)):
                raise ManifestError(r"\/ is an escape to some readers of YAML and a mistake to others: write /", line)
            return _scalar(event.value, line) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth)
        return self._object(path, depth)

    def _raw(self, event: Any) -> str:
        return self._text[event.start_mark.index : event.end_mark.index]

    def _list(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            inner = f"{path}[{len(values)}]"
            self._lines[inner] = event.start_mark.line + 1
            values.append(self._value(event, inner, depth + 1))
        return values

    def _object(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._value(event, path, depth + 1)
            if not isinstance(key, str):
                raise ManifestError(f"the key {_shown(event)} must be a string: put it in quotes", line)
            if key == "<<" and event.implicit[0]:
                raise ManifestError("YAML merge keys (<<) are not allowed: write out what they merge", line)
            inner = below(path, key)
            if key in values:
                raise ManifestError(f"duplicate key {printable(key)!r}, first on line {self._lines[inner]}", line)
            self._lines[inner] = line
            values[key] = self._value(self._next(), inner, depth + 1)
        return values


def _shown(event: Any) -> str:
    return repr(printable(event.value)) if isinstance(event, yaml.ScalarEvent) else "that is itself an object or a list"


def _scalar(text: str, line: int) -> str | int | float | bool | None:
    """Return what a plain scalar means to the core schema, refusing what other readers take for something else."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return _TRUE.fullmatch(text) is not None
    if _BOOLEAN_TO_SOME.fullmatch(text):
        raise ManifestError(
            f"{text} is a boolean to some readers of YAML: put it in quotes, or write true or false", line
        )
    if _NUMBER_TO_SOME.fullmatch(text) and not _FLOAT.fullmatch(text):
        raise ManifestError(
            f"{printable(text)} is one number to some readers of YAML and another to others: put it in quotes", line
        )
    if _NOT_FINITE.fullmatch(text):
        raise ManifestError(f"{text} has no place in a manifest: JSON has no infinity and no NaN", line)
    if _INT.fullmatch(text) or _HEX.fullmatch(text):
        # A million digits would be a task of minutes; no integer of the API has more than 19.
        if len(text) > 20 or not -_INT64 <= int(text, 0) < _INT64:
            raise ManifestError(f"{text:.40} is larger than 64 bits", line)
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ManifestError(f"{text:.40} is larger than any number", line)
        return int(number) if number.is_integer() and abs(number) < _EXACT else number
    return text
