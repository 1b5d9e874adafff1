"""Each value of the chart: checked by the schema, used by a template, told in the README."""

import json
import os
import re

import pytest

from ganger_dev.chart import space
from ganger_dev.pairwise import covering
from golden.chart.rendered import CHART, Refused

README = CHART / "README.md"
TABLE = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- /values -->)", re.DOTALL)
# For each value another one than the chart's own that must change what is installed.
OTHERS = {
    "global.imageRegistry": "registry.example",
    "image.registry": "registry.example",
    "image.repository": "other",
    "image.tag": "v9",
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "trainer.image": "other:v1",
    "session.image": "other:v1",
    "replicas": 3,
    "watchNamespaces": ["team-a"],
    "operator.syncWorkers": 9,
    "operator.shards": 4,
    "operator.watchSilenceSeconds": 20,
    "operator.logLevel": "debug",
    "operator.readNodes": False,
    "operator.podGroups": False,
    "operator.isolateJobs": True,
    "operator.kueue": False,
    "operator.priorityBoost": 10,
    "operator.extraEnv": [{"name": "A", "value": "b"}],
    "crds.enabled": False,
    "crds.keep": False,
    "serviceAccount.create": False,
    "serviceAccount.name": "other",
    "serviceAccount.annotations": {"a": "b"},
    "rbac.create": False,
    "rbac.aggregate": False,
    "admissionPolicies.enabled": False,
    "admissionPolicies.requireServiceAccountUse": True,
    "admissionPolicies.tokenAudiences": [],
    "resources": {"requests": {"cpu": "2"}},
    "podSecurityContext": {"runAsUser": 7},
    "securityContext": {"readOnlyRootFilesystem": False},
    "podDisruptionBudget.enabled": False,
    "control.enabled": False,
    "control.tlsSecret": "own",
    "networkPolicy.enabled": True,
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.apiServerPorts": [6443],
    "networkPolicy.apiServerCIDRs": ["10.96.0.1/32"],
    "metrics.authentication.enabled": True,
    "metrics.service.enabled": False,
    "metrics.service.annotations": {"a": "b"},
    "metrics.serviceMonitor.enabled": True,
    "metrics.serviceMonitor.additionalLabels": {"release": "prometheus"},
    "metrics.serviceMonitor.interval": "15s",
    "metrics.serviceMonitor.scrapeTimeout": "5s",
    "metrics.serviceMonitor.relabelings": [{"targetLabel": "cluster", "replacement": "a"}],
    "metrics.serviceMonitor.metricRelabelings": [{"action": "labeldrop", "regex": "a"}],
    "metrics.serviceMonitor.authorization": {"credentials": {"name": "token", "key": "token"}},
    "metrics.serviceMonitor.tlsConfig": {"insecureSkipVerify": True},
    "metrics.podMonitor.enabled": True,
    "metrics.podMonitor.additionalLabels": {"release": "prometheus"},
    "metrics.podMonitor.interval": "15s",
    "metrics.podMonitor.scrapeTimeout": "5s",
    "metrics.podMonitor.relabelings": [{"targetLabel": "cluster", "replacement": "a"}],
    "metrics.podMonitor.metricRelabelings": [{"action": "labeldrop", "regex": "a"}],
    "prometheusRule.enabled": True,
    "prometheusRule.additionalLabels": {"release": "prometheus"},
    "prometheusRule.alertLabels": {"team": "ml"},
    "prometheusRule.disabled": ["GangerGoodputLow"],
    "prometheusRule.overrides": {"GangerJobFailed": {"for": "5m"}},
    "prometheusRule.thresholds.goodputRatio": 0.5,
    "prometheusRule.thresholds.gpuUtilizationRatio": 0.1,
    "prometheusRule.thresholds.restartsPerHour": 5,
    "prometheusRule.runbookUrl": "https://wiki.example/ganger",
    "dashboards.enabled": False,
    "dashboards.label": "team/dashboard",
    "dashboards.labelValue": "yes",
    "dashboards.folder": "",
    "dashboards.folderAnnotation": "team/folder",
    "dashboards.namespace": "monitoring",
    "dashboards.grafanaOperator.enabled": True,
    "dashboards.grafanaOperator.instanceSelector": {"dashboards": "grafana"},
    "test.enabled": False,
    "test.timeoutSeconds": 60,
    "test.spec": {"workers": 2},
    "priorityClassName": "high",
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 2}],
    "commonLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
}

# What must be on for a value to matter, by the beginning of its path.
NEEDED = {
    "metrics.serviceMonitor.": "metrics.serviceMonitor.enabled",
    "metrics.serviceMonitor.authorization": "metrics.authentication.enabled",
    "metrics.serviceMonitor.tlsConfig": "metrics.authentication.enabled",
    "metrics.podMonitor.": "metrics.podMonitor.enabled",
    "networkPolicy.": "networkPolicy.enabled",
    "prometheusRule.": "prometheusRule.enabled",
    "dashboards.grafanaOperator.": "dashboards.grafanaOperator.enabled",
}


def documented():
    """Each value with its sentence and its default, as values.yaml has them: a comment stands above its key."""
    found, path, comment = {}, [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip("# "))
            continue
        match = re.match(r"( *)([A-Za-z]+):(.*)", line)
        if match and not (path and tuple(path[: len(match[1]) // 2]) in found):
            path = [*path[: len(match[1]) // 2], match[2]]
            if comment:
                found[tuple(path)] = " ".join(comment)
        comment = []
    return {".".join(path): sentence for path, sentence in found.items()}


def at(values, path):
    for part in path.split("."):
        values = values[part]
    return values


def merged(*many):
    """One nested value of several; a later one wins."""
    values: dict = {}
    for more in many:
        for key, value in more.items():
            both = isinstance(values.get(key), dict) and isinstance(value, dict)
            values[key] = merged(values[key], value) if both else value
    return values


def table(values):
    rows = [
        f"| `{path}` | `{json.dumps(at(values, path))}` | {sentence} |\n" for path, sentence in documented().items()
    ]
    return "| value | default | what it does |\n|---|---|---|\n" + "".join(rows)


def leaves(values, known, prefix=""):
    """Paths of all values; what is documented as a whole is one."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path in known or not isinstance(value, dict):
            yield path
        else:
            yield from leaves(value, known, f"{path}.")


def test_every_value_is_documented_by_a_sentence(chart):
    known = documented()

    assert set(known) == set(leaves(chart.values, known))
    assert all(sentence.endswith(".") for sentence in known.values())


def test_the_readme_has_the_table_of_the_values(chart):
    if os.environ.get("GANGER_GOLDEN") == "write":
        README.write_text(TABLE.sub(lambda _: table(chart.values), README.read_text()))

    assert [table(chart.values)] == TABLE.findall(README.read_text())


def test_every_value_has_another_one_to_try(chart):
    assert set(OTHERS) == set(leaves(chart.values, documented()))


@pytest.mark.parametrize("path", OTHERS)
def test_every_value_changes_what_is_installed(chart, path):
    switches = [on for start, on in NEEDED.items() if path.startswith(start) and path != on]
    base = merged(*(space.nested({on: True}) for on in switches))

    assert chart.text(base) != chart.text(merged(base, space.nested({path: OTHERS[path]})))


def schema_paths(schema, prefix=""):
    """Paths of everything that the schema names, as far as values.yaml goes."""
    for name, part in schema.get("properties", {}).items():
        inner = list(schema_paths(part, f"{prefix}{name}."))
        yield from inner or [f"{prefix}{name}"]


def test_the_schema_names_what_the_values_have_and_nothing_else(chart):
    known = set(documented()) | {"resources.requests", "resources.limits"}
    wanted = set(leaves(chart.values, known - {"resources"}))

    assert wanted == set(schema_paths(chart.schema))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicaCount": 2}, "replicaCount"),
        ({"image": {"tagg": "x"}}, "tagg"),
        ({"trainer": {"iamge": "x"}}, "iamge"),
        ({"operator": {"loglevel": "info"}}, "loglevel"),
        ({"operator": {"extraEnv": [{"name": "A", "valueFrom": {}}]}}, "valueFrom"),
        ({"crds": {"install": True}}, "install"),
        ({"serviceAccount": {"created": True}}, "created"),
        ({"rbac": {"clusterWide": True}}, "clusterWide"),
        ({"resources": {"claims": []}}, "claims"),
        ({"admissionPolicies": {"enable": True}}, "enable"),
        ({"admissionPolicies": {"tokenAudiences": [""]}}, "admissionPolicies/tokenAudiences/0"),
        ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable"),
        ({"metrics": {"enabled": True}}, "enabled"),
        ({"metrics": {"service": {"port": 1}}}, "port"),
        ({"metrics": {"serviceMonitor": {"labels": {}}}}, "labels"),
        ({"metrics": {"podMonitor": {"interval": "30"}}}, "metrics/podMonitor/interval"),
        ({"metrics": {"authentication": {"enable": True}}}, "enable"),
        ({"prometheusRule": {"disabled": ["JobFailed"]}}, "prometheusRule/disabled/0"),
        ({"prometheusRule": {"overrides": {"GangerJobFailed": {"expr": "up"}}}}, "expr"),
        ({"prometheusRule": {"thresholds": {"goodputRatio": 70}}}, "prometheusRule/thresholds/goodputRatio"),
        ({"prometheusRule": {"alertLabels": {"severity": "page"}}}, "severity"),
        ({"prometheusRule": {"runbookUrl": "wiki"}}, "prometheusRule/runbookUrl"),
        ({"imagePullSecrets": ["pull"]}, "imagePullSecrets/0"),
        ({"imagePullSecrets": [{"name": ""}]}, "imagePullSecrets/0/name"),
        ({"imagePullSecrets": [{"nam": "x"}]}, "nam"),
        ({"replicas": "two"}, "replicas"),
        ({"replicas": 0}, "replicas"),
        ({"watchNamespaces": "a,b"}, "watchNamespaces"),
        ({"watchNamespaces": ["Team"]}, "watchNamespaces/0"),
        ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
        ({"operator": {"logLevel": "LOUD"}}, "operator/logLevel"),
        ({"operator": {"syncWorkers": 0}}, "operator/syncWorkers"),
        ({"operator": {"watchSilenceSeconds": 4}}, "operator/watchSilenceSeconds"),
        ({"operator": {"shards": 17}}, "operator/shards"),
        ({"replicas": 17}, "replicas"),
        ({"operator": {"extraEnv": [{"name": "GANGER_POD", "value": "x"}]}}, "operator/extraEnv/0/name"),
        ({"image": {"tag": "v1", "digest": "sha256:" + "0" * 64}}, "image/tag"),
        ({"image": {"digest": "sha256:short"}}, "image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
        ({"trainer": {"image": "x; rm -rf /"}}, "trainer/image"),
        ({"resources": {"limits": {"memory": "lots"}}}, "resources/limits/memory"),
        ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
        ({"commonLabels": {"team": "a b"}}, "commonLabels/team"),
        ({"podAnnotations": {"kubectl.kubernetes.io/default-container": "x"}}, "default-container"),
        ({"nodeSelector": {"a": True}}, "nodeSelector/a"),
        ({"dashboards": {"lable": "x"}}, "lable"),
        ({"dashboards": {"label": "a b"}}, "dashboards/label"),
        ({"dashboards": {"label": "app.kubernetes.io/name"}}, "dashboards/label"),
        ({"dashboards": {"labelValue": 1}}, "dashboards/labelValue"),
        ({"dashboards": {"namespace": "Team"}}, "dashboards/namespace"),
        ({"dashboards": {"grafanaOperator": {"selector": {}}}}, "selector"),
        ({"global": {"imageRegistry": "https://r.example"}}, "global/imageRegistry"),
        ({"networkPolicy": {"metricsFrom": [{}]}}, "networkPolicy/metricsFrom/0"),
        ({"networkPolicy": {"metricsFrom": [{"namespace": "a"}]}}, "namespace"),
        ({"networkPolicy": {"apiServerPorts": []}}, "networkPolicy/apiServerPorts"),
        ({"networkPolicy": {"apiServerCIDRs": ["10.96.0.1"]}}, "networkPolicy/apiServerCIDRs/0"),
        ({"extraObjects": [{"kind": "ConfigMap"}]}, "extraObjects/0"),
        ({"test": {"timeout": 60}}, "timeout"),
        ({"test": {"timeoutSeconds": 5}}, "test/timeoutSeconds"),
    ],
)
def test_a_mistake_is_refused_by_its_name(chart, values, named):
    with pytest.raises(Refused) as caught:
        chart.text(values)

    assert named in str(caught.value)


def test_every_pair_of_values_renders(chart):
    for row in covering(space.factors(space.schema(), definitions=True)):
        assert [found for found in chart.objects(space.nested(row)) if found["kind"] == "Deployment"]
