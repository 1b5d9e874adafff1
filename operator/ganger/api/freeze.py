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
        "activeDeadlineSeconds",
        "startDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "cleanPodPolicy",
        "config",
        "affinity",
        "topologySpreadConstraints",
    }
)
_COLLECTIONS = frozenset(
    field.encode_name for field in fields(TrainingJobSpec) if field.default == () or field.default_factory is dict
)
REMEDY = "suspend the job first, or create a new one"


class Freeze(Struct, frozen=True, kw_only=True):
    """One field that changes only while the old job is suspended."""

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
    free = "oldSelf.suspend || "
    message = f"{field} may change only while the job is suspended"
    if field == "workers":
        free += "has(self.elastic) || "
        message = "workers may change only while the job is suspended, or within the bounds of elastic"
    # Not `self.?x == oldSelf.?x`: the API server cannot bound the cost of comparing optionals and refuses the CRD.
    same = f"(has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field}))"
    if field in _COLLECTIONS:
        # An empty one is the same as none: a longer file that changes nothing must not be refused.
        none = f"(!has({{0}}.{field}) || size({{0}}.{field}) == 0)"
        same = f"({none.format('self')} && {none.format('oldSelf')} || {same})"
    return Freeze(field=field, message=message, cel=free + same)


FROZEN: tuple[Freeze, ...] = tuple(
    _freeze(field) for field in TrainingJobSpec.__struct_encode_fields__ if field not in FREE
)


def freeze_block(freeze: Freeze) -> dict[str, str]:
    """Return the freeze as an entry of x-kubernetes-validations."""
    return {
        "rule": freeze.cel,
        "message": f"{freeze.message}; {REMEDY}",
        "reason": "FieldValueForbidden",
        "fieldPath": f".{freeze.field}",
    }
