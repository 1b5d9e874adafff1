"""What a dcgm-exporter would say of the GPUs of a job, for runs on machines without GPUs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

SAMPLE: Final = Path(__file__).with_name("dcgm.prom")
_PLACE: Final = re.compile(r"@[A-Z]+(?:_\d+)?@")


def exposition(namespace: str, pods: tuple[str, str], node: str) -> str:
    """Return the sample in Prometheus' text format with the GPUs in these two pods; the values never move.

    The exporter sends its own labels namespace, pod and container. A Prometheus that scrapes it as a pod, without
    honor_labels, calls them exported_namespace, exported_pod and exported_container.
    """
    filled = {"@NAMESPACE@": namespace, "@POD_0@": pods[0], "@POD_1@": pods[1], "@NODE@": node}
    lines = SAMPLE.read_text().splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("# ") or line.startswith(("# HELP", "# TYPE")))
    return _PLACE.sub(lambda match: filled[match[0]], body)
