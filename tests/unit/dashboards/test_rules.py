"""The eleven rules of grafana/dashboard-linter hold, but for what is excluded with a reason; and each can fail."""

from pathlib import Path

import pytest
import yaml

from unit.dashboards.rules import RULES
from unit.dashboards.shipped import NAMES, load

EXCLUSIONS = yaml.safe_load((Path(__file__).parent / "exclusions.yaml").read_text("utf-8"))


def excluded(rule, board, panel):
    entry = EXCLUSIONS.get(rule, {})
    return board in entry.get("boards", ()) or panel in entry.get("panels", {}).get(board, ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", RULES)
def test_a_board_keeps_the_rule(rule, name):
    broken = [(panel, what) for panel, what in RULES[rule](load(name)) if not excluded(rule, name, panel)]

    assert [] == broken


@pytest.mark.parametrize("rule", EXCLUSIONS)
def test_every_exclusion_is_reasoned_and_needed(rule):
    entry = EXCLUSIONS[rule]
    broken = {name: {panel for panel, _ in RULES[rule](load(name))} for name in NAMES}

    assert entry["reason"].strip()
    assert [] == [board for board in entry.get("boards", ()) if not broken[board]]
    for board, titles in entry.get("panels", {}).items():
        assert set(titles) == broken[board]


def first(board, kind="stat"):
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def variable(board, name):
    return next(found for found in board["templating"]["list"] if found["name"] == name)


def renamed_datasource(board):
    variable(board, "datasource")["name"] = "ds"


def two_datasources(board):
    board["templating"]["list"].append(variable(board, "datasource") | {"name": "other"})


def one_job_only(board):
    variable(board, "job")["multi"] = False


def instance_with_an_empty_all(board):
    variable(board, "instance")["allValue"] = ".*"


def variable_that_does_not_parse(board):
    variable(board, "job")["query"] = "label_values(up{, job)"


def fixed_datasource(board):
    first(board)["datasource"]["uid"] = "P123"


def fixed_datasource_of_a_target(board):
    first(board)["targets"][0]["datasource"]["uid"] = "${DS_PROMETHEUS}"


def no_description(board):
    first(board, "timeseries")["description"] = ""


def no_unit(board):
    del first(board)["fieldConfig"]["defaults"]["unit"]


def invented_unit(board):
    first(board)["fieldConfig"]["defaults"]["unit"] = "furlongs"


def unbalanced_query(board):
    first(board)["targets"][0]["expr"] += ")"


def fixed_interval(board):
    first(board)["targets"][0]["expr"] = 'sum(rate(up{job=~"$job", instance=~"$instance"}[5m]))'


def no_job(board):
    first(board)["targets"][0]["expr"] = 'sum(up{instance=~"$instance"})'


def no_instance(board):
    first(board)["targets"][0]["expr"] = 'sum(up{job=~"$job", instance="$instance"})'


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        ("template-datasource-rule", renamed_datasource),
        ("template-datasource-rule", two_datasources),
        ("template-job-rule", one_job_only),
        ("template-instance-rule", instance_with_an_empty_all),
        ("template-label-promql-rule", variable_that_does_not_parse),
        ("panel-datasource-rule", fixed_datasource),
        ("panel-datasource-rule", fixed_datasource_of_a_target),
        ("panel-title-description-rule", no_description),
        ("panel-units-rule", no_unit),
        ("panel-units-rule", invented_unit),
        ("target-promql-rule", unbalanced_query),
        ("target-rate-interval-rule", fixed_interval),
        ("target-job-rule", no_job),
        ("target-instance-rule", no_instance),
    ],
)
def test_a_broken_board_is_caught(rule, breaks):
    board = load("ganger-operator")  # it keeps all eleven rules
    assert [] == list(RULES[rule](board))
    breaks(board)

    assert 1 == len(list(RULES[rule](board)))
