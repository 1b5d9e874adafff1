"""The label by which policies know a gang: the operator gives it to pods, and nobody else gives or takes it."""

import pytest

from apiclient import wait_for
from ganger.contract import LABEL_JOB_UID as LABEL
from ganger.plan import pods as builder
from integration.security.conftest import PLURALS, Answer, pods, policies
from integration.security.test_operator import UID, typed

pytestmark = pytest.mark.integration
ALL = {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["*"]}
MERGE = "application/merge-patch+json"
BODY = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "main", "image": "x"}]}}


@pytest.fixture(scope="module")
def fenced(guarded):
    """A namespace in which the label is the operator's, as in all that an isolating operator watches."""
    name = guarded.make_namespace("fenced")
    objects = policies(guarded.chart.objects({"operator": {"isolateJobs": True}, "watchNamespaces": [name]}))
    objects = [one for one in objects if one["metadata"]["name"].endswith(".labels")]
    assert 2 == len(objects)
    guarded.apply(objects)
    probe = BODY | {"metadata": {"name": "probe", "labels": {LABEL: UID}}}
    user = guarded.user(name, ALL)
    path = f"{pods(name)}?dryRun=All"
    wait_for(lambda: user.ask("POST", path, probe).code == 403, 30, "the policy is in force")
    yield name
    for one in objects:
        guarded.admin.delete(f"{PLURALS[one['kind']]}/{one['metadata']['name']}")


@pytest.fixture(scope="module")
def tenant(guarded, fenced):
    """Whoever may do everything with pods there."""
    return guarded.user(fenced, ALL)


@pytest.fixture(scope="module")
def worker(operator, guarded, fenced):
    """The path of a worker; its job is suspended, and no operator runs."""
    owner = guarded.admin.create(
        f"/apis/ganger.dev/v1alpha1/namespaces/{fenced}/trainingjobs",
        {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "digits"},
         "spec": {"task": "m:t", "suspend": True}},
    )  # fmt: skip
    body = builder.pod(typed(fenced, {}, uid=owner["metadata"]["uid"]), 0, 0)
    assert Answer(200) == operator.ask("POST", pods(fenced), body)
    return f"{pods(fenced)}/{body['metadata']['name']}"


def is_refused(answer):
    return (403, True) == (answer.code, "the operator alone gives it" in answer.message)


def test_no_pod_of_a_tenant_joins_a_gang(tenant, fenced):
    own = BODY | {"metadata": {"name": "mine", "labels": {"app": "mine"}}}

    assert is_refused(tenant.ask("POST", pods(fenced), BODY | {"metadata": {"name": "spy", "labels": {LABEL: UID}}}))
    assert Answer(200) == tenant.ask("POST", pods(fenced), own)
    joins = {"metadata": {"labels": {LABEL: UID}}}
    for path in (f"{pods(fenced)}/mine", f"{pods(fenced)}/mine/status"):
        assert is_refused(tenant.ask("PATCH", path, joins, MERGE)), path


@pytest.mark.parametrize("value", [None, "", "another"])
@pytest.mark.parametrize("sub", ["", "/status"])
def test_no_worker_leaves_its_gang(tenant, worker, value, sub):
    assert is_refused(tenant.ask("PATCH", f"{worker}{sub}", {"metadata": {"labels": {LABEL: value}}}, MERGE))


def test_all_else_of_a_worker_is_written_as_before(tenant, worker):
    """The kubelet and the scheduler write its status, and people put labels of their own on it."""
    assert Answer(200) == tenant.ask("PATCH", worker, {"metadata": {"labels": {"team": "a"}}}, MERGE)
    told = {"status": {"phase": "Running"}}
    assert Answer(200) == tenant.ask("PATCH", f"{worker}/status", told, MERGE)


def test_elsewhere_the_label_is_free(guarded, place):
    """An operator of some namespaces leaves the others to whoever works there."""
    path = f"{pods(place)}?dryRun=All"
    body = BODY | {"metadata": {"name": "free", "labels": {LABEL: UID}}}

    assert Answer(200) == guarded.user(place, ALL).ask("POST", path, body)
