import pytest
from bench import ratios


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_the_sums():
    found = ratios.ratio([10.0, 100.0, 30.0], [5.0, 100.0, 10.0])

    assert (2.0, 3) == (found.median, found.rounds)


def test_the_interval_holds_the_median_and_lies_within_the_rounds():
    rounds = [2.0, 2.2, 1.9, 2.1, 4.0, 2.05, 1.95]

    found = ratios.ratio(rounds, [1.0] * len(rounds))

    assert 1.9 <= found.low <= 2.05 == found.median <= found.high <= 4.0
    assert found.low < found.high


def test_the_same_rounds_have_the_same_interval():
    rounds = [1.0, 1.5, 2.5, 3.0]

    assert ratios.interval(rounds) == ratios.interval(rounds)


def test_equal_rounds_leave_no_doubt():
    assert (3.0, 3.0) == ratios.interval([3.0] * 5)


def test_more_rounds_are_surer():
    few, many = ratios.interval([1.0, 2.0, 3.0]), ratios.interval([1.0, 2.0, 3.0] * 20)

    assert many[1] - many[0] < few[1] - few[0]


@pytest.mark.parametrize(("of", "to"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_what_is_no_ratio_is_refused(of, to):
    with pytest.raises(ValueError, match="a ratio"):
        ratios.ratio(of, to)


def test_a_round_on_a_slow_machine_is_left_out():
    assert [True, True, False, True, False] == ratios.even([10.0, 12.9, 13.1, 10.0, 6.9])


def test_a_percentile_is_a_value_that_was_measured():
    values = [0.1 * number for number in range(1, 101)]

    assert [values[49], values[98], values[99]] == [ratios.percentile(values, p) for p in (50, 99, 100)]
    assert [7.0] == [ratios.percentile([7.0], 99)]


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        ratios.percentile([], 50)


def test_an_exponent_is_that_of_the_power_law():
    sizes = [50.0, 200.0, 1000.0]

    assert 1.1 == pytest.approx(ratios.exponent(sizes, [0.3 * size**1.1 for size in sizes]))


def test_one_size_has_no_exponent():
    with pytest.raises(ValueError, match="two different sizes"):
        ratios.exponent([50.0, 50.0], [1.0, 2.0])
