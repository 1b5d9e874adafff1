"""The chart; without a built helm these tests are skipped, and say how to get it."""

import pytest

from ganger_dev import binaries
from golden.chart.rendered import Chart


@pytest.fixture(scope="session")
def chart():
    path = binaries.path_of("helm")
    if not path.exists():
        pytest.skip("helm is not built: `make test` builds it, or `python -m ganger_dev.binaries helm`")
    return Chart(path)
