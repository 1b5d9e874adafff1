"""The boards as a page to read: every panel with its unit and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ganger_dev.dashboards.board import Board

_HEAD: Final = """\
# Panels of the dashboards

Generated from dev/ganger_dev/dashboards by `make generate`. [Dashboards](../dashboards.md) tells how to get them.
"""
# What Grafana's names of units mean to a reader.
_UNITS: Final = {
    "none": "number",
    "percentunit": "ratio, shown in %",
    "percent": "%",
    "s": "seconds",
    "bytes": "bytes",
    "short": "number",
    "eps": "per second",
    "wps": "per second",
    "ops": "per second",
    "reqps": "per second",
    "watt": "watts",
    "celsius": "degrees Celsius",
    "hertz": "hertz",
    "dateTimeFromNow": "time from now",
}


def page(boards: Iterable[Board]) -> str:
    """Return the page in Markdown. Raises KeyError for a unit that it has no word for."""
    return _HEAD + "".join(line for board in boards for line in _section(board.as_json()))


def _section(board: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {board['title']}\n\n{board['description']} Address: `/d/{board['uid']}`.\n"
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield f"\n### {panel['title']}\n\n| panel | unit | what it says |\n|---|---|---|\n"
        else:
            yield f"| {panel['title']} | {_shown(panel)} | {panel['description']} |\n"
    marks = [mark["name"] for mark in board["annotations"]["list"]]
    if marks:
        yield f"\nMarks on the time axis: {', '.join(marks).lower()}.\n"


def _shown(panel: dict[str, Any]) -> str:
    if panel["type"] in ("table", "text"):
        return str(panel["type"])
    if panel["options"].get("textMode") == "name":
        return "name"
    return _UNITS[panel["fieldConfig"]["defaults"]["unit"]]
