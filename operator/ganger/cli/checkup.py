"""What the answers of a cluster say of its health for Ganger: a finding each, with what to do. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from ganger.api import quantity
from ganger.api.crd import definitions
from ganger.cli.problem import INSTALL
from ganger.contract import SESSION_KIND

Level = Literal["ok", "note", "mend", "unknown"]
Values = dict[str, Any]
OLDEST_SERVER = (1, 31)  # kubeVersion of the chart
UPGRADE = "helm upgrade ganger charts/ganger -n {namespace}"
POLICIES = ("jobs", "pods", "deletions", "services", "secrets")
NO_POLICIES = "none: a right on TrainingJobs alone is enough to make pods with them"
CREATE_PODS = "may create pods"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class Finding(Struct, frozen=True):
    """One line of the page. mend: jobs cannot run before it is mended; note: some cannot, or run worse."""

    about: str
    level: Level
    text: str
    fix: str = ""


def server(version: tuple[int, int]) -> Finding:
    """Whether the API server is new enough."""
    number = f"{version[0]}.{version[1]}"
    if version == (0, 0):
        return Finding("API server", "note", "answers, and does not say its version")
    if version < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        return Finding("API server", "mend", f"is Kubernetes {number}", f"upgrade it: Ganger needs {oldest} or later")
    return Finding("API server", "ok", f"Kubernetes {number} answers")


def definition(wanted: Values, stored: Values | None) -> Finding:
    """Whether a definition is there, established and the one of this version."""
    about = str(wanted["spec"]["names"]["kind"])
    if stored is None and about == SESSION_KIND:
        fix = "upgrade the operator: the chart brings the definition, and jobs run without it"
        return Finding(about, "note", "the cluster does not know it: there are no dev sessions", fix)
    if stored is None:
        return Finding(about, "mend", "the cluster does not know it: the operator is not installed", INSTALL)
    conditions = {one["type"]: one["status"] for one in (stored.get("status") or {}).get("conditions") or ()}
    if conditions.get("Established") != "True":
        name = stored["metadata"]["name"]
        return Finding(about, "mend", "its definition is not established", f"kubectl describe crd {name} tells why")
    ours, theirs = (_version(one) for one in (wanted, stored))
    if not theirs or ours["schema"] != theirs.get("schema"):
        fix = "install the CLI of the operator's version, or upgrade the operator: the chart brings the definitions"
        return Finding(about, "note", "its definition is of another version than this CLI", fix)
    return Finding(about, "ok", f"{wanted['spec']['versions'][0]['name']}, as this CLI knows it")


def _version(one: Values) -> Values:
    name = definitions()[0]["spec"]["versions"][0]["name"]
    return next((each for each in one["spec"]["versions"] if each["name"] == name), {})


def operator(found: Iterable[Values], version: str) -> Finding:
    """Whether an operator is there, ready and of this version."""
    deployments = list(found)
    if not deployments:
        text = "no Deployment with the label app.kubernetes.io/name=ganger"
        return Finding("operator", "mend", text, INSTALL)
    one = deployments[0]
    namespace, name = one["metadata"]["namespace"], one["metadata"]["name"]
    ready, wanted = (one.get("status") or {}).get("readyReplicas", 0), one["spec"].get("replicas", 1)
    where = f"{name} in namespace {namespace}: {ready} of {wanted} ready"
    if len(deployments) > 1:
        others = ", ".join(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in deployments[1:])
        fix = "let each watch namespaces of its own (watchNamespaces), or remove one"
        return Finding("operator", "note", f"{where}; and there are others: {others}", fix)
    if ready == 0:
        fix = f"kubectl describe pods -n {namespace} -l app.kubernetes.io/name=ganger"
        return Finding("operator", "mend", where, fix)
    runs = (one["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    if runs and runs != version:
        fix = f"{UPGRADE.format(namespace=namespace)}, or install ganger=={runs} here"
        return Finding("operator", "note", f"{where}; it is {runs}, and this CLI {version}", fix)
    if ready < wanted:
        return Finding("operator", "note", where, f"kubectl get pods -n {namespace} -l app.kubernetes.io/name=ganger")
    return Finding("operator", "ok", where)


def lease(spec: Values | None, namespace: str, now: datetime) -> Finding:
    """Whether an operator holds the lease. now: by the clock of the server, which the holder's may differ from."""
    look = f"kubectl logs -n {namespace} -l app.kubernetes.io/name=ganger"
    holder, renewed = (spec or {}).get("holderIdentity"), (spec or {}).get("renewTime")
    if spec is None or not holder or not renewed:
        return Finding("lease", "mend", "nobody leads: jobs are not looked at", look)
    # Ten times its life: two clocks are compared, and a cluster's may be apart by seconds.
    limit = timedelta(seconds=max(30, 10 * int(spec.get("leaseDurationSeconds") or 0)))
    age = now - datetime.fromisoformat(renewed)
    if age > limit:
        text = f"{holder} renewed it {int(age.total_seconds())} s ago and no more: jobs are not looked at"
        return Finding("lease", "mend", text, look)
    return Finding("lease", "ok", f"{holder} leads")


def right(verb: str, resource: str, namespace: str, allowed: bool, needed_for: str) -> Finding:
    """Whether the present user may do one thing in the namespace."""
    about = f"may {verb} {resource}"
    if allowed:
        return Finding(about, "ok", f"in namespace {namespace}")
    role = "edit" if resource == "pods" and verb == "create" else "ganger-edit" if verb != "get" else "ganger-view"
    fix = f"kubectl create rolebinding {role} -n {namespace} --clusterrole {role} --user YOU, by an administrator"
    return Finding(about, "mend" if verb == "create" else "note", f"no: {needed_for} is refused", fix)


def weighed(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without a right to create pods that is missed: where no policy is, nobody asks for it."""
    found = list(findings)
    if not any(one.text == NO_POLICIES for one in found):
        return found
    return [one for one in found if (one.about, one.level) != (CREATE_PODS, "mend")]


def nodes(found: Iterable[Values]) -> list[Finding]:
    """Whether a node is ready, and which devices the ready ones have."""
    all_nodes = list(found)
    ready = [one for one in all_nodes if takes_workers(one)]
    if not ready:
        fix = "kubectl describe nodes tells why; a cluster with an autoscaler may start without any"
        return [Finding("nodes", "mend", f"none of {len(all_nodes)} is ready", fix)]
    level: Level = "ok" if len(ready) == len(all_nodes) else "note"
    fix = "" if level == "ok" else "kubectl get nodes: cordoned nodes and those that are not Ready take no workers"
    number = f"{len(ready)} of {len(all_nodes)} take workers"
    devices: Counter[str] = Counter()
    for one in ready:
        for name, amount in ((one.get("status") or {}).get("allocatable") or {}).items():
            if is_gpu(name):
                devices[name] += int(quantity.parse(amount))
    told = ", ".join(f"{count} {name}" for name, count in sorted(devices.items()) if count)
    if not told:
        fix_gpus = "where a node has GPUs, install its vendor's device plugin; jobs without GPUs need none"
        return [Finding("nodes", level, number, fix), Finding("GPUs", "note", "no node offers any", fix_gpus)]
    return [Finding("nodes", level, number, fix), Finding("GPUs", "ok", f"{told} on nodes that take workers")]


def is_gpu(resource: str) -> bool:
    """Whether a resource of a node is a GPU or a part of one."""
    return resource.endswith("/gpu") or "/mig-" in resource


def takes_workers(node: Values) -> bool:
    """Whether a node is ready and not cordoned."""
    conditions = {one["type"]: one["status"] for one in (node.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and not (node.get("spec") or {}).get("unschedulable", False)


def pod_groups(served: Mapping[str, frozenset[str]]) -> Finding:
    """Whether the scheduler can be told of gangs."""
    versions = [version for version, plurals in served.items() if "podgroups" in plurals]
    if versions:
        return Finding(
            "PodGroups", "ok", f"served ({', '.join(sorted(versions))}): gangs are placed whole or not at all"
        )
    fix = "Kubernetes 1.36 and later can serve them, not by default; elsewhere gangs that block each other give way"
    return Finding("PodGroups", "note", "not served: the scheduler does not know gangs", fix)


def queues(served: Mapping[str, frozenset[str]], local: Iterable[Values] | None, namespace: str) -> Finding:
    """Whether Kueue is there and the namespace has a queue. local: None where it was not asked."""
    if not served:
        fix = "without Kueue leave the label kueue.x-k8s.io/queue-name out: a job with it waits"
        return Finding("Kueue", "ok", "not installed: jobs start without a quota of a queue", fix)
    if "v1beta2" not in served:
        return Finding(
            "Kueue", "note", f"serves {', '.join(sorted(served))}", "Ganger needs v1beta2: Kueue 0.15 or later"
        )
    if local is None:
        return Finding("Kueue", "unknown", "installed; whether the namespace has a queue may not be read")
    names = [one["metadata"]["name"] for one in local]
    if not names:
        fix = "create a LocalQueue (docs/queues.md); jobs without the label need none"
        return Finding("Kueue", "note", f"installed; namespace {namespace} has no queue", fix)
    return Finding("Kueue", "ok", f"queues of namespace {namespace}: {', '.join(sorted(names))}")


def storage(classes: Iterable[Values]) -> Finding:
    """Whether a volume that a job asks for without a class can be made."""
    names = [one["metadata"]["name"] for one in classes if _is_default(one)]
    if len(names) == 1:
        return Finding("storage", "ok", f"{names[0]} is the default class; several workers need ReadWriteMany of it")
    if not names:
        fix = "set checkpoint.volume.storageClassName or claimName in jobs, or mark a class as the default"
        return Finding("storage", "note", "no default storage class: volumes of jobs that name none wait", fix)
    text = f"{len(names)} default storage classes ({', '.join(sorted(names))}): the newest is taken"
    return Finding("storage", "note", text, "let one alone be the default, or name one in the job")


def _is_default(one: Values) -> bool:
    return ((one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS)) == "true"


def policies(found: Iterable[Values], bindings: Iterable[Values], namespace: str) -> Finding:
    """Whether the admission policies of the chart are there, bound and sound."""
    names = {one["metadata"]["name"]: one for one in found}
    present = {short: name for name in names for short in POLICIES if name.endswith(f".{short}")}
    fix = UPGRADE.format(namespace=namespace)
    if not present:
        return Finding("admission", "note", NO_POLICIES, f"{fix} --set admissionPolicies.enabled=true")
    bound = {one["spec"].get("policyName") for one in bindings}
    loose = sorted(short for short, name in present.items() if name not in bound)
    if loose:
        return Finding("admission", "mend", f"policies without a binding: {', '.join(loose)}", fix)
    warned = sorted(short for short, name in present.items() if _warnings(names[name]))
    if warned:
        look = f"kubectl get validatingadmissionpolicy {present[warned[0]]} -o yaml, at status.typeChecking"
        return Finding("admission", "note", f"the API server has doubts about: {', '.join(warned)}", look)
    return Finding("admission", "ok", f"policies in force: {', '.join(sorted(present))}")


def _warnings(policy: Values) -> list[Any]:
    return ((policy.get("status") or {}).get("typeChecking") or {}).get("expressionWarnings") or []


def metrics(services: Iterable[Values], slices: Iterable[Values]) -> Finding:
    """Whether somebody could scrape the operator: a Service with an endpoint that is ready."""
    names = [one["metadata"]["name"] for one in services]
    if not names:
        fix = "the chart's value metrics.service.enabled makes one; docs/observability.md"
        return Finding("metrics", "note", "no Service leads to the operator's metrics", fix)
    ready = sum(
        len(point.get("addresses") or ())
        for one in slices
        if (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") in names
        for point in one.get("endpoints") or ()
        if (point.get("conditions") or {}).get("ready", True)
    )
    if not ready:
        fix = "an operator that is not ready is no endpoint: see the line 'operator'"
        return Finding("metrics", "note", f"Service {names[0]} has no ready endpoint", fix)
    return Finding("metrics", "ok", f"Service {names[0]} has {ready} ready endpoint{'s' * (ready > 1)}")
