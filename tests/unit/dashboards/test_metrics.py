"""Every metric and label that a board speaks of is made by somebody: a renamed metric fails here, not in a panel."""

import re
from pathlib import Path
from typing import get_args

import promql_parser as promql
import pytest
import yaml

from ganger.api.status import GoodputSeconds, Phase
from ganger.observe import catalog
from ganger_dev.dashboards.panel import CAUSES, PHASES
from ganger_dev.dashboards.queries import choices, panels, queries
from ganger_trainer import metrics as trainer
from unit.dashboards.labels import Unknown, labels_of
from unit.dashboards.shipped import NAMES, load

FOREIGN = yaml.safe_load((Path(__file__).parent / "known_metrics.yaml").read_text("utf-8"))
# Values of labels that queries speak of. What an operator counts by result is not listed: `ok` is never renamed.
VALUES = {
    "phase": set(get_args(Phase)),
    "cause": set(GoodputSeconds.__struct_fields__),
    "bound": {"earliest", "expected", "latest"},
    "counted": {"true", "false"},
    "result": {"ok"},
}
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def series_of(family):
    """Names of the series of a family, with the labels that each adds."""
    if family.type != "histogram":
        return {family.name: frozenset(family.labels)}
    labels = frozenset(family.labels)
    return {f"{family.name}_bucket": labels | {"le"}, f"{family.name}_sum": labels, f"{family.name}_count": labels}


def known():
    """Each series that there is, with its labels, those of the scrape included."""
    found = {}
    for family in (*catalog.JOBS, *catalog.OPERATOR, *catalog.PROCESS):
        found |= series_of(family)
    for family in trainer.FAMILIES:
        found |= {name: labels | set(trainer.COMMON_LABELS) for name, labels in series_of(family).items()}
    for exporter in FOREIGN["exporters"]:
        found |= dict.fromkeys(exporter["metrics"], frozenset(exporter["labels"]))
    return {name: labels | set(FOREIGN["scrape"]["labels"]) for name, labels in found.items()}


KNOWN = known()


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_and_label_of_a_query_is_known(name):
    for query in queries(load(name)):
        labels_of(promql.parse(query.expr), KNOWN)


def values_of(expr):
    """Label and value of each matcher that names values; a regular expression of names counts as several."""
    found = []

    def visit(node):
        if isinstance(node, promql.VectorSelector):
            for one in node.matchers.matchers:
                found.extend((one.name, value) for value in one.value.split("|") if value != ".+")

    promql.walk(expr, visit)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_value_that_a_query_asks_for_exists(name):
    for query in queries(load(name)):
        for label, value in values_of(promql.parse(query.expr)):
            assert value in VALUES[label], query


def test_a_value_that_does_not_exist_would_be_found():
    expr = promql.parse('a{phase=~"Running|Done"} + on () b{namespace=~".+"}')

    assert [("phase", "Running"), ("phase", "Done")] == values_of(expr)
    assert "Done" not in VALUES["phase"]


def test_every_phase_and_cause_has_a_colour():
    assert VALUES["phase"] == set(PHASES)
    assert VALUES["cause"] == set(CAUSES)


@pytest.mark.parametrize("name", NAMES)
def test_every_label_of_a_legend_is_on_its_series(name):
    for panel in panels(load(name)):
        for target in panel.get("targets", ()):
            there = labels_of(promql.parse(expanded_expr(target)), KNOWN)
            assert set(LEGEND.findall(target.get("legendFormat", ""))) <= there, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_label_of_an_annotation_is_on_its_series(name):
    board = load(name)
    exprs = {query.panel: query.expr for query in queries(board) if query.kind == "annotation"}
    for annotation in board["annotations"]["list"]:
        there = labels_of(promql.parse(exprs[annotation["name"]]), KNOWN)
        used = {*LEGEND.findall(annotation["titleFormat"]), *annotation["tagKeys"].split(",")}
        assert used <= there, annotation["name"]


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_offers_a_label_that_its_series_has(name):
    for choice in choices(load(name)):
        assert choice.label in labels_of(promql.parse(choice.selector), KNOWN)


@pytest.mark.parametrize("name", NAMES)
def test_every_column_of_a_table_is_a_label_or_a_query(name):
    for panel in panels(load(name)):
        if panel["type"] == "table":
            there = {"Value", "Time"} | {f"Value #{target['refId']}" for target in panel["targets"]}
            for target in panel["targets"]:
                there |= labels_of(promql.parse(expanded_expr(target)), KNOWN)
            (organize,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
            renamed = set(organize["renameByName"].values()) - set(organize["excludeByName"])
            assert {*organize["excludeByName"], *organize["indexByName"]} <= there, panel["title"]
            assert {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]} <= there | renamed


def test_every_foreign_metric_is_used_and_has_a_source():
    used = " ".join(query.expr for name in NAMES for query in queries(load(name)))
    for exporter in FOREIGN["exporters"]:
        assert exporter["source"].startswith("https://")
        if exporter["name"] != "Prometheus itself":
            assert [] == [metric for metric in exporter["metrics"] if metric not in used]


def expanded_expr(target):
    board = {"panels": [{"type": "x", "title": "x", "targets": [target]}]}
    return queries(board)[0].expr


METRICS = {
    "a": frozenset({"namespace", "job", "le"}),
    "b": frozenset({"namespace", "pod", "extra"}),
}


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ('a{job="x"}', {"namespace", "job", "le"}),
        ("sum by (job) (rate(a[5m]))", {"job"}),
        ("sum without (job) (a)", {"namespace", "le"}),
        ("sum(a)", set()),
        ("topk(3, a)", {"namespace", "job", "le"}),
        ("histogram_quantile(0.5, sum by (job, le) (rate(a[5m])))", {"job"}),
        ("b * on (namespace) group_left (job) a", {"namespace", "pod", "extra", "job"}),
        ("a * on (namespace) b", {"namespace"}),
        ("a * ignoring (pod, extra, le, job) b", {"namespace"}),
        ("b and on (namespace) a", {"namespace", "pod", "extra"}),
        ("1000 * b", {"namespace", "pod", "extra"}),
        ("time() - b", {"namespace", "pod", "extra"}),
        ("sum(a) or b", {"namespace", "pod", "extra"}),
        ('label_replace(b, "new", "$1", "pod", "(.+)")', {"namespace", "pod", "extra", "new"}),
        ("avg_over_time((b < bool 5)[1h:1m])", {"namespace", "pod", "extra"}),
    ],
)
def test_the_labels_of_a_result_are_worked_out(expr, expected):
    assert expected == set(labels_of(promql.parse(expr), METRICS))


@pytest.mark.parametrize(
    ("expr", "named"),
    [
        ("c", "metric c"),
        ('sum(a{jobb="x"})', "label jobb"),
        ("sum by (pod) (a)", "label pod"),
        ("sum without (pod) (a)", "label pod"),
        ("a * on (pod) b", "label pod"),
        ("a * ignoring (nothing) b", "label nothing"),
        ("b * on (namespace) group_left (nothing) a", "label nothing"),
        ("histogram_quantile(0.5, sum by (job) (rate(a[5m])))", "label le"),
        ('label_replace(a, "new", "$1", "pod", "(.+)")', "label pod"),
    ],
)
def test_an_unknown_metric_or_label_is_caught(expr, named):
    with pytest.raises(Unknown, match=named):
        labels_of(promql.parse(expr), METRICS)
