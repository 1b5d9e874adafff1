"""From what is seen of a job to one line of cause and one of remedy. Pure; a table that grows with experience.

A hint is only given where the facts name the cause; a guess would send people the wrong way.
"""

import re
from collections.abc import Iterable
from datetime import timedelta

from msgspec import Struct

from ganger.api.status import Failure
from ganger.cli import lastfailure
from ganger.cli.reporting import Hint, silence
from ganger.cli.seen import Seen
from ganger.contract import LABEL_QUEUE
from ganger.plan.remedy import remedy

SILENCE = timedelta(seconds=20)  # a guess: an operator that is there answers within a second or two


class _Rule(Struct, frozen=True):
    pattern: re.Pattern[str]
    cause: str
    fix: str


def _rule(pattern: str, cause: str, fix: str) -> _Rule:
    return _Rule(re.compile(pattern), cause, fix)


# Matched against "reason: message" of each obstacle; the first that matches wins, so the special come first.
_WAITING = (
    _rule(
        r"exceeded quota: (?P<quota>[^,\s]+)",
        "the namespace's ResourceQuota {quota} has no room for the gang",
        "ask for fewer workers or resources, wait for other jobs, or have the quota raised",
    ),
    _rule(
        r"violates PodSecurity",
        "the namespace's Pod Security level refuses the pods",
        "remove what the message names from the manifest; Ganger's own pods pass the level restricted",
    ),
    _rule(
        r"must specify (?P<what>limits\.\w+|requests\.\w+)",
        "a quota of the namespace demands {what}",
        "set it under spec.resources",
    ),
    _rule(
        r"Insufficient (?P<what>[\w.-]+/gpu)",
        "no node has enough free {what}",
        "ask for fewer under spec.resources.limits, spread over more workers, or wait for other jobs",
    ),
    _rule(
        r"Insufficient (?P<what>[\w./-]*\w)",
        "no node has enough free {what}",
        "lower spec.resources.requests, or add a node",
    ),
    _rule(
        r'persistentvolumeclaim "?(?P<claim>[\w.-]+)"? not found',
        "the claim {claim} does not exist in this namespace",
        "create it, or correct its name in the manifest",
    ),
    _rule(
        r"persistentvolumeclaim \"?(?P<claim>[\w.-]+)\"? is being deleted",
        "the claim {claim} is being deleted",
        "wait until it is gone, or name another claim",
    ),
    _rule(
        r"unbound immediate PersistentVolumeClaims|no persistent volumes available|ProvisioningFailed",
        "no volume was found for a claim of the job",
        "'kubectl get storageclass' lists them: set storageClassName and accessMode of spec.checkpoint.volume to fit",
    ),
    _rule(
        r"volume node affinity conflict|Multi-Attach error",
        "the checkpoint volume cannot be attached to the nodes of all workers",
        "use a storage class with accessMode ReadWriteMany, or one worker",
    ),
    _rule(
        r"untolerated taint",
        "every fitting node has a taint that the job does not tolerate",
        "add it to spec.tolerations if the job may run there",
    ),
    _rule(
        r"didn't match Pod's node affinity/selector",
        "no node has the labels of spec.nodeSelector or spec.affinity",
        "'kubectl get nodes --show-labels' shows what there is",
    ),
    _rule(
        r"topology spread constraints",
        "no node satisfies spec.topologySpreadConstraints",
        "loosen maxSkew, or use whenUnsatisfiable: ScheduleAnyway",
    ),
    _rule(
        r"(?:ErrImagePull|ImagePullBackOff).*"
        r"(?:unauthorized|denied|authentication required|403 Forbidden|no basic auth)",
        "the registry does not let the node pull the image",
        "name a Secret with credentials in spec.imagePullSecrets",
    ),
    _rule(
        r"ErrImageNeverPull",
        "the image is not on the node and must not be pulled",
        "load it onto the nodes, or use an image from a registry",
    ),
    _rule(
        r"ErrImagePull|ImagePullBackOff|InvalidImageName",
        "the image cannot be pulled",
        "check spec.image, its tag, and that the nodes reach the registry",
    ),
    _rule(
        r'[Ss]ecret "?(?P<name>[\w.-]+)"? not found',
        "the Secret {name} does not exist in this namespace",
        "create it, or mark it optional: true in the manifest",
    ),
    _rule(
        r'[Cc]onfig[Mm]ap "?(?P<name>[\w.-]+)"? not found',
        "the ConfigMap {name} does not exist in this namespace",
        "create it, or mark it optional: true in the manifest",
    ),
    _rule(
        r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<name>\S+)",
        "the {kind} {name} has no key {key}",
        "correct the key in spec.env, or add it to the {kind}",
    ),
    _rule(
        r'serviceaccount "?(?P<name>[\w.-]+)"? not found',
        "the service account {name} does not exist in this namespace",
        "create it, or leave spec.serviceAccountName out",
    ),
    _rule(
        r"no PriorityClass with name (?P<name>\S+)",
        "the priority class {name} does not exist",
        "'kubectl get priorityclass' shows what there is",
    ),
    _rule(
        r"WaitingForProfile: profile (?P<name>\S+)",
        "the profile {name} does not exist",
        "create it, or suspend the job and name another one in spec.profile; 'kubectl get tprof' shows those here",
    ),
    _rule(
        r"ProfileInvalid: profile (?P<name>\S+) of namespace (?P<namespace>\S+)",
        "the profile {name} and the job together make no job that can be",
        "correct one of them: 'kubectl edit tprof {name} -n {namespace}', or suspend the job and edit it",
    ),
    _rule(
        r"VolumeConflict",
        "a claim of the name that the job needs belongs to something else",
        "rename the job, or name that claim in spec.checkpoint.volume.claimName",
    ),
    _rule(
        r"WaitingForPrevious\w+",
        "objects of a deleted job of the same name are still there",
        "wait a moment; they go when their pods have stopped",
    ),
    _rule(
        r"StartError|RunContainerError.*(?:executable file not found|no such file)",
        "the image does not have the command of the job",
        "correct spec.command, or use an image that has it",
    ),
)


def hint(seen: Seen) -> Hint | None:
    """Return the cause of the trouble and its remedy, or None when all is well or the facts do not tell."""
    status = seen.job.status
    if status.is_true("Complete"):
        return None
    if status.is_true("Failed"):
        return _failed(seen)
    if seen.job.spec.suspend or status.is_true("Suspended"):
        return _suspended(seen)
    if not status.conditions:
        return _ignored(seen)
    if status.is_true("Running"):
        last = status.restarts.last if status.restarts is not None else None
        return silence(seen) or (_of_failure(last) if last is not None else None)
    last = lastfailure.of(seen.job)
    return _of_texts(f"{reason}: {text}" for reason, text in seen.obstacles()) or (
        _of_failure(last) if last is not None else None
    )


def _failed(seen: Seen) -> Hint | None:
    condition, last = seen.job.status.condition("Failed"), lastfailure.of(seen.job)
    reason = condition.reason if condition is not None else ""
    if reason in ("StartDeadlineExceeded", "ImagePull"):
        return _of_texts(f"{reason}: {text}" for reason, text in seen.obstacles()) or _known(reason)
    cause = _of_failure(last) if last is not None else None
    if cause is not None and reason != "DeadlineExceeded":
        return cause
    return _known(reason) or _of_texts([f"{reason}: {condition.message if condition else ''}"])


def _of_failure(failure: Failure) -> Hint | None:
    return _known(failure.reason, failure.exit_code)


def _known(reason: str, exit_code: int | None = None) -> Hint | None:
    found = remedy(reason, exit_code)
    return Hint(found.cause, found.remedy) if found is not None else None


def _suspended(seen: Seen) -> Hint:
    queue = seen.job.metadata.labels.get(LABEL_QUEUE)
    if queue and not seen.job.spec.suspend:
        fix = f"'kubectl get workloads -n {seen.job.metadata.namespace}' shows its place; it starts by itself"
        return Hint(f"the queue {queue} has not admitted the job yet", fix)
    return Hint("spec.suspend is true", f"'ganger resume {seen.job.metadata.name}' lets it go on")


def _ignored(seen: Seen) -> Hint | None:
    created = seen.job.metadata.creation_timestamp
    if seen.job.spec.managed_by not in (None, "ganger.dev/ganger"):
        return Hint(
            f"spec.managedBy leaves the job to {seen.job.spec.managed_by}", "remove it to let Ganger run the job"
        )
    if created is None or seen.now - created < SILENCE:
        return None
    return Hint(
        "no operator has looked at the job",
        "check that it runs and watches this namespace: kubectl get deploy -A -l app.kubernetes.io/name=ganger",
    )


def _of_texts(texts: Iterable[str]) -> Hint | None:
    for text in texts:
        for rule in _WAITING:
            match = rule.pattern.search(text)
            if match is not None:
                groups = match.groupdict()
                return Hint(rule.cause.format(**groups), rule.fix.format(**groups))
    return None
