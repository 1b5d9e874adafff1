"""`make bench [ONLY=fleet]`: measure, print, and write build/bench.json with the machine and the commit beside it."""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

BENCHES = (
    "eta",
    "fleet",
    "handover",
    "recovery",
    "reports",
    "scrape",
    "trainer_overhead",
    "metrics_overhead",
    "goodput",
    "gangs",
)
ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "bench.json"


def machine() -> dict:
    """What the figures were measured on."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpus": os.cpu_count(),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "python": platform.python_version(),
        "load1BeforeStart": round(os.getloadavg()[0], 2),
    }


def main() -> int:
    """Run the benches named on the command line, or all; return 1 where one did not keep what it must."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    found = json.loads(TARGET.read_text()) if TARGET.exists() else {}
    failed = False
    for name in names:
        print(f"bench {name} ...", flush=True)
        began, around = time.monotonic(), machine()
        result = importlib.import_module(f"bench.{name}").measure()
        failed |= bool(result.get("failed"))
        command = f"make bench ONLY={name}"
        found[name] = result | {
            "command": command,
            "machine": around,
            "commit": commit,
            "tookSeconds": round(time.monotonic() - began),
        }
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps({k: v for k, v in result.items() if len(str(v)) < 400}, indent=2), flush=True)
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
