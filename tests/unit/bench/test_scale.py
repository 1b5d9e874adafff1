"""The arithmetic of the scale bench."""

import math

import pytest
from bench.scale import exponent, quantile

PAGE = """# TYPE ganger_x histogram
ganger_x_bucket{le="0.1"} 90.0
ganger_x_bucket{le="0.5"} 99.0
ganger_x_bucket{le="+Inf"} 100.0
ganger_x_sum 9.0
ganger_xx_bucket{le="0.1"} 100.0
"""


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power):
    assert math.isclose(power, exponent([(n, 3.0 * n**power) for n in (125, 250, 500, 1000)]))


def test_a_quantile_is_the_bound_of_its_bucket():
    assert [0.1, 0.5, math.inf] == [quantile(PAGE, "ganger_x", share) for share in (0.9, 0.99, 0.995)]
