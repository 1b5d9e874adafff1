"""What a board asks Prometheus, with Grafana's variables put in: for tests and for runs against a real Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

# What Grafana would put in when everything is chosen, the range is an hour and the scrape interval 15 s.
EVERYTHING: Final[Mapping[str, str]] = {
    "datasource": "prometheus",
    "namespace": ".+",
    "training_job": ".+",
    "job": ".+",
    "instance": ".+",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|([A-Za-z_]\w*))")  # $1 is a group of label_replace
_LABEL_VALUES: Final = re.compile(r"label_values\((?:(.+),\s*)?(\w+)\)", re.DOTALL)


class Query(NamedTuple):
    """One query: the title of its panel or annotation, its refId, its PromQL, and how it is asked.

    `kind` is `range` (one value for each step), `instant` (one value now) or `annotation` (a range query whose values
    above zero are marks on the time axis).
    """

    panel: str
    ref_id: str
    expr: str
    kind: str


class Choice(NamedTuple):
    """What a variable offers: the values of `label` in the series that `selector` finds."""

    variable: str
    selector: str
    label: str


def queries(board: Mapping[str, Any], values: Mapping[str, str] | None = None) -> list[Query]:
    """Return every query of a board's panels and annotations, in the order of the file.

    `values` are the values of Grafana's variables without the dollar sign; they go before those of EVERYTHING. The
    values of `namespace`, `training_job`, `job` and `instance` are regular expressions, as Grafana makes them of a
    choice. Raises ValueError for a variable that nobody gave a value.
    """
    known = {**EVERYTHING, **(values or {})}
    found: list[Query] = []
    for panel in panels(board):
        for target in panel.get("targets", ()):
            kind = "instant" if target.get("instant") else "range"
            found.append(Query(panel["title"], target["refId"], expanded(target["expr"], known), kind))
    found.extend(
        Query(annotation["name"], "Anno", expanded(annotation["expr"], known), "annotation")
        for annotation in board.get("annotations", {}).get("list", ())
        if "expr" in annotation
    )
    return found


def choices(board: Mapping[str, Any], values: Mapping[str, str] | None = None) -> list[Choice]:
    """Return what each variable with a query offers. Raises ValueError for a query that is no `label_values(...)`."""
    known = {**EVERYTHING, **(values or {})}
    found = []
    for variable in board.get("templating", {}).get("list", ()):
        if variable["type"] != "query":
            continue
        match = _LABEL_VALUES.fullmatch(variable["query"])
        if match is None or match[1] is None:
            raise ValueError(f"variable {variable['name']}: {variable['query']!r} is not label_values(series, label)")
        found.append(Choice(variable["name"], expanded(match[1], known), match[2]))
    return found


def panels(board: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every panel that is no row; those of collapsed rows too."""
    for panel in board.get("panels", ()):
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with `$name`, `${name}` and `${name:format}` replaced. Raises ValueError for an unknown name."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise ValueError(f"no value for the variable ${name} in {text!r}; known are {', '.join(sorted(values))}")
        return values[name]

    return _VARIABLE.sub(value, text)
