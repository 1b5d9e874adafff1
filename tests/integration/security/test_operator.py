"""What the operator's token can make of a pod: workers of jobs, and nothing that is more than they are."""

import copy
from pathlib import Path

import pytest
import yaml

from apiclient import wait_for
from ganger.api.defaults import fill
from ganger.api.types import decode
from ganger.contract import LABEL_JOB_UID as UID_LABEL
from ganger.plan import pods as builder
from ganger.plan import service as services
from ganger.plan import sessionpod
from ganger.plan.networkpolicy import network_policy
from ganger.plan.site import Site
from integration.security.conftest import Answer, a_job, jobs, pods
from integration.security.escalations import ESCALATIONS, escalated
from sessions import IMAGE, KEY, session

pytestmark = pytest.mark.integration
EXAMPLES = sorted((Path(__file__).parents[3] / "jobs" / "examples").glob("*/*.yaml"))
SITE = Site(control_url="https://ganger-control.ganger-system.svc:9443", authority="PEM", restarts_containers=True)
UID = "9a3f6c1e-6f39-4d52-8e0b-2f9c6f0f8f11"
JOBS = {
    "task": {},
    "script": {"script": ["train.py"], "task": None, "workers": 2},
    "command": {"command": ["sleep", "1"], "task": None},
    "GPUs": {"resources": {"limits": {"nvidia.com/gpu": 8, "memory": "64Gi"}}, "processesPerWorker": 8, "workers": 2},
    "devices by claim": {"resources": {"claims": [{"name": "gpus", "templateName": "two-h100", "gpus": 2}]}},
    "elastic": {"workers": 2, "elastic": {"minWorkers": 1, "maxWorkers": 4}},
    "checkpoints": {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}, "workers": 2},
    "claim for checkpoints": {"checkpoint": {"volume": {"claimName": "c", "path": "a/b"}, "everySteps": 10}},
    "code of a ConfigMap": {"code": {"configMap": {"name": "code"}}},
    "code of an image": {"code": {"image": {"reference": "registry.local/code:v1"}}},
    "code of a claim": {"code": {"claim": {"claimName": "code"}}},
    "every volume": {
        "volumes": [
            {"name": "a", "claim": {"claimName": "a"}},
            {"name": "b", "configMap": {"name": "b"}},
            {"name": "c", "secret": {"name": "c"}},
            {"name": "d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "e", "image": {"reference": "registry.local/data:v1"}},
            {"name": "f", "ephemeral": {"size": "1Gi"}},
        ],
        "volumeMounts": [{"name": "a", "mountPath": "/data", "subPath": "train", "readOnly": True}],
    },
    "environment": {
        "env": [
            {"name": "A", "value": "b"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s"}}],
    },
    "placement": {
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "schedulerName": "volcano",
        "serviceAccountName": "default",
        "imagePullSecrets": [{"name": "pull"}],
    },
}


def typed(namespace, spec, name="digits", uid=UID):
    """The job of a manifest as the operator knows it."""
    spec = {key: value for key, value in ({"task": "m:t"} | spec).items() if value is not None}
    return fill(decode({"metadata": {"name": name, "namespace": namespace, "uid": uid}, "spec": spec}), "x:v1")


def made(job):
    """Pods that the operator makes for it: a worker of a group that it hears, one that it does not, and a probe."""
    return [builder.pod(job, 0, 0, SITE, grouped=True), builder.pod(job, 1, 0), builder.probe(job, 0, 0)]


def creates(user, body):
    """The answer to the creation of a pod, without one."""
    return user.ask("POST", f"{pods(body['metadata']['namespace'])}?dryRun=All&fieldValidation=Strict", body)


@pytest.fixture(scope="module")
def restricted(guarded):
    """A namespace of the Pod Security level restricted, which the API server enforces."""
    return guarded.make_namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})


@pytest.mark.parametrize("name", JOBS)
def test_every_pod_that_the_operator_builds_passes_in_a_restricted_namespace(guarded, operator, restricted, name):
    job = a_job(**JOBS[name])
    job["spec"] = {key: value for key, value in job["spec"].items() if value is not None}
    guarded.admin.call("POST", f"{jobs(restricted)}?dryRun=All&fieldValidation=Strict", job)
    for pod in made(typed(restricted, JOBS[name])):
        assert Answer(200) == creates(operator, pod), pod["metadata"]["name"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_is_taken_and_so_are_its_pods(submitter, operator, place, restricted, path):
    for manifest in yaml.safe_load_all(path.read_text()):
        assert Answer(200) == submitter.ask("POST", f"{jobs(place)}?dryRun=All&fieldValidation=Strict", manifest)
        for pod in made(typed(restricted, manifest["spec"], manifest["metadata"]["name"])):
            # Who makes the claims and ConfigMaps that it names is not asked of a pod.
            assert Answer(200) == creates(operator, pod)


def test_there_are_as_many_escalations_as_were_promised():
    assert 40 <= len(ESCALATIONS)
    assert 40 <= sum(change.by_policy for change in ESCALATIONS.values())


@pytest.mark.parametrize("name", ESCALATIONS)
def test_the_operators_token_makes_no_such_pod(guarded, operator, place, name):
    change = ESCALATIONS[name]
    honest = builder.pod(typed(place, {}), 0, 0, SITE)
    body = escalated(copy.deepcopy(honest), change)
    assert honest != body
    answer = creates(operator, body)

    assert change.says in answer.message
    if change.by_policy:
        assert (403, True) == (answer.code, "ValidatingAdmissionPolicy 'ganger-system.ganger.pods'" in answer.message)
        # Else the pod would be refused for something that has nothing to do with who makes it.
        assert Answer(200) == creates_as_admin(guarded, body)
    else:
        assert 422 == answer.code


def creates_as_admin(guarded, body):
    path = f"{pods(body['metadata']['namespace'])}?dryRun=All&fieldValidation=Strict"
    guarded.admin.call("POST", path, body)
    return Answer(200)


@pytest.mark.parametrize("name", [name for name, change in ESCALATIONS.items() if change.job is not None])
def test_no_job_can_ask_for_such_a_pod(submitter, place, name):
    job = a_job(**ESCALATIONS[name].job)
    refused = submitter.ask("POST", f"{jobs(place)}?dryRun=All&fieldValidation=Strict", job)

    assert refused.code in (400, 422)
    assert "spec." in refused.message


def test_a_field_that_a_lenient_client_slips_in_is_not_stored(submitter, place):
    job = a_job(hostNetwork=True, securityContext={"privileged": True})
    stored = submitter.api.call("POST", f"{jobs(place)}?dryRun=All&fieldValidation=Ignore", job)

    assert {"hostNetwork", "securityContext"}.isdisjoint(stored["spec"])


def test_kube_system_is_no_place_for_its_pods(operator):
    answer = creates(operator, builder.pod(typed("kube-system", {}), 0, 0))

    assert (403, True) == (answer.code, "metadata.namespace" in answer.message)


def test_a_sidecar_that_is_restricted_too_and_the_identity_of_a_cloud_may_be_injected(operator, place):
    pod = builder.pod(typed(place, {}), 0, 0, SITE)
    sidecar = {
        "name": "proxy", "image": "x", "restartPolicy": "Always",
        "securityContext": pod["spec"]["containers"][0]["securityContext"],
        "readinessProbe": {"httpGet": {"port": 15021}},
    }  # fmt: skip
    token = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}
    pod["spec"]["initContainers"] = [sidecar]
    pod["spec"]["volumes"].append({"name": "cloud", "projected": {"sources": [token]}})

    assert Answer(200) == creates(operator, pod)


def test_its_token_deletes_no_pod_of_somebody_else(guarded, operator, namespace):
    uid = guarded.admin.create(jobs(namespace), a_job())["metadata"]["uid"]
    honest = builder.pod(typed(namespace, {}, uid=uid), 0, 0)
    foreign = honest | {"metadata": {"name": "foreign", "namespace": namespace}}
    guarded.admin.create(pods(namespace), foreign)
    answer = operator.ask("DELETE", f"{pods(namespace)}/foreign")

    assert (403, True) == (answer.code, "deletes pods of TrainingJobs and DevSessions alone" in answer.message)
    guarded.admin.create(pods(namespace), honest)
    assert Answer(200) == operator.ask("DELETE", f"{pods(namespace)}/{honest['metadata']['name']}")


def test_a_pod_of_an_invented_job_does_not_stay(operator, guarded, place):
    """No policy can look the owner up; the garbage collector does."""
    pod = builder.pod(typed(place, {}), 0, 0)
    path = f"{pods(place)}/{pod['metadata']['name']}"

    assert Answer(200) == operator.ask("POST", pods(place), pod)
    wait_for(lambda: guarded.admin.get(path) is None, 60, "the pod is collected")


def test_its_token_makes_no_service_but_that_of_a_gang(operator, place):
    gang = services.service(typed(place, {"workers": 2}))
    path = f"/api/v1/namespaces/{place}/services?dryRun=All"

    assert Answer(200) == operator.ask("POST", path, gang)
    for change in ({"type": "LoadBalancer", "clusterIP": None}, {"clusterIP": None}, {"externalIPs": ["10.0.0.53"]}):
        answer = operator.ask("POST", path, gang | {"spec": gang["spec"] | change})
        assert (403, True) == (answer.code, "the Service of a gang is headless" in answer.message), change
    alone = gang | {"metadata": {"name": "alone"}}
    assert "makes Services of TrainingJobs alone" in operator.ask("POST", path, alone).message


POLICIES = {
    "of nobody": (lambda policy: policy["metadata"].pop("ownerReferences"), "of TrainingJobs and DevSessions alone"),
    "of everybody": (lambda policy: policy["spec"].update(podSelector={}), "selects its own pods alone"),
    "of another job": (
        lambda policy: policy["spec"].update(podSelector={"matchLabels": {UID_LABEL: "other"}}),
        "selects its own pods alone",
    ),
    "against going out": (lambda policy: policy["spec"]["policyTypes"].append("Egress"), "for Ingress alone"),
    "open to all": (lambda policy: policy["spec"]["ingress"].append({}), "at the metrics port 9095 alone"),
    "open at every port": (
        lambda policy: policy["spec"]["ingress"].append({"ports": [{"protocol": "TCP"}]}),
        "at the metrics port 9095 alone",
    ),
    "open from the metrics port on": (
        lambda policy: policy["spec"]["ingress"][1]["ports"][0].update(endPort=65535),
        "at the metrics port 9095 alone",
    ),
    "open to an address": (
        lambda policy: policy["spec"]["ingress"][0]["from"].append({"ipBlock": {"cidr": "10.0.0.0/8"}}),
        "reached by each other",
    ),
    "open to other namespaces": (
        lambda policy: policy["spec"]["ingress"][0]["from"][0].update(namespaceSelector={}),
        "reached by each other",
    ),
    "open to the namespace": (
        lambda policy: policy["spec"]["ingress"][0]["from"].append({"podSelector": {}}),
        "reached by each other",
    ),
}


def test_its_token_makes_the_policy_of_a_job(operator, place):
    honest = network_policy(typed(place, {}))

    assert Answer(200) == operator.ask("POST", f"{policies_of(place)}?dryRun=All&fieldValidation=Strict", honest)


@pytest.mark.parametrize("name", POLICIES)
def test_its_token_makes_no_network_policy_but_that_of_a_job(guarded, operator, place, name):
    change, says = POLICIES[name]
    body = copy.deepcopy(network_policy(typed(place, {})))
    change(body)
    path = f"{policies_of(place)}?dryRun=All&fieldValidation=Strict"
    answer = operator.ask("POST", path, body)

    assert (403, True) == (answer.code, says in answer.message), answer.message
    guarded.admin.call("POST", path, body)  # else it would be refused for what it is, not for who makes it


def a_session(place, **spec):
    """A session of that namespace as the operator reads it."""
    return session(name="notes", uid=UID, namespace=place, **spec)


def test_its_token_makes_what_a_session_needs(operator, place):
    made = a_session(place, ssh={"authorizedKeys": [KEY]}, storage={"claimName": "home"})
    core = f"/api/v1/namespaces/{place}"

    assert Answer(200) == creates(operator, sessionpod.pod(made, None, IMAGE, channel=SITE))
    policy = sessionpod.network_policy(made)
    assert Answer(200) == operator.ask("POST", f"{policies_of(place)}?dryRun=All&fieldValidation=Strict", policy)
    assert Answer(200) == operator.ask("POST", f"{core}/secrets?dryRun=All", sessionpod.secret(made, "token"))
    open_to_all = copy.deepcopy(policy)
    open_to_all["spec"]["ingress"] = [{"ports": [{"port": 9095}]}]
    answer = operator.ask("POST", f"{policies_of(place)}?dryRun=All", open_to_all)
    assert (403, True) == (answer.code, "lets nobody in" in answer.message)


SECRETS = {
    "of nobody": lambda secret: secret["metadata"].pop("ownerReferences"),
    "of a job": lambda secret: secret["metadata"]["ownerReferences"][0].update(kind="TrainingJob"),
    "of another name": lambda secret: secret["metadata"].update(name="registry"),
    "of a service account": lambda secret: (
        secret.update(type="kubernetes.io/service-account-token"),
        secret["metadata"].update(annotations={"kubernetes.io/service-account.name": "default"}),
    ),
    "that can change": lambda secret: secret.pop("immutable"),
    "of more than a token": lambda secret: secret["stringData"].update(more="x"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_its_token_makes_no_secret_but_that_of_a_session(guarded, operator, place, name):
    body = sessionpod.secret(a_session(place), "token")
    SECRETS[name](body)
    path = f"/api/v1/namespaces/{place}/secrets?dryRun=All&fieldValidation=Strict"
    answer = operator.ask("POST", path, body)

    assert 403 == answer.code, answer.message
    assert "ValidatingAdmissionPolicy" in answer.message
    guarded.admin.call("POST", path, body)  # else it would be refused for what it is, not for who makes it


CHANGES = {
    "its image": {"spec": {"containers": [{"name": "session", "image": "mine:1"}]}},
    "its time": {"spec": {"activeDeadlineSeconds": 1}},
    "a label": {"metadata": {"labels": {"a": "b"}}},
    "another annotation": {"metadata": {"annotations": {"ganger.dev/edition": "x"}}},
    "an annotation more": {"metadata": {"annotations": {"a": "b"}}},
    "an annotation less": {"metadata": {"annotations": {"ganger.dev/edition": None}}},
    "a finalizer": {"metadata": {"finalizers": ["example.com/stay"]}},
    "its owner": {"metadata": {"ownerReferences": []}},
    "a label beside the keys": {"metadata": {"labels": {"a": "b"}, "annotations": {"ganger.dev/authorized-keys": KEY}}},
}


@pytest.fixture(scope="module")
def running_pod(guarded):
    """The path of a session's pod, of a session that is there."""
    place = guarded.make_namespace("keys")
    path = f"/apis/ganger.dev/v1alpha1/namespaces/{place}/devsessions"
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "notes"}}
    uid = guarded.admin.create(path, body | {"spec": {"ssh": {"authorizedKeys": [KEY]}}})["metadata"]["uid"]
    made = session(name="notes", uid=uid, namespace=place, ssh={"authorizedKeys": [KEY]})
    guarded.admin.create(pods(place), sessionpod.pod(made, None, IMAGE))
    return f"{pods(place)}/notes-dev-0"


def test_its_token_changes_the_keys_of_a_session(operator, running_pod):
    body = {"metadata": {"annotations": {"ganger.dev/authorized-keys": f"{KEY}-2\n"}}}

    assert Answer(200) == operator.ask("PATCH", running_pod, body, "application/merge-patch+json")


@pytest.mark.parametrize("name", CHANGES)
def test_its_token_changes_nothing_else_of_a_pod(guarded, operator, running_pod, name):
    content_type = "application/strategic-merge-patch+json"
    if name == "its owner":  # a strategic patch would add to them
        content_type = "application/merge-patch+json"
    answer = operator.ask("PATCH", f"{running_pod}?dryRun=All", CHANGES[name], content_type)

    assert (403, True) == (answer.code, "changes the annotation ganger.dev/authorized-keys alone" in answer.message)
    # Else it would be refused for what it is, not for who makes it.
    guarded.admin.call("PATCH", f"{running_pod}?dryRun=All", CHANGES[name], content_type)


def test_its_token_changes_no_pod_of_a_job(guarded, operator, place):
    guarded.admin.create(pods(place), builder.pod(typed(place, {}, "kept"), 0, 0))
    body = {"metadata": {"annotations": {"ganger.dev/authorized-keys": KEY}}}
    answer = operator.ask("PATCH", f"{pods(place)}/kept-0-0?dryRun=All", body, "application/merge-patch+json")

    assert (403, True) == (answer.code, "changes pods of DevSessions alone" in answer.message)


def policies_of(namespace):
    """Where the policies of a namespace are."""
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
