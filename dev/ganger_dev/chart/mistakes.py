"""Every mistake of spelling and of type that a values file can have, made from the schema itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ganger_dev.chart.space import nested, properties

# A value that is certainly none of the type.
_WRONG: Final[dict[str, Any]] = {"boolean": "yes", "integer": "many", "string": 7, "array": "one", "object": "all"}


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Values with one mistake, and the word by which the refusal must name it."""

    values: dict[str, Any]
    named: str


def misspelt(root: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield each key without its last letter, or with one more where the shorter one is a key too."""
    for path, _ in properties(root, root):
        outer, _, key = path.rpartition(".")
        known = {other.rpartition(".")[2] for other, _ in properties(root, root) if other.rpartition(".")[0] == outer}
        wrong = key[:-1] if key[:-1] not in known else f"{key}s"
        if not (outer and _open(outer, root)):
            yield Mistake(values=nested({f"{outer}.{wrong}" if outer else wrong: {}}), named=f"'{wrong}'")


def mistyped(root: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield each value as one of another type; an enumeration as a word that is not in it."""
    for path, node in properties(root, root):
        if "properties" in node:
            continue  # an object of named values: its values are mistyped one by one
        wrong = "sideways" if "enum" in node else _WRONG.get(node.get("type", ""), [])
        yield Mistake(values=nested({path: wrong}), named="/" + path.replace(".", "/"))


def _open(path: str, root: Mapping[str, Any]) -> bool:
    """Return whether further keys are allowed there."""
    return dict(properties(root, root))[path].get("additionalProperties", True) is not False
