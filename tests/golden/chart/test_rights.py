"""The chart grants the operator what its code asks for, and no more.

What the code asks for is read from its calls here, without a cluster; the integration tests read it from the audit log.
"""

import ast
import re
from pathlib import Path

import pytest
import yaml

from ganger.kube import resources
from ganger.plan.shard import SHARDS_MAX, lease
from golden.chart.rendered import CHART

README = CHART / "README.md"
ROOT = Path(__file__).parents[3] / "operator" / "ganger"
VERBS = {
    "list": "list", "watch": "watch", "get": "get", "create": "create", "update": "update", "delete": "delete",
    "apply": "patch", "patch": "patch", "patch_status": "patch", "review": "create",
}  # fmt: skip
# Server-side apply makes an object that is not there, and then needs the right to create it too.
MADE_BY_APPLY = ("ENDPOINT_SLICES",)
# What a variable stands for, where a call names no constant. A new call of that kind fails below until it is told here.
VARIABLES = {
    ("runtime/reflector.py", "self.resource"): (
        "TRAINING_JOBS", "TRAINING_PROFILES", "PODS", "SERVICES", "CLAIMS", "NETWORK_POLICIES", "LEASES",
        "POD_GROUPS", "WORKLOADS", "DEV_SESSIONS",
    ),
    ("app/execute.py", "resource"): ("PODS", "SERVICES", "CLAIMS", "NETWORK_POLICIES", "POD_GROUPS"),
    ("app/queues.py", "resource"): ("FLAVORS", "WORKLOAD_CLASSES"),
    ("app/sessionexecute.py", "resource"): ("PODS", "CLAIMS", "NETWORK_POLICIES"),
}  # fmt: skip
# `get` of all of them is one method of execute.py; others go through a variable there only for some.
ONLY = {
    ("app/execute.py", "create"): ("SERVICES", "CLAIMS", "NETWORK_POLICIES", "POD_GROUPS"),
    ("app/execute.py", "delete"): ("PODS", "POD_GROUPS"),
    ("app/sessionexecute.py", "create"): ("CLAIMS", "NETWORK_POLICIES"),
}


def asked():
    """Each right that the code asks for: verb, group, resource with its subresource."""
    found = set()
    for room in ("app", "control", "runtime", "kube"):
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
                        resource = resource[0] if isinstance(resource, tuple) else resource  # versions of one
                        plural = f"{resource.plural}/{sub}" if sub else resource.plural
                        found.add((VERBS[verb], resource.group, plural))
                        if verb == "apply" and name in MADE_BY_APPLY:
                            found.add(("create", resource.group, plural))
    return found


def is_call_of_cluster(call):
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and (getattr(call.func.value, "attr", None) == "_cluster" or getattr(call.func.value, "id", None) == "cluster")
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


ISOLATING = {"operator": {"isolateJobs": True}}
GUARDED = {"metrics": {"authentication": {"enabled": True}}} | ISOLATING  # every right that the chart can give
# What the README says of an installation without any right in the whole cluster; the namespaces are the test's.
NAMESPACED = yaml.safe_load(re.search(r"```yaml\n(watchNamespaces.*?)```", README.read_text(), re.DOTALL)[1])


NO_KUEUE = {"operator": {"kueue": False}}
NODE = {("get", "", "nodes")}
CLUSTER_SCOPED = {
    "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "left_out"), [(GUARDED, set()), (GUARDED | {"watchNamespaces": ["ganger-system"]}, NODE)]
)
def test_granted_is_what_the_code_asks_for(chart, values, left_out):
    roles = roles_of(chart.objects(values))

    assert 5 == len(roles)
    assert asked() - left_out == granted(roles)


def test_a_node_is_read_by_an_operator_of_the_whole_cluster_alone_and_only_where_it_is_wanted(chart):
    def reads(**values):
        objects = chart.objects(values)
        (deployment,) = [found for found in objects if found["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        told = {variable["name"]: variable.get("value") for variable in container["env"]}["GANGER_READ_NODES"]
        return told, {right for right in granted(roles_of(objects)) if right[2] == "nodes"}

    assert ("true", NODE) == reads()
    assert ("false", set()) == reads(operator={"readNodes": False})
    assert ("false", set()) == reads(watchNamespaces=["team-a"])
    assert ("false", set()) == reads(watchNamespaces=["team-a"], operator={"readNodes": True})


def test_who_may_read_the_metrics_is_asked_only_where_that_matters(chart):
    extra = granted(roles_of(chart.objects(GUARDED))) - granted(roles_of(chart.objects(ISOLATING)))

    assert {("create", "authorization.k8s.io", "subjectaccessreviews")} == extra


def test_policies_for_jobs_are_made_only_where_jobs_are_isolated_and_never_changed(chart):
    extra = granted(roles_of(chart.objects(ISOLATING))) - granted(roles_of(chart.objects()))

    assert {(verb, "networking.k8s.io", "networkpolicies") for verb in ("get", "list", "watch", "create")} == extra


def test_without_kueue_its_rights_are_not_given(chart):
    extra = granted(roles_of(chart.objects())) - granted(roles_of(chart.objects({"operator": {"kueue": False}})))

    assert {
        *((verb, "kueue.x-k8s.io", "workloads") for verb in ("list", "watch", "create", "patch", "delete")),
        ("patch", "kueue.x-k8s.io", "workloads/status"),
        ("get", "kueue.x-k8s.io", "resourceflavors"),
        ("get", "kueue.x-k8s.io", "workloadpriorityclasses"),
        ("list", "scheduling.k8s.io", "priorityclasses"),
    } == extra


def test_without_the_control_channel_its_rights_are_not_given(chart):
    extra = granted(roles_of(chart.objects())) - granted(roles_of(chart.objects({"control": {"enabled": False}})))

    assert {
        ("get", "", "secrets"),
        ("patch", "", "secrets"),
        ("create", "discovery.k8s.io", "endpointslices"),
        ("patch", "discovery.k8s.io", "endpointslices"),
        ("create", "authentication.k8s.io", "tokenreviews"),
    } == extra


def test_a_secret_of_the_users_is_read_and_never_written(chart):
    values = {"control": {"tlsSecret": "from-cert-manager"}}
    rights = [(rule["verbs"], rule.get("resourceNames")) for rule in secrets_of(chart.objects(values))]

    assert [MADE, (["get"], ["from-cert-manager"])] == rights
    assert not [found for found in chart.objects(values) if found["kind"] == "Secret"]


MADE = (["create"], None)  # the tokens of sessions; a right to create cannot name the object


def secrets_of(objects):
    """Every rule of the operator on Secrets."""
    return [rule for role in roles_of(objects) for rule in role["rules"] if "secrets" in rule["resources"]]


def test_the_code_asks_for_what_we_know():
    assert 56 == len(asked())
    assert {("patch", "ganger.dev", "trainingjobs/status"), ("delete", "", "pods"), ("patch", "", "pods")} <= asked()


def test_rights_of_a_namespace_are_given_in_that_namespace_alone(chart):
    objects = chart.objects({"watchNamespaces": ["team-a", "team-b"]} | NO_KUEUE)
    roles = roles_of(objects)
    spaces = sorted(role["metadata"]["namespace"] for role in roles if role["kind"] == "Role")
    (everywhere,) = [role for role in roles if role["kind"] == "ClusterRole"]

    assert ["ganger-system", "ganger-system", "team-a", "team-b"] == spaces
    # Reviews belong to no namespace; they are questions, and answer only who holds a token.
    assert {("create", "authentication.k8s.io", "tokenreviews")} == granted([everywhere])
    without = chart.objects({"watchNamespaces": ["team-a", "team-b"], "control": {"enabled": False}} | NO_KUEUE)
    assert not [found for found in without if found["kind"] == "ClusterRoleBinding"]


def test_the_values_that_the_readme_names_leave_nothing_outside_of_namespaces(chart):
    kinds = {found["kind"] for found in chart.objects(NAMESPACED)}

    assert {"Deployment", "Role", "RoleBinding"} <= kinds
    assert not CLUSTER_SCOPED & kinds


@pytest.mark.parametrize("path", ["watchNamespaces", "control", "operator", "rbac", "crds", "admissionPolicies"])
def test_each_of_these_values_is_needed(chart, path):
    others = {key: value for key, value in NAMESPACED.items() if key != path}
    kinds = {found["kind"] for found in chart.objects(others)}

    assert CLUSTER_SCOPED & kinds


def test_profiles_of_the_operators_own_namespace_are_watched_wherever_the_jobs_are(chart):
    roles = roles_of(chart.objects({"watchNamespaces": ["team-a"]}))
    where = {
        role["metadata"]["namespace"] for role in roles for right in granted([role]) if "trainingprofiles" in right
    }

    assert {"team-a", "ganger-system"} == where
    assert {"list", "watch"} == {verb for verb, _, resource in granted(roles) if resource == "trainingprofiles"}


def test_elections_touch_the_leases_of_shards_alone(chart):
    election = chart.one("Role", name="ganger-election")
    for rule in election["rules"]:
        assert ["leases"] == rule["resources"]
        assert ["create"] == rule["verbs"] or [lease(number) for number in range(SHARDS_MAX)] == rule["resourceNames"]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}])
def test_no_role_of_the_chart_has_a_wildcard_or_enters_pods(chart, values):
    for found in chart.objects(values):
        for verb, group, resource in granted([found]) if found["kind"].endswith("Role") else ():
            assert "*" not in (verb, group, resource)
            assert resource not in ("pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token")
            assert verb not in ("escalate", "bind", "impersonate")


@pytest.mark.parametrize("values", [{}, GUARDED, {"watchNamespaces": ["team-a"]}])
def test_of_all_secrets_the_operator_may_read_its_own_certificate_alone(chart, values):
    rights = [(rule["verbs"], rule.get("resourceNames")) for rule in secrets_of(chart.objects(values))]

    assert 2 == len(rights)
    assert MADE in rights
    assert (["get", "patch"], ["ganger-control-tls"]) in rights


def test_users_read_and_edit_jobs_but_not_their_status(chart):
    view = granted([chart.one("ClusterRole", name="ganger-view")])
    edit = granted([chart.one("ClusterRole", name="ganger-edit")])

    assert {"get", "list", "watch"} == {verb for verb, _, _ in view}
    kinds = {"trainingjobs", "trainingjobs/scale", "trainingprofiles", "devsessions"}
    assert kinds == {resource for _, _, resource in edit}
    assert {"ganger.dev"} == {group for _, group, _ in view | edit}
