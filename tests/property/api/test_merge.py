"""The laws of a merge: the job wins, nothing is invented, twice is once, and two profiles may be merged first."""

from copy import deepcopy

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ganger.api.merge import ALTERNATIVES, KEYS, PROFILED, WHOLE, merge
from ganger.api.observed import Metadata
from ganger.api.profile import TrainingProfile, misfits, taken
from ganger.api.types import decode, profiled
from ganger.api.validate import check, check_manifest, check_profile
from property.api.manifests import manifests

few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def specs(*, named: bool = False) -> st.SearchStrategy[dict]:
    """The spec of a sound manifest; `named`: of a job that names a profile, else without the fields of none."""

    def of(manifest):
        spec = {key: value for key, value in manifest["spec"].items() if key != "profile"}
        return spec | ({"profile": "gpu"} if named else {})

    return manifests(spoilt=False).map(of)


def profiles() -> st.SearchStrategy[dict]:
    """The spec of a profile that the API server accepts."""
    return specs().map(lambda spec: {key: value for key, value in spec.items() if key in PROFILED}).filter(is_sound)


def is_sound(values):
    manifest = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": "gpu"}}
    return not check_profile(manifest | {"spec": values})


def without_nothing(value):
    """A value without its empty parts, which mean the same as none."""
    if isinstance(value, dict):
        present = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in present.items() if item not in (None, {}, [])}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def is_kept(job, whole, key=""):
    """Whether everything that the job says is in the whole as it said it."""
    if isinstance(job, dict) and key not in WHOLE:
        return all(name in whole and is_kept(item, whole[name], name) for name, item in job.items())
    if key in KEYS:
        return all(item in whole for item in job)
    return job == whole


@few
@given(profiles(), specs())
def test_the_job_wins(profile, job):
    job = without_nothing(job)

    assert is_kept(job, merge(profile, job))


@few
@given(profiles(), specs())
def test_nothing_is_said_that_neither_has_said(profile, job):
    whole = merge(profile, job)

    assert set(whole) <= set(profile) | set(job)
    assert {key: value for key, value in whole.items() if key not in PROFILED} == {
        key: value for key, value in job.items() if key not in PROFILED
    }


@few
@given(specs())
def test_a_profile_of_nothing_changes_nothing(job):
    assert job == merge({}, job)


@few
@given(profiles(), specs())
def test_a_profile_gives_a_job_of_nothing_what_it_has(profile, job):
    bare = {key: value for key, value in job.items() if key not in PROFILED}
    given_ = {key: value for key, value in merge(profile, bare).items() if key in PROFILED}
    interval = {"everySteps", "everySeconds"} & profile.get("checkpoint", {}).keys()
    wanted = {key: value for key, value in profile.items() if key != "checkpoint" or interval}

    assert without_nothing(wanted) == without_nothing(given_)


@few
@given(profiles(), specs())
def test_twice_is_once_and_neither_argument_changes(profile, job):
    before = deepcopy((profile, job))
    whole = merge(profile, job)

    assert whole == merge(profile, whole)
    assert before == (profile, job)


@few
@given(profiles(), profiles(), specs())
def test_two_profiles_may_be_merged_first_where_there_is_no_alternative(one, other, job):
    """With alternatives it depends: what the nearer profile has chosen drops what the farther one says of the other."""
    words = [word for pair in ALTERNATIVES for side in pair for word in side]
    assume(not any(word in repr(value) for value in (one, other, job) for word in words))

    assert without_nothing(merge(one, merge(other, job))) == without_nothing(merge(merge(one, other), job))


@few
@given(profiles(), specs(named=True))
def test_what_comes_out_is_a_job_by_the_rules_or_a_list_of_named_mistakes(profile, spec):
    manifest = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "a"}, "spec": spec}
    job = check_manifest(manifest)[0]
    assume(job is not None)
    found = taken(TrainingProfile(metadata=Metadata(name="gpu", namespace="team"), spec=profile))
    wrong = misfits(job, found)

    assert all(error.path and error.message for error in wrong)
    if not wrong:
        whole = profiled(job, found)
        assert [] == check(whole)
        # As the API server gives it back: the same job, whoever merges.
        stored = manifest | {"status": {"profile": {"name": "gpu", "namespace": "team", "values": profile}}}
        assert (whole.spec, whole.status) == (decode(stored).spec, decode(stored).status)
