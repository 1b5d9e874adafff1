"""What a function takes, read from its source and never by running it, against what it would be called with. Pure."""

import ast
import difflib
from collections.abc import Iterable

from msgspec import Struct

from ganger.cli.problem import Code, Problem

Def = ast.FunctionDef | ast.AsyncFunctionDef


class Signature(Struct, frozen=True, kw_only=True):
    """The names that a function takes. needed: those without a default. any: whether it takes every name (`**x`).

    positional: those that cannot be given by name.
    """

    takes: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    any: bool = False


def of(source: str, name: str) -> Signature | None:
    """Return what the function of that name at the top of the source takes; None where it has none, or decorators.

    A decorator may change what is taken, so nothing is known of such a function. The last of several counts.
    """
    found = [one for one in ast.parse(source).body if isinstance(one, Def) and one.name == name]
    return of_definition(found[-1]) if found else None


def of_definition(definition: Def) -> Signature | None:
    """Return what a function takes; None where it has decorators."""
    if definition.decorator_list:
        return None
    arguments = definition.args
    named = [*arguments.posonlyargs, *arguments.args]
    without = [one.arg for one in named[: len(named) - len(arguments.defaults)]]
    without += [
        one.arg for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None
    ]
    positional = tuple(one.arg for one in arguments.posonlyargs)
    takes = tuple(one.arg for one in (*arguments.args, *arguments.kwonlyargs))
    return Signature(takes=takes, needed=tuple(without), positional=positional, any=arguments.kwarg is not None)


def check(name: str, signature: Signature, given: Iterable[str], where: str) -> None:
    """Raise Problem where a function cannot be called with these names. where: what it stands in."""
    names = tuple(given)
    takes = f"it takes {', '.join(signature.takes)}" if signature.takes else "it takes none"
    for one in names:
        if one not in signature.takes and not signature.any:
            near = difflib.get_close_matches(one, signature.takes, n=1)
            fix = f"did you mean {near[0]}?" if near else "leave it out of --arg and of spec.config"
            raise Problem(f"{name} of {where} takes no argument {one}", takes, fix, code=Code.USAGE)
    left = [one for one in signature.needed if one not in names]
    if set(left) & set(signature.positional):
        why = f"{left[0]} stands before a / and cannot be given by name"
        raise Problem(
            f"{name} of {where} cannot be called", why, "take the / out, or give it a default", code=Code.USAGE
        )
    if left:
        fix = f"add {' '.join(f'--arg {one}=VALUE' for one in left)}, or give a default"
        raise Problem(f"{name} of {where} needs {', '.join(left)}", takes, fix, code=Code.USAGE)
