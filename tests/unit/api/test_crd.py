"""What the definition promises, as far as its text alone shows it; the API server's word is in tests/integration."""

from collections.abc import Iterator
from typing import Any

import pytest

from ganger.api.conform import conform
from ganger.api.crd import COLUMNS, SELECTABLE, as_yaml, crd, schema
from ganger.api.rules import RULES
from ganger.api.types import TrainingJob, TrainingJobSpec, decode, encode
from ganger.api.validate import check

SIZE_BYTES_MAX = 200_000


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], path + mark)


SPEC = dict(nodes(schema()["properties"]["spec"], "spec"))
STATUS = dict(nodes(schema()["properties"]["status"], "status"))
FREE_FORM = {"spec.config", "spec.affinity", "spec.liveConfig", "spec.topologySpreadConstraints[]"}


def test_the_definition_is_small_enough_for_every_way_of_applying_it():
    """`kubectl apply` puts it into an annotation of at most 262,144 bytes; it is also stored as JSON in etcd."""
    assert len(as_yaml(crd())) < SIZE_BYTES_MAX


def test_every_field_has_a_description_that_ends_like_a_sentence():
    named = {path: node for path, node in (SPEC | STATUS).items() if not path.endswith(("[]", "{}"))}

    assert [] == [path for path, node in named.items() if not node.get("description", "").strip()]
    assert [] == [
        path
        for path, node in named.items()
        if "Example: " not in node["description"] and node["description"][-1] != "."
    ]


@pytest.mark.parametrize(
    "kind, word",
    [("string", "maxLength"), ("integer", "minimum"), ("integer", "maximum"), ("array", "maxItems")],
)
def test_everything_that_a_user_writes_is_bounded(kind, word):
    unbounded = [path for path, node in SPEC.items() if node.get("type") == kind and not {word, "enum"} & set(node)]

    assert [] == unbounded


def test_every_map_is_bounded_and_free_form_is_the_exception():
    free = {path for path, node in SPEC.items() if node.get("x-kubernetes-preserve-unknown-fields")}

    assert free == FREE_FORM
    assert [] == [path for path, node in SPEC.items() if "additionalProperties" in node and "maxProperties" not in node]


def test_no_text_or_list_of_the_status_grows_without_bound():
    lists = [path for path, node in STATUS.items() if node.get("type") == "array" and "maxItems" not in node]
    texts = [
        path
        for path, node in STATUS.items()
        if node.get("type") == "string" and not {"maxLength", "enum", "format"} & set(node)
    ]

    assert [] == lists + texts


def test_every_list_says_how_it_is_merged():
    """Without it server-side apply replaces the whole list, and two managers fight over it."""
    lists = {path: node for path, node in (SPEC | STATUS).items() if node.get("type") == "array"}

    assert [] == [path for path, node in lists.items() if "x-kubernetes-list-type" not in node]
    assert ["type"] == STATUS["status.conditions"]["x-kubernetes-list-map-keys"]
    assert ["name"] == SPEC["spec.env"]["x-kubernetes-list-map-keys"]


def test_no_field_can_reach_another_namespace_or_the_node():
    words = {"namespace", "hostPath", "hostNetwork", "securityContext", "template", "nodeName", "privileged"}

    assert set() == {path for path in SPEC if words & set(path.split("."))}


@pytest.mark.parametrize("path", [path for path, node in SPEC.items() if "default" in node])
def test_a_default_is_sound(path):
    node = SPEC[path]

    assert [] == list(conform(node["default"], node, path))


def test_the_defaults_of_the_schema_are_those_of_the_types():
    filled = {
        name: node["default"]
        for name, node in schema()["properties"]["spec"]["properties"].items()
        if "default" in node
    }

    assert TrainingJobSpec() == decode({"spec": filled}).spec


def test_a_pattern_that_is_not_plain_comes_with_an_example_or_words():
    """The refusal must say what is allowed to people who read no regular expressions."""
    for path, node in SPEC.items():
        if "pattern" not in node:
            continue
        (error,) = [str(one) for one in conform("\0", node, path)]

        assert "it must" in error
        assert node["pattern"] not in error, path


def test_every_example_is_allowed_where_it_stands():
    for path, node in SPEC.items():
        text = node.get("description", "").partition("Example: ")[2]
        if text and node.get("type") == "string":
            assert [] == list(conform(text, node, path))


def test_every_rule_names_a_field_and_what_must_hold():
    for rule in RULES:
        field = rule.path.rpartition(".")[2]
        assert field in rule.message
        assert rule.message[-1] != "."


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.cel], ids=lambda rule: rule.message)
def test_only_what_cel_cannot_see_is_left_to_the_offline_check(rule):
    assert rule.path in (".metadata.labels", ".config", ".liveConfig")


def test_columns_and_selectors_point_at_fields_that_exist():
    known = set(SPEC) | set(STATUS)
    paths = [path for _, _, path, _ in COLUMNS if not path.startswith(".metadata.")] + list(SELECTABLE)

    assert set() == {path.lstrip(".") for path in paths} - known


def test_a_job_survives_its_encoding():
    job = decode(
        {
            "metadata": {"name": "a"},
            "spec": {
                "script": ["a.py", "--lr", "1e-3"],
                "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 5, "keep": {"every": 100}},
                "failurePolicy": {"rules": [{"name": "oom", "onExitCodes": [137], "action": "Ignore"}]},
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            },
        }
    )

    assert [] == check(job)
    assert job == decode(encode(job))
    assert isinstance(job, TrainingJob)
