"""Which labels a query's result has, worked out from its text and the labels of the series it is made of."""

import promql_parser as promql


class Unknown(Exception):  # noqa: N818 - it is what the tests want
    """A metric or label that nobody makes."""


def labels_of(expr, metrics):
    """The labels that may be on the result. `metrics` maps names to sets of labels. Raises Unknown.

    A label is unknown in a matcher when its metric has none of that name, and in by, without, on, ignoring and
    group_left when no series below has it.
    """
    match expr:
        case promql.VectorSelector():
            return _selected(expr, metrics)
        case promql.MatrixSelector():
            return labels_of(expr.vector_selector, metrics)
        case promql.AggregateExpr():
            return _aggregated(expr, metrics)
        case promql.BinaryExpr():
            return _joined(expr, metrics)
        case promql.Call():
            return _called(expr, metrics)
        case promql.ParenExpr() | promql.SubqueryExpr() | promql.UnaryExpr():
            return labels_of(expr.expr, metrics)
        case promql.NumberLiteral() | promql.StringLiteral():
            return frozenset()
    raise TypeError(f"no rule for {type(expr).__name__}")


def _selected(expr, metrics):
    if expr.name not in metrics:
        raise Unknown(f"metric {expr.name}")
    _require([one.name for one in expr.matchers.matchers], metrics[expr.name], expr.name)
    return metrics[expr.name]


def _aggregated(expr, metrics):
    inner = labels_of(expr.expr, metrics)
    if expr.modifier is None:
        return inner if str(expr.op) in ("topk", "bottomk") else frozenset()
    named = expr.modifier.labels
    _require(named, inner, expr)
    by = expr.modifier.type == promql.AggModifierType.By
    return frozenset(named) if by else inner - set(named)


def _joined(expr, metrics):
    left, right = labels_of(expr.lhs, metrics), labels_of(expr.rhs, metrics)
    if expr.modifier is None or expr.modifier.matching is None:
        return left | right if str(expr.op) == "or" else left or right
    on = expr.modifier.matching.type == promql.LabelModifierType.Include
    named = frozenset(expr.modifier.matching.labels)
    for side in (left, right) if on else (left | right,):
        _require(named, side, expr)
    brought = frozenset(expr.modifier.group_labels or ())
    _require(brought, right, expr)
    if str(expr.op) in ("and", "unless"):
        return left
    if expr.modifier.card != promql.VectorMatchCardinality.OneToOne:
        return left | brought
    return named if on else left - named


def _called(expr, metrics):
    found = frozenset().union(*(labels_of(one, metrics) for one in expr.args))
    if expr.func.name == "label_replace":
        _, target, _, source, _ = expr.args
        _require([source.val], found, expr)
        return found | {target.val}
    if expr.func.name == "histogram_quantile":
        _require(["le"], found, expr)
        return found - {"le"}
    return found


def _require(named, there, where):
    missing = sorted(set(named) - there)
    if missing:
        raise Unknown(f"label {', '.join(missing)} in {where}")
