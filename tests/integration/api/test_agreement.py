"""`ganger validate` and the API server say yes to the same manifests, but where CEL cannot see."""

from itertools import count

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ganger.api.rule import attribute
from ganger.api.rules import RULES
from ganger.api.types import TrainingJobSpec
from ganger.api.validate import check, check_manifest
from property.api.manifests import manifests

# What only the offline check knows; the server's yes is right beside these.
OFFLINE = {rule.message for rule in RULES if not rule.cel}
COUNTER = count()


def attribute_of(field: str) -> str:
    """The Python name of a field of the spec."""
    return attribute(TrainingJobSpec, field)


def agree(server, manifest) -> None:
    """Fail when exactly one of the two refuses."""
    _, errors = check_manifest(manifest)
    known_to_both = [error for error in errors if error.message not in OFFLINE]
    answer = server.try_(manifest)

    assert answer.accepted == (not known_to_both), (
        f"offline: {list(map(str, errors)) or 'accepted'}\nserver: {answer.code} {answer.message}\n{manifest}"
    )


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(manifests())
def test_a_manifest_is_accepted_offline_just_when_the_server_accepts_it(server, manifest):
    agree(server, manifest)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(manifests(spoilt=False), manifests(spoilt=False), st.booleans())
def test_a_change_is_allowed_offline_just_when_the_server_allows_it(server, before, other, suspended):
    before["spec"] |= {"suspend": suspended}
    after = {**before, "spec": before["spec"] | other["spec"]}
    old, new = check_manifest(before)[0], check_manifest(after)[0]
    assume(old is not None and new is not None)
    # CEL compares parts as they are written: limits: {} inside of resources is a change to the server alone.
    told = {field for field in after["spec"] if before["spec"].get(field) != after["spec"][field]}
    assume(all(getattr(old.spec, name) != getattr(new.spec, name) for name in map(attribute_of, told)))
    name = f"change-{next(COUNTER)}"
    stored = server.create(before | {"metadata": {"name": name}})
    path = f"{server.jobs}/{name}?dryRun=All"
    changed = server.ask("PUT", path, after | {"metadata": stored.object["metadata"]})
    server.api.delete(f"{server.jobs}/{name}")
    errors = check(new, old)

    assert changed.accepted == (not errors), f"{list(map(str, errors))}\n{changed.message}\n{before}\n{after}"
