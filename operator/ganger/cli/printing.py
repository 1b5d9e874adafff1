"""Objects as JSON, YAML or names, for scripts."""

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, KIND


class _Dumper(yaml.CSafeDumper if hasattr(yaml, "CSafeDumper") else yaml.SafeDumper):  # type: ignore[misc]
    """Writes no anchors, which Ganger's own reader refuses, and several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        """Say that nothing is ever written as an alias."""
        return True


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(value: Any) -> str:
    """Return a value as one YAML document, keys in their order. Control characters come out escaped."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=4096)
    return text.rstrip("\n")


def as_documents(values: Iterable[Any]) -> str:
    """Return several values as one stream of YAML documents."""
    return "\n---\n".join(as_yaml(value) for value in values)


def as_json(value: Any) -> str:
    """Return a value as indented JSON. Control characters come out escaped."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def as_name(name: str) -> str:
    """Return a job's name as kubectl writes it."""
    return f"{KIND.lower()}.{API_GROUP}/{escape(name)}"


def listed(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return objects as the List that kubectl prints."""
    return {"apiVersion": "v1", "kind": "List", "items": objects}
