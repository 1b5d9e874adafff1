"""B1 to B4 and B8: who makes the same pods, side by side on one API server: bare pods, Ganger, Job, JobSet, Trainer.

Each round has a turn of every subject, in an order that is turned around from round to round, each in a new namespace
and with its own controllers alone, the floor of bare pods among them. docs/adr/0033-side-by-side.md says why so. By the
environment:

GANGER_BENCH_SETTINGS  `tuned defaults`: client limits of the peers and of the controller manager
GANGER_BENCH_SIZES     `tuned:200x8*3 defaults:50x4*2`: jobs x pods * rounds, for one setting or for all
GANGER_BENCH_SUBJECTS  `floor ganger job jobset trainer`
GANGER_BENCH_KINDS     `burst latency loaded failures`
GANGER_BENCH_TRIALS    probes of `latency`, and failures
GANGER_BENCH_RESUME    1: keep the whole rounds of an earlier run of this commit, from build/control_plane.jsonl
"""

import asyncio
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import operators, sidebyside, turns
from bench.sidebyside import Turn
from bench.stage import DEFAULTS, SETTINGS, TUNED, Setting, Stage
from bench.subjects import SUBJECTS, Subject
from bench.turns import Size
from ganger.api.crd import definitions
from ganger.kube.access import from_kubeconfig
from ganger.kube.errors import ApiError
from ganger.kube.http import HttpCluster
from ganger_dev import binaries
from ganger_dev.control_plane import ControlPlane, attach, start_control_plane
from ganger_dev.errors import DevError
from ganger_dev.processes import Service

ROOT = Path(__file__).parents[1]
JOURNAL = ROOT / "build" / "control_plane.jsonl"
SIZES = "tuned:200x8*3 defaults:50x4*2"  # some 40 minutes; a figure to publish wants 7 rounds
KINDS = ("burst", "latency", "loaded", "failures")
TRIALS = 20
NODES = 100
NODE = {"gpus": 0, "cpu": 256, "memory": "1Ti"}
NODE_LEASE_SECONDS = 800
ERRORS_MAX = 2  # after so many of one subject in a row it is left alone
EXPECTED = (DevError, ApiError, OSError, ValueError, RuntimeError, subprocess.SubprocessError)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does. sizes: rounds of each size, by setting."""

    settings: tuple[Setting, ...]
    sizes: dict[str, dict[Size, int]]
    subjects: tuple[Subject, ...]
    kinds: tuple[str, ...]
    trials: int


def plan(environment: dict[str, str]) -> Plan:
    """Return what the environment asks for. Raises ValueError with the name, what it may be, and what it is."""
    settings = _chosen(environment, "GANGER_BENCH_SETTINGS", (TUNED.name, DEFAULTS.name), SETTINGS)
    sizes: dict[str, dict[Size, int]] = {name: {} for name in settings}
    for word in environment.get("GANGER_BENCH_SIZES", SIZES).split():
        match = re.fullmatch(r"(?:(tuned|defaults):)?([1-9]\d*)x([1-9]\d*)\*([1-9]\d*)", word)
        if match is None:
            raise ValueError(f"GANGER_BENCH_SIZES: {word!r} is no size; write jobs x pods * rounds as 200x8*4")
        for name in settings if match[1] is None else [match[1]]:
            sizes.setdefault(name, {})[Size(jobs=int(match[2]), pods=int(match[3]))] = int(match[4])
    trials = environment.get("GANGER_BENCH_TRIALS", str(TRIALS))
    if not trials.isdecimal() or int(trials) < 1:
        raise ValueError(f"GANGER_BENCH_TRIALS is {trials!r}; give a whole number from 1")
    return Plan(
        settings=tuple(SETTINGS[name] for name in settings),
        sizes=sizes,
        subjects=tuple(SUBJECTS[n] for n in _chosen(environment, "GANGER_BENCH_SUBJECTS", tuple(SUBJECTS), SUBJECTS)),
        kinds=_chosen(environment, "GANGER_BENCH_KINDS", KINDS, dict.fromkeys(KINDS)),
        trials=int(trials),
    )


def _chosen(environment: dict[str, str], name: str, usual: tuple[str, ...], known: dict[str, Any]) -> tuple[str, ...]:
    words = tuple(environment.get(name, " ".join(usual)).split())
    for word in words:
        if word not in known:
            raise ValueError(f"{name}: there is no {word!r}; there are {', '.join(known)}")
    return words or usual


class Run:
    """A run as far as it has come; each turn is in the journal as soon as it is over."""

    def __init__(self, asked: Plan, commit: str, earlier: list[Turn]) -> None:
        self.asked, self.commit = asked, commit
        self.turns = list(earlier)
        self.errors: dict[tuple[str, str], list[str]] = {}

    def did(self, turn: Turn) -> bool:
        """Whether an earlier run has that turn."""
        return any(_place(turn) == _place(other) for other in self.turns)

    def given_up(self, setting: str, subject: str) -> str:
        """Why that subject is left alone from now on; "" while it is not."""
        errors = self.errors.get((setting, subject), [])
        return errors[ERRORS_MAX - 1] if len(errors) >= ERRORS_MAX else ""

    def note(self, turn: Turn) -> None:
        """Keep a turn."""
        place = (turn.setting, turn.subject)
        self.errors[place] = [*self.errors.get(place, []), turn.error] if turn.error else []
        self.turns.append(turn)
        JOURNAL.parent.mkdir(exist_ok=True)
        with JOURNAL.open("ab") as file:
            file.write(msgspec.json.encode(turn) + b"\n")
        told = ", ".join(f"{name} {words}" for name, each in turn.result.items() if (words := _short(each)))
        place = " ".join(str(part) for part in _place(turn) if part != "")
        print(f"  {place}: {turn.error or told}", flush=True)


def _short(value: Any) -> str:
    """A number, or the median of some, for the line of a turn; "" for what is longer."""
    numbers = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int | float)]
    return f"{statistics.median(numbers):.3g}" if numbers else ""


def _place(turn: Turn) -> tuple[str, str, str, int, str]:
    return turn.setting, turn.kind, turn.size, turn.round, turn.subject


def earlier(lines: bytes, commit: str, subjects: tuple[Subject, ...]) -> list[Turn]:
    """Return the turns of the whole rounds of that commit: of one that is in part the floor is of another hour."""
    found = [msgspec.json.decode(line, type=Turn) for line in lines.splitlines()]
    mine = {_place(t): t for t in found if t.commit == commit and not t.error}
    rounds: dict[tuple[str, str, str, int], list[Turn]] = {}
    for place, turn in mine.items():
        rounds.setdefault(place[:4], []).append(turn)
    names = {subject.name for subject in subjects}
    return [turn for each in rounds.values() if names <= {turn.subject for turn in each} for turn in each]


async def _turn(
    run: Run, stage: Stage, turn: Turn, work: Callable[[Stage, Subject, str], Awaitable[dict[str, Any]]]
) -> None:
    """Run the subject's controllers, do its work in a new namespace, and clean up; trouble is told as an error."""
    subject = SUBJECTS[turn.subject]
    namespace = "-".join(str(part) for part in _place(turn) if part != "").lower()
    result, error = {}, run.given_up(turn.setting, turn.subject)
    if not error:
        try:
            async with stage.running(subject):
                try:
                    result = await work(stage, subject, namespace)
                finally:
                    await stage.clean(subject, namespace)
        except EXPECTED as trouble:
            error = f"{type(trouble).__name__}: {trouble}"[:300]
        os.truncate(stage.plane.audit_log, 0)
    run.note(msgspec.structs.replace(turn, result=result, error=error, commit=run.commit))


async def _setting(run: Run, stage: Stage) -> None:
    name, asked = stage.setting.name, run.asked

    async def all_of(kind: str, size: str, number: int, work: Any) -> None:
        order = asked.subjects if number % 2 == 0 else asked.subjects[::-1]
        for subject in order:
            turn = Turn(setting=name, kind=kind, size=size, round=number, subject=subject.name)
            if not run.did(turn):
                await _turn(run, stage, turn, work)

    if "burst" in asked.kinds:
        for size, rounds in asked.sizes.get(name, {}).items():
            for number in range(rounds):
                await all_of("burst", size.name, number, _burst(size, to_the_end=number == 0))
    if "latency" in asked.kinds:
        await all_of("latency", "", 0, lambda *a: turns.latency(a[0], a[1], asked.trials, a[2]))
    size = max(asked.sizes.get(name, {}), key=lambda one: (one.name == sidebyside.MAIN_SIZE, one.total), default=None)
    if "loaded" in asked.kinds and size is not None:
        await all_of("loaded", size.name, 0, lambda *a: turns.loaded(a[0], a[1], size, a[2]))
    if "failures" in asked.kinds:
        await all_of("failures", "", 0, lambda *a: turns.failures(a[0], a[1], asked.trials, a[2]))


def _burst(size: Size, *, to_the_end: bool) -> Callable[[Stage, Subject, str], Awaitable[dict[str, Any]]]:
    return lambda stage, subject, namespace: turns.burst(stage, subject, size, namespace, to_the_end=to_the_end)


async def _play(run: Run, plane: ControlPlane, folder: Path, setting: Setting) -> None:
    access = await from_kubeconfig(str(plane.kubeconfig_for("bench")))
    async with HttpCluster(access, pool=128, call_seconds=60.0) as cluster:
        await _setting(run, Stage(plane, cluster, folder, setting))


def _opened(folder: Path, setting: Setting) -> ControlPlane:
    """Return the control plane with the controller manager at those limits; started, or started anew, where needed."""
    Service(name="kube-controller-manager", folder=folder).stop()
    return start_control_plane(
        folder, kwok=True, gang=False, users=("jobset", "trainer"), kwok_lease_seconds=NODE_LEASE_SECONDS,
        manager_settings=setting.manager_flags,
    )  # fmt: skip


def _furnish(plane: ControlPlane) -> None:
    for definition in definitions():
        plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    body = {"kind": "Namespace", "metadata": {"name": operators.NAMESPACE}}
    plane.api.request("POST", "/api/v1/namespaces", body)
    plane.add_kwok_nodes(NODES, **NODE)  # type: ignore[arg-type]


def measure() -> dict[str, Any]:
    """Run it and return the figures, the tables and every turn. What cannot be measured is told with its reason."""
    asked = plan(dict(os.environ))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    resumed = os.environ.get("GANGER_BENCH_RESUME") == "1" and JOURNAL.exists()
    run = Run(asked, commit, earlier(JOURNAL.read_bytes(), commit, asked.subjects) if resumed else [])
    JOURNAL.unlink(missing_ok=True)
    JOURNAL.parent.mkdir(exist_ok=True)
    JOURNAL.write_bytes(b"".join(msgspec.json.encode(turn) + b"\n" for turn in run.turns))
    for name in dict.fromkeys(name for subject in asked.subjects for name in subject.programs if name != "ganger"):
        try:
            binaries.ensure(name)
        except DevError as error:
            for subject in asked.subjects:
                if name in subject.programs:
                    for setting in asked.settings:
                        run.errors[setting.name, subject.name] = [f"{name}: {error}"] * ERRORS_MAX
    with tempfile.TemporaryDirectory(prefix="ganger-bench-") as name:
        folder = Path(name).resolve()
        (folder / "audit.log").touch()  # a log that was there is appended to, so that it can be cut between turns
        furnished = False
        try:
            for setting in asked.settings:
                try:
                    plane = _opened(folder, setting)
                    if not furnished:
                        _furnish(plane)
                        furnished = True
                    asyncio.run(_play(run, plane, folder, setting))
                except DevError as error:  # what was measured before it stays
                    for subject in asked.subjects:
                        run.note(Turn(setting=setting.name, kind="start", subject=subject.name, error=f"{error}"[:300]))
        finally:
            started = attach(folder)
            if started is not None:
                started.stop()
    found, reasons = sidebyside.figures(run.turns)
    versions = {"Kubeflow Trainer": binaries.TOOLS["trainer"].version, "JobSet": binaries.TOOLS["jobset"].version}
    return {
        "keys": {"control_plane": found},
        "reasons": {f"control_plane.{name}": why for name, why in reasons.items()},
        "tables": sidebyside.tables(run.turns),
        "machine": {"versions": versions},
        "turns": msgspec.to_builtins(run.turns),
    }
