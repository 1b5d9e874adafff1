"""What is exported: the model of a task with the weights of a checkpoint, whose every byte was verified first.

The checkpoint directory is only read: nothing in it is renamed or removed, so it may be mounted read-only and may be
that of a job that trains. A newest checkpoint that is damaged is told, never passed over: nobody asked for an older
one.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from msgspec import Struct

from ganger.contract import ExitCode
from ganger_trainer import config as configs
from ganger_trainer import randomness, task
from ganger_trainer.checkpoint import layout, loader, manifest
from ganger_trainer.export.card import Origin
from ganger_trainer.export.wanted import Wanted
from ganger_trainer.failures import UserError

_NOT_TOLD: Final = ("tensorboard", "mlflow")
_REDUCED: Final = (torch.float16, torch.bfloat16)


class Source(Struct, frozen=True, kw_only=True):
    """A model in eval mode on the CPU, in fp32, and where its weights are from. job_uid: of the job that saved them."""

    task: Any
    config: configs.TrainConfig
    model: Any
    origin: Origin
    job_uid: str
    warnings: tuple[str, ...]

    def settings(self) -> dict[str, Any]:
        """Return the config as a card tells it: without addresses, which may hold a password."""
        told = msgspec.to_builtins(self.config)
        return {name: value for name, value in told.items() if name not in _NOT_TOLD}

    def anew(self) -> Any:
        """Return the task's model as it is before any training, in the state and precision of `model`."""
        made = _export_model(self.task, _model(self.task, self.config))
        _to_fp32(made)
        return made.to("cpu").eval().requires_grad_(False)


def choose(directory: Path, wanted: Wanted) -> int:
    """Return the step of the checkpoint that `wanted` means.

    Raises UserError (USER_INPUT_MISSING, CheckpointMissing) naming the steps that there are.
    """
    try:
        steps = layout.look(directory).steps
    except OSError as error:
        raise _missing(f"{directory} cannot be read: {error.strerror}: check the volume and its path") from None
    have = f"{directory} has {', '.join(map(str, steps[:10])) or 'none'}"
    if wanted.step is not None:
        if wanted.step not in steps:
            raise _missing(f"there is no checkpoint of step {wanted.step}; {have}")
        return wanted.step
    if not steps:
        raise _missing(f"{directory} holds no checkpoint: check the volume and its path")
    if wanted.source == "Latest":
        return steps[0]
    scores = [(score, -step) for step in steps if (score := _score(directory, step)) is not None]
    if not scores:
        raise _missing(f"no checkpoint has a score, so none is the best: export the newest with from: Latest; {have}")
    return -min(scores)[1]


def open_checkpoint(directory: Path, step: int, task_name: str, config_json: str) -> Source:
    """Return the model of the task with the weights of `step`.

    Raises UserError: NoValidCheckpoint (USER_DATA) for one that is not as it was written, CheckpointMismatch
    (USER_DATA) for one of another model, and what `task.load` and `config.decode` raise.
    """
    checkpoint = directory / layout.committed(step)
    try:
        found = manifest.verify(checkpoint)
        loaded = loader.Loaded(found, checkpoint, rank=0, only="model")
    except manifest.InvalidError as error:
        raise UserError(
            "NoValidCheckpoint",
            f"the checkpoint of step {step} is not valid ({error}): export another one, with ganger export --step",
            ExitCode.USER_DATA,
        ) from None
    job = task.load(task_name)
    config = configs.decode(config_json, task.config_class(job))
    model = _model(job, config)
    loader.load_model(model, loaded)
    model = _export_model(job, model)
    warnings = _to_fp32(model)
    return Source(
        task=job,
        config=config,
        model=model.to("cpu").eval().requires_grad_(False),
        origin=Origin(
            step=step,
            sha256=hashlib.sha256((checkpoint / layout.MANIFEST).read_bytes()).hexdigest(),
            attempt=found.attempt,
            saved_at=found.saved_at,
            score=found.score,
        ),
        job_uid=found.job_uid,
        warnings=warnings,
    )


def _model(job: Any, config: configs.TrainConfig) -> Any:
    randomness.seed_all(config.seed)
    return job.model(config)


def _export_model(job: Any, model: Any) -> Any:
    if not hasattr(job, "export_model"):
        return model
    found = job.export_model(model)
    if not isinstance(found, torch.nn.Module):
        raise UserError("TaskInvalid", f"export_model() returned a {type(found).__name__}: return a torch.nn.Module")
    return found


def _to_fp32(model: Any) -> tuple[str, ...]:
    """Make every parameter and buffer of half precision one of fp32; say so. Mixed precision has none of them."""
    reduced = {value.dtype for value in (*model.parameters(), *model.buffers()) if value.dtype in _REDUCED}
    if not reduced:
        return ()
    model.float()
    names = ", ".join(sorted(str(one).removeprefix("torch.") for one in reduced))
    return (f"tensors of {names} were exported as float32",)


def _score(directory: Path, step: int) -> float | None:
    try:
        return manifest.read(directory / layout.committed(step)).score
    except manifest.InvalidError as error:
        raise UserError(
            "NoValidCheckpoint",
            f"the checkpoint of step {step} is not valid ({error}), so the best is not known: export one by its step",
            ExitCode.USER_DATA,
        ) from None


def _missing(text: str) -> UserError:
    return UserError("CheckpointMissing", text, ExitCode.USER_INPUT_MISSING)
