"""What each change of a stored job does to its gang. Pure: two manifests in, changes out.

Which field may change when is `api/freeze.py`'s to say, as the API server applies it too. Manifests are compared
as JSON, for so does the API server: to write out what was absent is a change of a frozen field, be it the default.
"""

import copy
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ganger.api import freeze
from ganger.api.crd import schema
from ganger.api.field_error import below
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.cli.threeway import LAST_APPLIED, Values
from ganger.contract import LABEL_QUEUE

# In the order of how much of a running gang they spare.
Effect = Literal["live", "none", "next", "restart", "suspend", "refused"]
ABSENT: Any = object()
NEXT_ATTEMPT = frozenset({"config", "affinity", "topologySpreadConstraints", "terminationGracePeriodSeconds"})
AFTER_THE_END = frozenset({"ttlSecondsAfterFinished", "cleanPodPolicy"})
_QUEUE = below("metadata.labels", LABEL_QUEUE)


class Change(Struct, frozen=True, kw_only=True):
    """One field that an apply changes. old, new: ABSENT where it has no value.

    live: at once, the gang goes on. none: nothing heeds it. next: holds from the next attempt. restart: the gang stops
    with a checkpoint. suspend: refused while the job is not suspended. refused: for good.
    """

    path: str
    old: Any
    new: Any
    effect: Effect
    meaning: str

    @property
    def sign(self) -> str:
        """How a diff marks it."""
        return "+" if self.old is ABSENT else "-" if self.new is ABSENT else "~"


def changes(stored: Values, result: Values) -> list[Change]:
    """Return every field that differs, in the order of the API. Both are valid manifests."""
    old, new = msgspec.convert(stored, TrainingJob), msgspec.convert(result, TrainingJob)
    found = []
    for path, before, after in differences(stored, result):
        field = path.split(".")[1].partition("[")[0] if path.startswith("spec.") else ""
        effect, meaning = _spec(field, path, old, new) if field else _metadata(path, after, old)
        found.append(Change(path=path, old=before, new=after, effect=effect, meaning=meaning))
    return found


def differences(stored: Values, result: Values) -> Iterator[tuple[str, Any, Any]]:
    """Yield path and both values of what differs in labels, annotations and spec, defaults filled in."""
    for part in ("labels", "annotations"):
        before, after = ({**(one["metadata"].get(part) or {})} for one in (stored, result))
        for one in (before, after):
            one.pop(LAST_APPLIED, None)
        yield from leaves(before, after, f"metadata.{part}")
    specs = [_as_stored(one["spec"]) for one in (stored, result)]
    for field in TrainingJobSpec.__struct_encode_fields__:
        yield from leaves(specs[0].get(field, ABSENT), specs[1].get(field, ABSENT), below("spec", field))


def _as_stored(spec: Values) -> Values:
    """Return the spec as the API server keeps it, but for empty collections, which are none."""
    filled = _filled(copy.deepcopy(spec), schema()["properties"]["spec"])
    return {key: value for key, value in filled.items() if value or key not in freeze.COLLECTIONS}


def _filled(value: Any, node: Values) -> Any:
    if isinstance(value, list):
        return [_filled(item, node.get("items", {})) for item in value]
    if isinstance(value, dict):
        for key, inner in node.get("properties", {}).items():
            if key not in value and "default" in inner:
                value[key] = copy.deepcopy(inner["default"])
            if key in value:
                value[key] = _filled(value[key], inner)
    return value


def leaves(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the deepest paths at which two values of JSON differ; a list that grew or shrank is one value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from leaves(old.get(key, ABSENT), new.get(key, ABSENT), below(path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (was, becomes) in enumerate(zip(old, new, strict=True)):
            yield from leaves(was, becomes, f"{path}[{index}]")
    # To Python 1 is True; to a task it is not.
    elif old is not new and (old != new or isinstance(old, bool) != isinstance(new, bool)):
        yield path, old, new


def _metadata(path: str, new: Any, old: TrainingJob) -> tuple[Effect, str]:
    if path != _QUEUE:
        return "live", "takes effect at once"
    if old.status.finished:
        return "none", f"no effect: {_ended(old)}"
    if new is ABSENT:
        return "live", "no queue holds the job any more"
    if old.spec.suspend:
        return "next", "this queue is asked for quota when the job is resumed"
    return "restart", "this queue is asked for quota; until it admits the job, the gang stops with a checkpoint"


def _spec(field: str, path: str, old: TrainingJob, new: TrainingJob) -> tuple[Effect, str]:
    if path.startswith(f"{freeze.VOLUME_PATH}") and not freeze.volume_kept(old.spec, new.spec):
        return "refused", "refused: the volume that was made for the job stays as it is"
    if field not in freeze.FREE and not old.spec.suspend and not (field == "workers" and new.spec.elastic is not None):
        if old.status.finished:
            return "refused", f"refused: {_ended(old)}; submit it anew"
        return "suspend", "refused while the job is not suspended"
    if old.status.finished:
        if field in AFTER_THE_END:
            return "live", "takes effect at once"
        return "none", f"no effect: {_ended(old)}, and that is final"
    if field == "suspend":
        if new.spec.suspend:
            return "restart", f"the gang stops {_with_checkpoint(old)}; its GPUs become free"
        return "restart", f"the gang starts {_from_checkpoint(new)}"
    if old.spec.suspend:
        return "next", "holds when the job is resumed" if new.spec.suspend else "holds for the gang that starts"
    if field == "workers":  # elastic, or it would be frozen
        return "restart", f"the gang stops {_with_checkpoint(old)} and goes on with {new.spec.workers} workers"
    if field in NEXT_ATTEMPT:
        return "next", "holds from the next attempt on; the running gang keeps the old value"
    return "live", "takes effect at once; the gang goes on"


def _ended(job: TrainingJob) -> str:
    return "the job is complete" if job.status.is_true("Complete") else "the job has failed"


def _with_checkpoint(job: TrainingJob) -> str:
    # A profile may bring the checkpoint; then only the job as a whole knows.
    keeps = job.spec.checkpoint is not None or job.spec.profile is not None
    return "with a checkpoint" if keeps else "without a checkpoint (spec.checkpoint is not set)"


def _from_checkpoint(job: TrainingJob) -> str:
    keeps = job.spec.checkpoint is not None or job.spec.profile is not None
    return "from its checkpoint" if keeps else "at step 0 (spec.checkpoint is not set)"
