"""The manifest: what a committed checkpoint holds, and the proof that it is whole.

It carries the SHA-256 of every shard and of itself. Its bytes are canonical, so one flipped bit anywhere is seen:
a reader encodes what it decoded and compares.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ganger_trainer.checkpoint import durable, layout

FORMAT: Final = "ganger-checkpoint/1"
BYTES_MAX: Final = 64 << 20  # a manifest of 100,000 tensors is some 20 MB; more is not ours


class File(Struct, frozen=True, kw_only=True, rename="camel"):
    """One shard: its name inside the checkpoint, its bytes and their SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Everything about a checkpoint but its tensors.

    trees: for each part (model, optimizer ...) its state dict as JSON with tensors named instead of held.
    score: what `keepBest` compares, lower is better; absent where no metric was measured.
    """

    format: str
    job: str
    job_uid: str
    attempt: int
    step: int
    world_size: int
    samples: int
    saved_at: str
    score: float | None
    files: tuple[File, ...]
    trees: dict[str, Any]

    @property
    def bytes(self) -> int:
        """Bytes of all shards together."""
        return sum(file.size for file in self.files)


class InvalidError(Exception):
    """A directory that is no checkpoint to load; the message says why."""


def encode(manifest: Manifest) -> bytes:
    """Return the canonical bytes: one line of JSON, one line of its SHA-256."""
    body = msgspec.json.encode(manifest, order="sorted")
    return body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"


def read(checkpoint: Path) -> Manifest:
    """Return the manifest of the directory `checkpoint`. Raises InvalidError if it is not exactly as written."""
    path = checkpoint / layout.MANIFEST
    if checkpoint.is_symlink():
        raise InvalidError(f"{checkpoint.name} is a link")
    try:
        with durable.open_regular(path) as file:
            raw = file.read(BYTES_MAX + 1)
        if len(raw) > BYTES_MAX:
            raise InvalidError(f"{path.name} is larger than {BYTES_MAX} bytes")
    except OSError as error:
        raise InvalidError(f"{path.name} cannot be read: {error.strerror}") from None
    body, _, trailer = raw.partition(b"\n")
    if trailer != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise InvalidError(f"{path.name} does not match its own SHA-256")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidError(f"{path.name}: {error}") from None
    if manifest.format != FORMAT:
        raise InvalidError(f"format {manifest.format!r} is unknown, this trainer reads {FORMAT!r}")
    if layout.committed(manifest.step) != checkpoint.name.split(".")[0]:
        raise InvalidError(f"{path.name} is of step {manifest.step}, its directory is {checkpoint.name}")
    if [file.name for file in manifest.files] != [layout.shard(rank) for rank in range(len(manifest.files))] or (
        len(manifest.files) != manifest.world_size  # never counted up to: it may be any number
    ):
        raise InvalidError(f"{path.name} does not list one shard for each of {manifest.world_size} ranks")
    return manifest


def verify(checkpoint: Path) -> Manifest:
    """Return the manifest after size and SHA-256 of every shard were found right.

    Raises InvalidError. Reads every byte.
    """
    manifest = read(checkpoint)
    for file in manifest.files:
        path = checkpoint / file.name
        try:
            with durable.open_regular(path) as opened:
                size = os.fstat(opened.fileno()).st_size
                if size != file.size:
                    raise InvalidError(f"{file.name} has {size} bytes, the manifest says {file.size}")
                if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    raise InvalidError(f"{file.name} does not match its SHA-256")
        except OSError as error:
            raise InvalidError(f"{file.name} cannot be read: {error.strerror}") from None
    return manifest
