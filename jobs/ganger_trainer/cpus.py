"""How many CPUs this container may use: torch counts those of the node, and a pod of 2 CPUs then starts 64 threads."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


def threads(processes: int, environ: Mapping[str, str]) -> int:
    """Return the threads of one process: OMP_NUM_THREADS where it is set, else its part of the usable CPUs."""
    told = environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else max(1, usable() // processes)


def usable(cpu_max: Path = CPU_MAX) -> int:
    """Return the CPUs of this container, at least 1: the smaller of its affinity and its cgroup quota, rounded up."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text().split()[:2]
        if quota != "max":
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # cgroup v1, or none: affinity is the best there is
    return max(1, allowed)
