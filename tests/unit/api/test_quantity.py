"""Quantities are exact and bounded."""

from fractions import Fraction

import pytest

from ganger.api.quantity import parse


@pytest.mark.parametrize(
    "text, value",
    [
        (4, 4),
        ("4", 4),
        ("4.", 4),
        (".5", Fraction(1, 2)),
        ("500m", Fraction(1, 2)),
        ("100u", Fraction(1, 10_000)),
        ("1n", Fraction(1, 10**9)),
        ("1k", 1_000),
        ("1.5M", 1_500_000),
        ("2G", 2 * 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 1024),
        ("16Gi", 16 * 2**30),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1e3", 1_000),
        ("1E3", 1_000),
        ("25e-1", Fraction(5, 2)),
        ("0.1", Fraction(1, 10)),
    ],
)
def test_a_quantity_has_an_exact_value(text, value):
    assert value == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "16GB",
        "1ki",
        "1K",
        "1mi",
        "-1",
        "+1",
        "1e",
        "1e999",
        "0x10",
        "1_000",
        "lots",
        "1\n",
        ".",
        "\u0661",
        "1" * 33,
    ],
)
def test_anything_else_is_no_quantity(text):
    with pytest.raises(ValueError, match="is not a quantity such as 4, 500m or 16Gi"):
        parse(text)
