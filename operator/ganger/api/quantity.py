"""Kubernetes quantities as exact numbers.

Grammar: number, then a binary suffix (Ki .. Ei), a decimal one (n u m k M G T P E) or an exponent (1e3) of one or two
digits: nobody means more, and to compare 1e999999999 with anything would keep the API server busy for minutes.
No sign: nothing in a job can be reserved in a negative amount. Source: apimachinery `resource.Quantity`.
"""

import re
from decimal import Decimal
from fractions import Fraction

QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{1,2}))?$"
QUANTITY_LENGTH_MAX = 32
_PARTS = re.compile(r"^((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))((?:[KMGTPE]i)|[numkMGTPE]|(?:[eE][+-]?[0-9]{1,2}))?\Z")
_SUFFIX = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    **{letter: Fraction(1000 ** (power + 2)) for power, letter in enumerate("MGTPE")},
    **{f"{letter}i": Fraction(1024 ** (power + 1)) for power, letter in enumerate("KMGTPE")},
}


def parse(quantity: int | str) -> Fraction:
    """Return the exact value. Raises ValueError for anything that is no quantity, and for one too long to be meant."""
    if isinstance(quantity, int):
        return Fraction(quantity)
    match = _PARTS.match(quantity)
    if match is None or len(quantity) > QUANTITY_LENGTH_MAX:
        raise ValueError(f"{quantity!r} is not a quantity such as 4, 500m or 16Gi")
    number, suffix = match.groups()
    value = Fraction(Decimal(number))
    if suffix is None:
        return value
    # E alone and Ei are suffixes, E followed by a number is an exponent.
    return value * (_SUFFIX[suffix] if suffix in _SUFFIX else Fraction(10) ** int(suffix[1:]))
