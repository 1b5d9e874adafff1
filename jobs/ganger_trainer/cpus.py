"""How many CPUs this container may use: torch counts those of the node, and a pod of 2 CPUs then starts 64 threads."""

import math
import os
from pathlib import Path
from typing import Final

CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


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
