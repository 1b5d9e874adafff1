"""Pods of an older edition of the spec are told from those of the present one."""

import msgspec
import pytest

from builders import T0, at, job, pod, running_gang, with_spec, with_status
from ganger.api.defaults import fill
from ganger.contract import ANNOTATION_EDITION
from ganger.plan.decide import decide
from ganger.plan.edition import edition, outdated
from ganger.plan.seen import Seen


def made_from(job_, pods):
    """The pods with the mark that the builder gives them."""
    mark = {ANNOTATION_EDITION: edition(job_)}
    return tuple(
        msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, annotations=mark)) for one in pods
    )


@pytest.mark.parametrize(
    "change, other",
    [
        ({"image": "other:v1"}, True),
        ({"workers": 3}, True),
        ({"scheduler_name": "x"}, True),
        ({"config": {"lr": 2}}, False),
        ({"termination_grace_period_seconds": 9}, False),
        ({}, False),
    ],
    ids=str,
)
def test_only_a_frozen_field_makes_a_pod_outdated(change, other):
    before = job()

    assert other == outdated(with_spec(before, **change), made_from(before, running_gang(before)))


def test_an_elastic_gang_is_resized_not_outdated():
    before = job(elastic={"minWorkers": 1, "maxWorkers": 4})

    assert not outdated(with_spec(before, workers=3), made_from(before, running_gang(before)))


def test_within_one_generation_nothing_is_outdated_whatever_the_defaults_of_the_operator_are():
    before = job()
    upgraded = msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, image="new-default:v2"))

    assert not outdated(upgraded, made_from(before, running_gang(before)))


def test_an_edit_after_an_upgrade_of_the_operator_restarts_no_gang_for_its_new_default_image():
    stored = msgspec.structs.replace(job(), spec=msgspec.structs.replace(job().spec, image=None))
    made = decide(fill(stored, "default:v1"), Seen(stored=stored), T0).pods
    mark = {ANNOTATION_EDITION: made[0]["metadata"]["annotations"][ANNOTATION_EDITION]}
    gang = tuple(
        msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, annotations=mark))
        for one in running_gang(job())
    )
    edited = with_spec(stored, config={"lr": 2})
    now = decide(fill(edited, "default:v2"), Seen(stored=edited, pods=gang), at(9))

    assert now.status.condition("Suspended") is None


def test_a_pod_without_a_mark_is_taken_as_it_is():
    assert not outdated(with_spec(job(), image="other:v1"), running_gang(job()))


def test_a_job_that_was_suspended_edited_and_resumed_unseen_stops_and_starts_anew():
    before = job()
    gang = made_from(before, running_gang(before))
    ran = with_status(before, decide(before, Seen(pods=gang), T0).status)
    edited = with_spec(ran, image="other:v1")

    said = decide(edited, Seen(pods=gang), at(1))
    stopped = decide(with_status(edited, said.status), Seen(pods=gang), at(2))
    anew = decide(with_status(edited, said.status), Seen(), at(3))

    assert ("SpecChanged", ()) == (said.status.condition("Suspended").reason, said.deletions)
    assert ["digits-0-0", "digits-0-1"] == [one.metadata.name for one in stopped.deletions]
    assert [None, None] == [one.grace_seconds for one in stopped.deletions]
    assert not anew.status.is_true("Suspended")
    assert 0 == anew.status.attempt


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_gang_of_which_a_worker_has_ended_is_judged_by_that(exit_code):
    before = job()
    gang = made_from(before, (pod(before, 0), pod(before, 1, exit_code=exit_code)))
    edited = with_spec(with_status(before, decide(before, Seen(pods=gang[:1]), T0).status), image="other:v1")
    decision = decide(edited, Seen(pods=gang), at(20))

    assert decision.status is None or not decision.status.is_true("Suspended")
