"""What the preview and the run against a real Prometheus take from a board."""

import pytest

from ganger_dev.dashboards.queries import Choice, Query, choices, expanded, queries


def board(*panels, annotations=(), variables=()):
    return {
        "panels": list(panels),
        "annotations": {"list": list(annotations)},
        "templating": {"list": list(variables)},
    }


def panel(title, *targets):
    return {"type": "stat", "title": title, "targets": list(targets)}


def test_queries_come_in_order_with_their_kind_and_their_variables_put_in():
    found = queries(
        board(
            panel("One", {"refId": "A", "expr": 'a{namespace=~"$namespace"}', "instant": True}),
            panel(
                "Two",
                {"refId": "A", "expr": "rate(b[$__rate_interval])", "range": True},
                {"refId": "B", "expr": "c[${__range}]"},
            ),
            annotations=[{"name": "Restarts", "expr": "d > 0"}, {"name": "built in"}],
        ),
        {"namespace": "team-a|team-b", "__rate_interval": "20s"},
    )

    expected = [
        Query("One", "A", 'a{namespace=~"team-a|team-b"}', "instant"),
        Query("Two", "A", "rate(b[20s])", "range"),
        Query("Two", "B", "c[1h]", "range"),
        Query("Restarts", "Anno", "d > 0", "annotation"),
    ]
    assert expected == found


def test_panels_of_a_collapsed_row_are_asked_too():
    found = queries(board({"type": "row", "title": "Row", "panels": [panel("In", {"refId": "A", "expr": "a"})]}))

    assert [Query("In", "A", "a", "range")] == found


@pytest.mark.parametrize("text", ["$job", "${job}", "${job:regex}"])
def test_every_way_to_write_a_variable_is_known(text):
    assert "x" == expanded(text, {"job": "x"})


def test_a_variable_without_a_value_is_named():
    with pytest.raises(ValueError, match=r"no value for the variable \$names.*known are job"):
        expanded("$names", {"job": "x"})


def test_a_longer_name_is_not_taken_for_a_shorter_one():
    assert "long" == expanded("$job_name", {"job": "x", "job_name": "long"})


def test_choices_say_what_a_variable_offers():
    found = choices(
        board(
            variables=[
                {"type": "datasource", "name": "datasource", "query": "prometheus"},
                {"type": "query", "name": "job", "query": 'label_values(a{n=~"$namespace", m="x"}, job)'},
            ]
        )
    )

    assert [Choice("job", 'a{n=~".+", m="x"}', "job")] == found


def test_a_variable_with_another_kind_of_query_is_refused():
    with pytest.raises(ValueError, match="variable job: 'metrics' is not label_values"):
        choices(board(variables=[{"type": "query", "name": "job", "query": "metrics"}]))
