"""The PodGroup by which the scheduler places a gang whole or not at all (docs/adr/0017-gang-scheduling.md).

One for each attempt: a group tells of its first scheduling and never takes it back (KEP-4671). A pod names its group
for ever, so an attempt that began without a group ends without one.
"""

from collections.abc import Iterable
from typing import Any

from ganger.api.observed import PodGroup
from ganger.api.types import TrainingJob
from ganger.contract import LABEL_ATTEMPT
from ganger.plan import elastic, names
from ganger.plan.gang import Gang
from ganger.plan.seen import Deletion
from ganger.plan.site import Site

GROUP, KIND = "scheduling.k8s.io", "PodGroup"
DEFAULT_SCHEDULER = "default-scheduler"
SCHEDULED = "PodGroupInitiallyScheduled"


def least(job: TrainingJob) -> int:
    """Return how many workers have to be placed together."""
    size = elastic.size(job)
    return size if job.spec.elastic is None else min(size, job.spec.elastic.min_workers)


def is_grouped(job: TrainingJob, gang: Gang, site: Site) -> bool:
    """Whether the workers of the present attempt are scheduled as a group: as those that exist, or as the site can.

    A job with a scheduler of its own has that scheduler's groups, and one worker alone needs none.
    """
    if gang.present:
        return any(pod.spec.scheduling_group is not None for pod in gang.present.values())
    is_default = job.spec.scheduler_name in (None, DEFAULT_SCHEDULER)
    return bool(site.pod_groups) and is_default and least(job) > 1


def pod_group(job: TrainingJob, site: Site) -> dict[str, Any]:
    """Return the manifest of the group of the present attempt. Pure.

    A fixed gang loses all of its pods where it loses one, so the scheduler may as well take all of them at once; an
    elastic one goes on with those that are left.
    """
    whole = job.spec.elastic is None
    if site.pod_groups == "v1alpha2":  # a word there, a union from v1beta1 on
        disruption: Any = "PodGroup" if whole else "Pod"
    else:
        disruption = {"all": {}} if whole else {"single": {}}
    spec: dict[str, Any] = {
        "schedulingPolicy": {"gang": {"minCount": least(job)}},
        "disruptionMode": disruption,
    }
    if job.spec.priority_class_name is not None:  # of another priority than its pods a group is never scheduled
        spec["priorityClassName"] = job.spec.priority_class_name
    attempt = job.status.attempt
    return {
        "apiVersion": f"{GROUP}/{site.pod_groups}",
        "kind": KIND,
        "metadata": {
            "name": names.pod_group(job.metadata.name, attempt),
            "namespace": job.metadata.namespace,
            "labels": names.labels(job) | {LABEL_ATTEMPT: str(attempt)},
            "ownerReferences": [names.owner_reference(job)],
        },
        "spec": spec,
    }


def outdated(job: TrainingJob, groups: Iterable[PodGroup]) -> tuple[PodGroup, ...]:
    """Return the groups of other attempts. One that still has pods stays until they have ended: it is protected."""
    name = names.pod_group(job.metadata.name, job.status.attempt)
    return tuple(group for group in groups if group.metadata.name != name)


def deletions(groups: Iterable[PodGroup], site: Site) -> tuple[Deletion, ...]:
    """Return the deletions of groups, but of those that are being deleted."""
    return tuple(
        Deletion(metadata=group.metadata, api_version=f"{GROUP}/{site.pod_groups}", kind=KIND)
        for group in groups
        if site.pod_groups and group.metadata.deletion_timestamp is None
    )


def obstacle(group: PodGroup | None) -> str:
    """Return the scheduler's words on why it has not placed the group, "" where it has or said nothing yet."""
    for condition in group.status.conditions if group is not None else ():
        if condition.type == SCHEDULED and condition.status == "False":
            return condition.message or condition.reason
    return ""
