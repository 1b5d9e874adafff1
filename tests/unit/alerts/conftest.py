"""Programs and files of the alerts; without promtool or helm these tests are skipped, and say how to get it."""

import pytest

from ganger_dev import binaries, debian, prometheus
from golden.chart.rendered import Chart


@pytest.fixture(scope="session")
def promtool():
    path = prometheus.programs().promtool
    if not path.exists():
        pytest.skip("promtool is not there: `python -m ganger_dev prepare --no-images` fetches it")
    return path


@pytest.fixture(scope="session")
def lua():
    path = debian.program("lua5.4", "lua5.4")
    if not path.exists():
        pytest.skip("lua5.4 is not there: `python -m ganger_dev prepare --no-images` fetches it")
    return path


@pytest.fixture(scope="session")
def chart():
    path = binaries.path_of("helm")
    if not path.exists():
        pytest.skip("helm is not built: `make test` builds it, or `python -m ganger_dev.binaries helm`")
    return Chart(path)
