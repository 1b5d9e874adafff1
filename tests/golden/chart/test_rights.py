"""The chart grants the operator what its code asks for, and no more.

What the code asks for is read from its calls here, without a cluster; the integration tests read it from the audit log.
"""

import ast
from pathlib import Path

import pytest

from ganger.app.process import LEASE_NAME
from ganger.kube import resources

ROOT = Path(__file__).parents[3] / "operator" / "ganger"
VERBS = {
    "list": "list", "watch": "watch", "get": "get", "create": "create", "update": "update", "delete": "delete",
    "apply": "patch", "patch": "patch", "patch_status": "patch",
}  # fmt: skip
# What a variable stands for, where a call names no constant. A new call of that kind fails below until it is told here.
VARIABLES = {
    ("runtime/reflector.py", "self.resource"): ("TRAINING_JOBS", "PODS", "SERVICES", "CLAIMS", "LEASES"),
    ("app/execute.py", "resource"): ("PODS", "SERVICES", "CLAIMS"),
}
# `get` of a pod, Service or claim is one method of execute.py, but only the last two are created by a variable there.
ONLY = {("app/execute.py", "create"): ("SERVICES", "CLAIMS")}


def asked():
    """Each right that the code asks for: verb, group, resource with its subresource."""
    found = set()
    for room in ("app", "runtime"):
        for path in sorted((ROOT / room).glob("*.py")):
            file = f"{room}/{path.name}"
            for call in ast.walk(ast.parse(path.read_text())):
                if is_call_of_cluster(call):
                    verb = call.func.attr
                    first = ast.unparse(call.args[0])
                    names = ONLY.get((file, verb)) if not first.isupper() else None
                    names = names or VARIABLES.get((file, first)) or (first,)
                    sub = next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "subresource"), "")
                    for name in names:
                        resource = getattr(resources, name)
                        plural = f"{resource.plural}/{sub}" if sub else resource.plural
                        found.add((VERBS[verb], resource.group, plural))
    return found


def is_call_of_cluster(call):
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "_cluster"
        and call.func.attr in VERBS
    )


def granted(roles):
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def roles_of(objects, account="ganger"):
    """Every Role and ClusterRole that is bound to the operator's account."""
    bound = {
        (found["roleRef"]["kind"], found["roleRef"]["name"], found["metadata"].get("namespace"))
        for found in objects
        if found["kind"].endswith("RoleBinding")
        and [("ServiceAccount", account)] == [(s["kind"], s["name"]) for s in found["subjects"]]
    }
    return [
        found
        for found in objects
        if (found["kind"], found["metadata"]["name"], found["metadata"].get("namespace")) in bound
    ]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["ganger-system"]}])
def test_granted_is_what_the_code_asks_for(chart, values):
    roles = roles_of(chart.objects(values))

    assert 2 == len(roles)
    assert asked() == granted(roles)


def test_the_code_asks_for_what_we_know():
    assert 24 == len(asked())
    assert {("patch", "ganger.dev", "trainingjobs/status"), ("delete", "", "pods")} <= asked()


def test_rights_of_a_namespace_are_given_in_that_namespace_alone(chart):
    objects = chart.objects({"watchNamespaces": ["team-a", "team-b"]})
    roles = roles_of(objects)

    assert {"Role"} == {role["kind"] for role in roles}
    assert ["ganger-system", "team-a", "team-b"] == sorted(role["metadata"]["namespace"] for role in roles)
    assert not [found for found in objects if found["kind"] == "ClusterRoleBinding"]


def test_elections_touch_one_lease_alone(chart):
    election = chart.one("Role")
    for rule in election["rules"]:
        assert ["leases"] == rule["resources"]
        assert ["create"] == rule["verbs"] or [LEASE_NAME] == rule["resourceNames"]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}])
def test_no_role_of_the_chart_has_a_wildcard_or_reads_secrets_or_enters_pods(chart, values):
    for found in chart.objects(values):
        for verb, group, resource in granted([found]) if found["kind"].endswith("Role") else ():
            assert "*" not in (verb, group, resource)
            assert resource not in ("secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token")
            assert verb not in ("escalate", "bind", "impersonate")


def test_users_read_and_edit_jobs_but_not_their_status(chart):
    view = granted([chart.one("ClusterRole", name="ganger-view")])
    edit = granted([chart.one("ClusterRole", name="ganger-edit")])

    assert {"get", "list", "watch"} == {verb for verb, _, _ in view}
    assert {"trainingjobs", "trainingjobs/scale"} == {resource for _, _, resource in edit}
    assert {"ganger.dev"} == {group for _, group, _ in view | edit}
