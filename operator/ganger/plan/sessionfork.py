"""What a session takes over from a job: the job as its one worker would be, with the session's own values in it. Pure.

A value of the same type as the job goes through the builders that make workers, so that what is the same is so by
construction.
"""

from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ganger.api.observed import Metadata
from ganger.api.session import DevSession, DevSessionSpec
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.api.validate import check
from ganger.contract import LABEL_JOB_UID

T = TypeVar("T", bound=Struct)
# Each as a whole: the session's where it says anything, else the job's.
_WHOLE = (
    "code",
    "resources",
    "shared_memory",
    "env_from",
    "node_selector",
    "affinity",
    "tolerations",
    "priority_class_name",
    "scheduler_name",
    "service_account_name",
    "image_pull_secrets",
    "runtime_class_name",
)
_KEYED = {"env": "name", "volumes": "name", "volume_mounts": "mount_path"}
_SILENT = DevSessionSpec()
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def blueprint(session: DevSession, source: TrainingJob | None, image: str) -> TrainingJob:
    """Return the job that the pod of the session is built from. source: that of fromJob, with its profile's values.

    image: the operator's for sessions. A job that names no image trains in the operator's own; its sessions run in the
    session's variant of that. The environment, volumes and mounts merge by name, the session's own win; everything else
    is the session's or the job's as a whole.
    """
    own = session.spec
    job = source if source is not None else _bare(session)
    values: dict[str, Any] = {
        field: getattr(own, field) if getattr(own, field) != getattr(_SILENT, field) else getattr(job.spec, field)
        for field in _WHOLE
    }
    values |= {field: _merged(getattr(job.spec, field), getattr(own, field), key) for field, key in _KEYED.items()}
    spec = replace(
        job.spec,
        image=own.image or job.spec.image or image,
        workers=1,
        elastic=None,
        required_topology_key=None,
        topology_spread_constraints=(),
        profile=None,
        termination_grace_period_seconds=own.termination_grace_period_seconds,
        **values,
    )
    return replace(job, spec=spec, written={})


def misfits(whole: TrainingJob) -> list[str]:
    """Return what is wrong with session and job together, by the rules of a job: one mistake each."""
    return [str(error) for error in check(whole)]


def affinity(whole: TrainingJob, source: TrainingJob | None) -> dict[str, Any]:
    """Return the affinity of the pod: near to the job's workers where it shares their checkpoints.

    A claim that is ReadWriteOnce can be mounted on their node alone. Preferred and not required: the job may have
    ended. What is no affinity at all is left to the API server to refuse.
    """
    user = whole.spec.affinity
    if source is None or source.spec.checkpoint is None:
        return user
    of_pods = user.get("podAffinity") or {}
    terms = of_pods.get(_PREFERRED) or [] if isinstance(of_pods, dict) else None
    if not isinstance(terms, list):
        return user
    near = {
        "labelSelector": {"matchLabels": {LABEL_JOB_UID: source.metadata.uid}},
        "topologyKey": "kubernetes.io/hostname",
    }
    return user | {"podAffinity": of_pods | {_PREFERRED: [*terms, {"weight": 100, "podAffinityTerm": near}]}}


def _bare(session: DevSession) -> TrainingJob:
    meta = Metadata(name=session.metadata.name, namespace=session.metadata.namespace, uid=session.metadata.uid)
    return TrainingJob(metadata=meta, spec=TrainingJobSpec(command=("session",)))


def _merged(job: tuple[T, ...], own: tuple[T, ...], key: str) -> tuple[T, ...]:
    """The job's items first, since a variable may refer to those before it; the session's replace their namesakes."""
    ours = {getattr(item, key): item for item in own}
    known = {getattr(item, key) for item in job}
    return (
        *(ours.get(getattr(item, key), item) for item in job),
        *(item for item in own if getattr(item, key) not in known),
    )
