import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ganger.observe import text

STRANGE = [
    "",
    "plain",
    'a"b',
    "a\\b",
    "a\nb",
    "\\n",
    '\\"',
    "tail\\",
    "ä 漢 🙂",
    "{}=,#",
    " spaced ",
    "\u2028",
    "a\rb",
    "\x01",
    "a\0b",
]


def read(page):
    ((sample,),) = [family.samples for family in text_string_to_metric_families(page)]
    return sample


@pytest.mark.parametrize("value", STRANGE, ids=ascii)
def test_a_reader_gets_back_the_label_that_was_written(value):
    assert value == read(f'a{{b="{text.escaped(value)}"}} 1\n').labels["b"]


def test_what_utf_8_cannot_say_would_spoil_the_page_and_is_replaced():
    assert "a?b" == text.escaped("a\udcffb")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-3, "-3"),
        (2**53, "9007199254740992"),
        (0.1, "0.1"),
        (1e-300, "1e-300"),
        (1767268800.25, "1767268800.25"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_number_is_written_as_prometheus_reads_it(value, expected):
    assert expected == text.number(value)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e300, 5e-324, -0.0, 123456789.987654321, math.inf, -math.inf])
def test_a_number_reads_back_as_the_same(value):
    assert value == read(f"a {text.number(value)}\n").value


def test_a_head_escapes_its_sentence():
    assert b'# HELP a one\\nline, a \\\\ and a "\n# TYPE a gauge\n' == text.head(
        "a", "gauge", 'one\nline, a \\ and a "'
    )
