"""Where the images come from."""

import re

import pytest
import yaml

from golden.chart.rendered import CHART


def images(objects):
    """Every image that the objects name: of containers, and the one that jobs get."""
    for found in objects:
        pod = found["spec"]["template"]["spec"] if found["kind"] in ("Deployment", "Job") else {}
        for container in pod.get("containers", []):
            yield container["image"]
            yield from (one["value"] for one in container.get("env", []) if one["name"] == "GANGER_DEFAULT_IMAGE")


def test_one_value_moves_every_image_to_another_registry(chart):
    found = set(images(chart.objects({"global": {"imageRegistry": "r.example:5000/mirror"}})))

    assert {"r.example:5000/mirror/ganger-operator:0.1.0", "r.example:5000/mirror/pytorch-cuda:v2.15"} == found


@pytest.mark.parametrize("image", ["ghcr.io/a/b:v1", "localhost/b:v1", "host:5000/b:v1"])
def test_an_image_that_names_its_registry_keeps_it(chart, image):
    values = {
        "global": {"imageRegistry": "r.example"},
        "image": {"registry": "own.example"},
        "trainer": {"image": image},
    }

    assert {"own.example/ganger-operator:0.1.0", image} == set(images(chart.objects(values)))


def test_an_image_of_a_folder_without_a_registry_is_moved(chart):
    values = {"global": {"imageRegistry": "r.example"}, "trainer": {"image": "team/b:v1"}}

    assert "r.example/team/b:v1" in set(images(chart.objects(values)))


def test_the_air_gapped_example_of_the_readme_reaches_no_other_registry(chart):
    section = (CHART / "README.md").read_text().partition("## Without internet")[2]
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])

    assert {"registry.example"} == {image.partition("/")[0] for image in images(chart.objects(values))}
