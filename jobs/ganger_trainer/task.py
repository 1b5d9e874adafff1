"""What a user writes: a task. Four methods, more if wanted; no base class is needed.

class Digits:
    Config = TrainConfig                                   # or a subclass with fields of its own
    def model(self, config): return nn.Linear(64, 10)
    def data(self, config): return x_NF, y_N               # tensors of equal length
    def loss(self, model, batch): x_BF, y_B = batch; return F.cross_entropy(model(x_BF), y_B)
    def optimizer(self, model, config): return torch.optim.AdamW(model.parameters(), lr=config.lr)

task = Digits()                                            # spec.task: my_package.tasks:task
"""

import importlib
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from ganger_trainer import live
from ganger_trainer.config import TrainConfig
from ganger_trainer.failures import UserError

REQUIRED: Final = ("model", "data", "loss", "optimizer")


class Task(Protocol):
    """The methods that every task has. See `OPTIONAL` for those that it may have."""

    def model(self, config: Any) -> Any:
        """Return the module to train. Called once per process, with the same seed on every rank."""

    def data(self, config: Any) -> Any:
        """Return the training set.

        A tuple of tensors of equal length, a map-style Dataset, or an object with `__len__` and `batch(indices_B)`.
        A missing file may raise OSError: the job then fails without a retry.
        """

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the scalar mean loss of `batch`. It calls `model`; prints and breakpoints are welcome."""

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return the optimizer of the parameters of `model`."""


OPTIONAL: Final = {
    "Config": "subclass of TrainConfig that `spec.config` is checked against",
    "scheduler": "scheduler(optimizer, config, total_steps) -> learning-rate scheduler, stepped after each "
    "optimizer step",
    "evaluate": "evaluate(model, config) -> dict of name to number; runs on rank 0 in inference mode",
    "metrics": "metrics(model, batch) -> dict of name to number; runs when a line is logged, in inference mode",
    "tokens_per_sample": "tokens_per_sample(config) -> int; for the series of tokens",
    "flops_per_sample": "flops_per_sample(model, config) -> float, forward and backward; for the series of MFU",
    "on_live": "on_live(model, optimizer, config); called on every rank, between steps, when live fields of the Config "
    "have changed, after a checkpoint of other values was loaded too. lr and clipNorm need none",
    "example_inputs": "example_inputs(config) -> tensor, tuple of arguments or dict of keyword arguments of the model, "
    "samples along the first axis; for model files (default: what `loss` calls the model with, on `data`)",
    "export_model": "export_model(model) -> module to make model files of, such as the model with a softmax behind it",
    "score": "score(metrics) -> number, lower is better; what checkpoint.keep.best compares (default: the loss)",
}


def load(name: str) -> Any:
    """Return the task at `module:attribute`: an object, or a class or function that makes one.

    The working directory can be imported from. Raises UserError (BAD_CONFIG): TaskNotFound, TaskInvalid. Errors inside
    the user's module pass through.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise UserError("TaskInvalid", f"task {name!r} must be module:name, for example my_package.tasks:task")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the user's module imports something that is missing: the traceback says where
        raise UserError(
            "TaskNotFound",
            f"task {name!r}: there is no module {error.name!r}: check the spelling, and that the code is in the "
            "image or comes with spec.code (PYTHONPATH)",
        ) from None
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))[:10])
            raise UserError("TaskNotFound", f"task {name!r}: module {module_name} has no {attribute!r}; it has {names}")
        found = getattr(found, part)
    task: Any = found
    if isinstance(task, type) or (callable(task) and not hasattr(task, "loss")):
        task = task()
    return checked(task, name)


def checked(task: Any, name: str) -> Any:
    """Return `task` if it has the methods of a Task. Raises UserError (BAD_CONFIG, TaskInvalid) naming what lacks."""
    missing = [method for method in REQUIRED if not callable(getattr(task, method, None))]
    if missing:
        kind = type(task).__name__
        raise UserError("TaskInvalid", f"task {name!r} is a {kind} without {', '.join(f'{m}()' for m in missing)}")
    kind = config_class(task)
    if not (isinstance(kind, type) and issubclass(kind, TrainConfig)):
        raise UserError(
            "TaskInvalid", f"task {name!r}: Config must be a subclass of ganger_trainer.TrainConfig, is {kind!r}"
        )
    if (problem := live.misdeclared(kind, has_hook=callable(getattr(task, "on_live", None)))) is not None:
        raise UserError("TaskInvalid", f"task {name!r}: {problem}")
    return task


def config_class(task: Any) -> Any:
    """Return the class that checks `spec.config` for `task`."""
    return getattr(task, "Config", TrainConfig)
