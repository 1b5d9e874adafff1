"""What a change does: the same table that the API server is asked in tests/integration/cli/test_diff.py."""

import msgspec
import pytest

from ganger.api.freeze import FREE
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.api.validate import check
from ganger.cli import changes, threeway
from ganger.cli.changes import ABSENT

BASE = {"task": "m:t", "workers": 2, "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}
ELASTIC = BASE | {"elastic": {"minWorkers": 1, "maxWorkers": 4}}
DONE = {"conditions": [{"type": "Complete", "status": "True"}]}
AT_ONCE = "takes effect at once; the gang goes on"
LATER = "holds from the next attempt on; the running gang keeps the old value"
FROZEN = "refused while the job is not suspended"


def job(spec, status=None, **metadata):
    return {"metadata": {"name": "digits", "namespace": "team"} | metadata, "spec": spec, "status": status or {}}


def typed(manifest):
    return msgspec.convert(manifest, TrainingJob)


CASES = [
    (BASE, {"activeDeadlineSeconds": 60}, "live", AT_ONCE),
    (BASE, {"ttlSecondsAfterFinished": 60}, "live", AT_ONCE),
    (BASE, {"config": {"lr": 0.1}}, "next", LATER),
    (BASE, {"affinity": {"podAffinity": {}}}, "next", LATER),
    (BASE, {"terminationGracePeriodSeconds": 90}, "next", LATER),
    (BASE, {"image": "other:v1"}, "suspend", FROZEN),
    (BASE, {"workers": 3}, "suspend", FROZEN),
    (BASE, {"env": [{"name": "A", "value": "1"}]}, "suspend", FROZEN),
    (ELASTIC, {"workers": 3}, "restart", "the gang stops with a checkpoint and goes on with 3 workers"),
    (BASE, {"suspend": True}, "restart", "the gang stops with a checkpoint; its GPUs become free"),
    (BASE | {"suspend": True}, {"suspend": False}, "restart", "the gang starts from its checkpoint"),
    (BASE | {"suspend": True}, {"image": "other:v1"}, "next", "holds when the job is resumed"),
    (
        BASE,
        {"checkpoint": {"volume": {"size": "2Gi"}, "everySteps": 10}},
        "refused",
        "refused: the volume that was made for the job stays as it is",
    ),
    (
        BASE | {"suspend": True},
        {"checkpoint": {"volume": {"size": "2Gi"}, "everySteps": 10}},
        "refused",
        "refused: the volume that was made for the job stays as it is",
    ),
    (
        {"command": ["x"]},
        {"suspend": True},
        "restart",
        "the gang stops without a checkpoint (spec.checkpoint is not set); its GPUs become free",
    ),
]


@pytest.mark.parametrize("spec, patch, effect, meaning", CASES)
def test_what_a_change_does(spec, patch, effect, meaning):
    (found,) = changes.changes(job(spec), job(spec | patch))

    assert (effect, meaning) == (found.effect, found.meaning)


@pytest.mark.parametrize("spec, patch, effect, meaning", CASES)
def test_what_is_told_refused_is_what_the_rules_refuse(spec, patch, effect, meaning):
    assert (effect in ("suspend", "refused")) == bool(check(typed(job(spec | patch)), typed(job(spec))))


@pytest.mark.parametrize(
    "patch, effect, meaning",
    [
        ({"ttlSecondsAfterFinished": 60}, "live", "takes effect at once"),
        ({"cleanPodPolicy": "All"}, "live", "takes effect at once"),
        ({"config": {"lr": 0.1}}, "none", "no effect: the job is complete, and that is final"),
        ({"suspend": True}, "none", "no effect: the job is complete, and that is final"),
        ({"image": "other:v1"}, "refused", "refused: the job is complete; submit it anew"),
    ],
)
def test_a_job_that_is_over_heeds_its_end_alone(patch, effect, meaning):
    (found,) = changes.changes(job(BASE, DONE), job(BASE | patch))

    assert (effect, meaning) == (found.effect, found.meaning)


def test_a_suspended_job_that_is_changed_and_resumed_at_once_starts_with_the_change():
    found = changes.changes(job(BASE | {"suspend": True}), job(BASE | {"image": "other:v1"}))

    assert [
        ("spec.image", "holds for the gang that starts"),
        ("spec.suspend", "the gang starts from its checkpoint"),
    ] == [(one.path, one.meaning) for one in found]


@pytest.mark.parametrize(
    "old, new, suspend, effect",
    [
        ({}, {"kueue.x-k8s.io/queue-name": "q"}, False, "restart"),
        ({}, {"kueue.x-k8s.io/queue-name": "q"}, True, "next"),
        ({"kueue.x-k8s.io/queue-name": "q"}, {}, False, "live"),
        ({}, {"team": "vision"}, False, "live"),
    ],
)
def test_a_queue_is_more_than_a_label(old, new, suspend, effect):
    spec = BASE | {"suspend": suspend}
    (found,) = changes.changes(job(spec, labels=old), job(spec, labels=new))

    assert effect == found.effect


def test_to_write_out_a_default_changes_only_what_a_profile_may_say():
    """The API server fills the others in by itself, and leaves these to the profile."""
    assert [] == changes.changes(job(BASE), job(BASE | {"suspend": False, "processesPerWorker": "auto", "env": []}))

    (found,) = changes.changes(job(BASE), job(BASE | {"sharedMemory": "auto"}))
    assert ("spec.sharedMemory", ABSENT, "auto", "suspend") == (found.path, found.old, found.new, found.effect)


def test_every_field_has_a_meaning():
    """A field that is added to the API is frozen or free; a free one is told live unless it is listed otherwise."""
    assert changes.NEXT_ATTEMPT < FREE
    assert changes.AFTER_THE_END < FREE
    assert set(TrainingJobSpec.__struct_encode_fields__) >= FREE


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [("x.a", 1, True)]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("x.a.b", 1, 2)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("x.a[1]", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("x.a", [1], [1, 2])]),
        ({"a": {}}, {"a": []}, [("x.a", {}, [])]),
        ({"a.b/c": None}, {}, [("x[a.b/c]", None, ABSENT)]),
        (ABSENT, ABSENT, []),
    ],
)
def test_the_deepest_difference_is_told(old, new, expected):
    assert expected == list(changes.leaves(old, new, "x"))


@pytest.mark.parametrize(
    "last, stored, file, expected",
    [
        ({}, {"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ({"a": 1}, {"a": 5}, {}, {}),
        ({"a": 1}, {"a": 5}, {"a": 1}, {"a": 1}),
        ({}, {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"c": 2}}),
        ({}, {"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({}, {"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"c": 1}}, {"a": {"b": 1, "c": 1}}),
        ({}, {"a": 1}, {"a": None}, {}),
    ],
)
def test_three_ways_make_one(last, stored, file, expected):
    assert expected == threeway.merged(last, stored, file)


@pytest.mark.parametrize("text", ["not json", "[]", "3"])
def test_an_annotation_that_anybody_wrote_is_taken_for_none(text):
    stored = {"metadata": {"annotations": {threeway.LAST_APPLIED: text}}, "spec": {"a": 1}}

    assert {"a": 1, "b": 2} == threeway.applied(stored, {"spec": {"b": 2}})["spec"]
