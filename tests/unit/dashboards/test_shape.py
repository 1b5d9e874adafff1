"""What Grafana needs of a board besides its queries: identity, schema, links, layout."""

import itertools
import json
import re

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from ganger_dev import dashboards
from ganger_dev.dashboards.queries import panels
from unit.dashboards.shipped import FOLDER, NAMES, load

# What the library loses on the way through, and why that is no fault of the board.
LOST = {
    ".id": "null is what lets Grafana take the uid for the identity; the library leaves nulls away",
    ".annotations.list[].titleFormat": "read by Grafana's Prometheus source; the schema has no fields of sources",
    ".annotations.list[].tagKeys": "as titleFormat",
}
FAITHFUL = {"timeseries", "stat", "bargauge", "table", "text", "row"}


def lost(before, after, path=""):
    """Paths of everything that is in one JSON value and not, or otherwise, in another."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from lost(one, other, f"{path}[]")
    elif before != after:
        yield path


def through_the_library(board):
    plugins.register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


def overlaps(board):
    """Pairs of panels that share a cell, and panels that leave the grid of 24 columns."""
    found = []
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for (one, a), (other, b) in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        if not beside and not above:
            found.append((one, other))
    return found + [(title, "edge") for title, a in places if a["x"] + a["w"] > 24]


def addresses(board):
    """Every address that a board links to."""
    return re.findall(r'"url": "([^"]*)"', json.dumps(board))


def test_the_chart_ships_what_the_code_makes_and_nothing_else():
    assert sorted(dashboards.BOARDS) == NAMES
    for name in NAMES:
        assert dashboards.BOARDS[name]().text() == (FOLDER / f"{name}.json").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_round_trip_through_the_schema_loses_nothing(name):
    board = load(name)

    assert set(lost(board, through_the_library(board))) <= set(LOST)


def test_every_loss_that_is_allowed_happens():
    seen = {path for name in NAMES for path in lost(load(name), through_the_library(load(name)))}

    assert set(LOST) == seen


def test_a_field_that_the_schema_does_not_know_is_lost():
    board = load("ganger-fleet")
    board["panels"][1]["colour"] = "red"
    board["refreshh"] = "30s"

    assert {".panels[].colour", ".refreshh"} <= set(lost(board, through_the_library(board)))


@pytest.mark.parametrize("name", NAMES)
def test_a_board_has_an_identity_of_its_own(name):
    board = load(name)

    assert (None, name, "30s", ["ganger"]) == (board["id"], board["uid"], board["refresh"], board["tags"])
    assert len(board["uid"]) <= 40
    assert "__inputs" not in board
    assert "${DS_" not in json.dumps(board)


def test_titles_and_uids_are_different():
    boards = [load(name) for name in NAMES]

    assert len(NAMES) == len({board["uid"] for board in boards}) == len({board["title"] for board in boards})


@pytest.mark.parametrize("name", NAMES)
def test_only_kinds_of_panels_are_used_that_the_preview_draws_as_grafana_does(name):
    assert {panel["type"] for panel in load(name)["panels"]} <= FAITHFUL


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name):
    board = load(name)
    ids = [panel["id"] for panel in board["panels"]]

    assert len(ids) == len(set(ids))
    assert 0 not in ids
    assert [] == overlaps(board)


@pytest.mark.parametrize(
    ("moved", "expected"), [({"x": 2}, "Waiting"), ({"y": 0}, "Now"), ({"x": 22}, "edge")], ids=["x", "y", "edge"]
)
def test_an_overlap_is_caught(moved, expected):
    board = load("ganger-fleet")
    assert "Running" == board["panels"][1]["title"]
    board["panels"][1]["gridPos"] |= moved

    assert expected in itertools.chain(*overlaps(board))


@pytest.mark.parametrize("name", NAMES)
def test_every_series_of_a_chart_is_named(name):
    for panel in panels(load(name)):
        if panel["type"] in ("timeseries", "bargauge"):
            assert [] == [target for target in panel["targets"] if not target.get("legendFormat")], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_a_board_links_to_every_other_and_keeps_time_and_choices(name):
    links = load(name)["links"]

    assert {f"/d/{other}" for other in NAMES if other != name} == {link["url"] for link in links}
    assert all(link["keepTime"] and link["includeVars"] for link in links)


@pytest.mark.parametrize("name", NAMES)
def test_addresses_name_jobs_through_variables_alone(name):
    for address in addresses(load(name)):
        path, _, asked = address.partition("?")
        values = [part.partition("=")[2] or part for part in asked.split("&") if part]
        assert path.removeprefix("/d/") in NAMES
        assert all(value.startswith("${") for value in values)


def test_a_row_of_the_fleet_leads_to_its_job():
    (address,) = [found for found in addresses(load("ganger-fleet")) if "?" in found]

    assert address.startswith("/d/ganger-job?")
    assert {"var-namespace=${__data.fields.namespace}", "var-training_job=${__data.fields.training_job}"} <= set(
        address.partition("?")[2].split("&")
    )


@pytest.mark.parametrize("name", NAMES)
def test_several_values_of_a_variable_are_matched_as_a_regular_expression(name):
    text = json.dumps(load(name))
    for variable in load(name)["templating"]["list"]:
        if variable.get("multi"):
            assert f'=\\"${variable["name"]}' not in text  # only =~ takes a choice of several
