"""What the chart installs, as files to review: a diff in one of them is the change of behaviour."""

import inspect
import os
import re
from pathlib import Path

import pytest
import yaml

from ganger.app import settings
from golden.chart.rendered import CHART
from golden.chart.test_rights import CLUSTER_SCOPED

HERE = Path(__file__).parent
DIGEST = "sha256:" + "0123456789abcdef" * 4
POLICIES = "admissionPolicies"
VALUES = {
    "defaults": {},
    "watch-namespaces": {"watchNamespaces": ["team-a", "team-b"]},
    "digest": {"image": {"registry": "registry.example:5000", "digest": DIGEST}},
    "crd-not-kept": {"crds": {"keep": False}},
    "one-replica": {"replicas": 1},
    "bare": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "given"},
        "podDisruptionBudget": {"enabled": False},
        "metrics": {"service": {"enabled": False}},
        "dashboards": {"enabled": False},
        "test": {"enabled": False},
        "admissionPolicies": {"enabled": False},
    },
    "monitoring": {
        "metrics": {
            "serviceMonitor": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
            "podMonitor": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
        },
        "prometheusRule": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
    },
    "monitoring-with-authentication": {
        "watchNamespaces": ["team-a", "team-b"],
        "metrics": {
            "authentication": {"enabled": True},
            "service": {"enabled": False},
            "serviceMonitor": {"enabled": True, "interval": "15s"},
            "podMonitor": {"enabled": True, "scrapeTimeout": "5s"},
        },
    },
    "everything": {
        "image": {"registry": "registry.example", "repository": "ai/ganger", "tag": "v9", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "trainer": {"image": "registry.example/pytorch-cuda:v2.15"},
        "replicas": 3,
        "operator": {
            "syncWorkers": 32,
            "shards": 4,
            "logLevel": "debug",
            "isolateJobs": True,
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "x"}],
        },
        "serviceAccount": {"name": "ganger-operator", "annotations": {"a": "b"}},
        "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
        "metrics": {"service": {"annotations": {"a": "b"}}},
        "admissionPolicies": {"requireServiceAccountUse": True, "tokenAudiences": ["istio-ca"]},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "commonLabels": {"team": "platform"},
        "podAnnotations": {"a": "b"},
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "apiServerCIDRs": ["10.96.0.1/32", "192.0.2.10/32"],
        },
        "dashboards": {
            "label": "team/dashboard",
            "folder": "",
            "namespace": "monitoring",
            "grafanaOperator": {"enabled": True, "instanceSelector": {"dashboards": "grafana"}},
        },
    },
}


def shown(objects, values):
    """The objects as a text to review; of what has a file of its own, only the metadata."""
    for found in objects:
        if found["kind"] == "CustomResourceDefinition":
            found["spec"] = f"as in charts/ganger/files/{found['spec']['names']['plural']}.yaml"
        if found["kind"] == "PrometheusRule":
            found["spec"] = "as in charts/ganger/alerts/ganger.yaml"
        if found["kind"] == "ValidatingAdmissionPolicy" and "requireServiceAccountUse" not in values.get(POLICIES, ()):
            found["spec"] = f"as in everything.yaml but for {POLICIES} and the operator's account"
        if found["kind"] == "ConfigMap" and "job.yaml" not in found["data"]:
            found["data"] = {name: f"as in charts/ganger/dashboards/{name}" for name in found["data"]}
    return "---\n".join(yaml.safe_dump(found, sort_keys=False, width=100) for found in objects)


@pytest.mark.parametrize("name", VALUES)
def test_the_chart_renders_as_reviewed(chart, name):
    path = HERE / f"{name}.yaml"
    rendered = f"# Values: {VALUES[name]}\n" + shown(chart.objects(VALUES[name]), VALUES[name])
    if os.environ.get("GANGER_GOLDEN") == "write":
        path.write_text(rendered)

    assert path.read_text() == rendered


@pytest.mark.parametrize("plural", ["trainingjobs", "trainingprofiles", "devsessions"])
def test_the_definition_is_the_generated_one(chart, plural):
    rendered = chart.one("CustomResourceDefinition", name=f"{plural}.ganger.dev")
    generated = yaml.safe_load((HERE.parents[2] / f"charts/ganger/files/{plural}.yaml").read_text())

    assert generated["spec"] == rendered["spec"]
    assert {"helm.sh/resource-policy": "keep"}.items() <= rendered["metadata"]["annotations"].items()


@pytest.mark.parametrize("plural", ["trainingjobs", "trainingprofiles", "devsessions"])
def test_a_definition_that_is_not_kept_carries_no_policy(chart, plural):
    rendered = chart.one("CustomResourceDefinition", {"crds": {"keep": False}}, name=f"{plural}.ganger.dev")

    assert "helm.sh/resource-policy" not in rendered["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("expected", "image"),
    [
        ("ganger-operator:0.1.0", {}),
        ("ganger-operator:v2", {"tag": "v2"}),
        ("r.example/ganger-operator:0.1.0", {"registry": "r.example"}),
        (f"r.example/x@{DIGEST}", {"registry": "r.example", "repository": "x", "digest": DIGEST}),
    ],
)
def test_an_image_is_named_by_its_parts(chart, expected, image):
    pod = chart.one("Deployment", {"image": image})["spec"]["template"]["spec"]

    assert expected == pod["containers"][0]["image"]


@pytest.mark.parametrize(
    ("release", "expected"),
    [("ganger", "ganger"), ("my-ganger", "my-ganger"), ("prod", "prod-ganger"), ("r" * 53, "r" * 50)],
)
def test_names_derive_from_the_release_and_fit(chart, release, expected):
    objects = chart.objects(release=release)
    (deployment,) = [found for found in objects if found["kind"] == "Deployment"]

    assert expected == deployment["metadata"]["name"]
    for found in objects:
        policy = found["kind"].startswith("ValidatingAdmission")  # named by a DNS subdomain
        assert len(found["metadata"]["name"].rpartition(":")[2]) <= (253 if policy else 63)


@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_labelled_and_has_its_namespace(chart, name):
    for found in chart.objects(VALUES[name]):
        labels = found["metadata"]["labels"]
        assert ("ganger", "ganger") == (labels["app.kubernetes.io/name"], labels["app.kubernetes.io/instance"])
        assert ("namespace" not in found["metadata"]) == (found["kind"] in CLUSTER_SCOPED)


def test_every_selector_finds_the_pods_it_is_for(chart):
    objects = chart.objects({"commonLabels": {"team": "platform"}})
    deployment = next(found for found in objects if found["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    for found in objects:
        if found["kind"] == "Service" and not found["metadata"]["name"].endswith("-control"):
            selectors.append(found["spec"]["selector"])
        if found["kind"] == "PodDisruptionBudget":
            selectors.append(found["spec"]["selector"]["matchLabels"])
    pod = deployment["spec"]["template"]["spec"]
    terms = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors += [term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in terms]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]]

    assert 5 == len(selectors)
    for selector in selectors:
        assert selector.items() <= labels
        # A selector of a Deployment can never change: nothing that changes with a release may be in it.
        assert {"app.kubernetes.io/name", "app.kubernetes.io/instance"} == set(selector)


def test_the_operators_pod_passes_the_level_restricted(chart):
    pod = chart.one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & set(pod)
    assert {"requests", "limits"} == set(container["resources"])
    assert "memory" in container["resources"]["limits"]


def test_only_the_operators_pods_get_the_token(chart):
    assert chart.one("ServiceAccount", name="ganger")["automountServiceAccountToken"] is False
    assert chart.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


def test_what_the_chart_sets_is_what_the_operator_reads(chart):
    values = {
        "watchNamespaces": ["a", "b"],
        "operator": {"logLevel": "warning", "syncWorkers": 3, "priorityBoost": 30, "shards": 4},
        "metrics": {"authentication": {"enabled": True}},
    }
    (container,) = chart.one("Deployment", values)["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry.get("value", "from-the-pod") for entry in container["env"]}
    env["GANGER_POD_IP"] = "10.0.0.1"
    read = settings.read(env)

    assert (("a", "b"), "WARNING", 3, 4) == (read.watch_namespaces, read.log_level, read.sync_workers, read.shards)
    assert read.metrics_auth
    assert set(env) | {"GANGER_CONTROL_PORT"} == set(re.findall(r'"(GANGER_[A-Z_]+)"', inspect.getsource(settings)))
    assert [read.http_port, read.control_port] == [port["containerPort"] for port in container["ports"]]
    assert ("https://ganger-control.ganger-system.svc:9443", "ganger-control", "ganger-control-tls") == (
        read.control_url,
        read.control_service,
        read.control_secret,
    )


def test_every_setting_of_the_operator_makes_its_pods_new(chart):
    """There is nothing mounted whose change could pass unseen, so no checksum has to tell of it."""

    def pod(values):
        return chart.one("Deployment", values)["spec"]["template"]

    for values in (
        {"operator": {"logLevel": "debug"}},
        {"watchNamespaces": ["a"]},
        {"trainer": {"image": "other:v1"}},
        {"control": {"tlsSecret": "own"}},
        {"metrics": {"authentication": {"enabled": True}}},
    ):
        assert pod({}) != pod(values)
    assert not {"volumes", "envFrom"} & set(pod({})["spec"])
    assert "envFrom" not in pod({})["spec"]["containers"][0]


def test_the_control_service_has_no_selector_since_the_leader_says_where_it_is(chart):
    service = next(
        found
        for found in chart.objects()
        if (found["kind"], found["metadata"]["name"]) == ("Service", "ganger-control")
    )

    assert "selector" not in service["spec"]
    assert [9443] == [port["port"] for port in service["spec"]["ports"]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "every namespace"),
        ({"watchNamespaces": ["a", "b"]}, "these namespaces alone: a, b"),
        ({"crds": {"keep": False}}, "WARNING: crds.keep=false"),
        ({"crds": {"enabled": False}}, "apply\ncharts/ganger/files/trainingjobs.yaml"),
        ({"replicas": 1}, "With replicas=1 nobody watches"),
        ({"operator": {"shards": 4}}, "divided into 4 shards over 2 operator pods"),
        ({"operator": {"shards": 2}, "replicas": 3}, "so 1 of them only stand by"),
    ],
)
def test_the_notes_say_what_follows_from_the_values(chart, values, said):
    notes = chart.notes(values)

    assert said in notes
    for word in notes.split():
        if word.startswith(("jobs/", "charts/")):
            assert (HERE.parents[2] / word.rstrip(".")).exists()


def test_helm_finds_nothing_to_complain_of(chart):
    assert "0 chart(s) failed" in chart.run("lint", "--strict", str(CHART))
