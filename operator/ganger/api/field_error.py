"""One mistake in a manifest: where, what must hold, and what to do."""

import re

from msgspec import Struct

_KEY_LENGTH_MAX = 80


def printable(text: str, length: int = _KEY_LENGTH_MAX) -> str:
    """Return a text of a manifest as it may reach a terminal: no control characters, and not too long."""
    whole = text[:length]
    shown = whole if whole.isprintable() else whole.encode("unicode_escape").decode()
    return shown if len(text) <= length else f"{shown}..."


def below(path: str, key: str) -> str:
    """Return the path of a key of an object; a key that is no plain word is put in brackets."""
    name = printable(key)
    if not path:
        return name
    return f"{path}.{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"{path}[{name}]"


class FieldError(Struct, frozen=True):
    """A refusal of one field.

    path: as in the manifest, spec.env[0].name. message: what must hold, with the allowed values.
    remedy: the next step, where it is not plain from the message.
    """

    path: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """As one sentence: path, message, remedy."""
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text}; {self.remedy}" if self.remedy else text
