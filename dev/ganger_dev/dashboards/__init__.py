"""The Grafana boards of the chart, written in Python and generated as JSON by `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ganger_dev.dashboards import fleet, gpu, job, operator, reference
from ganger_dev.dashboards.board import Board

BOARDS: Final[dict[str, Callable[[], Board]]] = {
    "ganger-fleet": fleet.board,
    "ganger-job": job.board,
    "ganger-operator": operator.board,
    "ganger-gpu": gpu.board,
}
FOLDER: Final = "charts/ganger/dashboards"
REFERENCE: Final = "docs/reference/dashboards.md"


def outputs() -> dict[str, Callable[[], str]]:
    """Return each file that is made of boards, with what makes its text: those of the chart and their reference."""
    files = {f"{FOLDER}/{uid}.json": _text_of(make) for uid, make in BOARDS.items()}
    return files | {REFERENCE: lambda: reference.page(make() for make in BOARDS.values())}


def _text_of(make: Callable[[], Board]) -> Callable[[], str]:
    return lambda: make().text()
