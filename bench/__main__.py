"""`make bench [ONLY=fleet]`: measure, print, and write build/bench.json with the machine and the commit beside it.

The file has the promised figures as nested objects (`bench.keys`), and what each bench returned under `details`. A run
of all benches writes docs/benchmarks.md as well; `python -m bench.page` writes it from the file that is there.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import keys, page
from ganger_dev.binaries import KUBERNETES

BENCHES = (
    "eta",
    "fleet",
    "handover",
    "recovery",
    "reports",
    "scrape",
    "soak",
    "startup",
    "trainer_overhead",
    "metrics_overhead",
    "frameworks",
    "checkpoints",
    "goodput",
    "gangs",
    "control_plane",
    "scale",
)
ROOT = Path(__file__).parents[1]
PREFIX, RESUME = "GANGER_BENCH_", "GANGER_BENCH_RESUME"
TARGET = ROOT / "build" / "bench.json"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpus": os.cpu_count(),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "python": platform.python_version(),
        "versions": {"Kubernetes": KUBERNETES, "torch": importlib.metadata.version("torch")},
        "load1BeforeStart": round(os.getloadavg()[0], 2),
    }


def command(name: str, environment: Mapping[str, str]) -> str:
    """Return what repeats that bench, with what it was asked for by the environment."""
    chosen = {key: value for key, value in environment.items() if key.startswith(PREFIX) and key != RESUME}
    asked = [f"{key}={shlex.quote(value)}" for key, value in sorted(chosen.items())]
    return " ".join([*asked, f"make bench ONLY={name}"])


def run(name: str, commit: str) -> dict[str, Any]:
    """Return what that bench measured, with where and when. Raises ValueError where its keys are not known ones."""
    began, around, date = time.monotonic(), machine(), datetime.now(UTC)
    result: dict[str, Any] = importlib.import_module(f"bench.{name}").measure()
    keys.check(result)
    told = around | result.get("machine", {})
    return result | {
        "command": command(name, os.environ),
        "machine": told | {"versions": around["versions"] | told.get("versions", {})},
        "commit": commit,
        "date": date.strftime("%Y-%m-%d %H:%M"),
        "tookSeconds": round(time.monotonic() - began),
    }


def main() -> int:
    """Run the benches named on the command line, or all; return 1 where one did not keep what it must."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    details = json.loads(TARGET.read_text()).get("details", {}) if TARGET.exists() else {}
    failed = False
    for name in names:
        print(f"bench {name} ...", flush=True)
        result = details[name] = run(name, commit)
        failed |= bool(result.get("failed"))
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(json.dumps(keys.assemble(details) | {"details": details}, indent=2) + "\n")
        print(json.dumps({k: v for k, v in result.items() if len(str(v)) < 400}, indent=2), flush=True)
    print(f"wrote {TARGET.relative_to(ROOT)}")
    if set(names) == set(BENCHES):
        page.main()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
