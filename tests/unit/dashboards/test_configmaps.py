"""The chart hands the boards to Grafana as they are, to its sidecar and to its operator."""

import json

import pytest

from golden.chart.rendered import MONITORING, Refused
from unit.dashboards.shipped import FOLDER, NAMES, load

MIB = 1 << 20  # what a ConfigMap may hold


def boards(chart, **values):
    """The ConfigMaps of the boards, by their file."""
    found = [
        one for one in chart.objects({"dashboards": values, "test": {"enabled": False}}) if one["kind"] == "ConfigMap"
    ]
    return {next(iter(one["data"])): one for one in found}


@pytest.fixture(scope="module")
def shipped(chart):
    return boards(chart)


def test_every_board_has_a_config_map_that_the_sidecar_finds(shipped):
    assert [f"{name}.json" for name in NAMES] == sorted(shipped)
    for found in shipped.values():
        assert "1" == found["metadata"]["labels"]["grafana_dashboard"]
        assert {"grafana_folder": "Ganger"} == found["metadata"]["annotations"]


@pytest.mark.parametrize("name", NAMES)
def test_helm_leaves_a_board_as_it_is(shipped, name):
    rendered = shipped[f"{name}.json"]["data"][f"{name}.json"]

    assert (FOLDER / f"{name}.json").read_text("utf-8") == rendered
    assert load(name) == json.loads(rendered)


def test_legends_and_variables_pass_through_helm(shipped):
    text = "".join(shipped["ganger-job.json"]["data"].values())

    assert '"legendFormat": "{{namespace}}/{{training_job}} rank {{rank}}"' in text
    assert '"uid": "${datasource}"' in text
    assert "[$__rate_interval]" in text


def test_a_config_map_holds_a_board_with_room_to_spare(shipped):
    for found in shipped.values():
        assert len(json.dumps(found)) < MIB / 4


def test_the_grafana_operator_is_pointed_at_the_config_maps(chart):
    objects = chart.objects(
        {
            "dashboards": {
                "namespace": "monitoring",
                "grafanaOperator": {"enabled": True, "instanceSelector": {"a": "b"}},
            }
        }
    )
    maps = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ConfigMap"}
    pointers = [one for one in objects if one["kind"] == "GrafanaDashboard"]

    assert len(NAMES) == len(pointers)
    for pointer in pointers:
        reference = pointer["spec"]["configMapRef"]
        assert reference["key"] in maps[reference["name"]]["data"]
        assert "monitoring" == pointer["metadata"]["namespace"] == maps[reference["name"]]["metadata"]["namespace"]
        assert {"matchLabels": {"a": "b"}} == pointer["spec"]["instanceSelector"]
        assert "Ganger" == pointer["spec"]["folder"]


def test_without_a_selector_every_grafana_takes_the_boards(chart):
    pointer = next(
        one
        for one in chart.objects({"dashboards": {"grafanaOperator": {"enabled": True}}})
        if one["kind"] == "GrafanaDashboard"
    )

    assert {"matchLabels": {}} == pointer["spec"]["instanceSelector"]


def test_without_a_folder_there_is_no_annotation(chart):
    for values in ({"folder": ""}, {"folderAnnotation": ""}):
        assert all("annotations" not in found["metadata"] for found in boards(chart, **values).values())


def test_a_cluster_without_the_grafana_operator_is_told_so(chart):
    with pytest.raises(Refused, match=r"dashboards\.grafanaOperator\.enabled=true needs the Grafana operator"):
        chart.text({"dashboards": {"grafanaOperator": {"enabled": True}}}, served=MONITORING)


def test_boards_can_be_left_out(chart):
    assert {} == boards(chart, enabled=False)
