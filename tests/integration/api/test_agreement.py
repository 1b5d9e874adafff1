"""`ganger validate` and the API server say yes to the same manifests, but where CEL cannot see."""

from hypothesis import HealthCheck, given, settings

from ganger.api.rules import RULES
from ganger.api.validate import check_manifest
from property.api.manifests import manifests

# What only the offline check knows; the server's yes is right beside these.
OFFLINE = {rule.message for rule in RULES if not rule.cel}


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
