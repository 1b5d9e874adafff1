"""Whoever may write jobs and not pods gets no pods by that detour."""

import pytest

from apiclient import wait_for
from integration.security.conftest import MAKES_PODS, OPENS, PLURALS, SHARES, SUBMITS, a_job, a_profile, jobs, policies

pytestmark = pytest.mark.integration


def test_who_may_not_create_pods_is_refused_with_the_right_that_is_missing(guarded, namespace):
    alice = guarded.user(namespace, SUBMITS, name="alice")
    answer = alice.ask("POST", jobs(namespace), a_job())

    assert 403 == answer.code
    assert f"{alice.name} may not create pods in namespace {namespace}" in answer.message
    assert "bind a role with the verb create on pods" in answer.message
    assert [] == guarded.admin.items(jobs(namespace))


def test_who_may_create_pods_submits(guarded, namespace):
    assert 200 == guarded.user(namespace, SUBMITS, MAKES_PODS).ask("POST", jobs(namespace), a_job()).code


def test_pods_elsewhere_do_not_count(guarded, namespace):
    """The right is asked for in the namespace of the job."""
    bob = guarded.user("default", MAKES_PODS)
    binding = {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1"}
    role = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "rules": [SUBMITS]}
    meta = {"metadata": {"name": "visitor", "namespace": namespace}}
    subject = {"kind": "ServiceAccount", "namespace": "default", "name": bob.name.rpartition(":")[2]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "visitor"}
    guarded.apply([role | meta, binding | meta | {"subjects": [subject], "roleRef": reference}])
    wait_for(lambda: bob.ask("GET", jobs(namespace)).code == 200, 10, "the visitor may read jobs")

    assert "may not create pods in namespace" in bob.ask("POST", jobs(namespace), a_job()).message


def test_a_change_of_the_spec_needs_the_same_right_and_one_of_the_metadata_does_not(guarded, namespace):
    guarded.admin.create(jobs(namespace), a_job(suspend=True))
    alice = guarded.user(namespace, SUBMITS)
    path, merge = f"{jobs(namespace)}/digits", "application/merge-patch+json"
    resumed = alice.ask("PATCH", path, {"spec": {"suspend": False}}, merge)

    assert (403, True) == (resumed.code, "may not create pods" in resumed.message)
    marked = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.org/held"]}}
    assert 200 == alice.ask("PATCH", path, marked, merge).code
    assert 200 == alice.ask("DELETE", path).code
    # The object waits for its finalizer: its removal is an update of a job that is being deleted.
    assert guarded.admin.get(path)["metadata"]["deletionTimestamp"]
    assert 200 == alice.ask("PATCH", path, {"metadata": {"finalizers": None}}, merge).code
    assert guarded.admin.get(path) is None


def test_who_writes_a_profile_says_what_pods_run_and_needs_the_same_right(guarded, namespace):
    path = f"{jobs(namespace).replace('trainingjobs', 'trainingprofiles')}?dryRun=All"
    alice, bob = guarded.user(namespace, SHARES), guarded.user(namespace, SHARES, MAKES_PODS)
    refused = alice.ask("POST", path, a_profile(image="miner:v1"))

    assert 403 == refused.code
    assert f"{alice.name} may not create pods in namespace {namespace}" in refused.message
    assert 200 == bob.ask("POST", path, a_profile(image="miner:v1")).code


def test_who_makes_a_session_needs_the_same_right_also_to_change_it(guarded, namespace):
    path = jobs(namespace).replace("trainingjobs", "devsessions")
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "notes"}, "spec": {}}
    alice, bob = guarded.user(namespace, OPENS), guarded.user(namespace, OPENS, MAKES_PODS)
    refused = alice.ask("POST", path, body)

    assert 403 == refused.code
    assert f"{alice.name} may not create pods in namespace {namespace}" in refused.message
    assert 200 == bob.ask("POST", path, body).code
    merge, image = "application/merge-patch+json", {"spec": {"image": "miner:v1"}}
    assert 403 == alice.ask("PATCH", f"{path}/notes", image, merge).code
    assert 200 == bob.ask("PATCH", f"{path}/notes", image, merge).code
    assert 200 == alice.ask("DELETE", f"{path}/notes").code


def test_the_garbage_collector_and_the_end_of_a_namespace_are_not_held_up(guarded, namespace):
    guarded.admin.create(jobs(namespace), a_job("owner"))
    owner = guarded.admin.get(f"{jobs(namespace)}/owner")
    reference = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "name": "owner"}
    child = a_job("child")
    child["metadata"]["ownerReferences"] = [reference | {"uid": owner["metadata"]["uid"]}]
    guarded.admin.create(jobs(namespace), child)
    # Orphaned by the collector: it takes the reference away, which is an update.
    guarded.admin.delete(f"{jobs(namespace)}/owner", propagationPolicy="Orphan")
    wait_for(lambda: guarded.admin.get(f"{jobs(namespace)}/owner") is None, 30, "the owner is gone")

    assert "ownerReferences" not in guarded.admin.get(f"{jobs(namespace)}/child")["metadata"]
    guarded.admin.delete(f"/api/v1/namespaces/{namespace}")
    wait_for(lambda: not guarded.admin.items(jobs(namespace)), 30, "the jobs end with their namespace")


def test_an_account_must_be_usable_where_that_is_required(guarded, namespace):
    strict = guarded.chart.objects(
        {"admissionPolicies": {"requireServiceAccountUse": True}, "watchNamespaces": [namespace]}, release="strict"
    )
    found = policies(strict)
    guarded.apply(found)
    rights = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["trainer"], "verbs": ["use"]}
    submits = SUBMITS, SHARES, MAKES_PODS
    bob, carol = guarded.user(namespace, *submits), guarded.user(namespace, *submits, rights)
    path = f"{jobs(namespace)}?dryRun=All"
    profiles = path.replace("trainingjobs", "trainingprofiles")
    try:
        wait_for(lambda: bob.ask("POST", path, a_job(serviceAccountName="x")).code == 403, 30, "the policy is in force")
        refused = bob.ask("POST", path, a_job(serviceAccountName="admin"))
        assert f"spec.serviceAccountName: {bob.name} may not use serviceaccounts/admin" in refused.message
        assert 200 == bob.ask("POST", path, a_job()).code
        assert 200 == carol.ask("POST", path, a_job(serviceAccountName="trainer")).code
        assert 403 == carol.ask("POST", path, a_job(serviceAccountName="admin")).code
        # A profile is no detour.
        assert 403 == carol.ask("POST", profiles, a_profile(serviceAccountName="admin")).code
        assert 200 == carol.ask("POST", profiles, a_profile(serviceAccountName="trainer")).code
        # Watched namespaces alone are bound.
        elsewhere = guarded.user("default", SUBMITS, MAKES_PODS)
        assert 200 == elsewhere.ask("POST", f"{jobs('default')}?dryRun=All", a_job(serviceAccountName="admin")).code
    finally:
        for one in found:
            guarded.admin.delete(f"{PLURALS[one['kind']]}/{one['metadata']['name']}")


def test_the_server_finds_no_mistake_in_the_policies(guarded):
    """It checks the types of the expressions against the kinds they meet, and says so some time after."""
    names = [
        one["metadata"]["name"] for one in policies(guarded.chart.objects()) if not one["kind"].endswith("Binding")
    ]
    assert 6 == len(names)
    for name in names:
        path = f"{PLURALS['ValidatingAdmissionPolicy']}/{name}"
        wait_for(
            lambda path=path: guarded.admin.get(path).get("status", {}).get("observedGeneration"),
            30,
            f"{name} is checked",
        )
        assert {} == guarded.admin.get(path)["status"].get("typeChecking", {})
