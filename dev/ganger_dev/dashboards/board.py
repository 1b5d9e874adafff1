"""What every board has: its name, variables, links to the others, and panels laid out in rows of the grid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from ganger_dev.dashboards.panel import DATASOURCE

# The uid of each board, which is also the name of its file, and the title that links show.
TITLES: Final = {
    "ganger-fleet": "Training - fleet",
    "ganger-job": "Training - job",
    "ganger-operator": "Training - operator",
    "ganger-gpu": "Training - GPU",
}
Panels = Sequence[Builder[model.Panel]]


class _Mark(model.AnnotationQuery):
    """An annotation that asks Prometheus.

    The schema that the library is made from knows no `titleFormat` and `tagKeys`, which Grafana's Prometheus source
    reads to name what happened.
    """

    more: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """Return the annotation as Grafana reads it."""
        return super().to_json() | dict(self.more)


@dataclass(frozen=True)
class Mark(Builder[model.AnnotationQuery]):
    """Marks on the time axis wherever `expr` is above zero; `title` may speak of its labels, `tags` are labels.

    Each has a switch above the board, which is on if `shown`.
    """

    name: str
    expr: str
    colour: str
    title: str
    tags: str
    shown: bool = True

    def build(self) -> model.AnnotationQuery:
        """Return the annotation."""
        mark = _Mark(name=self.name, datasource=DATASOURCE, icon_color=self.colour, expr=self.expr, enable=self.shown)
        mark.more = {"titleFormat": self.title, "tagKeys": self.tags}
        return mark


@dataclass(frozen=True)
class Board:
    """A board before it is text. `rows` are titles with their panels, from the top."""

    uid: str
    description: str
    since: str
    variables: Sequence[Builder[model.VariableModel]]
    rows: Sequence[tuple[str, Panels]]
    marks: Sequence[Mark] = ()

    def text(self) -> str:
        """Return the JSON that Grafana loads, as its file has it; the same for the same board, always."""
        return json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return the board as plain JSON values."""
        built = parts.Dashboard(TITLES[self.uid]).uid(self.uid).description(self.description).tags(["ganger"])
        built.refresh("30s").time(self.since, "now").timezone("browser").editable()
        built.tooltip(model.DashboardCursorSync.CROSSHAIR)
        built.with_variable(_datasource())
        for variable in self.variables:
            built.with_variable(variable)
        built.annotations(list(self.marks))
        for uid, title in TITLES.items():
            if uid != self.uid:
                built.link(_link(uid, title))
        for title, panels in self.rows:
            built.with_row(parts.Row(title))
            for panel in panels:
                built.with_panel(panel)
        # An id of null is what makes Grafana take the uid for the board's identity; the library leaves nulls away.
        found: dict[str, Any] = {"id": None} | json.loads(json.dumps(built.build(), cls=JSONEncoder))
        for number, panel in enumerate(found["panels"], start=1):
            panel["id"] = number
        return found


def choice(name: str, label: str, series: str, *, every: bool = True) -> parts.QueryVariable:
    """Return a variable that offers the values of the label `name` in `series`; several can be chosen.

    With `every` the choice All stands for `.+`: Grafana escapes chosen values for a regular expression but not this.
    """
    variable = parts.QueryVariable(name).label(label).query(f"label_values({series}, {name})").datasource(DATASOURCE)
    variable.multi(True).refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    if every:
        variable.include_all(True).all_value(".+")
        variable.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def _datasource() -> parts.DatasourceVariable:
    return parts.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _link(uid: str, title: str) -> parts.DashboardLink:
    link = parts.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"/d/{uid}").icon("dashboard")
    return link.tooltip(f"Open {title}").include_vars(True).keep_time(True)
