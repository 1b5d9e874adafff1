"""The rules of grafana/dashboard-linter, written anew from its documentation, and where one is broken.

Each rule takes a board and yields what breaks it as (title of the panel or nothing, what is wrong).
"""

from datetime import timedelta

import promql_parser as promql
from grafana_foundation_sdk.models import units

from ganger_dev.dashboards.queries import EVERYTHING, choices, expanded, panels

DATASOURCES = ("${datasource}", "$datasource")
# A duration that nobody would write: where it stands, $__rate_interval stood.
MAGIC = ("677s", timedelta(seconds=677))
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
WITH_UNIT = ("stat", "table", "timeseries", "bargauge")


def variables(board):
    return board["templating"]["list"]


def targets(board):
    """Each query of each panel as (title, what it is once variables are put in)."""
    values = EVERYTHING | {"__rate_interval": MAGIC[0], "job": "$job", "instance": "$instance"}
    for panel in panels(board):
        for target in panel.get("targets", ()):
            yield panel["title"], expanded(target["expr"], values)


def parsed(board):
    """Each query that parses."""
    for title, expr in targets(board):
        try:
            yield title, promql.parse(expr)
        except ValueError:
            continue


def nodes(expr):
    """Every part of an expression."""
    found = []
    promql.walk(expr, lambda node: found.append(node))
    return found


def template_datasource(board):
    found = [variable for variable in variables(board) if variable["type"] == "datasource"]
    if [("datasource", "Data source", "prometheus")] != [(v["name"], v["label"], v["query"]) for v in found]:
        yield "", "there is not exactly one data source variable `datasource`, labelled `Data source`, for Prometheus"


def _template(board, name):
    found = [variable for variable in variables(board) if variable["name"] == name]
    wanted = {"type": "query", "label": name.capitalize(), "multi": True, "allValue": ".+"}
    if len(found) != 1:
        yield "", f"there is no variable {name}"
    elif not wanted.items() <= found[0].items() or found[0]["datasource"]["uid"] not in DATASOURCES:
        yield "", f"the variable {name} is not labelled, multi, `.+` for all, and asked of the templated data source"


def template_job(board):
    yield from _template(board, "job")


def template_instance(board):
    yield from _template(board, "instance")


def template_label_promql(board):
    try:
        for choice in choices(board):
            promql.parse(choice.selector)
    except ValueError as error:
        yield "", str(error)


def panel_datasource(board):
    for panel in panels(board):
        used = [panel, *panel.get("targets", ())] if panel["type"] != "text" else []
        if any(part.get("datasource", {}).get("uid") not in DATASOURCES for part in used):
            yield panel["title"], "it does not use the templated data source"


def panel_title_description(board):
    for panel in panels(board):
        if not panel.get("title") or not panel.get("description"):
            yield panel.get("title", ""), "it has no title or no description"


def panel_units(board):
    for panel in panels(board):
        if panel["type"] in WITH_UNIT and panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield panel["title"], "it has no unit that Grafana knows"


def target_promql(board):
    for title, expr in targets(board):
        try:
            promql.parse(expr)
        except ValueError as error:
            yield title, f"{expr}: {error}"


def target_rate_interval(board):
    for title, expr in parsed(board):
        ranges = [node for node in nodes(expr) if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr)]
        if any(node.range != MAGIC[1] for node in ranges):
            yield title, "a range is not $__rate_interval"


def _target(board, label):
    for title, expr in parsed(board):
        for node in nodes(expr):
            if isinstance(node, promql.VectorSelector):
                matchers = [(one.name, str(one.op), one.value) for one in node.matchers.matchers]
                if (label, "MatchOp.Re", f"${label}") not in matchers:
                    yield title, f'{node.name} has no {label}=~"${label}"'


def target_job(board):
    yield from _target(board, "job")


def target_instance(board):
    yield from _target(board, "instance")


RULES = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": template_job,
    "template-instance-rule": template_instance,
    "template-label-promql-rule": template_label_promql,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": target_job,
    "target-instance-rule": target_instance,
}
