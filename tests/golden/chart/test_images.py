"""Where the images come from."""

import re

import pytest
import yaml

from golden.chart.rendered import CHART

GIVEN = ("GANGER_DEFAULT_IMAGE", "GANGER_SESSION_IMAGE")


def images(objects):
    """Every image that the objects name: of containers, and those that jobs and sessions get."""
    for found in objects:
        pod = found["spec"]["template"]["spec"] if found["kind"] in ("Deployment", "Job") else {}
        for container in pod.get("containers", []):
            yield container["image"]
            yield from (one["value"] for one in container.get("env", []) if one["name"] in GIVEN)


def test_one_value_moves_every_image_to_another_registry(chart):
    found = set(images(chart.objects({"global": {"imageRegistry": "r.example:5000/mirror"}})))

    names = ("ganger-operator:0.1.0", "pytorch-cuda:v2.15", "pytorch-cuda-dev:v2.15")
    assert {f"r.example:5000/mirror/{name}" for name in names} == found


@pytest.mark.parametrize("image", ["ghcr.io/a/b:v1", "localhost/b:v1", "host:5000/b:v1"])
def test_an_image_that_names_its_registry_keeps_it(chart, image):
    values = {
        "global": {"imageRegistry": "r.example"},
        "image": {"registry": "own.example"},
        "trainer": {"image": image},
        "session": {"image": image},
    }

    assert {"own.example/ganger-operator:0.1.0", image} == set(images(chart.objects(values)))


def test_an_image_of_a_folder_without_a_registry_is_moved(chart):
    values = {"global": {"imageRegistry": "r.example"}, "trainer": {"image": "team/b:v1"}}

    assert "r.example/team/b:v1" in set(images(chart.objects(values)))


def test_the_air_gapped_example_of_the_readme_reaches_no_other_registry(chart):
    section = (CHART / "README.md").read_text().partition("## Without internet")[2]
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])

    assert {"registry.example"} == {image.partition("/")[0] for image in images(chart.objects(values))}
