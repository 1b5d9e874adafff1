import itertools

import pytest

from ganger_dev.pairwise import covering, pairs

SWITCHES = {f"switch{number}": (False, True) for number in range(8)}


@pytest.mark.parametrize(
    "factors",
    [
        {"a": (1, 2), "b": (3, 4)},
        SWITCHES,
        SWITCHES | {"level": ("debug", "info", "warning"), "list": ([], ["one"]), "single": (0,)},
    ],
)
def test_any_two_factors_take_every_pair_of_their_values(factors):
    rows = covering(factors)

    for one, other in itertools.combinations(factors, 2):
        for a, b in itertools.product(factors[one], factors[other]):
            assert any((row[one], row[other]) == (a, b) for row in rows), (one, a, other, b)
    assert all(list(row) == list(factors) for row in rows)


def test_a_dozen_rows_hold_all_pairs_of_eight_switches():
    rows = covering(SWITCHES)

    assert 112 == len(pairs(SWITCHES))
    assert len(rows) < 12


def test_the_same_factors_give_the_same_rows():
    assert covering(SWITCHES) == covering(dict(SWITCHES))
