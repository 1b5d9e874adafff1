"""Record real runs of the trainer for `bench/eta.py`, two minutes each: `python bench/recorded/record.py [NAME ...]`

Each run is `ganger run` of an example on this machine; a mark is a line of rank 0's log with the time at which it came.
The log interval is 1 s instead of the 5 s between two reports, so that two minutes hold as many marks as ten.
"""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
STEP = re.compile(r"step (\d+)/(\d+) epoch")
LAST = re.compile(r"evaluation at step (\d+):")
CHARGPT, FASHION, DIGITS = "chargpt", "fashion_mnist", "digits"

# `at`: (share of the steps, what happens then); "burn N" keeps N processes busy until "rest".
RUNS = {
    "chargpt-plain": {"task": CHARGPT, "config": {"steps": 4000, "batchSize": 32, "evaluateEverySteps": 4000}},
    "chargpt-compiled": {
        "task": CHARGPT,
        "config": {"steps": 5000, "batchSize": 32, "compile": True, "evaluateEverySteps": 1000},
        "checkpoint": {"everySeconds": 15},
    },
    "chargpt-killed": {
        "task": CHARGPT,
        "config": {"steps": 3500, "batchSize": 32, "evaluateEverySteps": 500},
        "checkpoint": {"everySeconds": 20},
        "at": [(0.45, "kill")],
    },
    "chargpt-killed-twice": {
        "task": CHARGPT,
        "config": {"steps": 2200, "batchSize": 48, "microBatch": 24, "evaluateEverySteps": 2200},
        "checkpoint": {"everySteps": 250},
        "at": [(0.3, "kill"), (0.6, "kill")],
    },
    "chargpt-beside-others": {
        "task": CHARGPT,
        "config": {"steps": 3000, "batchSize": 32, "evaluateEverySteps": 600},
        "checkpoint": {"everySeconds": 15},
        "at": [(0.35, "burn 4"), (0.65, "rest")],
    },
    "fashion-checkpoints": {
        "task": FASHION,
        "config": {"steps": 2400, "batchSize": 128, "lr": 4.0e-3},
        "checkpoint": {"everySteps": 100},
    },
    "fashion-evaluations": {
        "task": FASHION,
        "config": {"steps": 2000, "batchSize": 128, "lr": 4.0e-3, "evaluateEverySteps": 150},
    },
    "digits-two-workers": {
        "task": DIGITS,
        "workers": 2,
        "config": {"steps": 40000, "batchSize": 64, "lr": 2.0e-3, "evaluateEverySteps": 2000},
        "checkpoint": {"everySteps": 5000},
    },
    # The two from here were recorded after the estimate had its present form, and changed nothing of it.
    "fashion-killed": {
        "task": FASHION,
        "config": {"steps": 2600, "batchSize": 128, "lr": 4.0e-3, "evaluateEverySteps": 650},
        "checkpoint": {"everySteps": 200},
        "at": [(0.5, "kill")],
    },
    "chargpt-evaluations": {
        "task": CHARGPT,
        "config": {"steps": 2400, "batchSize": 48, "microBatch": 24, "evaluateEverySteps": 200},
        "checkpoint": {"everySeconds": 30},
    },
}


def manifest(name, run):
    spec = {
        "image": "none",
        "task": f"ganger_trainer.examples.{run['task']}:task",
        "workers": run.get("workers", 1),
        "config": run["config"] | {"logEverySeconds": 1, "threads": 1},
    }
    if "checkpoint" in run:
        spec["checkpoint"] = run["checkpoint"] | {"volume": {"size": "1Gi"}}
    return {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def descendants(pid):
    """All processes below one, from /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def trainer(pid):
    """The process that trains: the one below `ganger run` that has burnt the most CPU time."""

    def ticks(child):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return max(descendants(pid), key=ticks)


def record(name, run):
    """Run it and write its file."""
    todo, burners, marks, attempt, end, total = list(run.get("at", [])), [], [], 0, None, run["config"]["steps"]
    document = manifest(name, run)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(json.dumps(document))
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "ganger.cli", "run", "job.json"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip
        for line in process.stdout:
            seconds = round(time.monotonic() - began, 3)
            if "Restarting:" in line:
                attempt += 1
            if (match := STEP.search(line)) is not None:
                step = int(match[1])
                marks.append([seconds, step, attempt])
                if todo and step >= todo[0][0] * total:
                    word, _, number = todo.pop(0)[1].partition(" ")
                    if word == "kill":
                        os.kill(trainer(process.pid), signal.SIGKILL)
                    elif word == "burn":
                        code = "while True: pass"
                        burners += [subprocess.Popen([sys.executable, "-c", code]) for _ in range(int(number))]
                    else:
                        for burner in burners:
                            burner.kill()
            reached = STEP.search(line) or LAST.search(line)
            if end is None and reached is not None and int(reached[1]) == total:
                end = seconds
        code = process.wait()
        for burner in burners:
            burner.kill()
            burner.wait()
    if code or end is None:
        raise SystemExit(f"{name}: exit code {code}, last step seen: {end is not None}")
    spec = document["spec"]
    told = {
        "name": name,
        "how": "ganger run; marks are lines of the log, every 1 s instead of the 5 s between two reports",
        "happened": [f"{what} at {share:.0%} of the steps" for share, what in run.get("at", [])],
        "spec": spec,
        "machine": f"{os.cpu_count()} CPUs shared with other work, Python {platform.python_version()}, "
        f"torch {version('torch')}",
        "totalSteps": total,
        "end": end,
        "marks": marks,
    }
    text = json.dumps(told | {"marks": None}, indent=2).replace('"marks": null', f'"marks": {json.dumps(marks)}')
    (HERE / f"{name}.json").write_text(text + "\n")
    print(f"{name}: {len(marks)} marks, {attempt + 1} attempts, end at {end} s", flush=True)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RUNS:
        record(wanted, RUNS[wanted])
