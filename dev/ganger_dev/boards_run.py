"""`python -m ganger_dev dashboards`: every query of every board asked of a real Prometheus, every board drawn."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ganger_dev import preview, prometheus
from ganger_dev.dashboards import FOLDER
from ganger_dev.dashboards.answers import Answer, Get, Window, ask, lacking, marks
from ganger_dev.dashboards.queries import panels
from ganger_dev.errors import DevError
from ganger_dev.paths import repository

PICTURES: Final = "docs/images/dashboards"
# Queries that may find nothing, with the reason, by `board / panel` or `board / panel / refId`.
MAY_BE_EMPTY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a run came to: the line that `make dashboards` ends with."""

    panels: int
    queries: int
    with_data: int
    alerts_tested: int
    pictures: int

    def __str__(self) -> str:
        return (
            f"panels: {self.panels}, queries: {self.queries}, queries with data: {self.with_data}, "
            f"alerts tested: {self.alerts_tested}, pictures: {self.pictures}"
        )


def shipped() -> list[dict[str, Any]]:
    """Return the boards of the chart as they are shipped."""
    return [json.loads(path.read_text()) for path in sorted((repository() / FOLDER).glob("*.json"))]


def of_board(values: Mapping[str, str], uid: str) -> dict[str, str]:
    """Return the values of one board's variables: `NAME` for every board, overridden by `UID/NAME` for one. Pure."""
    common = {name: value for name, value in values.items() if "/" not in name}
    return common | {name.partition("/")[2]: value for name, value in values.items() if name.startswith(f"{uid}/")}


def check(
    get: Get, window: Window, values: Mapping[str, str] | None = None, allowed: Mapping[str, str] = MAY_BE_EMPTY
) -> dict[str, list[Answer]]:
    """Ask every query of every shipped board and return the answers by board.

    `values` are values of the boards' variables, regular expressions; `allowed` as for `lacking`. Raises DevError that
    names each query that was refused, or found no number although it should have.
    """
    answers = _asked(get, values or {}, window)
    wrong = [line for found in answers.values() for line in lacking(found, allowed)]
    if wrong:
        fix = "Mend the query or what it reads, or allow it with a reason in ganger_dev/boards_run.py."
        raise DevError(f"{len(wrong)} queries of the dashboards have no data", "\n  " + "\n  ".join(wrong) + "\n", fix)
    return answers


def _asked(get: Get, values: Mapping[str, str], window: Window) -> dict[str, list[Answer]]:
    return {board["uid"]: ask(get, board, of_board(values, board["uid"]), window) for board in shipped()}


def page(
    board: Mapping[str, Any], answers: Sequence[Answer], values: Mapping[str, str], window: Window
) -> dict[str, Any]:
    """Return what the preview draws for `board`: an Input of dev/preview/src/input.ts. Pure."""
    by_panel: dict[str, dict[str, Any]] = {}
    for one in answers:
        if one.panel:
            by_panel.setdefault(str(one.panel), {})[one.ref] = {
                "expr": one.expr, "stepSeconds": one.step, "series": list(one.series),
            }  # fmt: skip
    shown = [variable for variable in board.get("templating", {}).get("list", ()) if variable["type"] == "query"]
    colours = {
        mark["name"]: mark["iconColor"]
        for mark in board.get("annotations", {}).get("list", ())
        if "expr" in mark and mark.get("enable", True)
    }
    chips = [{"label": one.get("label") or one["name"], "value": values.get(one["name"], "All")} for one in shown]
    return {
        "title": board["title"],
        "panels": preview.placed(board),
        "answers": by_panel,
        "annotations": marks(answers, colours),
        "variables": chips,
        "values": {chip["label"]: chip["value"] for chip in chips} | dict(values),
        "range": {"from": round(window.start * 1000), "to": round(window.end * 1000)},
    }


def draw(
    answers: Mapping[str, Sequence[Answer]], values: Mapping[str, str], window: Window, folder: Path
) -> list[Path]:
    """Draw every shipped board to `folder`/UID.png and return the pictures.

    Raises DevError where the page reports a problem, or says "No data" in a panel whose queries have some.
    """
    found = []
    for board in shipped():
        uid = board["uid"]
        picture = folder / f"{uid}.png"
        outcome = preview.draw(page(board, answers[uid], of_board(values, uid), window), picture)
        with_data = {one.panel for one in answers[uid] if one.has_data}
        titles = {panel["id"]: panel["title"] for panel in panels(board)}
        problems = [*outcome.problems]
        problems += [
            f"{titles[panel]} says 'No data' and its queries have some" for panel in outcome.empty if panel in with_data
        ]
        if problems:
            raise DevError(f"{uid} is not drawn well", "; ".join(problems), f"Look at {picture} and dev/preview.")
        found.append(picture)
    return found


def tested_alerts() -> int:
    """Run the tests of every alert in promtool and return how many alerts they are. Raises DevError where one fails."""
    files = sorted((repository() / "tests" / "alerts").glob("*.yaml"))
    words = [str(prometheus.ensure().promtool), "test", "rules", *map(str, files)]
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode != 0:
        raise DevError("an alert's test fails", result.stdout.strip() or result.stderr.strip(), "See tests/alerts.")
    return len(files)


def run(get: Get, window: Window, values: Mapping[str, str], *, folder: Path, lenient: bool = False) -> Tally:
    """Ask, draw and count. lenient: also draw where queries lack data, which are printed. Raises DevError."""
    try:
        answers = check(get, window, values)
    except DevError as error:
        if not lenient:
            raise
        print(error, flush=True)
        answers = _asked(get, values, window)
    drawn = draw(answers, values, window, folder)
    every = [one for found in answers.values() for one in found]
    return Tally(
        panels=sum(1 for board in shipped() for _ in panels(board)),
        queries=len(every),
        with_data=sum(1 for one in every if one.has_data),
        alerts_tested=tested_alerts(),
        pictures=len(drawn),
    )


def assignments(texts: Sequence[str]) -> dict[str, str]:
    """Return `NAME=REGEX` and `UID/NAME=REGEX` texts as a mapping. Raises DevError for one of another shape."""
    found = {}
    for text in texts:
        match = re.fullmatch(r"((?:[\w-]+/)?\w+)=(.+)", text)
        if match is None:
            raise DevError(f"--var {text} is not understood", "it is not NAME=REGEX", "Say --var namespace=default.")
        found[match[1]] = match[2]
    return found


def from_url(
    url: str,
    *,
    minutes: int,
    until: float | None,
    scrape: int,
    variables: Sequence[str],
    folder: Path | None,
    lenient: bool,
) -> Tally:
    """Do `run` against the Prometheus at `url`, over the `minutes` before `until`, in seconds since 1970, or now."""
    end = time.time() if until is None else until
    window = Window(start=end - 60 * minutes, end=end, scrape=scrape)
    get = functools.partial(prometheus.get, url)
    return run(get, window, assignments(variables), folder=folder or repository() / PICTURES, lenient=lenient)
