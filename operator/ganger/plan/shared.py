"""What the workers of a gang share: the claim of their checkpoints, their Service, policy and PodGroup."""

from ganger.api.types import TrainingJob
from ganger.contract import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY
from ganger.plan import networkpolicy, podgroup, service, volumes
from ganger.plan.gang import Gang
from ganger.plan.seen import Seen
from ganger.plan.site import Site


def missing(job: TrainingJob, seen: Seen, members: Gang, site: Site, *, grouped: bool) -> tuple[dict[str, object], ...]:
    """Return the claim, the Service, the NetworkPolicy and the PodGroup that are missing.

    The Service waits for worker 0's address: without one to publish, the endpoint controllers write twice as often.
    """
    wanted = (
        (volumes.claim(job), seen.claim),
        (service.service(job) if members.has_meeting_point else None, seen.service),
        (networkpolicy.network_policy(job) if site.isolates else None, seen.policy),
        (podgroup.pod_group(job, site) if grouped and site.pod_groups and not members.is_placed else None, seen.group),
    )
    return tuple(manifest for manifest, present in wanted if manifest is not None and present is None)


def obstacle(job: TrainingJob, seen: Seen, members: Gang, *, grouped: bool) -> tuple[str, str] | None:
    """Return reason and message of what must be out of the way before anything is created."""
    if seen.squatters:
        names = ", ".join(seen.squatters[:4])
        return "WaitingForPreviousPods", f"pods of another owner carry the names that are needed: {names}"
    found = seen.service
    if found is not None and service.service(job) is not None and found.metadata.controller_uid != job.metadata.uid:
        return "WaitingForPreviousService", f"service {found.metadata.name} belongs to another owner"
    policy = seen.policy
    if policy is not None and policy.metadata.controller_uid != job.metadata.uid and not members.started:
        return "WaitingForPreviousPolicy", f"NetworkPolicy {policy.metadata.name} belongs to another owner"
    if grouped and seen.group is not None and seen.group.metadata.controller_uid != job.metadata.uid:
        return "WaitingForPreviousGroup", f"PodGroup {seen.group.metadata.name} belongs to another owner"
    claim = seen.claim
    if claim is not None and volumes.claim(job) is not None:
        if claim.metadata.deletion_timestamp is not None:
            return "WaitingForPreviousVolume", f"claim {claim.metadata.name} is being deleted"
        labels = claim.metadata.labels
        if labels.get(LABEL_MANAGED_BY) != MANAGED_BY or labels.get(LABEL_JOB) != job.metadata.name:
            remedy = "rename the job or name the claim in spec.checkpoint.volume.claimName"
            return "VolumeConflict", f"claim {claim.metadata.name} exists and is not of this job; {remedy}"
    return None
