"""What the pods of a scenario meet: how long they run and how they end, by name and by how often they were made."""

import json

from chaos.kubelet import Fate, Script

LONG = 15.0  # longer than an operator is away
EVICTED = Fate(runs_seconds=LONG, disrupted="EvictionByEvictionAPI")
SILENT = Fate(runs_seconds=LONG, disrupted="DeletionByTaintManager", lost=True, is_collected=False)
LOST = Fate(runs_seconds=LONG, disrupted="DeletionByTaintManager", lost=True)
WRONG_INPUT = Fate(runs_seconds=LONG, exit_code=65, message="no such data")
FAILS = Fate(runs_seconds=LONG, exit_code=1, message="boom")
CRASHES = Fate(runs_seconds=LONG, exit_code=139)


def forever(_: str, __: int) -> Fate:
    return Fate()


def attempts(*fates: Fate, worker: int = 1) -> Script:
    """In the first attempts that worker meets these fates, one after the other; all else runs for ever."""

    def script(name: str, _: int) -> Fate:
        _, attempt, index = name.rsplit("-", 2)
        mine = index == str(worker) and int(attempt) < len(fates)
        return fates[int(attempt)] if mine else Fate()

    return script


def well(_: str, __: int) -> Fate:
    return Fate(runs_seconds=LONG)


def unplaced(_: str, __: int) -> Fate:
    return Fate(is_placed=False)


def two_lives(name: str, earlier: int) -> Fate:
    """Worker 1 of attempt 0 fails; what begins after the suspension ends well."""
    if name == "digits-0-1":
        return FAILS
    return Fate(runs_seconds=LONG) if earlier else Fate()


def no_place(name: str, _: int) -> Fate:
    """At first worker 3 finds no node."""
    return Fate(is_placed=name != "digits-0-3")


_FILE = {"format": "onnx", "path": "exports/onnx/model.onnx", "sha256": "a" * 64, "bytes": 9, "maxAbsDiff": 2e-6}
FILES_MADE = json.dumps({"outcome": "Done", "artifacts": [_FILE | {"step": 100}]})
FILES_DIFFER = json.dumps({"outcome": "UserError", "reason": "ExportDiffers", "message": "onnx: 0.3 instead of 1e-4"})
_TRIES = {
    ("digits-export-0", 0): Fate(runs_seconds=LONG, exit_code=137, message="killed"),
    ("digits-export-1", 0): Fate(runs_seconds=LONG, disrupted="EvictionByEvictionAPI"),
    ("digits-export-1", 1): Fate(),
    ("digits-export-2", 0): Fate(runs_seconds=LONG, message=FILES_MADE),
}


def exports(name: str, earlier: int) -> Fate:
    return _TRIES.get((name, earlier), Fate(runs_seconds=LONG))


def differs(name: str, _: int) -> Fate:
    if name.startswith("digits-export"):
        return Fate(runs_seconds=LONG, exit_code=65, message=FILES_DIFFER)
    return Fate(runs_seconds=LONG)
