"""One mistake in a manifest: where, what must hold, and what to do."""

import re

from msgspec import Struct


def below(path: str, key: str) -> str:
    """Return the path of a key of an object; a key that is no plain word is put in brackets."""
    if not path:
        return key
    return f"{path}.{key}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else f"{path}[{key}]"


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
