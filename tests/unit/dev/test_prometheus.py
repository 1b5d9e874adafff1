import pytest

from ganger_dev import prometheus
from ganger_dev.errors import DevError


@pytest.fixture
def fetched():
    if not prometheus.programs().prometheus.exists():
        pytest.skip("Prometheus is not there: `python -m ganger_dev prepare --no-images` fetches it")


def test_a_prometheus_runs_and_answers(fetched, tmp_path):
    with prometheus.running(tmp_path, "global: {scrape_interval: 1s}\n") as running:
        assert {(("a", "b"),): 3.0} == running.query('label_replace(vector(3), "a", "b", "", "")')
        assert {(): 7.0} == running.query("time()", at=7)
        assert [] == running.get("targets", state="active")["activeTargets"]
        with pytest.raises(DevError, match="unclosed left parenthesis"):
            running.query("rate(")

    assert running.service.pid() is None


def test_a_configuration_that_is_wrong_is_said(fetched, tmp_path):
    with pytest.raises(DevError, match=r"prometheus ended while starting.*field scrap_configs not found"):
        prometheus.start(tmp_path, "scrap_configs: []\n")
