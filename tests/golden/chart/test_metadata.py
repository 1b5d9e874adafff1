"""What Chart.yaml shows at Artifact Hub is true."""

import pytest
import yaml

from ganger.api.crd import definitions
from ganger.api.validate import check_manifest
from golden.chart.rendered import CHART
from golden.chart.test_images import images

HUB = "artifacthub.io/"


@pytest.fixture(scope="module")
def annotations():
    return yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]


def test_the_definitions_that_the_hub_shows_are_ours(annotations):
    for shown, definition in zip(yaml.safe_load(annotations[f"{HUB}crds"]), definitions(), strict=True):
        assert definition["metadata"]["name"] == shown["name"]
        assert definition["spec"]["names"]["kind"] == shown["kind"]
        assert [version["name"] for version in definition["spec"]["versions"]] == [shown["version"]]


def test_the_example_that_the_hub_shows_is_sound(annotations):
    (shown,) = yaml.safe_load(annotations[f"{HUB}crdsExamples"])

    assert [] == check_manifest(shown)[1]


def test_the_images_that_the_hub_shows_are_all_that_the_chart_names(chart, annotations):
    shown = yaml.safe_load(annotations[f"{HUB}images"])

    assert {one["image"] for one in shown} == set(images(chart.objects()))
