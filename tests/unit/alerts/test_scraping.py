"""The configurations of docs/observability.md, as promtool reads them, and what they say of the chart."""

import re
import shutil
import subprocess

import pytest
import yaml

from ganger.contract import LABEL_MANAGED_BY, MANAGED_BY
from golden.chart.rendered import MONITORING
from unit.alerts.alerts import ROOT, RULES

PAGE = (ROOT / "docs" / "observability.md").read_text()


def block(title):
    """The YAML under a title."""
    (found,) = re.findall(rf"^```yaml title={title}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def configuration(authentication=False):
    """The configuration of the page as promtool of Debian can read it: that build discovers nothing in Kubernetes."""
    config = yaml.safe_load(block("prometheus.yml"))
    if authentication:
        config["scrape_configs"][0] |= yaml.safe_load(block("with-authentication"))
    for scrape in config["scrape_configs"]:
        del scrape["kubernetes_sd_configs"]
        scrape["static_configs"] = [{"targets": ["10.0.0.7:8080"]}]
    return yaml.safe_dump(config)


@pytest.fixture
def checked(promtool, tmp_path):
    def check(text):
        shutil.copy(RULES, tmp_path / "ganger.yaml")
        (tmp_path / "prometheus.yml").write_text(text)
        command = [promtool, "check", "config", "--syntax-only", tmp_path / "prometheus.yml"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return check


@pytest.mark.parametrize("authentication", [False, True])
def test_promtool_accepts_the_configuration(checked, authentication):
    done = checked(configuration(authentication))

    assert (0, "") == (done.returncode, done.stderr)
    assert "prometheus.yml is valid" in done.stdout


def test_promtool_would_see_a_mistake(checked):
    assert 0 != checked(configuration().replace("honor_labels", "honour_labels")).returncode


def test_the_scrape_finds_what_the_chart_makes(chart):
    operator, workers = yaml.safe_load(block("prometheus.yml"))["scrape_configs"]
    service = chart.one("Service", name="ganger-metrics")
    kept = {
        rule["source_labels"][0].removeprefix("__meta_kubernetes_service_label_"): rule["regex"]
        for rule in operator["relabel_configs"]
        if rule.get("action") == "keep"
    }

    assert operator["honor_labels"] is True
    assert [{"role", "namespaces"}, {"role", "selectors"}] == [
        set(config["kubernetes_sd_configs"][0]) for config in (operator, workers)
    ]
    assert ["endpoints", "pod"] == [config["kubernetes_sd_configs"][0]["role"] for config in (operator, workers)]
    assert kept.items() <= {re.sub(r"[./-]", "_", k): v for k, v in service["metadata"]["labels"].items()}.items()
    assert [service["metadata"]["namespace"]] == operator["kubernetes_sd_configs"][0]["namespaces"]["names"]
    assert f"{LABEL_MANAGED_BY}={MANAGED_BY}" == workers["kubernetes_sd_configs"][0]["selectors"][0]["label"]
    for config in (operator, workers):
        assert {"namespace", "pod"} <= {rule.get("target_label") for rule in config["relabel_configs"]}


def test_the_names_of_the_page_are_those_of_the_chart(chart):
    values = {"metrics": {"authentication": {"enabled": True}, "serviceMonitor": {"enabled": True}}}
    (endpoint,) = chart.one("ServiceMonitor", values)["spec"]["endpoints"]
    lines = yaml.safe_load(block("with-authentication"))

    assert endpoint["tlsConfig"]["serverName"] == lines["tls_config"]["server_name"]
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] in PAGE
    role = next(found for found in chart.objects(values) if found["metadata"]["name"].endswith("metrics-reader"))
    assert f"--clusterrole={role['metadata']['name']}" in PAGE
    assert [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}] == role["rules"]


def test_the_values_of_the_page_are_accepted(chart):
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    kinds = [found["kind"] for found in chart.objects(yaml.safe_load(text))]

    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule"} <= set(kinds)
    assert 3 == len(MONITORING)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", PAGE))
def test_links_lead_somewhere(link):
    assert (ROOT / "docs" / link).exists()
