"""The chart, as the golden tests have it."""

from golden.chart.conftest import chart  # noqa: F401 - a fixture
