"""The alerts ask for what the operator and the trainer show, by its name and its labels."""

import promql_parser
import pytest

from ganger.observe import catalog
from ganger_trainer.metrics import COMMON_LABELS, FAMILIES
from unit.alerts.alerts import names, rules

# What Prometheus puts on every series of a target, by the monitors of the chart or by relabelling.
OF_THE_TARGET = {"namespace", "pod", "instance", "job"}
# NVIDIA's exporter; the two names with exported_ are what a scrape without honor_labels makes of its labels.
OTHERS = {"DCGM_FI_DEV_GPU_UTIL": {"gpu", "UUID", "namespace", "pod", "exported_namespace", "exported_pod"}}


def known():
    """Labels of each series that can be asked for."""
    found = dict(OTHERS)
    for family in (*catalog.JOBS, *catalog.OPERATOR, *catalog.PROCESS, *FAMILIES):
        labels = set(family.labels) | OF_THE_TARGET | (set(COMMON_LABELS) if family in FAMILIES else set())
        if family.type == "histogram":
            found |= {f"{family.name}_bucket": labels | {"le"}, f"{family.name}_sum": labels}
            found[f"{family.name}_count"] = labels
        else:
            found[family.name] = labels
    return found


def parts(expression):
    """Every node of a parsed expression."""
    yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if isinstance(inner, promql_parser.Expr):
            yield from parts(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from parts(inner)


def selectors(text):
    """Name and matched labels of everything that an expression asks for."""
    found = [part for part in parts(promql_parser.parse(text)) if isinstance(part, promql_parser.VectorSelector)]
    return [(one.name, {matcher.name for matcher in one.matchers.matchers}) for one in found]


def test_every_selector_of_an_expression_is_seen():
    text = 'sum by (a) (rate(x_total{b="c"}[5m])) / on (a) max(y offset 1h) unless absent(z) or -(w + 1) > 2'

    assert [("x_total", {"b"}), ("y", set()), ("z", set()), ("w", set())] == selectors(text)


@pytest.mark.parametrize("name", names())
def test_an_alert_asks_for_series_that_there_are(name):
    asked = selectors(rules()[name]["expr"])

    assert asked
    for series, labels in asked:
        assert series in known(), f"{name}: nobody shows {series}"
        assert labels <= known()[series], f"{name}: {series} has no label {labels - known()[series]}"


@pytest.mark.parametrize("name", names())
def test_an_alert_aggregates_by_labels_that_there_are(name):
    series = {label for one, _ in selectors(rules()[name]["expr"]) for label in known()[one]}
    for part in parts(promql_parser.parse(rules()[name]["expr"])):
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= series | {"training_job"}
