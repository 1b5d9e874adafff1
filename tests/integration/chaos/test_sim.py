"""The API server in memory answers as the real one does: random requests to both, one after the other."""

import json
import os
import random
import urllib.error
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from apiclient import ApiClient
from chaos.sim.cluster import event
from chaos.sim.server import ApiServer, Target, selector

pytestmark = pytest.mark.integration
SEQUENCES, REQUESTS = int(os.environ.get("GANGER_CHAOS_SEQUENCES", "100")), 24
NAMES = ("a-0", "a-1", "b-0")
JOBS, PODS = "/apis/ganger.dev/v1alpha1/namespaces/{}/trainingjobs", "/api/v1/namespaces/{}/pods"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class Two:
    """Both servers: each request goes to both, and both answers come back in the form in which they must be equal."""

    def __init__(self, real, namespace, prefix):
        self.real, self.namespace, self.prefix = real, namespace, prefix
        self.sim = ApiServer(lambda: datetime.now(UTC), namespaces=(namespace,))
        self.versions = {}  # by (path, name): the newest versions and UIDs that each server told
        self.began = self.real.call("GET", PODS.format(namespace) + "?limit=1")["metadata"]["resourceVersion"]

    def name(self, number):
        return f"{self.prefix}-{NAMES[number]}"

    def ask(self, method, path, body=None, content_type="application/json", query=None):
        """body: a function of the known metadata (`real` or `sim`), as versions differ between the two."""
        texts = {}
        for which in ("real", "sim"):
            sent = body(self.versions.get(which, {})) if callable(body) else body
            send = getattr(self, f"_{which}")
            code, answer = send(method, path, sent, content_type, query or {})
            while answer.get("metadata", {}).get("continue"):
                more = {"continue": answer["metadata"]["continue"]}
                code, page = send(method, path, sent, content_type, query | more)
                answer = page | {"items": answer["items"] + page["items"]}
            texts[which] = code, answer
            self._learn(which, path, texts[which][1])
        return _plain(*texts["real"]), _plain(*texts["sim"])

    def _real(self, method, path, body, content_type, query):
        url = f"{path}?{urlencode(query)}" if query else path
        try:
            return 200, self.real.call(method, url, body, content_type)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def _sim(self, method, path, body, content_type, query):
        sent = b"" if body is None else json.dumps(body).encode()
        code, answer = self.sim.request(method, path, query, sent, content_type)
        return (200 if code < 300 else code), json.loads(answer)

    def _learn(self, which, path, answer):
        meta = answer.get("metadata") or {}
        if "uid" in meta:
            self.versions.setdefault(which, {})[path.split("/namespaces/")[0][-4:], meta["name"]] = meta


def _plain(code, answer):
    """What must be equal: code, reason, and of an object what Ganger reads and a test can foresee."""
    if code >= 300:
        return code, answer["reason"]
    if "items" in answer:
        return code, [_object(item) for item in answer["items"]]
    return code, _object(answer) if answer.get("kind") != "Status" else answer["status"]


def _object(obj):
    meta, status = obj["metadata"], obj.get("status", {})
    seen = {key: status[key] for key in ("phase", "message", "readyWorkers", "podIP") if key in status}
    return {
        "name": meta["name"],
        "labels": meta.get("labels", {}),
        "ends": "deletionTimestamp" in meta,
        "grace": meta.get("deletionGracePeriodSeconds"),
        "generation": meta["generation"] if "task" in obj["spec"] else None,
        "status": seen,
        "node": obj["spec"].get("nodeName"),
    }


def _requests(two, draw):
    """One random request: method, path, body, content type, query."""
    is_job = draw.random() < 0.45
    collection = (JOBS if is_job else PODS).format(two.namespace)
    name = two.name(draw.randrange(len(NAMES)))
    group = collection.split("/namespaces/")[0][-4:]
    path = f"{collection}/{name}"
    labels = {"run": two.prefix, "colour": draw.choice(("red", "blue"))}

    def meta_of(known, wrong=False):
        meta = known.get((group, name), {"uid": "none", "resourceVersion": "1"})
        return meta | ({"uid": "00000000-0000-4000-8000-000000000000"} if wrong else {})

    kinds = ["create"] * 3 + ["delete"] * 2 + ["labels", "get", "list", "guarded", "page"]
    # Of a job's status Ganger is the only manager, and it only ever applies it.
    own = ["spec", "apply", "apply-guarded"] if is_job else ["status", "bind", "shorten", "end", "remove"]
    kind = draw.choice(kinds + own)
    if kind == "create":
        # Of no scheduler: the real one would say that there is no node.
        pod = {"containers": [{"name": "trainer", "image": "x"}], "schedulerName": "nobody"}
        spec = {"task": "m:t", "workers": 1} if is_job else pod
        api = ("ganger.dev/v1alpha1", "TrainingJob") if is_job else ("v1", "Pod")
        body = {"apiVersion": api[0], "kind": api[1], "metadata": {"name": name, "labels": labels}, "spec": spec}
        return "POST", collection, body
    if kind == "delete":
        wrong = draw.random() < 0.3
        return "DELETE", path, lambda known: {"preconditions": {"uid": meta_of(known, wrong)["uid"]}}
    if kind in ("shorten", "remove"):
        return "DELETE", path, {"gracePeriodSeconds": 7 if kind == "shorten" else 0}
    if kind == "labels":
        return "PATCH", path, {"metadata": {"labels": labels}}, MERGE
    if kind == "guarded":
        old = draw.random() < 0.4

        def body(known):
            version = "1" if old else meta_of(known)["resourceVersion"]
            return {"metadata": {"resourceVersion": version, "labels": labels}}

        return "PATCH", path, body, MERGE
    if kind == "status":
        status = {"message": draw.choice(("up", "down"))}
        return "PATCH", f"{path}/status", {"status": status}, MERGE
    if kind == "end":
        return "PATCH", f"{path}/status", {"status": {"phase": draw.choice(("Running", "Failed", "Succeeded"))}}, MERGE
    if kind == "bind":
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        return "POST", f"{path}/binding", binding
    if kind == "spec":
        return "PATCH", path, {"spec": {"activeDeadlineSeconds": draw.choice((100, 200))}}, MERGE
    if kind.startswith("apply"):
        wrong, guarded = draw.random() < 0.3, kind == "apply-guarded"
        status = {"readyWorkers": draw.randrange(3)} | ({"message": "said"} if draw.random() < 0.5 else {})

        def body(known):
            meta = meta_of(known)
            said = {"name": name, "namespace": two.namespace}
            if guarded:
                said |= {"uid": meta["uid"], "resourceVersion": "1" if wrong else meta["resourceVersion"]}
            return {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": said, "status": status}

        return "PATCH", f"{path}/status", body, APPLY, {"fieldManager": "ganger", "force": "true"}
    if kind in ("list", "page"):
        wanted = {"labelSelector": f"run={two.prefix}" + draw.choice(("", ",colour=red"))}
        return "GET", collection, None, "application/json", wanted | ({"limit": "1"} if kind == "page" else {})
    return "GET", path, None


def test_both_servers_give_the_same_answers_and_tell_the_same_events(control_plane, crd, namespace):
    real = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))
    asked = 0
    for seed in range(SEQUENCES):
        draw = random.Random(seed)
        two = Two(real, namespace, f"s{seed}")
        trace = []
        for _ in range(REQUESTS):
            request = _requests(two, draw)
            theirs, ours = two.ask(*request)
            trace.append((request[0], request[1], request[2] if not callable(request[2]) else "...", theirs))
            assert theirs == ours, f"seed {seed}, after {trace}"
            asked += 1
        assert _events_of_the_real_one(two) == _events_of_ours(two), f"seed {seed}: {trace}"
    assert SEQUENCES * REQUESTS == asked


def _events_of_the_real_one(two):
    """What a watch from the beginning of the sequence says of its red pods, in order."""
    wanted = {"labelSelector": f"run={two.prefix},colour=red", "watch": "1", "resourceVersion": two.began}
    expected = len(_events_of_ours(two))
    url = f"{PODS.format(two.namespace)}?{urlencode(wanted | {'timeoutSeconds': '1'})}"
    found = []
    if not expected:
        return found
    with two.real.open("GET", url) as reply:
        for line in reply:
            one = json.loads(line)
            found.append((one["type"], _object(one["object"] | {"kind": "Pod"})))
            if len(found) == expected:
                break
    return found


def _events_of_ours(two):
    query = {"labelSelector": f"run={two.prefix},colour=red"}
    wanted = selector(Target.of(PODS.format(two.namespace)), query)
    lines = filter(None, (event(change, "pods", wanted) for change in two.sim.history))
    return [(one["type"], _object(one["object"])) for one in map(json.loads, lines)]
