"""How the values of a profile meet those of a job; the laws of it are in tests/property/api/test_merge.py."""

import pytest

from ganger.api.merge import KEYS, PROFILED, merge
from ganger.api.schema import KEYED_LISTS
from ganger.api.types import TrainingJobSpec


@pytest.mark.parametrize(
    ("profile", "job", "whole"),
    [
        ({"image": "a"}, {}, {"image": "a"}),
        ({"image": "a"}, {"image": "b"}, {"image": "b"}),
        # The very default of the type: the user wrote it, so it wins.
        (
            {"failurePolicy": {"maxRestarts": 10}},
            {"failurePolicy": {"maxRestarts": 3}},
            {"failurePolicy": {"maxRestarts": 3}},
        ),
        (
            {"failurePolicy": {"maxRestarts": 10, "hang": {"action": "Report"}}},
            {"failurePolicy": {"hang": {"timeoutSeconds": 9}}},
            {"failurePolicy": {"maxRestarts": 10, "hang": {"action": "Report", "timeoutSeconds": 9}}},
        ),
        (
            {"resources": {"limits": {"memory": "1Gi", "nvidia.com/gpu": 8}}},
            {"resources": {"limits": {"memory": "2Gi"}}},
            {"resources": {"limits": {"memory": "2Gi", "nvidia.com/gpu": 8}}},
        ),
        ({"nodeSelector": {"a": "1", "b": "1"}}, {"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
    ],
)
def test_the_job_wins_field_by_field_and_key_by_key(profile, job, whole):
    assert whole == merge(profile, job)


def test_an_item_of_a_keyed_list_stands_for_the_profiles_of_that_key_as_a_whole():
    profile = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    job = {
        "env": [{"name": "C", "value": "2"}, {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    }

    assert {"env": [job["env"][1], profile["env"][1], job["env"][0]]} == merge(profile, job)


def test_the_jobs_failure_rules_are_asked_first():
    profile = {"failurePolicy": {"rules": [{"name": "oom", "action": "FailJob"}, {"name": "a", "action": "Count"}]}}
    job = {"failurePolicy": {"rules": [{"name": "b", "action": "Ignore"}, {"name": "a", "action": "Ignore"}]}}

    rules = merge(profile, job)["failurePolicy"]["rules"]
    assert [("b", "Ignore"), ("a", "Ignore"), ("oom", "FailJob")] == [(rule["name"], rule["action"]) for rule in rules]


@pytest.mark.parametrize("field", ["tolerations", "envFrom", "imagePullSecrets", "topologySpreadConstraints"])
def test_a_list_without_keys_is_replaced_as_a_whole(field):
    assert {field: [{"x": 2}]} == merge({field: [{"x": 1}, {"y": 1}]}, {field: [{"x": 2}]})


def test_an_affinity_is_replaced_as_a_whole():
    assert {"affinity": {"podAffinity": {}}} == merge(
        {"affinity": {"nodeAffinity": {"a": 1}}}, {"affinity": {"podAffinity": {}}}
    )


@pytest.mark.parametrize("nothing", [None, {}, []])
def test_what_is_empty_says_nothing(nothing):
    assert {"env": [{"name": "A"}]} == merge({"env": [{"name": "A"}]}, {"env": nothing})
    assert {"env": [{"name": "A"}]} == merge({"env": nothing}, {"env": [{"name": "A"}]})


@pytest.mark.parametrize(
    ("profile", "job", "whole"),
    [
        (
            {"volume": {"size": "1Gi", "storageClassName": "fast", "whenDeleted": "Delete"}},
            {"volume": {"claimName": "c"}, "everySteps": 5},
            {"volume": {"claimName": "c", "whenDeleted": "Delete"}, "everySteps": 5},
        ),
        (
            {"volume": {"claimName": "c", "path": "p"}, "everySeconds": 600},
            {"volume": {"size": "1Gi"}, "everySteps": 5},
            {"volume": {"size": "1Gi"}, "everySteps": 5},
        ),
        (
            {"volume": {"storageClassName": "fast"}, "everySeconds": 600},
            {"volume": {"size": "1Gi"}},
            {"volume": {"storageClassName": "fast", "size": "1Gi"}, "everySeconds": 600},
        ),
    ],
)
def test_what_belongs_to_the_alternative_that_the_job_did_not_choose_is_left_out(profile, job, whole):
    assert {"checkpoint": whole} == merge({"checkpoint": profile}, {"checkpoint": job})


def test_a_checkpoint_without_an_interval_makes_none_where_the_job_has_none():
    profile = {"checkpoint": {"volume": {"size": "1Gi"}}}

    assert {} == merge(profile, {})
    assert {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 5}} == merge(
        profile, {"checkpoint": {"everySteps": 5}}
    )
    every = {"checkpoint": {"volume": {"size": "1Gi"}, "everySeconds": 5}}
    assert every == merge(every, {})


def test_what_is_no_policy_is_not_taken_from_a_profile():
    """The API server refuses it; a profile of another version may still have it."""
    assert {"task": "m:t"} == merge({"workers": 9, "task": "x:y", "suspend": True}, {"task": "m:t"})


def test_the_keyed_lists_are_those_of_server_side_apply():
    profiled = {
        field: key
        for (cls, field), key in KEYED_LISTS.items()
        if field in PROFILED or cls.__name__ in ("FailurePolicy", "Resources")
    }

    assert profiled == KEYS


def test_a_profile_may_say_only_what_a_job_may_say():
    assert set(TrainingJobSpec.__struct_encode_fields__) >= PROFILED
    assert not PROFILED & {
        "task",
        "script",
        "command",
        "config",
        "workers",
        "elastic",
        "suspend",
        "managedBy",
        "profile",
    }
