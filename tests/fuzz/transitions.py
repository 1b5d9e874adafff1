"""From one manifest to another: what may change, and that nothing remembers the way.

A job that was suspended, edited and resumed has the pods, Service and claim that a fresh one of the same manifest has,
but for the number of its attempt; edited back it is what it was.
"""

import random
from copy import deepcopy
from typing import Any

import msgspec

from fuzz import sound
from fuzz.lives import Life, stored
from fuzz.sound import Manifest
from ganger.api.freeze import VOLUME_PATH, volume_kept
from ganger.api.types import TrainingJobSpec
from ganger.api.validate import check
from ganger.contract import ANNOTATION_EDITION
from ganger.plan.edition import edition
from ganger.plan.pods import pod

WORKERS_MAX = 4


def pair(draw: random.Random) -> tuple[Manifest, Manifest]:
    """Return two small jobs of one name: the second is another one, or the first with a few values drawn anew."""
    before = _small(draw, sound.manifest(draw))
    after = _small(draw, sound.manifest(draw) if draw.random() < 0.5 else _edited(draw, before))
    return before, after | {"metadata": before["metadata"]}


def _edited(draw: random.Random, job: Manifest) -> Manifest:
    after = deepcopy(job)
    for _ in range(draw.randint(1, 3)):
        holder, key, node, _ = draw.choice(list(sound.places(after["spec"], sound.SPEC, "spec")))
        holder[key] = sound.value(draw, node, str(key))
    return after


def _small(draw: random.Random, job: Manifest) -> Manifest:
    spec = job["spec"]
    workers = draw.randint(1, WORKERS_MAX)
    bounds = {"minWorkers": draw.randint(1, workers), "maxWorkers": draw.randint(workers, WORKERS_MAX)}
    small = {"workers": workers} | ({"elastic": spec["elastic"] | bounds} if "elastic" in spec else {})
    found = sound.settled(job | {"spec": {k: v for k, v in spec.items() if k != "managedBy"} | small})
    assert found is not None
    return found


def troubles(before: Manifest, after: Manifest) -> list[str]:
    """Return in words what the way from one manifest to the other and back leaves behind; [] if nothing."""
    first, second = stored(before), stored(after)
    found = _refusals(first.spec, second.spec, check(second, first))
    if volume_kept(first.spec, second.spec):
        found += _ways(before, after)
    return found


def _refusals(old: TrainingJobSpec, new: TrainingJobSpec, errors: list[Any]) -> list[str]:
    errors = [error for error in errors if error.path != VOLUME_PATH]
    if old.suspend:
        return [f"a suspended job may not change: {error}" for error in errors]
    changed = {
        f"spec.{field}"
        for name, field in zip(old.__struct_fields__, old.__struct_encode_fields__, strict=True)
        if getattr(old, name) != getattr(new, name)
    }
    return [f"blamed although it did not change: {error}" for error in errors if error.path not in changed]


def _ways(before: Manifest, after: Manifest) -> list[str]:
    here, there = _awake(before), _awake(after)
    life = _lived(here)
    _edit(life, there)
    found = _differences("updated", life, _lived(there))
    _edit(life, here)
    found += _differences("rolled back", life, _lived(here))
    if _frozen(here) != _frozen(there):
        life.edit(stored(there).spec)
        life.settle()
        found += _differences("while no operator looked", life, _lived(there))
    return found


def _frozen(job: Manifest) -> str:
    return edition(stored(job))


def _awake(job: Manifest) -> Manifest:
    return job | {"spec": job["spec"] | {"suspend": False}}


def _lived(job: Manifest) -> Life:
    life = Life(stored(job))
    life.settle()
    return life


def _edit(life: Life, job: Manifest) -> None:
    """As people do it: suspend, apply, resume."""
    life.suspend()
    life.settle()
    assert not life.pods(), "a suspended job has pods"
    life.edit(msgspec.structs.replace(stored(job).spec, suspend=True))
    life.settle()
    life.suspend(False)
    life.settle()


def _differences(way: str, life: Life, fresh: Life) -> list[str]:
    attempt = life.job.status.attempt
    wanted = [pod(fresh.job, attempt, worker) for worker in range(fresh.job.spec.workers)]
    found = [] if len(life.pods()) == len(wanted) else [f"{way}: {len(life.pods())} pods instead of {len(wanted)}"]
    pairs = list(zip(life.pods(), wanted, strict=False))
    for kind in ("Service", "PersistentVolumeClaim"):
        one, other = life.one(kind), fresh.one(kind)
        if other is not None:  # one that is not needed any more does no harm: the claim keeps the checkpoints
            pairs.append((one or {}, other))
    return found + [
        f"{way}: {other['kind']} {path}"
        for one, other in pairs
        for path in sorted(_unequal(one, other, ""))
        if ANNOTATION_EDITION not in path  # it counts the edits
    ]


def _unequal(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [p for key in one.keys() | other.keys() for p in _unequal(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [p for n, (a, b) in enumerate(zip(one, other, strict=True)) for p in _unequal(a, b, f"{path}[{n}]")]
    return [] if one == other else [f"{path}: {one!r:.80} instead of {other!r:.80}"]
