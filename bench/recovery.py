"""B9: a rank is killed; seconds until the gang trains its next step, on each rung of the restart ladder.

In pods of the cluster that KUBECONFIG names and that has Ganger installed; without KUBECONFIG in plain processes, with
an operator's end of the channel that orders the rungs (no scheduler, no kubelet, no decision). In each cycle a
checkpoint is waited for, then rank 1 is killed (Process), killed again in its first steps (Container), and once more
(Pods).
As many cycles as each rung needs to be taken TRIALS times, twice that at most: a checkpoint between two kills, which is
progress, sends the ladder back to its first rung. GANGER_BENCH_TRIALS sets another number; a figure wants 20.
The operator's share, a failed pod seen to its replacement created, is measured against an API server of its own.
In pods, the peers that the cluster serves follow (`recovery_peers`), PEER_TRIALS times each;
GANGER_BENCH_PEER_TRIALS sets another number, 0 leaves them out. So does a lost node (`recovery_node`), NODE_TRIALS
times of two to three minutes, in the embedded cluster alone; GANGER_BENCH_NODE_TRIALS sets another number.
"""

import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench import operators, recovery_node, recovery_peers

ROOT = Path(__file__).parents[1]
TRIALS = int(os.environ.get("GANGER_BENCH_TRIALS", "20"))
PEER_TRIALS = int(os.environ.get("GANGER_BENCH_PEER_TRIALS", "7"))
NODE_TRIALS = int(os.environ.get("GANGER_BENCH_NODE_TRIALS", "3"))
SHARE_TRIALS = 5 * TRIALS  # cheap, and of few the 99th percentile is the longest
RUNGS = ("Process", "Container", "Pods")
KEYS = {"Process": "in_place_p50_seconds", "Container": "worker_p50_seconds", "Pods": "pod_p50_seconds"}
NO_PODS = "measured in plain processes: set KUBECONFIG to a cluster that has Ganger and the images"
NODE_SECONDS = 400.0
WAIT_SECONDS = 120.0
CONFIG = {"steps": 1_000_000, "batchSize": 64, "threads": 1, "logEverySeconds": 5}
EVERY_STEPS = 500  # rarely between two kills: progress sends the ladder back to its first rung


class Processes:
    """Two supervisors as plain processes, and the operator's end that tells them what to do."""

    place = "plain processes; no scheduler, no kubelet, no decision of the operator"
    look_seconds = 0.02

    def __init__(self, folder):
        sys.path.insert(0, str(ROOT / "tests"))
        from operator_end import OperatorEnd

        self.folder = folder
        self.operator = OperatorEnd(folder).start()
        self.attempt, self.pods = 0, []
        self._start()

    def _start(self):
        port = operators.free_port()
        self.operator.status, self.operator.ordered = 200, []
        for worker in (0, 1):
            environ = os.environ | self.operator.environ | {
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}:{ROOT / 'bench'}", "GLOO_SOCKET_IFNAME": "lo",
                "GANGER_JOB": "recovery", "GANGER_JOB_UID": "uid-1", "GANGER_ATTEMPT": str(self.attempt),
                "GANGER_WORKER": str(worker), "GANGER_WORKERS": "2", "GANGER_RENDEZVOUS": f"127.0.0.1:{port}",
                "GANGER_TASK": "recovery_task:task", "GANGER_CONFIG": json.dumps(CONFIG), "TMPDIR": str(self.folder),
                "GANGER_CHECKPOINT_DIR": str(self.folder / "checkpoints"),
                "GANGER_CHECKPOINT": json.dumps({"everySteps": EVERY_STEPS}),
            }  # fmt: skip
            loop = 'while :; do "$@"; c=$?; [ $c = 88 ] || exit $c; done'
            with (self.folder / f"log-{worker}").open("a") as log:
                command = ["sh", "-c", loop, "sh", sys.executable, "-m", "ganger_trainer"]
                self.pods.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True))

    def log(self, worker):
        """What the worker has written."""
        return (self.folder / f"log-{worker}").read_text(errors="replace")

    def kill(self, pid, rung):
        """Kill rank 1, after which the gang is to take that rung; return the time."""
        self.operator.rungs = [rung] if rung != "Pods" else []
        if rung == "Pods":
            self.operator.status = 403
        now = time.time()
        os.kill(pid, signal.SIGKILL)
        if rung == "Pods":
            for pod in self.pods:
                pod.wait(WAIT_SECONDS)
            self.pods, self.attempt = [], self.attempt + 1
            self._start()
        return now

    def took(self):
        """Return the rung of the newest restart."""
        return self.operator.ordered[-1] if self.operator.ordered else "Pods"

    def close(self):
        """End what was started."""
        for pod in self.pods:
            os.killpg(pod.pid, signal.SIGKILL)
            pod.wait()
        self.operator.stop()


class Pods:
    """A job of two workers in a namespace of its own."""

    place = "pods on a real kubelet"
    look_seconds = 1.0  # kubectl costs 0.1 s of CPU, which the pods need; the times are told in the logs

    def __init__(self, folder, *, keeps=True):
        """keeps: checkpoints, on a volume of the node."""
        self.namespace = f"bench-{secrets.token_hex(3)}"
        self._kubectl("create", "namespace", self.namespace, scoped=False)
        code = ROOT / "bench" / "recovery_task.py"
        self._kubectl("create", "configmap", "recovery-code", f"--from-file=recovery_task.py={code}")
        job = yaml.safe_load((ROOT / "jobs" / "examples" / "digits" / "job.yaml").read_text())
        job["metadata"] = {"name": "recovery", "namespace": self.namespace}
        job["spec"] |= {
            "task": "recovery_task:task", "code": {"configMap": {"name": "recovery-code"}}, "config": CONFIG,
            "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": EVERY_STEPS},
            "failurePolicy": {
                "maxRestarts": 1000, "noProgressRestarts": 9, "backoff": {"baseSeconds": 0, "capSeconds": 1},
            },
        }  # fmt: skip
        if not keeps:
            del job["spec"]["checkpoint"]
        self._kubectl("apply", "-f", "-", stdin=json.dumps(job))

    def _kubectl(self, *arguments, stdin=None, scoped=True):
        scope = ["-n", self.namespace] if scoped else []
        command = ["kubectl", *scope, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def _status(self):
        return json.loads(self._kubectl("get", "trainingjob", "recovery", "-o", "json")).get("status", {})

    def _pod(self, worker):
        return f"recovery-{self._status().get('attempt', 0)}-{worker}"

    def log(self, worker):
        """What the worker's present container has written last."""
        try:
            return self._kubectl("logs", self._pod(worker), "--tail=2000")
        except subprocess.CalledProcessError:
            return ""  # it is being created

    def kill(self, pid, rung):
        """Kill rank 1 in its pod; return the time by the node's clock, on which the steps are told as well."""
        script = f"date +%s.%N; kill -9 {pid}"
        return float(self._kubectl("exec", self._pod(1), "--", "sh", "-c", script).split()[0])

    def took(self):
        """Return the rung of the newest restart."""
        return self._status()["restarts"]["last"]["rung"]

    def close(self):
        """Remove the namespace."""
        self._kubectl("delete", "namespace", self.namespace, "--wait=false", scoped=False)


def _wait(find, what, look_seconds=0.02, seconds=WAIT_SECONDS):
    end = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds:.0f} s")
        time.sleep(look_seconds)
    return found


def _words(place, worker, first):
    return [line.split()[1:] for line in place.log(worker).splitlines() if line.startswith(f"{first} ")]


def _first_step(place, old):
    """The first step of a later round than those of `old`: its run and its time."""
    return next(((run, float(at)) for run, at in _words(place, 0, "STEP") if run not in old), None)


def _trials(place, trials):
    found, runs = {rung: [] for rung in RUNGS}, set()
    look = place.look_seconds
    run, _ = _wait(lambda: _first_step(place, runs), "first step", look)
    cycles = 0
    while cycles < 2 * trials and min(map(len, found.values())) < trials:
        cycles += 1
        present = f"{run} "
        _wait(lambda p=present: "committed" in place.log(0).rpartition(f"PROCESS 0 {p}")[2], "checkpoint", look)
        for rung in RUNGS:
            runs.add(run)
            words = _wait(
                lambda r=run: [w for w in _words(place, 1, "PROCESS") if w[1] == r], "process of rank 1", look
            )
            killed = place.kill(int(words[-1][2]), rung)
            run, at = _wait(lambda: _first_step(place, runs), f"step after {rung}", look)
            found[place.took()].append(at - killed)  # a checkpoint between two kills lowers the rung
    return found


def _share(trials):
    """Seconds from the status that shows the last pod of a gang failed to the first pod of the next attempt."""
    from ganger.api.crd import definitions
    from ganger_dev.control_plane import start_control_plane

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plane = start_control_plane(folder)
        operator = None
        try:
            api, base = plane.api, "/api/v1/namespaces/default/pods"
            for definition in definitions():
                api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            jobs = "/apis/ganger.dev/v1alpha1/namespaces/default/trainingjobs"
            spec = {
                "task": "m:t", "workers": 1, "image": "pytorch-cuda:v2.15",
                "failurePolicy": {
                    "maxRestarts": 1000, "noProgressRestarts": 1000, "backoff": {"baseSeconds": 0, "capSeconds": 1},
                },
            }  # fmt: skip
            api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": operators.NAMESPACE}})
            operator = operators.start(plane, folder)
            _wait(lambda: _tried(api, jobs), "definition")
            api.request("POST", jobs, {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob",
                                       "metadata": {"name": "share"}, "spec": spec})  # fmt: skip
            seconds = []
            for attempt in range(trials):
                path = f"{base}/share-{attempt}-0"
                _wait(lambda p=path: _tried(api, p), "pod")
                ended = {
                    "exitCode": 137,
                    "reason": "Error",
                    "finishedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                container = {"name": "trainer", "image": "i", "imageID": "", "ready": False, "restartCount": 0,
                             "state": {"terminated": ended}}  # fmt: skip
                status = {"status": {"phase": "Failed", "containerStatuses": [container]}}
                api.request("PATCH", f"{path}/status", status, content_type="application/merge-patch+json")
                began = time.perf_counter()
                _wait_quickly(lambda a=attempt: _tried(api, f"{base}/share-{a + 1}-0"))
                seconds.append(time.perf_counter() - began)
            return seconds
        finally:
            if operator is not None:
                operator.end()
            plane.stop()


def _wait_quickly(find):
    end = time.monotonic() + WAIT_SECONDS
    while not find():
        if time.monotonic() > end:
            raise TimeoutError("no replacement")
        time.sleep(0.002)


def _tried(api, path):
    try:
        return api.request("GET", path)
    except OSError:
        return None


def peer_trial(peer) -> float:
    """Return the seconds from the death of rank 1 of a peer's workload to its next step, and remove it."""
    try:
        run, _ = _wait(lambda: _first_step(peer, set()), "first step", peer.look_seconds)
        words = _wait(lambda: _words(peer, 1, "PROCESS"), "process of rank 1", peer.look_seconds)
        killed = peer.kill(int(words[-1][2]), "")
        _, at = _wait(lambda: _first_step(peer, {run}), "step after the failure", peer.look_seconds)
        return at - killed
    finally:
        peer.close()


def node_trial(machine) -> float:
    """Return the seconds from the loss of the node of a gang to its next step on another."""
    with tempfile.TemporaryDirectory() as folder:
        place = Pods(Path(folder), keeps=False)
        try:
            run, _ = _wait(lambda: _first_step(place, set()), "first step", place.look_seconds)
            lost = machine.lose(place.namespace)
            machine.replace()
            _, at = _wait(lambda: _first_step(place, {run}), "step on another node", place.look_seconds, NODE_SECONDS)
        finally:
            place.close()
    return at - lost


def _percentile(seconds, percent):
    return sorted(seconds)[max(0, -(-percent * len(seconds) // 100) - 1)]


def _summary(seconds):
    return {
        "trials": len(seconds),
        "p50": round(statistics.median(seconds), 3),
        "p95": round(_percentile(seconds, 95), 3),
        "p99": round(_percentile(seconds, 99), 3),
        "max": round(max(seconds), 3),
    }


def _promised(table, in_pods, no_node):
    """Return the keys of build/bench.json, and the reasons of those that are null. no_node: why none was lost."""
    share, node = table["operatorsShare"], table.get("Node")
    keys = {key: table[rung]["p50"] if in_pods else None for rung, key in KEYS.items()}
    reasons = {} if in_pods else {f"recovery.{key}": NO_PODS for key in KEYS.values()}
    keys |= {"controller_p50_ms": round(1000 * share["p50"], 1), "controller_p99_ms": round(1000 * share["p99"], 1)}
    keys["node_p50_seconds"] = node["p50"] if node is not None else None
    return {"recovery": keys}, reasons | ({} if node is not None else {"recovery.node_p50_seconds": no_node})


def measure() -> dict:
    """Return the seconds of each rung and of each peer, and the operator's share."""
    kind = Pods if os.environ.get("KUBECONFIG") else Processes
    with tempfile.TemporaryDirectory() as folder:
        place = kind(Path(folder))
        try:
            found = _trials(place, TRIALS)
        finally:
            place.close()
    peers, missing = recovery_peers.measure(PEER_TRIALS, peer_trial) if kind is Pods and PEER_TRIALS else ({}, {})
    node, no_node = recovery_node.measure(NODE_TRIALS, node_trial)
    found |= {"Node": node} if node else {}
    table = {name: _summary(seconds) for name, seconds in (found | peers).items()}
    table["operatorsShare"] = _summary(_share(SHARE_TRIALS))
    for name, row in table.items():
        figures = "   ".join(f"{key} {row[key]:6.3f} s" for key in ("p50", "p95", "max"))
        print(f"  {name:<15} {figures}   n {row['trials']}")
    for name, why in missing.items():
        print(f"  {name:<15} left out: {why}")
    keys, reasons = _promised(table, kind is Pods, no_node)
    columns = ("trials", "p50", "p95", "max")
    rows = [[name, *(row[column] for column in columns)] for name, row in table.items()]
    told = {
        "title": "A rank is killed: seconds to the next step",
        "columns": ["who", *columns],
        "rows": rows + [[f"{name}: {why}", *[None] * len(columns)] for name, why in missing.items()],
        "note": f"{kind.place}. Process, Container and Pods are rungs of Ganger's restart ladder; Node is a lost one.",
    }
    return {"place": kind.place, "seconds": table, "keys": keys, "reasons": reasons, "tables": [told]}
