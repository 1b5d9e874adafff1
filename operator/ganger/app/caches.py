"""The caches of the operator, and what one job sees in them."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ganger.api.observed import Claim, Metadata, NetworkPolicy, Pod, PodGroup, Service
from ganger.api.profile import TrainingProfile
from ganger.api.types import TrainingJob, decode
from ganger.contract import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY
from ganger.kube.cluster import Cluster
from ganger.kube.resources import (
    CLAIMS,
    NETWORK_POLICIES,
    POD_GROUPS,
    PODS,
    SERVICES,
    TRAINING_JOBS,
    TRAINING_PROFILES,
    Resource,
)
from ganger.plan import elastic, giveway, names
from ganger.plan.inquiry import Answer
from ganger.plan.live import Heard, Live
from ganger.plan.profile import Reading, is_wanted
from ganger.plan.quota import Quota
from ganger.plan.seen import Rank, Refusal, Seen
from ganger.plan.track import Track
from ganger.runtime.cache import Cache, Undecodable
from ganger.runtime.ports import Metrics
from ganger.runtime.reflector import Reflector, Timing

T = TypeVar("T", Service, Claim, NetworkPolicy, PodGroup)
Key = tuple[str, str]  # namespace and name of a job
OURS = f"{LABEL_MANAGED_BY}={MANAGED_BY}"


class Caches:
    """Jobs and profiles, and the pods, Services, claims, policies and PodGroups with our label: others cost no memory.

    PodGroups are not served everywhere: `app.podgroups` fills their cache.

    home: the operator's namespace, whose profiles are everybody's. isolates: NetworkPolicies are kept too.
    """

    def __init__(self, home: str = "", *, isolates: bool = False) -> None:
        self.home = home
        self._isolates = isolates
        self.jobs: Cache[TrainingJob] = Cache()
        self.pods: Cache[Pod] = Cache()
        self.services: Cache[Service] = Cache()
        self.claims: Cache[Claim] = Cache()
        self.policies: Cache[NetworkPolicy] = Cache()
        self.pod_groups: Cache[PodGroup] = Cache()
        self.profiles: Cache[TrainingProfile] = Cache()

    @property
    def by_resource(self) -> dict[Resource, Cache[Any]]:
        """Every cache of what is written, by what it holds."""
        caches: dict[Resource, Cache[Any]] = {
            TRAINING_JOBS: self.jobs,
            PODS: self.pods,
            SERVICES: self.services,
            CLAIMS: self.claims,
            NETWORK_POLICIES: self.policies,
        }
        return caches | dict.fromkeys(POD_GROUPS, self.pod_groups)

    def reflectors(
        self, cluster: Cluster, namespaces: tuple[str, ...], metrics: Metrics, timing: Timing | None = None
    ) -> list[Reflector[Any]]:
        """Return a reflector for each resource and namespace; no namespaces means all of them."""
        scopes = namespaces or ("",)
        kinds: tuple[tuple[Resource, type[Any], Cache[Any], str, Iterable[str]], ...] = (
            (TRAINING_JOBS, TrainingJob, self.jobs, "", scopes),
            (TRAINING_PROFILES, TrainingProfile, self.profiles, "", {*namespaces, self.home} if namespaces else scopes),
            (PODS, Pod, self.pods, OURS, scopes),
            (SERVICES, Service, self.services, OURS, scopes),
            (CLAIMS, Claim, self.claims, OURS, scopes),
            (NETWORK_POLICIES, NetworkPolicy, self.policies, OURS, scopes if self._isolates else ()),
        )
        return [
            Reflector(
                cluster,
                resource,
                kind,
                cache,
                namespace=namespace,
                label_selector=labels,
                metrics=metrics,
                timing=timing,
                decode=decode if kind is TrainingJob else None,
            )
            for resource, kind, cache, labels, among in kinds
            for namespace in sorted(among)
        ]

    def on_job_change(self, changed: Callable[[Key], None]) -> None:
        """Call with the key of a job whenever the job itself has changed here, or is gone."""

        def tell(old: Any, new: Any) -> None:
            meta = _meta(old, new)
            changed((meta.namespace, meta.name))

        self.jobs.on_change(tell)

    def on_change(self, enqueue: Callable[[Key], None]) -> None:
        """Enqueue the job that any changed object belongs to. Level-triggered: what changed does not matter."""

        def child_changed(old: Any, new: Any) -> None:
            # By label, not by owner: a job also waits for the end of a predecessor's objects.
            meta = _meta(old, new)
            name = meta.labels.get(LABEL_JOB)
            if name:
                enqueue((meta.namespace, name))

        def profile_changed(old: Any, new: Any) -> None:
            if old is new:
                return  # a resync; the jobs have their own
            meta = _meta(old, new)
            for job in list(self.jobs.all()):
                ours = meta.namespace in (job.metadata.namespace, self.home)
                if ours and job.spec.profile == meta.name and is_wanted(job):
                    enqueue(job.key)

        self.on_job_change(enqueue)
        self.profiles.on_change(profile_changed)
        for cache in (self.pods, self.services, self.claims, self.policies, self.pod_groups):
            cache.on_change(child_changed)

    def profile(self, job: TrainingJob) -> TrainingProfile | None:
        """Return the profile that the job names: of its namespace, else of the operator's."""
        name = job.spec.profile or ""
        return self.profiles.get(job.metadata.namespace, name) or self.profiles.get(self.home, name)

    def seen(
        self,
        job: TrainingJob,
        *,
        squatters: tuple[str, ...] = (),
        stranger_service: Metadata | None = None,
        stranger_claim: Metadata | None = None,
        stranger_policy: Metadata | None = None,
        stranger_group: Metadata | None = None,
        refusal: Refusal | None = None,
        live: Live | None = None,
        heard: tuple[Heard, ...] = (),
        track: Track | None = None,
        answer: Answer | None = None,
        asks: bool = False,
        quota: Quota | None = None,
        reading: Reading | None = None,
    ) -> Seen:
        """Return what the caches hold of a job's children.

        squatters: foreign pods, stranger_*: a foreign Service, claim, policy and PodGroup, that a create met and that
        no cache holds.
        """
        namespace, name = job.key
        pods = self.pods.by_owner(job.metadata.uid)
        cached = tuple(
            wanted
            for worker in range(elastic.size(job))
            if (wanted := names.pod(name, job.status.attempt, worker)) and self._is_foreign(namespace, wanted, job)
        )
        return Seen(
            stored=self.jobs.get(namespace, name),
            pods=pods,
            service=self.services.get(namespace, names.service(name)) or _found(Service, stranger_service),
            claim=self.claims.get(namespace, names.claim(name)) or _found(Claim, stranger_claim),
            policy=self.policies.get(namespace, names.network_policy(name)) or _found(NetworkPolicy, stranger_policy),
            group=self.pod_groups.get(namespace, names.pod_group(name, job.status.attempt))
            or _found(PodGroup, stranger_group),
            groups=self.pod_groups.by_owner(job.metadata.uid),
            squatters=cached + squatters,
            refusal=refusal,
            live=live,
            heard=heard,
            track=track or Track(),
            answer=answer,
            asks=asks,
            rivals=self._rivals(job, pods),
            quota=quota,
            profile=reading,
        )

    def _rivals(self, job: TrainingJob, pods: tuple[Pod, ...]) -> tuple[Rank, ...]:
        """Return the ranks of the other gangs that are stuck; nothing is looked up for a job that is not."""
        if giveway.rival(job, pods) is None:
            return ()
        others = (other for other in self.jobs.all() if other.metadata.uid != job.metadata.uid)
        ranks = (giveway.rival(other, self.pods.by_owner(other.metadata.uid)) for other in others)
        return tuple(rank for rank in ranks if rank is not None)

    def _is_foreign(self, namespace: str, name: str, job: TrainingJob) -> bool:
        pod = self.pods.get(namespace, name)
        return pod is not None and pod.metadata.controller_uid != job.metadata.uid


def _found(kind: type[T], metadata: Metadata | None) -> T | None:
    return None if metadata is None else kind(metadata=metadata)


def _meta(old: Any | Undecodable | None, new: Any | Undecodable | None) -> Metadata:
    changed = new if new is not None else old
    assert changed is not None, "a change has an old or a new object"
    meta: Metadata = changed.metadata
    return meta
