"""What must hold at every watch event, whatever failed: checked over the whole history of jobs and pods.

- INV-1: a rank lives once, all attempts together; only a pod that was given up with its node does not count.
- INV-2: a pod's attempt was written before the pod was made; attempt and round never go back.
- INV-3: a restart is counted once, within maxRestarts.
- INV-4: what has ended stays so, and nothing is made for it. INV-5: it leaves no live pod.
- INV-6: conditions are unique and short, and their times move only when they change.
- INV-10: a pod belongs to a job that was read.
- INV-18: the pods of an attempt were made with the same profile, where the job names one, and else with none.
- INV-21: a pod that makes model files is made alone, after its try was written, and none of the gang after it.
- INV-19: where jobs are isolated, a pod is made only once its job's NetworkPolicy is there, and none is made twice.
`Checker.see` takes the events in the order of their resourceVersions, which all resource types of one API server share;
`in_order` sorts what several watches brought.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = dict[str, Any]
Event = tuple[str, Object]  # ADDED, MODIFIED or DELETED, and the object
JOB, POD, POLICY = "TrainingJob", "Pod", "NetworkPolicy"
OVER = ("Succeeded", "Failed")
FINAL = ("Complete", "Failed")
MESSAGE_CHARS_MAX = 1024
LOST_GRACE_SECONDS = 60  # the default of failurePolicy.nodeLostGracePeriodSeconds
# Reasons of a DisruptionTarget, and of a pod, whose node is gone: its rank is fenced and may be replaced at once.
NODE_GONE = frozenset({"DeletionByTaintManager", "DeletionByPodGC", "NodeLost"})


def in_order(events: Iterable[Event]) -> list[Event]:
    """The events of several watches in the order in which the API server wrote them."""
    return sorted(events, key=lambda event: int(event[1]["metadata"]["resourceVersion"]))


def violations(events: Iterable[Event], *, known: Iterable[Object] = (), isolates: bool = False) -> list[str]:
    """Every breach of an invariant in a history, in words; [] for a history that keeps them.

    known: jobs and pods that were there before.
    """
    checker = Checker(isolates=isolates)
    for obj in known:
        (checker.jobs if obj["kind"] == JOB else checker.pods)[obj["metadata"]["uid"]] = obj
    for event in in_order(events):
        checker.see(*event)
    return checker.found


def is_over(pod: Object) -> bool:
    """Whether the containers of a pod have ended for good."""
    return pod.get("status", {}).get("phase") in OVER


def is_on_lost_node(pod: Object) -> bool:
    """Whether the pod is only the shadow of one: its node is gone, or does not answer while the pod should end."""
    status = pod.get("status", {})
    conditions = status.get("conditions") or []
    targets = {one.get("reason") for one in conditions if one["type"] == "DisruptionTarget" and one["status"] == "True"}
    silent = any(one["type"] == "Ready" and one.get("reason") == "NodeLost" for one in conditions)
    terminating = "deletionTimestamp" in pod["metadata"]
    return bool(targets & NODE_GONE) or status.get("reason") == "NodeLost" or (silent and terminating)


def condition(job: Object, type_: str) -> Object:
    """A condition of a job, {} where there is none."""
    return next((one for one in job.get("status", {}).get("conditions", []) if one["type"] == type_), {})


def _profile(pod: Object) -> str:
    """What the pod carries of its profile, "" where it has none."""
    return str(pod["metadata"].get("annotations", {}).get("ganger.dev/profile", ""))


def is_final(job: Object) -> bool:
    """Whether a job has ended."""
    return any(condition(job, type_).get("status") == "True" for type_ in FINAL)


@dataclass
class Checker:
    """The state of the world so far, and the breaches found in it. isolates: whether jobs are isolated in it."""

    isolates: bool = False
    policies: set[str] = field(default_factory=set)  # UIDs of the jobs that have one
    jobs: dict[str, Object] = field(default_factory=dict)  # by UID, deleted ones too
    pods: dict[str, Object] = field(default_factory=dict)  # by UID, only those that exist
    gone: set[str] = field(default_factory=set)  # UIDs of deleted jobs
    found: list[str] = field(default_factory=list)
    events: int = 0

    def see(self, kind: str, obj: Object) -> None:
        """Take one event and check it."""
        self.events += 1
        if obj["kind"] == JOB:
            self._job(kind, obj)
        elif obj["kind"] == POD and "ganger.dev/job-uid" in obj["metadata"].get("labels", {}):
            self._pod(kind, obj)
        elif obj["kind"] == POLICY:
            self._policy_of_job(kind, self._owner(obj))

    def leftovers(self) -> list[str]:
        """INV-5, to be asked once all is quiet: live pods of jobs that are gone or have ended."""
        return [
            f"INV-5 pod {pod['metadata']['name']} outlives its job"
            for pod in self.pods.values()
            if not is_over(pod)
            and (self._owner(pod) in self.gone or is_final(self.jobs.get(self._owner(pod), {"status": {}})))
        ]

    def _policy_of_job(self, kind: str, owner: str) -> None:
        if kind == "DELETED":
            self.policies.discard(owner)
            return
        if kind == "MODIFIED":
            self._breach(19, f"the policy of {owner} was written again")
        self.policies.add(owner)

    # --- pods ---
    def _pod(self, kind: str, pod: Object) -> None:
        meta = pod["metadata"]
        if kind == "DELETED":
            self.pods.pop(meta["uid"], None)
            return
        is_new = meta["uid"] not in self.pods
        self.pods[meta["uid"]] = pod
        self._unique(pod)
        if is_new:
            self._made_well(pod)

    def _unique(self, pod: Object) -> None:
        """INV-1: a rank lives at most once, all attempts together; only a lost node's shadow does not count."""
        if is_over(pod) or is_on_lost_node(pod):
            return
        for other in self.pods.values():
            twin = other["metadata"]["uid"] != pod["metadata"]["uid"] and _rank(other) == _rank(pod)
            if twin and not is_over(other) and not is_on_lost_node(other) and not self._is_given_up(other, pod):
                self._breach(1, f"{pod['metadata']['name']} lives beside {other['metadata']['name']}")

    def _is_given_up(self, other: Object, pod: Object) -> bool:
        """Whether the other should have ended nodeLostGracePeriodSeconds before the pod was made, and had not."""
        told, policy = other["metadata"].get("deletionTimestamp"), self._policy(pod)
        if told is None:
            return False
        late = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) - datetime.fromisoformat(told)
        return late.total_seconds() >= policy.get("nodeLostGracePeriodSeconds", LOST_GRACE_SECONDS)

    def _policy(self, pod: Object) -> Object:
        policy: Object = self.jobs.get(self._owner(pod), {}).get("spec", {}).get("failurePolicy", {})
        return policy

    def _made_well(self, pod: Object) -> None:
        meta = pod["metadata"]
        labels, owner = meta["labels"], self._owner(pod)
        job = self.jobs.get(owner)
        # A probe (elastic jobs) only takes a place: it has no number among the workers, no environment of one, and no
        # label by which the Service and the scale subresource find them.
        is_probe = not labels["ganger.dev/worker"].isdigit()
        if job is None or (not is_probe and owner != labels["ganger.dev/job-uid"]):
            self._breach(10, f"{meta['name']} is of no TrainingJob: owner {owner!r}, labels {labels}")
            return
        attempt, name = labels["ganger.dev/attempt"], job["metadata"]["name"]
        env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0].get("env", [])}
        if int(attempt) > job.get("status", {}).get("attempt", 0):
            self._breach(2, f"{meta['name']} was made before attempt {attempt} was written")
        if not is_probe and env.get("GANGER_ATTEMPT") != attempt:
            self._breach(2, f"{meta['name']}: environment {env.get('GANGER_ATTEMPT')}, label {attempt}")
        is_export = labels["ganger.dev/worker"].startswith("export-")
        if is_export:
            self._trained(job, pod)
        elif "export" in job.get("status", {}) and not is_final(job):
            self._breach(21, f"{meta['name']} was made after the training of {name} was done")
        if not meta["name"].startswith(f"{name}-{attempt}-") and not is_export:
            self._breach(2, f"{meta['name']} is named after another attempt than {attempt} of {name}")
        group = pod["spec"].get("schedulingGroup", {}).get("podGroupName")
        if group not in (None, f"{name}-{attempt}"):
            self._breach(2, f"{meta['name']} is scheduled with group {group}, not with that of attempt {attempt}")
        if not is_probe:
            self._same_profile(job, pod)
        if self.isolates and self._owner(pod) not in self.policies:
            self._breach(19, f"{meta['name']} was made before the policy of its job")
        if is_final(job):
            self._breach(4, f"{meta['name']} was made after the end of {name}")

    def _trained(self, job: Object, pod: Object) -> None:
        """INV-21, by the number that is written ahead."""
        name, number = pod["metadata"]["name"], pod["metadata"]["labels"]["ganger.dev/worker"].removeprefix("export-")
        written = job.get("status", {}).get("export", {}).get("number", -1)
        if number != str(written) or name != f"{job['metadata']['name']}-export-{number}":
            self._breach(21, f"{name} was made before try {number} was written; the status has {written}")
        for other in self.pods.values():
            is_twin = other is not pod and self._owner(other) == self._owner(pod)
            if is_twin and not is_over(other) and "deletionTimestamp" not in other["metadata"]:
                self._breach(21, f"{name} was made while {other['metadata']['name']} lives")

    def _same_profile(self, job: Object, pod: Object) -> None:
        """INV-18, by what each pod carries of its profile."""
        name, attempt = pod["metadata"]["name"], pod["metadata"]["labels"]["ganger.dev/attempt"]
        for other in self.pods.values():
            twin = self._owner(other) == self._owner(pod)
            twin = twin and other["metadata"]["labels"]["ganger.dev/attempt"] == attempt
            twin = twin and other["metadata"]["labels"]["ganger.dev/worker"].isdigit()
            if twin and _profile(other) != _profile(pod):
                self._breach(18, f"{name} was made with another profile than {other['metadata']['name']}")
        if (_profile(pod) == "") != ("profile" not in job["spec"]):
            self._breach(18, f"{name} of a job with profile {job['spec'].get('profile')} carries {_profile(pod)!r}")

    # --- jobs ---
    def _job(self, kind: str, job: Object) -> None:
        uid = job["metadata"]["uid"]
        if kind == "DELETED":
            self.gone.add(uid)
        old, self.jobs[uid] = self.jobs.get(uid), job
        self._conditions(job, old)
        if old is not None:
            self._counts(job, old)
            self._ended_stays_ended(job, old)

    def _counts(self, job: Object, old: Object) -> None:
        before, after = _restarts(old), _restarts(job)
        name, limit = job["metadata"]["name"], job["spec"].get("failurePolicy", {}).get("maxRestarts")
        for what in ("total", "counted"):
            if not 0 <= after[what] - before[what] <= 1:
                self._breach(3, f"{name}: restarts.{what} went from {before[what]} to {after[what]} in one write")
        if after["counted"] > after["total"]:
            self._breach(3, f"{name}: {after['counted']} restarts counted of {after['total']}")
        if limit is not None and before["counted"] < after["counted"] > limit:
            self._breach(3, f"{name}: {after['counted']} restarts counted, {limit} allowed")
        if after["total"] > before["total"] and _start(job) <= _start(old):
            self._breach(3, f"{name}: a restart without a new attempt or round: {_start(old)} to {_start(job)}")
        if _start(job) < _start(old):
            self._breach(2, f"{name}: attempt and round went back from {_start(old)} to {_start(job)}")

    def _ended_stays_ended(self, job: Object, old: Object) -> None:
        """INV-4: what has ended stays as it ended; afterwards nothing of the status changes."""
        if is_final(old) and job.get("status") != old.get("status"):
            self._breach(4, f"{job['metadata']['name']}: the status changed after the end")

    def _conditions(self, job: Object, old: Object | None) -> None:
        name, types = job["metadata"]["name"], set()
        for one in job.get("status", {}).get("conditions", []):
            if one["type"] in types:
                self._breach(6, f"{name}: two conditions {one['type']}")
            types.add(one["type"])
            if len(one.get("message", "")) > MESSAGE_CHARS_MAX:
                self._breach(6, f"{name}: the message of {one['type']} is too long")
            before = condition(old, one["type"]) if old is not None else {}
            same = before.get("status") == one["status"]
            if same and before.get("lastTransitionTime") != one.get("lastTransitionTime"):
                self._breach(6, f"{name}: {one['type']} stayed {one['status']} but lastTransitionTime moved")

    def _owner(self, pod: Object) -> str:
        owners = pod["metadata"].get("ownerReferences", [])
        return next((one["uid"] for one in owners if one.get("controller") and one["kind"] == JOB), "")

    def _breach(self, number: int, text: str) -> None:
        self.found.append(f"INV-{number} {text}")


def _rank(pod: Object) -> tuple[str, str]:
    labels, owners = pod["metadata"]["labels"], pod["metadata"].get("ownerReferences", [])
    return next((one["uid"] for one in owners if one.get("controller")), ""), labels.get("ganger.dev/worker", "")


def _restarts(job: Object) -> dict[str, int]:
    restarts = job.get("status", {}).get("restarts", {})
    return {"total": restarts.get("total", 0), "counted": restarts.get("counted", 0)}


def _start(job: Object) -> tuple[int, int]:
    status = job.get("status", {})
    return status.get("attempt", 0), status.get("round", 0)
