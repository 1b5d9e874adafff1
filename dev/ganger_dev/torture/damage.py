"""Thousands of damaged and hostile checkpoints, none of which may be loaded, run code, hang the loader or fill memory.

Each trial spoils the newest of two checkpoints of three ranks and lets the loader choose: it must quarantine that one
and come back with the older. Damage is drawn from a seed; what can be enumerated is.
"""

import hashlib
import itertools
import json
import os
import pickle
import random
import resource
import shutil
import struct
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from msgspec import Struct

from ganger_trainer.checkpoint import layout, loader, manifest
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.ranks import Ranks

WORLD_SIZE: Final = 3
GOOD, BAD = 10, 20  # steps
ALONE: Final = Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
_POLICY: Final = CheckpointPolicy(on_no_valid_checkpoint="Restart")

Damage = Callable[[Path], object]


class Tally(Struct, kw_only=True):
    """What became of the trials. wrong: descriptions of those that did not end as they must, a few of them.

    rss_growth: bytes by which the largest resident size of this process grew.
    """

    trials: Counter[str]
    loaded: int
    ran_code: int
    wrong: list[str]
    rss_growth: int


class _Canary:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def write(directory: Path, step: int) -> None:
    """Write a whole checkpoint of `step` as the trainer does, without its syncs."""
    checkpoint = directory / layout.committed(step)
    checkpoint.mkdir()
    shards = [
        safetensors.torch.save({f"model/w{rank}": torch.full((8, 4), float(step + rank))}) for rank in range(WORLD_SIZE)
    ]
    _sign(checkpoint, step, shards)


def _sign(checkpoint: Path, step: int, shards: list[bytes], **changes: Any) -> None:
    """Write the shards and a manifest that vouches for them; `changes` replace fields of the manifest."""
    for rank, data in enumerate(shards):
        (checkpoint / layout.shard(rank)).write_bytes(data)
    files = tuple(
        manifest.File(name=layout.shard(rank), size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for rank, data in enumerate(shards)
    )
    model = {f"w{rank}": {"$tensor": f"model/w{rank}"} for rank in range(len(shards))}
    values: dict[str, Any] = {
        "format": manifest.FORMAT, "job": "j", "job_uid": "u", "attempt": 0, "step": step, "world_size": len(shards),
        "samples": step, "saved_at": "2026-01-01T00:00:00Z", "score": None, "files": files,
        "trees": {"model": model, "optimizer": {}},
    } | changes  # fmt: skip
    (checkpoint / layout.MANIFEST).write_bytes(manifest.encode(manifest.Manifest(**values)))


def _raw(checkpoint: Path, body: bytes) -> None:
    """Put `body` in the place of the manifest, with a checksum of its own that is right."""
    trailer = b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
    (checkpoint / layout.MANIFEST).write_bytes(body + trailer)


def enumerated(checkpoint: Path, canary: Path) -> Iterator[tuple[str, Damage]]:
    """Yield all damage that can be listed: kind and how to do it. `checkpoint`: the whole one, to be measured."""
    for length in range((checkpoint / layout.MANIFEST).stat().st_size):
        yield "manifest truncated", _to(layout.MANIFEST, partial(_truncate, length))
    names = [layout.MANIFEST, *map(layout.shard, range(WORLD_SIZE))]
    for name in names:
        yield "zero length", _to(name, partial(_truncate, 0))
        yield "missing", _to(name, Path.unlink)
        yield "grown", _to(name, partial(_append, b"\0"))
        yield "zeros", _to(name, lambda path: path.write_bytes(bytes(path.stat().st_size)))
        for kind, put in _stand_ins(canary).items():
            yield kind, _to(name, put)
    for one, other in itertools.combinations(names, 2):
        yield "swapped", partial(_swap, one, other)
    for name in names:
        yield "file of another step", partial(_copy, name)
    yield "empty directory", _replaced(Path.mkdir)
    yield "link to another checkpoint", _replaced(lambda at: at.symlink_to(f"step_{GOOD}"))
    yield "a file", _replaced(lambda at: at.write_bytes(b"step"))
    yield from _hostile(canary)


def _to(name: str, action: Damage) -> Damage:
    return lambda at: action(at / name)


def _replaced(put: Damage) -> Damage:
    """Put something else in the place of a file or directory."""

    def damage(path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        put(path)

    return damage


def _stand_ins(canary: Path) -> dict[str, Damage]:
    """What may stand where a file must be."""
    return {
        "FIFO": _replaced(os.mkfifo),
        "directory": _replaced(Path.mkdir),
        "link out": _replaced(lambda path: path.symlink_to("/etc/passwd")),
        "link to an endless device": _replaced(lambda path: path.symlink_to("/dev/zero")),
        "link to itself": _replaced(lambda path: path.symlink_to(path.name)),
        "pickle": lambda path: path.write_bytes(pickle.dumps(_Canary(canary))),
        "torch pickle": lambda path: torch.save(_Canary(canary), path),
    }


def _hostile(canary: Path) -> Iterator[tuple[str, Damage]]:
    """Yield checkpoints whose hashes are right and whose contents are an attack."""
    tensors = safetensors.torch.save({f"model/w{rank}": torch.zeros(4) for rank in range(WORLD_SIZE)})
    shards = {
        "pickle": pickle.dumps(_Canary(canary)),
        "zip bomb": _zip_bomb(),
        "header of 100 GB": struct.pack("<Q", 100 << 30) + b"{}",
        "header longer than the file": struct.pack("<Q", 1 << 20) + b"{}",
        "header of noise": struct.pack("<Q", 64) + bytes(64),
        "header nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "shape that lies": _header({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}) + bytes(4),
        "offsets that overlap": _header(
            {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("a", "b")}
        )
        + bytes(4),
        "offsets beyond the end": _header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + bytes(4),
        "nothing": b"",
    }
    for kind, data in shards.items():
        yield f"signed: {kind}", partial(_sign, step=BAD, shards=[data] * WORLD_SIZE)
    good = [tensors] * WORLD_SIZE
    trees: dict[str, Any] = {
        "tensor that is not there": {"model": {"$tensor": "model/none"}, "optimizer": {}},
        "float that is code": {"model": {"$float": "__import__('os').system('true')"}, "optimizer": {}},
        "pairs that are none": {"model": {"$pairs": [1, 2]}, "optimizer": {}},
        "key that cannot be one": {"model": {"$pairs": [[[], 1]]}, "optimizer": {}},
        "tensor of a list": {"model": {"$tensor": []}, "optimizer": {}},
        "no model": {"optimizer": {}},
    }
    for kind, value in trees.items():
        yield f"signed: {kind}", partial(_sign, step=BAD, shards=good, trees=value)
    fields: dict[str, dict[str, Any]] = {
        "world of a trillion": {"world_size": 10**12},
        "negative world": {"world_size": -1},
        "no files": {"files": (), "world_size": 0, "trees": {}},
        "path out": {"files": tuple(manifest.File(name=f"../step_{GOOD}/x", size=1, sha256="") for _ in good)},
        "another format": {"format": "ganger-checkpoint/2"},
        "another step": {"step": BAD + 1},
    }
    for kind, changes in fields.items():
        yield f"signed: {kind}", partial(_sign, **_fields(good, changes))
    deep = b'{"trees":{"model":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}"
    for kind, body in {"nested": deep, "not JSON": b"\x80\x04", "a list": b"[]", "a number": b"1" * 100_000}.items():
        yield f"signed manifest: {kind}", partial(_raw, body=body)
    yield "manifest of a terabyte", _to(layout.MANIFEST, partial(_truncate, 1 << 40))
    yield "unknown key", lambda at: _raw(at, _body(at).replace(b'{"attempt"', b'{"a":1,"attempt"', 1))
    yield "key left out", lambda at: _raw(at, _body(at).replace(b'"attempt":0,', b"", 1))


def _fields(shards: list[bytes], changes: dict[str, Any]) -> dict[str, Any]:
    return {"step": BAD, "shards": shards} | changes


def _header(table: dict[str, Any]) -> bytes:
    body = json.dumps(table).encode()
    return struct.pack("<Q", len(body)) + body


def _body(at: Path) -> bytes:
    return (at / layout.MANIFEST).read_bytes().partition(b"\n")[0]


def _zip_bomb() -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.pkl", bytes(64 << 20))
        file.seek(0)
        return file.read()


def _append(data: bytes, path: Path) -> None:
    with path.open("ab") as file:
        file.write(data)


def _truncate(length: int, path: Path) -> None:
    os.truncate(path, length)


def _copy(name: str, at: Path) -> None:
    shutil.copy(at.parent / layout.committed(GOOD) / name, at / name)


def _swap(one: str, other: str, at: Path) -> None:
    (at / one).rename(at / "aside")
    (at / other).rename(at / one)
    (at / "aside").rename(at / other)


def drawn(chance: random.Random) -> tuple[str, Damage]:
    """Return one random damage: one bit, a cut, or a stretch of noise, anywhere in any file."""
    name = chance.choice([layout.MANIFEST, *map(layout.shard, range(WORLD_SIZE))])
    place, kind = chance.random(), chance.choice(["bit flipped", "truncated", "noise"])

    def damage(at: Path) -> None:
        data = bytearray((at / name).read_bytes())
        position = int(place * len(data))
        if kind == "truncated":
            del data[position:]
        elif kind == "bit flipped":
            data[position] ^= 1 << chance.randrange(8)
        else:
            stretch = slice(position, min(len(data), position + 1 + chance.randrange(64)))
            data[stretch] = bytes((byte + chance.randrange(1, 256)) % 256 for byte in data[stretch])
        (at / name).write_bytes(data)

    return kind, damage


def run(count: int, seed: int = 0) -> Tally:
    """Try all damage that is enumerated, and as much drawn from `seed` as makes `count` trials."""
    tally = Tally(trials=Counter(), loaded=0, ran_code=0, wrong=[], rss_growth=0)
    with tempfile.TemporaryDirectory(prefix="ganger-torture-") as place:
        directory, canary = Path(place) / "checkpoints", Path(place) / "canary"
        directory.mkdir()
        write(directory, GOOD)
        write(directory, BAD)
        spare = Path(place) / "whole"
        bad = directory / layout.committed(BAD)
        shutil.copytree(bad, spare)
        assert _chosen(directory) == BAD, "the whole checkpoint is not loaded: nothing here would prove anything"
        chance = random.Random(seed)  # noqa: S311 - the same damage each time is the point
        trials = list(enumerated(spare, canary))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(max(count, len(trials))):
            kind, damage = trials[number] if number < len(trials) else drawn(chance)
            damage(bad)
            step = _chosen(directory)
            tally.trials[kind] += 1
            tally.loaded += step == BAD
            tally.ran_code += canary.exists()
            if step != GOOD or bad.exists() or bad.is_symlink():
                tally.wrong.append(f"{kind}: step {step} was chosen")
            _restore(directory, spare, bad)
        tally.rss_growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return tally


def _chosen(directory: Path) -> int | None:
    found = loader.choose(directory, _POLICY, ALONE, lambda _: None)
    return None if found is None else found.step


def _restore(directory: Path, spare: Path, bad: Path) -> None:
    for path in directory.iterdir():
        if path.name != layout.committed(GOOD):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(spare, bad)
