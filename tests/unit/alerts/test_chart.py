"""What the chart makes of the rule file, and what it refuses."""

import shutil

import pytest

from golden.chart.rendered import CHART, MONITORING, Chart, Refused
from unit.alerts.alerts import names, rules


def rendered(chart, **values):
    """Each rule by its name, as the chart renders it with these values of prometheusRule."""
    rule = chart.one("PrometheusRule", {"prometheusRule": {"enabled": True, **values}})
    return {found["alert"]: found for group in rule["spec"]["groups"] for found in group["rules"]}


def test_without_further_values_the_rules_are_those_of_the_file(chart):
    assert rules() == rendered(chart)


def test_disabled_alerts_are_left_out(chart):
    left = rendered(chart, disabled=["GangerGoodputLow", "GangerOperatorDown"])

    assert set(names()) - {"GangerGoodputLow", "GangerOperatorDown"} == set(left)


def test_a_group_without_alerts_is_left_out(chart):
    jobs = [name for name, rule in rules().items() if "ganger_operator_" not in rule["expr"]]
    rule = chart.one("PrometheusRule", {"prometheusRule": {"enabled": True, "disabled": jobs}})

    assert ["ganger-operator"] == [group["name"] for group in rule["spec"]["groups"]]


@pytest.mark.parametrize("values", [{"disabled": ["GangerFoo"]}, {"overrides": {"GangerFoo": {"for": "1h"}}}])
def test_an_alert_that_is_not_there_is_refused_with_those_that_are(chart, values):
    with pytest.raises(Refused, match="GangerFoo is no alert of Ganger; there are GangerCheckpointSaveFailing, "):
        rendered(chart, **values)


@pytest.mark.parametrize(
    ("name", "number", "alerts"),
    [
        ("goodputRatio", 0.5, {"GangerGoodputLow": 1}),
        ("gpuUtilizationRatio", 0.125, {"GangerGPUIdleWhileRunning": 2}),
        ("restartsPerHour", 7, {"GangerRestartLoop": 1}),
    ],
)
def test_a_threshold_reaches_its_rules_and_no_other(chart, name, number, alerts):
    changed = rendered(chart, thresholds={name: number})

    assert set(alerts) == {alert for alert in names() if rules()[alert] != changed[alert]}
    for alert, times in alerts.items():
        assert times == changed[alert]["expr"].count(f" {number} # thresholds.{name}\n")


def test_every_threshold_of_the_file_is_a_value(chart):
    found = {
        word.removeprefix("thresholds.")
        for rule in rules().values()
        for word in rule["expr"].split()
        if "olds." in word
    }

    assert found == set(chart.values["prometheusRule"]["thresholds"])


def test_an_override_changes_duration_and_severity_of_one_alert(chart):
    changed = rendered(chart, overrides={"GangerJobPendingTooLong": {"for": "4h", "severity": "info"}})
    rule = changed.pop("GangerJobPendingTooLong")

    assert ("4h", "info") == (rule["for"], rule["labels"]["severity"])
    assert changed == {name: rule for name, rule in rules().items() if name != "GangerJobPendingTooLong"}


def test_labels_and_links_reach_every_alert(chart):
    for name, rule in rendered(chart, alertLabels={"team": "ml"}, runbookUrl="https://wiki.example/books/").items():
        assert {"team": "ml", "severity": rules()[name]["labels"]["severity"]} == rule["labels"]
        assert f"https://wiki.example/books/{name}.md" == rule["annotations"]["runbook_url"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("metrics.serviceMonitor", "ServiceMonitor"),
        ("metrics.podMonitor", "PodMonitor"),
        ("prometheusRule", "PrometheusRule"),
    ],
)
def test_a_cluster_without_the_definition_is_refused_with_a_sentence(chart, path, kind):
    values: dict = {"enabled": True}
    for part in reversed(path.split(".")):
        values = {part: values}
    others = tuple(version for version in MONITORING if not version.endswith(kind))

    with pytest.raises(Refused) as caught:
        chart.text(values, served=others)

    assert f"{path}.enabled=true needs the Prometheus operator" in str(caught.value)
    assert f"set {path}.enabled=false" in str(caught.value)
    assert [kind] == [found["kind"] for found in chart.objects(values) if found["kind"] == kind]


@pytest.mark.parametrize(("namespaces", "expected"), [([], {"any": True}), (["a", "b"], {"matchNames": ["a", "b"]})])
def test_the_workers_are_scraped_where_the_operator_watches(chart, namespaces, expected):
    values = {"watchNamespaces": namespaces, "metrics": {"podMonitor": {"enabled": True}}}

    assert expected == chart.one("PodMonitor", values)["spec"]["namespaceSelector"]


def test_a_service_monitor_selects_the_service_of_the_metrics_alone(chart):
    objects = chart.objects({"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}})
    monitor = next(found["spec"] for found in objects if found["kind"] == "ServiceMonitor")
    services = [found for found in objects if found["kind"] == "Service"]
    wanted = monitor["selector"]["matchLabels"].items()
    (service,) = [found for found in services if wanted <= found["metadata"]["labels"].items()]

    assert "ganger-metrics" == service["metadata"]["name"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    assert monitor["endpoints"][0]["honorLabels"] is True


def test_authenticated_metrics_move_to_https_everywhere(chart):
    values = {"metrics": {"authentication": {"enabled": True}, "serviceMonitor": {"enabled": True}}}
    service = chart.one("Service", values, name="ganger-metrics")
    (endpoint,) = chart.one("ServiceMonitor", values)["spec"]["endpoints"]
    (container,) = chart.one("Deployment", values)["spec"]["template"]["spec"]["containers"]

    assert [9443] == [port["targetPort"] for port in service["spec"]["ports"]]
    assert {"prometheus.io/port": "9443", "prometheus.io/scheme": "https", "prometheus.io/scrape": "true"} == (
        service["metadata"]["annotations"]
    )
    assert "https" == endpoint["scheme"]
    assert {"name": "GANGER_METRICS_AUTH", "value": "true"} in container["env"]
    assert 9443 in [port["containerPort"] for port in container["ports"]]


def test_without_the_control_channel_the_certificate_has_no_name_to_check(chart):
    values = {
        "control": {"enabled": False},
        "metrics": {"authentication": {"enabled": True}, "serviceMonitor": {"enabled": True}},
    }
    (endpoint,) = chart.one("ServiceMonitor", values)["spec"]["endpoints"]

    assert {"insecureSkipVerify": True} == endpoint["tlsConfig"]


@pytest.fixture(scope="module")
def notes(chart, tmp_path_factory):
    """The notes in a cluster that serves the definitions; `helm install --dry-run` knows no such cluster."""
    copy = tmp_path_factory.mktemp("chart") / "ganger"
    shutil.copytree(CHART, copy)
    (copy / "templates" / "NOTES.txt").rename(copy / "notes.txt")
    (copy / "templates" / "notes.yaml").write_text('said: {{ tpl (.Files.Get "notes.txt") . | quote }}\n')

    def said(values, served=MONITORING):
        versions = [word for version in served for word in ("--api-versions", version)]
        show = ["--show-only", "templates/notes.yaml"]
        return Chart(chart.helm).run("template", "ganger", str(copy), *show, *versions, values=values)

    return said


def test_the_notes_say_how_prometheus_comes_to_its_data(notes):
    on = {"metrics": {"serviceMonitor": {"enabled": True}}}
    labelled = {"metrics": {"serviceMonitor": {"enabled": True, "additionalLabels": {"release": "x"}}}}
    trap = "takes only those with its own release"

    assert "--set metrics.serviceMonitor.enabled=true," in notes({})
    assert "Prometheus" not in notes({}, served=())
    assert trap in notes(on)
    assert trap not in notes(labelled)
    assert "--clusterrole=default:ganger:metrics-reader" in notes({"metrics": {"authentication": {"enabled": True}}})
