"""The configuration of a task: one typed struct that tasks subclass.

A manifest's `spec.config` is decoded into the task's own class; an unknown key is an error that suggests the nearest
name, because a misspelt `lerningRate` that trains with the default costs a day. Every field here does something.
"""

import difflib
import math
from typing import Annotated, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from ganger_trainer.failures import UserError

Positive = Annotated[int, Meta(ge=1)]


class Live(Struct, frozen=True, kw_only=True):
    """Marks a field that spec.liveConfig may change while a job trains: `alpha: Annotated[float, Live(ge=0, le=1)]`.

    gt, ge, le: bounds of a number; what the type says holds anyway.
    """

    gt: float | None = None
    ge: float | None = None
    le: float | None = None


class MlflowConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Where MLflow keeps the job's run. The experiment is made if it is not there; by default it has the job's name."""

    tracking_uri: Annotated[str, Meta(min_length=1)]
    experiment: Annotated[str, Meta(min_length=1)] | None = None


class TrainConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What every task can be told. Names are camelCase in the manifest: `batchSize: 256`.

    batch_size is the GLOBAL batch: all ranks together, whatever their number; micro_batch bounds what one rank sends
    through the model at once, the rest of its share is accumulated. Exactly one of epochs and steps says how long to
    train; with neither, it is one epoch.
    """

    epochs: Positive | None = None
    steps: Positive | None = None
    batch_size: Positive = 64
    micro_batch: Positive | None = None
    lr: Annotated[float, Live(gt=0)] = 1e-3
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    clip_norm: Annotated[float, Live(gt=0)] | None = None  # largest L2 norm of all gradients together
    log_every_seconds: Annotated[float, Meta(gt=0)] = 5.0
    evaluate_every_steps: Positive | None = None  # default: at the end of each epoch
    parameter_check_every_steps: Positive | None = None  # compare the parameters of all ranks, bit for bit
    detect_anomaly: bool = False  # name the operation that makes the first NaN or infinity; several times slower
    deterministic: bool = False  # refuse kernels that differ from run to run; slower
    threads: Positive | None = None  # per process; default: the CPUs of the pod divided by its processes
    data_workers: Annotated[int, Meta(ge=0)] = 0  # processes that read a map-style data set ahead
    # Event files: true for a directory beside the checkpoints, or a directory.
    tensorboard: bool | Annotated[str, Meta(min_length=1)] = False
    mlflow: MlflowConfig | None = None


class _Compile(Struct):
    compile: bool = False


def compiles(text: str) -> bool:
    """Return whether `text` says so, before the task and its defaults are known. Never raises."""
    try:
        return msgspec.json.decode(text, type=_Compile).compile
    except msgspec.MsgspecError:
        return False  # whoever decodes the whole says what is wrong


ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def decode(text: str, kind: type[ConfigT]) -> ConfigT:
    """Return `text`, a JSON object, as a `kind`.

    Raises UserError (BAD_CONFIG, reason ConfigInvalid) naming the key, the allowed values and the nearest known key.
    """
    try:
        value = msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise UserError("ConfigInvalid", f"config: {explain(str(error), kind)}") from None
    except msgspec.DecodeError as error:
        raise UserError("ConfigInvalid", f"config is not JSON: {error}") from None
    if problems := check(value):
        raise UserError("ConfigInvalid", "config: " + "; ".join(problems))
    return value


def check(config: TrainConfig) -> list[str]:
    """Return what types alone cannot say: one sentence for each problem, none when all is well. Pure."""
    problems = []
    if config.epochs is not None and config.steps is not None:
        problems.append("set epochs or steps, not both")
    if not (math.isfinite(config.lr) and config.lr > 0):
        problems.append(f"lr must be a finite number > 0, got {config.lr}")
    if config.clip_norm is not None and not (math.isfinite(config.clip_norm) and config.clip_norm > 0):
        problems.append(f"clipNorm must be a finite number > 0, got {config.clip_norm}")
    if config.micro_batch is not None and config.micro_batch > config.batch_size:
        problems.append(f"microBatch {config.micro_batch} must not exceed batchSize {config.batch_size}")
    if config.detect_anomaly and config.precision == "fp16":
        problems.append("detectAnomaly cannot tell a mistake from the overflows of precision fp16: use bf16 or fp32")
    if config.detect_anomaly and config.compile:
        problems.append("detectAnomaly needs compile: false, a compiled graph is one operation")
    return problems


def explain(error: str, kind: type[Struct]) -> str:
    """Return msgspec's message about a `kind`, with what it lacks.

    That is the nearest known key where a key is unknown, and the allowed words where a word is not one of them. Pure.
    """
    marker = "unknown field `"
    if marker not in error:
        words = _words(error.rpartition("`$.")[2].rstrip("`"), kind) if "enum value" in error else []
        allowed = f", allowed: {', '.join(words)}" if words else ""
        return error.replace("`$.", "`").replace("$.", "") + allowed
    key = error.split(marker, 1)[1].split("`", 1)[0]
    outer = error.partition(" - at `$.")[2].rstrip("`")  # "" where the key is at the top
    known = [field.encode_name for field in msgspec.structs.fields(_inside(kind, outer) or kind)]
    near = difflib.get_close_matches(key.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    hint = f", did you mean {_spelling(near[0], known)!r}?" if near else ""
    where = f" in {outer!r}" if outer else ""
    return f"unknown key {key!r}{where}{hint} Known keys: {', '.join(sorted(known))}"


def _inside(kind: type[Struct], key: str) -> type[Struct] | None:
    """Return the struct that `key` of `kind` holds, None if it holds none."""
    for field in msgspec.structs.fields(kind):
        if field.encode_name == key:
            return next((t for t in get_args(field.type) if isinstance(t, type) and issubclass(t, Struct)), None)
    return None


def _words(key: str, kind: type[Struct]) -> list[str]:
    """Return the values of the Literal that `key` of `kind` is, [] if it is none."""
    types = [field.type for field in msgspec.structs.fields(kind) if field.encode_name == key]
    found: list[str] = []
    while types:
        this = types.pop()
        if get_origin(this) is Literal:
            found.extend(str(word) for word in get_args(this))
        else:
            types.extend(get_args(this))
    return found


def _spelling(name: str, known: list[str]) -> str:
    return next(candidate for candidate in known if candidate.lower() == name.lower())
