"""A kube-apiserver in memory, as far as Ganger uses one: same requests, same answers, no time passes within a request.

Versions of one counter, optimistic concurrency, UID preconditions, status subresources, merge patches, server-side
apply of a status by its only manager, paging, selectors, watches with bookmarks, graceful deletion of pods. It does
not validate or default manifests. `tests/integration/chaos/test_sim.py` compares it with the real one.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import msgspec

Object = dict[str, Any]
KINDS = {
    "pods": ("v1", "Pod"),
    "services": ("v1", "Service"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "events": ("events.k8s.io/v1", "Event"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
    "trainingjobs": ("ganger.dev/v1alpha1", "TrainingJob"),
    "trainingprofiles": ("ganger.dev/v1alpha1", "TrainingProfile"),
    "devsessions": ("ganger.dev/v1alpha1", "DevSession"),
    "secrets": ("v1", "Secret"),
    "nodes": ("v1", "Node"),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "podgroups": ("scheduling.k8s.io/v1beta1", "PodGroup"),
    "priorityclasses": ("scheduling.k8s.io/v1", "PriorityClass"),
    "workloads": ("kueue.x-k8s.io/v1beta2", "Workload"),
}
HAS_STATUS = frozenset({"pods", "services", "persistentvolumeclaims", "trainingjobs", "devsessions", "workloads"})
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace")
POD_GRACE_SECONDS = 30
SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


class Refused(Exception):  # noqa: N818 - it names an answer
    """The answer is a Status that says why not."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


@dataclass(frozen=True)
class Change:
    """One entry of the history. before: the object as it was, None for a new one."""

    version: int
    kind: str  # ADDED, MODIFIED, DELETED
    plural: str
    obj: Object
    before: Object | None


@dataclass(frozen=True)
class Target:
    """What a path names; name "" is the collection, namespace "" all of them."""

    plural: str
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.plural, self.namespace, self.name)

    @classmethod
    def of(cls, path: str) -> "Target":
        parts = [unquote(part) for part in path.strip("/").split("/")]
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        plural, name, subresource = (*parts, "", "")[:3]
        if plural not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return cls(plural, namespace, name, subresource)


class ApiServer:
    """Holds the objects and their history. now: the time of day. seed: of UIDs and of the first version."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0, namespaces: tuple[str, ...] = ("team",)) -> None:
        self._now = now
        self._random = random.Random(seed)
        self.namespaces = set(namespaces)
        self.version = self._random.randrange(100, 100_000)
        self.oldest = self.version  # watches from before it are answered with 410
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.history: list[Change] = []
        self.on_change: list[Callable[[Change], None]] = []
        self._pages: dict[str, tuple[str, list[Object]]] = {}

    def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"", content_type: str = ""
    ) -> tuple[int, bytes]:
        """Answer one request that is no watch: HTTP status and body."""
        try:
            target = Target.of(path)
            code, obj = self._answer(
                method, target, dict(query or {}), msgspec.json.decode(body) if body else {}, content_type
            )
        except Refused as refused:
            code, obj = refused.status["code"], refused.status
        return code, msgspec.json.encode(obj)

    def _answer(
        self, method: str, target: Target, query: dict[str, str], body: Object, content_type: str
    ) -> tuple[int, Object]:
        if method == "GET":
            return 200, self._get(target) if target.name else self._list(target, query)
        if method == "POST":
            return 201, self._bind(target, body) if target.subresource == "binding" else self._create(target, body)
        if method == "DELETE":
            return 200, self._delete(target, body)
        old = self._get(target)
        if method == "PATCH" and "apply" in content_type:
            return 200, self._write(target, old, self._applied(target, old, body), body)
        if method == "PATCH":
            return 200, self._write(target, old, merged(old, body), body)
        return 200, self._write(target, old, body, body)

    # --- reads ---
    def _get(self, target: Target) -> Object:
        obj = self.objects.get(target.key)
        if obj is None:
            raise Refused(404, "NotFound", f'{target.plural} "{target.name}" not found')
        return obj

    def _list(self, target: Target, query: dict[str, str]) -> Object:
        api_version, kind = KINDS[target.plural]
        token, limit = query.get("continue", ""), int(query.get("limit", "0"))
        if token:
            if token not in self._pages:
                raise Refused(410, "Expired", "the provided continue parameter is too old")
            version, found = self._pages[token]
        else:
            version, found = str(self.version), [obj for _, obj in sorted(self._selected(target, query))]
        meta: Object = {"resourceVersion": version}
        if limit and len(found) > limit:
            meta |= {"continue": str(uuid.UUID(int=self._random.getrandbits(128)))}
            meta |= {"remainingItemCount": len(found) - limit}
            self._pages[meta["continue"]] = (version, found[limit:])
            found = found[:limit]
        return {"kind": f"{kind}List", "apiVersion": api_version, "metadata": meta, "items": found}

    def _selected(self, target: Target, query: dict[str, str]) -> list[tuple[tuple[str, str], Object]]:
        wanted = selector(target, query)
        return [
            ((namespace, name), obj)
            for (plural, namespace, name), obj in self.objects.items()
            if plural == target.plural and wanted(obj)
        ]

    # --- writes ---
    def _create(self, target: Target, body: Object) -> Object:
        api_version, kind = KINDS[target.plural]
        meta = dict(body.get("metadata", {}))
        if meta.get("resourceVersion"):
            raise Refused(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        if target.namespace not in self.namespaces:
            raise Refused(404, "NotFound", f'namespaces "{target.namespace}" not found')
        key = (target.plural, target.namespace, meta["name"])
        if key in self.objects:
            raise Refused(409, "AlreadyExists", f'{target.plural} "{meta["name"]}" already exists')
        meta = {name: value for name, value in meta.items() if name not in KEPT} | {
            "namespace": target.namespace,
            "uid": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "creationTimestamp": self._time(),
            "generation": 1,
        }
        obj = _copied(body) | {"apiVersion": api_version, "kind": kind, "metadata": meta}
        if target.plural in HAS_STATUS:
            obj.pop("status", None)
        if target.plural == "pods":
            obj["spec"] = {"terminationGracePeriodSeconds": POD_GRACE_SECONDS} | obj["spec"]
            obj["status"] = {"phase": "Pending"}
        return self._store("ADDED", key, obj, None)

    def _write(self, target: Target, old: Object, new: Object, sent: Object) -> Object:
        said, meta = sent.get("metadata") or {}, old["metadata"]
        if said.get("uid", meta["uid"]) != meta["uid"]:
            raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {said['uid']}")
        if said.get("resourceVersion") and said["resourceVersion"] != meta["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified; please apply your changes to the latest")
        if said.get("name", target.name) != target.name:
            raise Refused(400, "BadRequest", "the name of the object does not match the name on the URL")
        if target.plural in HAS_STATUS:
            if target.subresource == "status":
                new = old | ({"status": new["status"]} if "status" in new else {})
            else:
                new = {part: value for part, value in new.items() if part != "status"}
                new |= {"status": old["status"]} if "status" in old else {}
        new = new | {"apiVersion": old["apiVersion"], "kind": old["kind"]}
        new["metadata"] = {name: value for name, value in new["metadata"].items() if name not in KEPT}
        new["metadata"] |= {name: meta[name] for name in KEPT if name in meta}
        new["metadata"]["resourceVersion"] = meta["resourceVersion"]
        if new == old:
            return old  # nothing changes, so nothing is written and no watch hears of it
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = meta["generation"] + 1
        return self._store("MODIFIED", target.key, _copied(new), old)

    def _applied(self, target: Target, old: Object, body: Object) -> Object:
        """Server-side apply as Ganger uses it: a status alone, which has no other manager, so it is replaced."""
        if target.plural not in ("trainingjobs", "devsessions") or target.subresource != "status":
            raise Refused(400, "BadRequest", "this server knows the apply of a status of ours alone")
        return old | {"status": body["status"]}

    def _bind(self, target: Target, body: Object) -> Object:
        """What the scheduler writes: the node of a pod."""
        pod = self._get(target)
        if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
            raise Refused(409, "Conflict", "the pod is assigned to a node already, or being deleted")
        new = _copied(pod)
        new["spec"]["nodeName"] = body["target"]["name"]
        conditions = new["status"].setdefault("conditions", [])
        conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": self._time()})
        self._store("MODIFIED", target.key, new, pod)
        return SUCCESS

    def _delete(self, target: Target, options: Object) -> Object:
        old = self._get(target)
        wanted = options.get("preconditions", {})
        for name in ("uid", "resourceVersion"):
            if wanted.get(name, old["metadata"][name]) != old["metadata"][name]:
                raise Refused(409, "Conflict", f"Precondition failed: {name} in precondition: {wanted[name]}")
        grace = _grace_seconds(old, options.get("gracePeriodSeconds")) if target.plural == "pods" else 0
        if grace is None:
            return old  # it ends already, and not later than asked
        if grace == 0:
            gone = _copied(old)
            if target.plural == "pods":  # the real server writes this down before it removes the pod
                gone["metadata"] |= {"deletionTimestamp": self._time(), "deletionGracePeriodSeconds": 0}
                old = self._store("MODIFIED", target.key, gone, old)
                gone = _copied(old)
            del self.objects[target.key]
            gone = self._store("DELETED", None, gone, old)
            return gone if target.plural == "pods" else SUCCESS
        new = _copied(old)
        ends = self._now() + timedelta(seconds=grace)
        if "deletionTimestamp" in old["metadata"]:
            began = datetime.fromisoformat(old["metadata"]["deletionTimestamp"])
            ends = began + timedelta(seconds=grace - old["metadata"]["deletionGracePeriodSeconds"])
        new["metadata"] |= {"deletionTimestamp": _text(ends), "deletionGracePeriodSeconds": grace}
        new["metadata"]["generation"] += 1
        return self._store("MODIFIED", target.key, new, old)

    def _store(self, kind: str, key: tuple[str, str, str] | None, obj: Object, before: Object | None) -> Object:
        self.version += 1
        obj["metadata"] = obj["metadata"] | {"resourceVersion": str(self.version)}
        if key is not None:
            self.objects[key] = obj
        plural = next(plural for plural, (_, name) in KINDS.items() if name == obj["kind"])
        change = Change(self.version, kind, plural, obj, before)
        self.history.append(change)
        for hear in self.on_change:
            hear(change)
        return obj

    def delete(self, key: tuple[str, str, str], options: Object) -> None:
        """Delete as a request would; for the garbage collector, which lives in the cluster itself."""
        self._delete(Target(*key, ""), options)

    def compact(self) -> None:
        """Forget what was: watches from earlier versions and continue tokens are too old from now on."""
        self.oldest = self.version
        self._pages.clear()

    def _time(self) -> str:
        return _text(self._now())


def merged(old: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merged(new.get(name), value)
    return new


def selector(target: Target, query: dict[str, str]) -> Callable[[Object], bool]:
    """Whether an object is in the collection and matches the equality selectors of the query."""
    wanted_labels = [pair for pair in query.get("labelSelector", "").split(",") if pair]
    labels = dict(pair.split("=", 1) for pair in wanted_labels if "=" in pair)
    present = {name for name in wanted_labels if "=" not in name}
    fields = dict(pair.split("=", 1) for pair in query.get("fieldSelector", "").split(",") if pair)

    def wanted(obj: Object) -> bool:
        meta = obj["metadata"]
        return (
            target.namespace in ("", meta["namespace"])
            and labels.items() <= meta.get("labels", {}).items()
            and present <= meta.get("labels", {}).keys()
            and fields.get("metadata.name", meta["name"]) == meta["name"]
        )

    return wanted


def _grace_seconds(pod: Object, asked: int | None) -> int | None:
    """How long the pod may still run, 0 to remove it now, None to leave a deletion that is under way as it is."""
    if "deletionTimestamp" in pod["metadata"]:
        under_way = pod["metadata"]["deletionGracePeriodSeconds"]
        return None if asked is None or asked >= under_way else max(asked, 0)
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    own = pod["spec"].get("terminationGracePeriodSeconds", POD_GRACE_SECONDS)
    return int(own if asked is None else asked)


def _copied(obj: Object) -> Object:
    """Return the object anew; it is JSON, which is made faster than `deepcopy` looks."""
    new: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return new


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
