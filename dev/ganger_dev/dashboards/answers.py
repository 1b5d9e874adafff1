"""What a real Prometheus answers to every query of a board, and which of the answers hold nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganger_dev.dashboards.queries import EVERYTHING, expanded, panels
from ganger_dev.prometheus import RefusedError

# `get("query", query=..., time=...)` returns the data of an answer of Prometheus' HTTP API or raises RefusedError.
Get = Callable[..., Any]
_COLUMN = 66  # pixels of one of the grid's 24 columns: Grafana asks for at most one point a pixel
_MARK_STEP = 60  # seconds; Grafana's Prometheus source takes it for the scrape interval when it asks an annotation


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a board looks at: seconds since the epoch, and how often Prometheus scrapes, in seconds."""

    start: float
    end: float
    scrape: int

    def step(self, columns: int) -> int:
        """Return the seconds between two points of a panel that is `columns` wide; never below the scrape interval."""
        return max(self.scrape, math.ceil((self.end - self.start) / (columns * _COLUMN)))

    def values(self, step: int) -> dict[str, str]:
        """Return Grafana's own variables, by the rules of its Prometheus source."""
        rate = max(step + self.scrape, 4 * self.scrape)
        span = round(self.end - self.start)
        return {"__interval": f"{step}s", "__rate_interval": f"{rate}s", "__range": f"{span}s"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one query found. `panel` is the id of its panel, 0 for an annotation, whose `ref` is its name.

    step: seconds, 0 of an instant query. series: as Prometheus gave them. error: why it refused, else empty.
    """

    board: str
    panel: int
    title: str
    ref: str
    expr: str
    step: int
    series: Sequence[Mapping[str, Any]] = ()
    error: str = ""

    @property
    def name(self) -> str:
        """Return how people speak of the query."""
        return f"{self.board} / {self.title} / {self.ref}"

    @property
    def has_data(self) -> bool:
        """Whether a sample is a number."""
        return any(not math.isnan(float(value)) for one in self.series for _, value in _samples(one))


def ask(get: Get, board: Mapping[str, Any], values: Mapping[str, str], window: Window) -> list[Answer]:
    """Ask every query of a board's panels and annotations and return the answers, in the order of the file.

    `values` are values of the board's variables, as for `queries`. A refused query is an answer with an error.
    Raises ValueError for a variable without a value, and DevError where nobody answers.
    """
    uid = str(board["uid"])
    found = []
    for panel in panels(board):
        step = window.step(panel["gridPos"]["w"])
        known = {**EVERYTHING, **window.values(step), **values}
        for target in panel.get("targets", ()):
            asked = Answer(board=uid, panel=panel["id"], title=panel["title"], ref=target["refId"],
                           expr=expanded(target["expr"], known), step=0 if target.get("instant") else step)  # fmt: skip
            found.append(_answered(get, asked, window))
    coarse = replace(window, scrape=max(window.scrape, _MARK_STEP))
    step = coarse.step(24)
    known = {**EVERYTHING, **coarse.values(step), **values}
    for mark in board.get("annotations", {}).get("list", ()):
        if "expr" in mark:
            asked = Answer(board=uid, panel=0, title="annotation", ref=mark["name"],
                           expr=expanded(mark["expr"], known), step=step)  # fmt: skip
            found.append(_answered(get, asked, window))
    return found


def next_mark(moment: float) -> float:
    """Return from when on a board marks what Prometheus has known since `moment`: the next whole minute. Pure.

    Both are seconds since the epoch. A board of more than a day asks more seldom; no run is that long.
    """
    return moment - moment % _MARK_STEP + _MARK_STEP


def lacking(answers: Sequence[Answer], allowed: Mapping[str, str]) -> list[str]:
    """Return a line for each query that was refused, or that found no number and is not in `allowed`. Pure.

    `allowed` are reasons by `Answer.name`, or by the name without its last part for all queries of a panel.
    """
    found = []
    for one in answers:
        if one.error:
            found.append(f"{one.name}: {one.error}: {one.expr}")
        elif not one.has_data and one.name not in allowed and one.name.rpartition(" / ")[0] not in allowed:
            found.append(f"{one.name}: {'only NaN' if one.series else 'nothing'} found: {one.expr}")
    return found


def marks(answers: Sequence[Answer], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the stretches of time, in milliseconds, in which an annotation's query was above zero. Pure.

    `colours` go by the annotation's name; one without a colour is left out, as Grafana does with one switched off.
    """
    found: list[dict[str, Any]] = []
    for one in (one for one in answers if one.panel == 0 and one.ref in colours):
        for series in one.series:
            times = [time for time, value in _samples(series) if float(value) > 0]
            for index, time in enumerate(times):
                if index and time - times[index - 1] <= one.step:
                    found[-1]["to"] = round(time * 1000)
                else:
                    at = round(time * 1000)
                    found.append({"name": one.ref, "color": colours[one.ref], "from": at, "to": at})
    return found


def _answered(get: Get, asked: Answer, window: Window) -> Answer:
    try:
        if asked.step:
            start = window.start - window.start % asked.step
            data = get("query_range", query=asked.expr, start=repr(start), end=repr(window.end), step=str(asked.step))
        else:
            data = get("query", query=asked.expr, time=repr(window.end))
    except RefusedError as error:
        return replace(asked, error=str(error))
    result = data["result"]
    # A scalar is a pair of time and value, without a series around it.
    return replace(asked, series=[{"metric": {}, "value": result}] if data["resultType"] == "scalar" else result)


def _samples(series: Mapping[str, Any]) -> Sequence[tuple[float, str]]:
    return series.get("values") or ([series["value"]] if "value" in series else [])
