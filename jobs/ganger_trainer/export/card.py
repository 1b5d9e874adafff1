"""The card beside a model file: what it is, where it comes from, and the digests that prove it.

`export.json` is for programs, MODEL_CARD.md is made of it for people. Whoever loads a model can call `verify` first; it
reads every byte, loads nothing and needs no torch.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ganger_trainer.checkpoint import durable

NAME: Final = "export.json"
PEOPLE: Final = "MODEL_CARD.md"
SCHEMA: Final = "ganger-export/1"
BYTES_MAX: Final = 16 << 20


class InvalidError(Exception):
    """A folder whose model is not to be loaded; the message says why."""


class File(Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of the export, the model first."""

    name: str
    bytes: int
    sha256: str


class Value(Struct, frozen=True, kw_only=True, rename="camel"):
    """An input or output. shape: sizes, and the name of each axis that may have any size, such as "batch"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Parity(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the file, loaded from the disk by its own runtime, compares with the model in eager mode, on the CPU.

    batch_sizes: of the real batches that both were given. argmax_agreement: share of equal argmax over the last axis of
    the first output, None where it has no such axis.
    """

    batch_sizes: tuple[int, ...]
    max_abs_diff: float
    tolerance: float
    argmax_agreement: float | None = None


class Origin(Struct, frozen=True, kw_only=True, rename="camel"):
    """The checkpoint that the weights are of. sha256: of its manifest, which has the digests of its shards."""

    step: int
    sha256: str
    attempt: int
    saved_at: str
    score: float | None = None


class Card(Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything about an export but the model. sha256: of this card without it, so that a changed one is seen.

    method: how the format was made (dynamo, trace ...). packages: versions. metrics: of the training at that step,
    empty if they are not known. image_id: of the image that trained.
    """

    schema: str = SCHEMA
    format: str
    method: str
    namespace: str
    job: str
    job_uid: str
    task: str
    config: dict[str, Any]
    checkpoint: Origin
    metrics: dict[str, float]
    packages: dict[str, str]
    parameters: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parity: Parity
    files: tuple[File, ...]
    created_at: str
    opset: int | None = None
    image_id: str | None = None
    warnings: tuple[str, ...] = ()
    sha256: str = ""


def sealed(card: Card) -> Card:
    """Return `card` as a reader will see it, with its digest. Pure."""
    seen = msgspec.json.decode(msgspec.json.encode(card), type=Card)  # a metric of 1 is read as 1.0
    bare = msgspec.structs.replace(seen, sha256="")
    digest = hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
    return msgspec.structs.replace(bare, sha256=digest)


def encode(card: Card) -> bytes:
    """Return a sealed card as JSON that people can read. Pure."""
    return msgspec.json.format(msgspec.json.encode(card)) + b"\n"


def read(folder: Path) -> Card:
    """Return the card in `folder`. Raises InvalidError if there is none, or it is not exactly as written."""
    path = folder / NAME
    try:
        with durable.open_regular(path) as file:
            raw = file.read(BYTES_MAX + 1)
        card = msgspec.json.decode(raw, type=Card)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidError(f"{path}: {error}") from None
    if card.schema != SCHEMA:
        raise InvalidError(f"{path}: schema {card.schema!r} is unknown, this program reads {SCHEMA!r}")
    if encode(sealed(card)) != raw:
        raise InvalidError(f"{path} does not match its own SHA-256")
    return card


def verify(path: Path, sha256: str | None = None) -> Card:
    """Return the card of the export at `path`, a folder or its model file, after every digest was found right.

    sha256: what the model file's digest has to be, as `status.artifacts` says it; else the card alone is believed.
    Raises InvalidError. Reads every byte.
    """
    folder = path if path.is_dir() else path.parent
    card = read(folder)
    if not card.files or any(Path(file.name).name != file.name for file in card.files):
        raise InvalidError(f"{folder / NAME} names no file, or one in another folder")
    if sha256 is not None and card.files[0].sha256 != sha256:
        raise InvalidError(f"{card.files[0].name} is not the file that was asked for: its SHA-256 is another")
    for file in card.files:
        _verify_file(folder, file)
    return card


def for_people(card: Card) -> str:
    """Return the model card. Pure."""
    parity, origin = card.parity, card.checkpoint
    agreement = "" if parity.argmax_agreement is None else f", argmax agrees on {parity.argmax_agreement:.2%}"
    sizes = ", ".join(map(str, parity.batch_sizes))
    compared = (
        f"largest absolute difference {parity.max_abs_diff:.3g} from the model in eager mode on batches of {sizes}; "
        f"allowed {parity.tolerance:g}{agreement}"
    )
    rows = [
        ("file", ", ".join(f"`{file.name}` ({file.bytes} bytes, SHA-256 `{file.sha256}`)" for file in card.files)),
        ("format", f"{card.format} ({card.method}{'' if card.opset is None else f', opset {card.opset}'})"),
        ("task", f"`{card.task}`, {card.parameters} parameters"),
        ("trained by", f"job {card.namespace}/{card.job} (UID {card.job_uid})"),
        ("image", "unknown" if card.image_id is None else f"`{card.image_id}`"),
        ("checkpoint", f"step {origin.step}, saved {origin.saved_at}, manifest `{origin.sha256}`"),
        ("made", f"{card.created_at} with {', '.join(f'{k} {v}' for k, v in card.packages.items())}"),
        ("compared", compared),
    ]
    lines = [f"# {card.job}, step {origin.step}, as {card.format}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows]
    for title, values in (("Inputs", card.inputs), ("Outputs", card.outputs)):
        lines += ["", f"## {title}", "", "| name | type | shape |", "|---|---|---|"]
        lines += [f"| `{one.name}` | {one.dtype} | {' x '.join(map(str, one.shape)) or 'scalar'} |" for one in values]
    if card.metrics:
        lines += ["", "## Metrics", "", "| name | value |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in sorted(card.metrics.items())]
    lines += ["", "## Config", "", "```json", msgspec.json.format(msgspec.json.encode(card.config)).decode(), "```"]
    if card.warnings:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in card.warnings)]
    return "\n".join(lines) + "\n"


def _verify_file(folder: Path, file: File) -> None:
    try:
        with durable.open_regular(folder / file.name) as opened:
            size = os.fstat(opened.fileno()).st_size
            if size != file.bytes:
                raise InvalidError(f"{file.name} has {size} bytes, {NAME} says {file.bytes}")
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise InvalidError(f"{file.name} does not match its SHA-256")
    except OSError as error:
        raise InvalidError(f"{file.name} cannot be read: {error.strerror}") from None
