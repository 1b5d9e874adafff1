"""Train without loading torch's compiler, which costs a second of CPU and which eager training never uses.

torch imports `torch._dynamo` with the first optimizer, DDP module and step, to ask it four things whose answers are
known as long as nothing was compiled or configured. A stand-in gives these answers. Whatever else is asked of it, by
torch or by a task, the real package is imported and answers, then and ever after (docs/adr/0024-eager.md).
"""

import contextlib
import importlib
import importlib.util
import re
import sys
import threading
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, Final

import torch

NAME: Final = "torch._dynamo"
TORCH_FIRST: Final = (2, 15)  # an older one asks for other things, which would import the package in every process
CACHE: Final = "__dynamo_disable"  # where torch/_compile.py keeps, on a function, what `disable` returned for it


def put_off_compiler() -> bool:
    """Let a stand-in be `torch._dynamo` from now on; return False where it is loaded already or torch is too old."""
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if NAME in sys.modules or version < TORCH_FIRST:
        return False
    package = _StandIn(
        NAME,
        __spec__=importlib.util.find_spec(NAME),  # for whoever only asks whether there is such a package
        graph_break=lambda _message="": None,
        disable=_disable,
        utils=_StandIn(f"{NAME}.utils", get_optimize_ddp_mode=lambda: "ddp_optimizer"),  # torch's default
        trace_rules=_StandIn(f"{NAME}.trace_rules", clear_lru_cache=lambda: None),
    )
    sys.modules[NAME] = vars(torch)["_dynamo"] = package
    sys.meta_path.insert(0, _LoadedMeanwhile())
    return True


class _StandIn(types.ModuleType):
    """A module that gives some answers by itself, until it or another is asked for anything else."""

    def __init__(self, name: str, **answers: Any) -> None:
        super().__init__(name)
        vars(self).update(answers)
        _asleep[self] = answers

    def __getattr__(self, name: str) -> Any:
        """Return what the real module has there. Raises AttributeError, and whatever its import raises."""
        _wake()
        return getattr(importlib.import_module(self.__name__), name)


_asleep: dict[_StandIn, dict[str, Any]] = {}
_undisabled: list[Any] = []
_waking = threading.Lock()


def _disable(function: Any = None, recursive: bool = True, **how: Any) -> Any:
    """Return `function` as it is: nothing traces it. Only what torch caches can be taken back, so only that."""
    if function is None or how != {"wrapping": False}:
        _wake()
        return importlib.import_module(NAME).disable(function, recursive, **how)
    _undisabled.append(function)
    return function


def _wake() -> None:
    """Leave no trace of the stand-ins. The import is not done here: Python locks each, and knows of deadlocks."""
    with _waking:
        if isinstance(sys.modules.get(NAME), _StandIn):
            del sys.modules[NAME], vars(torch)["_dynamo"]
        for stand_in, answers in _asleep.items():  # somebody may hold one: from now on it passes everything on
            for name in answers:
                delattr(stand_in, name)
        for function in _undisabled:
            vars(function).pop(CACHE, None)
        _asleep.clear()
        _undisabled.clear()


class _LoadedMeanwhile(MetaPathFinder):
    """Finds `torch._dynamo.x` that its package has loaded while Python asked the stand-in for its path.

    Python looks into sys.modules before it asks, and would load the module a second time.
    """

    def find_spec(self, fullname: str, _path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return a spec that loads nothing, or None (so also for a reload, which has a target)."""
        loaded = sys.modules.get(fullname) if target is None and fullname.startswith(f"{NAME}.") else None
        return None if loaded is None else ModuleSpec(fullname, _Loaded(loaded))


class _Loaded(Loader):
    def __init__(self, module: types.ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, _spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        with contextlib.suppress(AttributeError):  # modules of settings let nobody set anything else
            module.__spec__ = self._spec
