"""A job with the values of its profile: what it is read as, what is refused, and what the definition leaves open."""

import json

import pytest

from ganger.api.crd import profile_crd, schema
from ganger.api.merge import PROFILED
from ganger.api.observed import Metadata
from ganger.api.profile import TrainingProfile, digest, misfits, taken
from ganger.api.schema import OPEN
from ganger.api.types import TrainingJobSpec, decode, profiled
from ganger.api.validate import check_manifest, check_profile

GPU = {"image": "gpu:v1", "failurePolicy": {"maxRestarts": 10}, "checkpoint": {"volume": {"size": "1Gi"}}}


EMPTY = {("TrainingJob", "resources"), ("TrainingJob", "failurePolicy")}


def profile(**spec):
    return TrainingProfile(metadata=Metadata(name="gpu", namespace="team", generation=3), spec=spec)


def job(status=None, **spec):
    manifest = {"metadata": {"name": "a", "namespace": "team"}, "spec": {"task": "m:t", "profile": "gpu"} | spec}
    return manifest | ({"status": {"profile": status}} if status else {})


def nodes(node):
    yield node
    for inner in node.get("properties", {}).values():
        yield from nodes(inner)


def test_a_job_is_read_with_the_values_that_it_has_begun_with():
    kept = {"name": "gpu", "namespace": "team", "generation": 3, "values": GPU}
    manifest = job(kept, failurePolicy={"maxRestarts": 3}, checkpoint={"everySteps": 5})
    read = decode(json.dumps(manifest).encode())

    assert read == decode(manifest)
    assert ("gpu:v1", 3) == (read.spec.image, read.spec.failure_policy.max_restarts)
    assert ("1Gi", 5) == (read.spec.checkpoint.volume.size, read.spec.checkpoint.every_steps)
    assert manifest["spec"] == read.written


@pytest.mark.parametrize("spec", [{"profile": None}, {"profile": "other"}])
def test_values_of_a_profile_that_the_job_does_not_name_any_more_are_not_its_own(spec):
    read = decode(job({"name": "gpu", "namespace": "team", "values": GPU}, **spec))

    assert read.spec.image is None


def test_a_default_that_is_not_written_gives_way_and_one_that_is_does_not():
    absent, written = (
        decode(job()),
        decode(job(failurePolicy={"maxRestarts": TrainingJobSpec().failure_policy.max_restarts})),
    )

    assert absent.spec.failure_policy == written.spec.failure_policy
    restarts = [profiled(one, taken(profile(**GPU))).spec.failure_policy.max_restarts for one in (absent, written)]
    assert [10, 3] == restarts


def test_what_a_profile_may_say_has_no_default_that_the_api_server_fills_in():
    """It would be stored as if the user had written it, and win over every profile."""
    for kind in ("TrainingJob", "TrainingProfile"):
        for name, node in schema(kind)["properties"]["spec"]["properties"].items():
            if name in PROFILED:
                found = [inner["default"] for inner in nodes(node) if "default" in inner]
                # An empty part says nothing.
                assert ([{}] if (kind, name) in EMPTY else []) == found, name


def test_a_default_that_is_not_filled_in_is_told_in_words():
    properties = schema()["properties"]["spec"]["properties"]

    assert properties["failurePolicy"]["properties"]["maxRestarts"]["description"].endswith(" Default: 3.")
    assert " Default: auto. Example: 8Gi" in properties["sharedMemory"]["description"]


def test_every_part_that_a_profile_merges_into_is_known_to_be_open():
    from ganger.api.validate import _STRUCTS_IN

    inside = {cls for cls in OPEN for cls in _STRUCTS_IN[cls].values()}
    lists = {"DeviceClaim", "FailureRule"}

    assert {cls.__name__ for cls in inside - OPEN} == lists


def test_misfits_are_those_of_a_job_without_a_profile():
    read = decode(job(volumeMounts=[{"name": "data", "mountPath": "/data"}]))

    assert [] == misfits(read, taken(profile(volumes=[{"name": "data", "emptyDir": {}}])))
    (error,) = misfits(read, taken(profile(volumes=[{"name": "other", "emptyDir": {}}])))
    assert "spec.volumeMounts" == error.path


def test_a_checkpoint_that_is_nowhere_whole_is_a_misfit():
    (error,) = misfits(decode(job(checkpoint={"everySteps": 5})), taken(profile()))

    assert "spec.checkpoint.volume" == error.path


def test_values_that_no_job_may_have_are_a_misfit_and_no_crash():
    """As a profile that an older definition let in."""
    (error,) = misfits(decode(job()), taken(profile(failurePolicy={"maxRestarts": "many"})))

    assert "failurePolicy.maxRestarts" in error.path


def test_a_profile_that_would_fill_the_status_is_refused():
    big = {"env": [{"name": f"A{number}", "value": "x" * 2000} for number in range(9)]}
    manifest = {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingProfile",
        "metadata": {"name": "gpu"},
        "spec": big,
    }

    assert ["spec"] == [error.path for error in check_profile(manifest)]
    assert ["spec"] == [error.path for error in misfits(decode(job()), taken(profile(**big)))]


def test_the_digest_depends_on_the_values_alone_and_not_on_their_order():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_job_may_leave_to_its_profile_what_a_job_alone_must_say():
    spec = {"task": "m:t", "checkpoint": {"everySteps": 5}, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    manifest = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "a"}}

    assert {"spec.checkpoint.volume", "spec.volumeMounts"} == {
        error.path for error in check_manifest(manifest | {"spec": spec})[1]
    }
    assert [] == check_manifest(manifest | {"spec": spec | {"profile": "gpu"}})[1]


def test_the_definition_of_a_profile_has_the_policy_of_a_job_and_no_status():
    (version,) = profile_crd()["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]

    assert set(properties["spec"]["properties"]) == PROFILED
    assert "status" not in properties
    assert "subresources" not in version
