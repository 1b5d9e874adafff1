"""The form of a rule: what must hold of a value, said once for Python and once for the API server."""

import re
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


class Rule(Struct, frozen=True, kw_only=True):
    """One rule on one kind of value.

    on: the Struct it speaks of. message: what must hold, with the field and the allowed values. remedy: what to do.
    path: the field to blame, relative to the Struct, "" for the value itself. holds: the rule in Python.
    cel: the rule for the API server, "" where CEL cannot see the fields; then `ganger validate` and the controller
    check it.
    """

    on: type[Struct]
    message: str
    holds: Callable[[Any], bool]
    cel: str = ""
    path: str = ""
    remedy: str = ""
    reason: Reason = "FieldValueInvalid"


def fields_read(rule: Rule) -> set[str]:
    """Return the fields that a rule reads, by its CEL form or, without one, by the field that it blames."""
    return set(re.findall(r"self\.(\w+)", rule.cel) or rule.path.split(".")[1:2])


def rule_block(rule: Rule) -> dict[str, str]:
    """Return the rule as an entry of x-kubernetes-validations."""
    message = f"{rule.message}; {rule.remedy}" if rule.remedy else rule.message
    block = {"rule": rule.cel, "message": message, "reason": rule.reason}
    if rule.path:
        block["fieldPath"] = rule.path
    return block


def attribute(cls: type[Struct], field: str) -> str:
    """Return the Python name of a field of the wire."""
    return cls.__struct_fields__[cls.__struct_encode_fields__.index(field)]
