"""The NetworkPolicy: who reaches the operator, and whom it reaches."""

import pytest

from ganger.contract import CONTROL_PORT


def policy(chart, **values):
    return chart.one("NetworkPolicy", {**values, "networkPolicy": {"enabled": True} | values.get("networkPolicy", {})})[
        "spec"
    ]


def ports(rules):
    return [[(one["port"], one["protocol"]) for one in rule["ports"]] for rule in rules]


def test_there_is_none_unless_it_is_wanted(chart):
    assert "NetworkPolicy" not in {found["kind"] for found in chart.objects()}


def test_it_selects_the_operators_pods_and_rules_both_ways(chart):
    labels = chart.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    spec = policy(chart)

    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert ["Ingress", "Egress"] == spec["policyTypes"]


def test_every_port_of_the_operator_is_reached_and_no_other(chart):
    for values in ({}, {"control": {"enabled": False}}, {"metrics": {"authentication": {"enabled": True}}}):
        (container,) = chart.one("Deployment", values)["spec"]["template"]["spec"]["containers"]
        opened = {port for rule in ports(policy(chart, **values)["ingress"]) for port, _ in rule}

        assert {port["containerPort"] for port in container["ports"]} == opened


def test_workers_of_all_namespaces_report_and_nobody_else(chart):
    (_, reports) = policy(chart)["ingress"]

    assert [[(CONTROL_PORT, "TCP")]] == ports([reports])
    (peer,) = reports["from"]
    assert ({}, {"app.kubernetes.io/managed-by": "ganger"}) == (
        peer["namespaceSelector"],
        peer["podSelector"]["matchLabels"],
    )


def test_workers_report_only_from_the_namespaces_that_are_watched(chart):
    (_, reports) = policy(chart, watchNamespaces=["a", "b"])["ingress"]
    (term,) = reports["from"][0]["namespaceSelector"]["matchExpressions"]

    assert ("kubernetes.io/metadata.name", "In", ["a", "b"]) == (term["key"], term["operator"], term["values"])


def test_without_the_control_channel_nobody_reports(chart):
    assert [[(8080, "TCP")]] == ports(policy(chart, control={"enabled": False})["ingress"])


def test_metrics_are_read_by_everybody_or_by_whom_the_values_name(chart):
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]

    assert "from" not in policy(chart)["ingress"][0]
    assert peers == policy(chart, networkPolicy={"metricsFrom": peers})["ingress"][0]["from"]


def test_it_reaches_the_api_server_and_dns_alone(chart):
    server, names = policy(chart)["egress"]

    assert [[(443, "TCP"), (6443, "TCP")], [(53, "UDP"), (53, "TCP")]] == ports([server, names])
    assert "to" not in server


@pytest.mark.parametrize(
    ("key", "value"), [("apiServerPorts", [8443]), ("apiServerCIDRs", ["10.0.0.1/32", "fd00::1/128"])]
)
def test_the_api_server_is_narrowed_to_what_the_values_say(chart, key, value):
    (server, _) = policy(chart, networkPolicy={key: value})["egress"]

    if key == "apiServerPorts":
        assert [[(8443, "TCP")]] == ports([server])
    else:
        assert [{"ipBlock": {"cidr": cidr}} for cidr in value] == server["to"]
