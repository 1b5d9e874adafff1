"""`detectAnomaly: true`: which operation made the first NaN or infinity, on which line, in which module.

Torch remembers for each node of the autograd graph where in the forward pass it was made. Here each node is asked, when
its backward has run, whether it was given finite numbers and returned something else: so the node itself is named, the
first in the order of the computation, and an infinity too, which is what becomes a NaN one node later. Each node waits
for the device, so a step takes three to five times as long: for finding a bug, not for a long run.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from msgspec import Struct

from ganger.contract import ExitCode
from ganger_trainer.failures import UserError

_FRAME: Final = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)\n(?P<code>.*)')
_OF_TORCH: Final = f"{Path(torch.__file__).parent}/"
_TRAINER: Final = f"{Path(__file__).parent}/"
_EXAMPLES: Final = f"{_TRAINER}examples/"


@contextlib.contextmanager
def watching(on: bool) -> Iterator[None]:
    """Let torch remember, as long as this lasts, where each node of a graph was made; do nothing if not `on`."""
    with torch.autograd.set_detect_anomaly(True, check_nan=False) if on else contextlib.nullcontext():
        yield


class NonFiniteOperationError(UserError):
    """An operation made a NaN or an infinity out of finite numbers. Raised on the rank where it was seen, alone."""

    def __init__(self, what: str) -> None:
        super().__init__("NonFiniteOperation", what, ExitCode.USER_DATA)


class _Call(Struct):
    """One call of a module: where its graph begins and ends."""

    path: str
    kind: str
    ends: list[Any]
    begins: list[Any]


class Watched:
    """A task whose losses are watched: in all else it is `task`.

    step: what returns the step that is trained now, from 0.
    """

    def __init__(self, task: Any, model: Any, step: Callable[[], int]) -> None:
        self._task = task
        self._step = step
        self._calls: list[_Call] = []  # of this forward pass, inner modules before the outer ones
        self._suspect = ""  # the first module of this forward pass that returned a NaN for none
        for path, module in model.named_modules():
            module.register_forward_hook(self._hook(path, type(module).__name__))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the task's loss, each node of its graph prepared to say what it makes. Waits for the device.

        Raises NonFiniteOperationError if the loss is not finite now; the backward that follows raises it later.
        """
        self._calls, self._suspect = [], ""
        loss = self._task.loss(model, batch)
        calls, self._calls, step = self._calls, [], self._step() + 1
        if getattr(loss, "ndim", None) != 0:
            return loss  # the loop says what is wrong with it
        if not bool(torch.isfinite(loss.detach())):
            where = (
                f"the first NaN came out of {self._suspect}"
                if self._suspect
                else "look into loss(): no module made a NaN"
            )
            raise NonFiniteOperationError(f"at step {step} the forward pass made a loss of {loss.item()}: {where}")
        for node in _graph(loss.grad_fn):
            if not node.name().endswith("AccumulateGrad"):  # these outlive the graph, and compute nothing
                node.register_hook(_asking(node, calls, step))
        return loss

    def _hook(self, path: str, kind: str) -> Any:
        def called(_module: Any, inputs: Any, output: Any) -> None:
            if not torch.is_grad_enabled():  # an evaluation
                return
            given, made = _tensors(inputs), _tensors(output)
            self._calls.append(_Call(path, kind, [t.grad_fn for t in made], [t.grad_fn for t in given]))
            if not self._suspect and _nan(made) and not _nan(given):
                self._suspect = _module_name(path, kind)

        return called


def _asking(node: Any, calls: list[_Call], step: int) -> Any:
    def ask(made: Sequence[Any], given: Sequence[Any]) -> None:
        if _finite(given) and not _finite(made):
            kind = "a NaN" if _nan(_tensors(made)) else "an infinity"
            told = f"at step {step} the backward of {node.name()} made {kind} out of finite gradients"
            raise NonFiniteOperationError("; ".join([told, *_origin(node), *_module(node, calls)]))

    return ask


def _origin(node: Any) -> list[str]:
    """Return the line of the user's code that made the node, [] if there is none."""
    frames = [_FRAME.match(line) for line in node.metadata.get("traceback_", ())]
    own = [frame for frame in frames if frame and _of_user(frame["file"])]
    if not own:
        return []
    last = own[-1]
    return [f"its forward: {last['file']}, line {last['line']}, in {last['function']}: {last['code'].strip()}"]


def _of_user(file: str) -> bool:
    return not file.startswith((_OF_TORCH, "<frozen")) and (file.startswith(_EXAMPLES) or not file.startswith(_TRAINER))


def _module(node: Any, calls: list[_Call]) -> list[str]:
    """Return the innermost module that made the node in its forward, [] if none did."""
    for call in calls:
        seen = {begin for begin in call.begins if begin is not None}
        waiting = [end for end in call.ends if end is not None and end not in seen]
        while waiting:
            one = waiting.pop()
            if one == node:
                return [f"in {_module_name(call.path, call.kind)}"]
            seen.add(one)
            waiting.extend(after for after, _ in one.next_functions if after is not None and after not in seen)
    return []


def _module_name(path: str, kind: str) -> str:
    return f"module {path} ({kind})" if path else f"the model ({kind})"


def _graph(root: Any) -> list[Any]:
    """Return every node that the backward from `root` may run."""
    seen, waiting = set(), [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(after for after, _ in node.next_functions if after is not None)
    return list(seen)


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for one in values for tensor in _tensors(one)]


def _finite(gradients: Sequence[Any]) -> bool:
    return all(bool(torch.isfinite(one).all()) for one in _tensors(tuple(gradients)))


def _nan(tensors: Sequence[Any]) -> bool:
    return any(bool(torch.isnan(one).any()) for one in tensors)
