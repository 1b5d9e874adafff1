"""SIGKILL at every call of the checkpoint writer: what is found afterwards is the old checkpoint or the new one, whole.

A child process commits, prunes, quarantines or takes a directory over, and kills itself before, in the middle of, or
after its n-th call that touches the disk; n runs from the first call to the last. Then the next attempt starts as a
real one does, must load exactly the bytes of one of the two, and must be able to commit.
"""

import fcntl
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import safetensors.torch
import torch
from msgspec import Struct

from ganger_trainer.checkpoint import layout, loader, manifest, ownership
from ganger_trainer.checkpoint.exchange import Alone
from ganger_trainer.checkpoint.writer import Draft, Writer
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.ranks import Ranks

CALLS: Final = (
    "open", "write", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir", "scandir", "listdir", "lstat",
    "stat", "fstat",
)  # fmt: skip
MOMENTS: Final = ("before", "torn", "after")
OLD, NEW, LATER = 10, 20, 30
ALONE: Final = Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))


class Tally(Struct, kw_only=True):
    """What became of the kills. found: which checkpoint was there afterwards, by scenario."""

    kills: Counter[str]
    found: Counter[str]
    wrong: list[str]


class Scenario(Struct, frozen=True, kw_only=True):
    """prepare: what lies in the directory before. act: what is killed. allowed: steps that may be found afterwards."""

    name: str
    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    allowed: tuple[int | None, ...]


def owner(attempt: int) -> ownership.Owner:
    """Return an attempt of the one job here."""
    return ownership.Owner(namespace="team", job="j", job_uid="u", attempt=attempt)


def image(step: int) -> bytes:
    """Return the shard of `step`: other bytes for each step."""
    return bytes(safetensors.torch.save({"model/w": torch.full((64,), float(step))}))


def commit(directory: Path, *steps: int, attempt: int = 0, **policy: Any) -> None:
    """Commit each of `steps` as that attempt."""
    writer = Writer(directory, owner(attempt), CheckpointPolicy(**policy), Alone(), rank=0, world_size=1)
    for step in steps:
        trees = {"model": {"w": {"$tensor": "model/w"}}, "optimizer": {}}
        verdict = writer.write(
            Draft(step=step, samples=step, score=float(-step), trees=trees), memoryview(image(step)), None
        )
        assert verdict.reason == "", verdict


def start(directory: Path, attempt: int) -> int | None:
    """Do what an attempt does first, and return the step that it resumes from."""
    ownership.acquire(directory, owner(attempt))
    layout.sweep(directory, attempt)
    found = loader.choose(directory, CheckpointPolicy(on_no_valid_checkpoint="Restart"), ALONE, lambda _: None)
    if found is None:
        layout.supersede(directory)
        return None
    assert found.parts["model"]["w"].equal(torch.full((64,), float(found.step))), "a mixture"
    return found.step


def _empty(directory: Path) -> None:
    ownership.acquire(directory, owner(0))


def _with_old(directory: Path) -> None:
    _empty(directory)
    commit(directory, OLD)


def _with_several(directory: Path) -> None:
    _empty(directory)
    commit(directory, 2, 4, OLD, keep_last=9)


def _with_rests(directory: Path) -> None:
    _with_old(directory)
    for name in ("step_20.tmp-0", "step_4.removed", "step_5.superseded"):
        shutil.copytree(directory / layout.committed(OLD), directory / name)


def _with_damaged(directory: Path) -> None:
    _with_several(directory)
    commit(directory, NEW, keep_last=9)
    os.truncate(directory / layout.committed(NEW) / layout.shard(0), 5)


SCENARIOS: Final = (
    Scenario(name="first commit", prepare=_empty, act=lambda at: commit(at, NEW), allowed=(None, NEW)),
    Scenario(name="commit", prepare=_with_old, act=lambda at: commit(at, NEW), allowed=(OLD, NEW)),
    Scenario(
        name="commit that prunes three", prepare=_with_several, act=lambda at: commit(at, NEW, keep_last=1),
        allowed=(OLD, NEW),
    ),
    Scenario(
        name="commit that keeps the best", prepare=_with_several,
        act=lambda at: commit(at, NEW, keep_last=1, keep_best=1), allowed=(OLD, NEW),
    ),
    Scenario(
        name="commit over what a beginning anew left", prepare=_with_rests, act=lambda at: commit(at, NEW),
        allowed=(OLD, NEW),
    ),
    Scenario(name="start of an attempt", prepare=_with_rests, act=lambda at: start(at, 1), allowed=(OLD,)),
    Scenario(name="start that quarantines", prepare=_with_damaged, act=lambda at: start(at, 1), allowed=(OLD,)),
    Scenario(
        name="beginning anew", prepare=_with_old, act=layout.supersede, allowed=(OLD, None),
    ),
)  # fmt: skip


class _Killer:
    """Counts the calls of this process that touch the disk, and ends it at one of them."""

    def __init__(self, at: int, moment: str) -> None:
        self.calls = 0
        self._at, self._moment = at, moment
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        fcntl.flock = self._wrapped("flock", fcntl.flock)

    def _wrapped(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            mine, self.calls = self.calls == self._at, self.calls + 1
            if mine and self._moment == "torn" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if mine and self._moment in ("before", "torn"):
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def _child(scenario: Scenario, directory: Path, at: int, moment: str) -> int:
    """Run the scenario in a child that dies at that call; return how many calls it made if it survived, else -1."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            killer = _Killer(at, moment)
            scenario.act(directory)
            calls = killer.calls
            os.write(writer, str(calls).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return -1
    assert status == 0, f"{scenario.name}: the child failed by itself at call {at} ({moment})"
    return int(said)


def run(moments: tuple[str, ...] = MOMENTS) -> Tally:
    """Kill every scenario at each of its calls, at each of `moments`."""
    tally = Tally(kills=Counter(), found=Counter(), wrong=[])
    with tempfile.TemporaryDirectory(prefix="ganger-torture-", dir=_memory()) as place:
        for scenario in SCENARIOS:
            whole = Path(place) / "whole"
            whole.mkdir()
            scenario.prepare(whole)
            for moment in moments:
                at, survived = 0, False
                while not survived:
                    directory = Path(place) / "trial"
                    shutil.copytree(whole, directory)
                    survived = _child(scenario, directory, at, moment) >= 0
                    if not survived:
                        tally.kills[scenario.name] += 1
                        _examine(scenario, directory, f"{scenario.name}, {moment} call {at}", tally)
                    shutil.rmtree(directory)
                    at += 1
            shutil.rmtree(whole)
    return tally


def _examine(scenario: Scenario, directory: Path, what: str, tally: Tally) -> None:
    quarantined = scenario.name == "start that quarantines"
    try:
        step = start(directory, 2)
        tally.found[f"{scenario.name}: {'none' if step is None else step}"] += 1
        if step not in scenario.allowed:
            tally.wrong.append(f"{what}: step {step} was found")
        listing = layout.look(directory)
        if listing.temporary or bool(listing.corrupt) != quarantined:
            tally.wrong.append(f"{what}: left {listing.temporary + listing.corrupt}")
        commit(directory, LATER, attempt=2, keep_last=1)
        if start(directory, 3) != LATER:
            tally.wrong.append(f"{what}: the next commit was not found")
    except (AssertionError, OSError, msgspec.MsgspecError, manifest.InvalidError) as error:
        tally.wrong.append(f"{what}: {type(error).__name__}: {error}")


def _memory() -> str | None:
    """Return where a thousand syncs cost nothing: a kill, unlike a power cut, loses nothing that was written."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - mkdtemp makes it private
