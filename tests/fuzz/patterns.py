"""A text that a regular expression of the schema matches, drawn from the expression itself."""

import random
from collections.abc import Sequence
from functools import cache
from re import _constants as op
from re import _parser as parser
from typing import Any

_REPEATS_MAX = 4  # beyond the least: long enough to meet every branch, short enough for the bounds of length


def text(draw: random.Random, pattern: str) -> str:
    """Return a text that matches from its beginning to its end. Raises NotImplementedError for what RE2 lacks."""
    return _of(draw, _parsed(pattern))


@cache
def _parsed(pattern: str) -> Any:
    return parser.parse(pattern)


def _of(draw: random.Random, nodes: Any) -> str:
    return "".join(_one(draw, kind, value) for kind, value in nodes)


def _one(draw: random.Random, kind: Any, value: Any) -> str:
    match kind:
        case op.LITERAL:
            return chr(value)
        case op.AT:
            return ""
        case op.IN:
            return _member(draw, value)
        case op.NOT_LITERAL:
            return _member(draw, [(op.NEGATE, None), (op.LITERAL, value)])
        case op.SUBPATTERN:
            return _of(draw, value[-1])
        case op.BRANCH:
            return _of(draw, draw.choice(value[1]))
        case op.MAX_REPEAT:
            least, most, inner = value
            count = draw.randint(least, min(int(most), least + _REPEATS_MAX))
            return "".join(_of(draw, inner) for _ in range(count))
    raise NotImplementedError(f"{kind} in a pattern of the schema")


def _member(draw: random.Random, members: Any) -> str:
    if members[0][0] is op.NEGATE:
        barred = {chr(code) for kind, value in members[1:] for code in _codes(kind, value)}
        return draw.choice([one for one in "abz09 _-.é\u4e2d\U0001f600" if one not in barred])
    return chr(draw.choice([code for kind, value in members for code in _codes(kind, value)]))


def _codes(kind: Any, value: Any) -> Sequence[int]:
    if kind is op.LITERAL:
        return (value,)
    if kind is op.RANGE:
        return range(value[0], value[1] + 1)
    if kind is op.CATEGORY and value is op.CATEGORY_SPACE:
        return tuple(map(ord, " \t\n\f\r"))  # as RE2 has it: Python's is wider
    raise NotImplementedError(f"{kind} in a class of a pattern of the schema")
