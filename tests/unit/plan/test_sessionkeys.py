"""Which keys may log in to a session that runs, and when they are changed in its pod."""

import msgspec

from builders import at
from ganger.contract import ANNOTATION_AUTHORIZED_KEYS
from ganger.plan.seen import Refusal
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from ganger.plan.sessionkeys import KeyChange
from ganger.plan.sessionpod import edition
from sessions import IMAGE, KEY, pod, session

OTHER = KEY.replace("IAABAg", "IAACAg").replace("ann", "bob")
SITE = SessionSite(image=IMAGE)


def opened(*keys):
    return session(ssh={"authorizedKeys": list(keys)})


def made_with(made, keys, **state):
    """The pod of a session with these keys in its annotation."""
    found = pod(made, **{"ready": True} | state)
    annotations = found.metadata.annotations | {ANNOTATION_AUTHORIZED_KEYS: keys}
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, annotations=annotations))


def decide(made, one, **seen):
    return decide_session(made, SessionSeen(pods=(one,), **seen), at(100), SITE)


def test_keys_that_have_changed_change_in_the_pod_that_runs_and_nothing_else_does():
    before, made = opened(KEY), opened(KEY, OTHER)
    one = made_with(before, f"{KEY}\n")
    decision = decide(made, one)

    assert KeyChange(pod=one.metadata, keys=f"{KEY}\n{OTHER}\n") == decision.keys
    assert "ganger dev connect notes or ganger dev ssh notes" == decision.status.message
    assert None is decide(made, made_with(before, f"{KEY}\n{OTHER}\n")).keys


def test_a_pod_that_starts_gets_them_too_and_one_that_leaves_or_is_over_does_not():
    made = opened(OTHER)

    assert f"{OTHER}\n" == decide(made, made_with(made, f"{KEY}\n", ready=False, phase="Pending")).keys.keys
    assert None is decide(made, made_with(made, f"{KEY}\n", leaving=True)).keys
    assert None is decide(made, made_with(made, f"{KEY}\n", phase="Succeeded", exit_code=0)).keys


def test_where_nobody_may_log_in_any_more_the_keys_go_and_a_pod_without_ssh_gets_none():
    assert "" == decide(session(), made_with(opened(KEY), f"{KEY}\n")).keys.keys
    assert None is decide(opened(KEY), pod(session(), ready=True)).keys


def test_what_cannot_be_changed_is_told_in_the_session():
    made, cut = opened(OTHER), opened(f"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdH{'A' * 120} ann")
    one = made_with(made, f"{KEY}\n")
    refused = decide(made, one, refusal=Refusal(reason="PodForbidden", message="no right"))
    damaged = decide(cut, one)

    assert (None, None) == (refused.keys, damaged.keys)
    assert refused.status.message.endswith("; its keys are still those of before: no right")
    assert "its keys are still those of before: spec.ssh.authorizedKeys" in damaged.status.message


def test_keys_are_no_part_of_what_a_pod_is_made_of_and_ssh_is():
    assert edition(opened(KEY)) == edition(opened(OTHER))
    assert edition(opened(KEY)) != edition(session())
