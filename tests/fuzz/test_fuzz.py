"""A sample of the fuzzer's cases; `make fuzz` runs all."""

import random

import pytest

from fuzz import sound, transitions
from fuzz.cases import KINDS, Case, case
from fuzz.mistakes import MISTAKES
from fuzz.verdicts import verdict
from ganger.api.validate import check_manifest

SAMPLE = 600
VALID = {
    "apiVersion": "ganger.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "a"},
    "spec": {"task": "m:t", "workers": 2},
}


@pytest.mark.parametrize("first", range(0, SAMPLE, 50))
def test_nothing_is_wrong_with_any_case_of_the_sample(first):
    wrong = [(str(one), found) for one in _cases(first) if (found := verdict(one).troubles)]

    assert [] == wrong


def _cases(first: int) -> list[Case]:
    return [case(0, number) for number in range(first, first + 50)]


def test_a_case_is_the_same_whenever_it_is_made():
    assert [case(7, number) for number in range(20)] == [case(7, number) for number in reversed(range(20))][::-1]


def test_every_kind_of_case_and_mistake_comes_in_the_sample():
    made = [case(0, number) for number in range(SAMPLE)]

    assert set(KINDS) == {one.kind for one in made}
    assert set(MISTAKES) == {one.what for one in made if one.kind == "mistake"}


def test_every_field_of_the_schema_is_drawn():
    paths = set()
    for number in range(1500):
        job = sound.drawn(random.Random(number))
        paths |= {at for *_, at in sound.places(job["spec"], sound.SPEC, "spec")}
    drawn = {path.rpartition(".")[2].partition("[")[0] for path in paths}

    assert set() == _fields(sound.SPEC) - drawn


def _fields(node: sound.Schema) -> set[str]:
    properties, items = node.get("properties", {}), [node["items"]] if "items" in node else []
    return set(properties).union(*(_fields(one) for one in (*properties.values(), *items)))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"refused": True, "path": "spec.workers"}, "accepted although spec.workers is wrong"),
        ({"refused": False, "manifest": VALID | {"spec": {}}}, "refused although valid"),
        ({"refused": True, "path": "spec.env", "manifest": VALID | {"spec": {"task": 1}}}, "spec.env is wrong, blamed"),
        ({"manifest": []}, "AttributeError"),
    ],
)
def test_what_goes_wrong_is_told(change, words):
    known = {"seed": 0, "number": 0, "kind": "mistake", "what": "", "text": b"a: 1", "manifest": VALID}
    found = verdict(Case(**(known | change))).troubles

    assert any(words in trouble for trouble in found)


def test_a_volume_that_does_not_follow_the_manifest_is_told():
    """The rule that refuses this change off, the claim of the old manifest is seen to stay."""
    checkpoint = {"volume": {"size": "1Gi"}, "everySteps": 1}
    before = VALID | {"spec": VALID["spec"] | {"checkpoint": checkpoint}}
    after = VALID | {"spec": VALID["spec"] | {"checkpoint": checkpoint | {"volume": {"size": "2Gi"}}}}

    assert "storage: '1Gi' instead of '2Gi'" in transitions._ways(before, after)[0]


def test_a_sound_manifest_keeps_most_of_what_was_drawn():
    kept = []
    for number in range(200):
        job = sound.drawn(random.Random(number))
        settled = sound.settled(job)
        assert check_manifest(settled)[1] == []
        kept.append(len(settled["spec"]) / len(job["spec"]))

    assert sum(kept) / len(kept) > 0.8
