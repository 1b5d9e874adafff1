"""The few kinds of panels that the boards are made of.

Only kinds that look the same in the preview as in Grafana are used: timeseries, stat, bargauge, table and text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge as bars
from grafana_foundation_sdk.builders import common, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.models import common as shape
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import text as text_model

DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
# One colour for each cause of the ledger, on every board.
CAUSES: Final[Mapping[str, str]] = {
    "productive": "green",
    "checkpointing": "blue",
    "restoring": "light-blue",
    "starting": "purple",
    "image": "light-purple",
    "scheduling": "yellow",
    "queued": "orange",
    "exporting": "dark-green",
    "suspended": "text",
    "restarting": "light-red",
    "lost": "red",
}
PHASES: Final[Mapping[str, str]] = {
    "Pending": "yellow",
    "Starting": "light-blue",
    "Running": "green",
    "Restarting": "orange",
    "Exporting": "light-green",
    "Suspended": "text",
    "Complete": "blue",
    "Failed": "red",
}
# Title and address of the board of the job in a row of a table, with the time range and the data source of this board.
_JOB_BOARD: Final = (
    "/d/ganger-job?var-namespace=${__data.fields.namespace}&var-training_job=${__data.fields.training_job}"
    "&${datasource:queryparam}&${__url_time_range}"
)
OPEN_JOB: Final = ("Open the job's board", _JOB_BOARD)
Step = tuple[float | None, str]  # from this value on, this colour; the first one has no value
Table = table.Panel
_Panel = TypeVar("_Panel", timeseries.Panel, stat.Panel, bars.Panel, table.Panel)


@dataclass(frozen=True)
class Ask:
    """A query: its PromQL and the legend of each series it finds."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, unit, and the query that fills it; `colours` are thresholds of its text."""

    title: str
    unit: str
    expr: str
    colours: tuple[Step, ...] = ()
    decimals: int | None = None


def lines(
    title: str,
    description: str,
    unit: str,
    *asked: Ask,
    width: int = 8,
    stacked: bool = False,
    colours: Mapping[str, str] | None = None,
    low: float | None = None,
    high: float | None = None,
    dashed: Sequence[str] = (),
) -> timeseries.Panel:
    """Return values over time. `colours` go by legend; `dashed` are /patterns/ of the legends of dashed lines."""
    panel = _common(timeseries.Panel(), title, description, unit, width, 8)
    for index, ask in enumerate(asked):
        panel.with_target(_query(ask, index).range())
    panel.tooltip(common.VizTooltipOptions().mode(shape.TooltipDisplayMode.MULTI).sort(shape.SortOrder.DESCENDING))
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(shape.LegendDisplayMode.LIST)
        .placement(shape.LegendPlacement.BOTTOM)
        .calcs([])
    )
    panel.line_width(1).fill_opacity(30 if stacked else 0)
    panel.show_points(shape.VisibilityMode.AUTO)
    if stacked:
        panel.stacking(common.StackingConfig().mode(shape.StackingMode.NORMAL).group("A"))
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    for pattern in dashed:
        style = model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]})
        panel.override_by_regexp(pattern, [style])
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    *asked: Ask,
    width: int = 4,
    steps: Sequence[Step] = ((None, "blue"),),
    decimals: int | None = None,
    named: bool = False,
    colours: Mapping[str, str] | None = None,
    otherwise: str = "",
) -> stat.Panel:
    """Return the newest values, large; with `named` their legends are shown instead, and `otherwise` without any."""
    panel = _common(stat.Panel(), title, description, unit, width, 4)
    for index, ask in enumerate(asked):
        panel.with_target(_query(ask, index).instant())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.color_mode(shape.BigValueColorMode.VALUE).graph_mode(shape.BigValueGraphMode.NONE)
    panel.text_mode(shape.BigValueTextMode.NAME if named else shape.BigValueTextMode.AUTO)
    panel.thresholds(_thresholds(steps))
    if decimals is not None:
        panel.decimals(decimals)
    if otherwise:
        panel.no_value(otherwise)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    return panel


def ranking(
    title: str,
    description: str,
    unit: str,
    *asked: Ask,
    width: int = 8,
    steps: Sequence[Step] = ((None, "blue"),),
    low: float | None = 0,
    high: float | None = None,
) -> bars.Panel:
    """Return one bar for each series, as it is now."""
    panel = _common(bars.Panel(), title, description, unit, width, 8)
    for index, ask in enumerate(asked):
        panel.with_target(_query(ask, index).instant())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.orientation(shape.VizOrientation.HORIZONTAL).display_mode(shape.BarGaugeDisplayMode.BASIC)
    # Else a single bar fills the panel, with letters to match.
    panel.sizing(shape.BarGaugeSizing.MANUAL).min_viz_height(24).max_viz_height(44)
    panel.name_placement(shape.BarGaugeNamePlacement.TOP)
    panel.text(common.VizTextDisplayOptions().title_size(14).value_size(16))
    panel.thresholds(_thresholds(steps))
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    return panel


def rows(
    title: str,
    description: str,
    keys: Mapping[str, str],
    *columns: Column,
    links: Mapping[str, tuple[str, str]] | None = None,
    hidden: Sequence[str] = (),
    left_out: Sequence[str] = (),
    width: int = 24,
    height: int = 12,
) -> table.Panel:
    """Return a table with one row for each set of the labels `keys` (label: title) and one column for each query.

    `links` are label: (title, address). The labels keep their names as fields, so that an address can speak of
    `${__data.fields.<label>}`; only what is shown is a title. `hidden` (titles of columns) and `left_out` (labels) put
    rows together and are not shown.
    """
    panel = _common(table.Panel(), title, description, "none", width, height)
    for index, column in enumerate(columns):
        ask = _query(Ask(column.expr), index)
        panel.with_target(ask.instant().format(prometheus_model.PromQueryFormat.TABLE))
    # `merge` puts what has the same labels at the same time into one row; a single frame keeps the bare name "Value".
    values = [f"Value #{_ref(index)}" for index in range(len(columns))] if len(columns) > 1 else ["Value"]
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True}
                | dict.fromkeys(left_out, True)
                | {value: True for value, column in zip(values, columns, strict=True) if column.title in hidden},
                "indexByName": {name: index for index, name in enumerate([*keys, *values])},
                "renameByName": {value: column.title for value, column in zip(values, columns, strict=True)},
            },
        )
    )
    for label, shown in keys.items():
        panel.override_by_name(
            label, [model.DynamicConfigValue(id_val="displayName", value=shown), *_link(label, links)]
        )
    for column in columns:
        if column.title not in hidden:
            panel.override_by_name(column.title, _looks(column))
    panel.thresholds(_thresholds([(None, "text")]))
    panel.show_header(True).filterable(True).cell_height(shape.TableCellHeight.SM)
    return panel


def note(title: str, description: str, content: str, *, width: int = 24, height: int = 5) -> text.Panel:
    """Return a text in Markdown."""
    panel = text.Panel().title(title).description(description).span(width).height(height)
    return panel.mode(text_model.TextMode.MARKDOWN).content(content)


def _common(panel: _Panel, title: str, description: str, unit: str, width: int, height: int) -> _Panel:
    return panel.title(title).description(description).unit(unit).datasource(DATASOURCE).span(width).height(height)


def _query(ask: Ask, index: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(ask.expr).ref_id(_ref(index)).datasource(DATASOURCE)
    query.editor_mode(prometheus_model.QueryEditorMode.CODE)
    return query.legend_format(ask.legend) if ask.legend else query


def _ref(index: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def _thresholds(steps: Sequence[Step]) -> parts.ThresholdsConfig:
    found = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return parts.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _link(label: str, links: Mapping[str, tuple[str, str]] | None) -> list[model.DynamicConfigValue]:
    if not links or label not in links:
        return []
    title, address = links[label]
    return [model.DynamicConfigValue(id_val="links", value=[{"title": title, "url": address, "targetBlank": False}])]


def _looks(column: Column) -> list[model.DynamicConfigValue]:
    found = [model.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.decimals is not None:
        found.append(model.DynamicConfigValue(id_val="decimals", value=column.decimals))
    if column.colours:
        steps: list[dict[str, Any]] = [{"value": value, "color": colour} for value, colour in column.colours]
        found.append(model.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}))
        found.append(model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return found
