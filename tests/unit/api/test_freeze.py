"""What may change while a job runs; the API server says the same in tests/integration/api."""

import pytest

from builders import job, with_spec
from ganger.api.freeze import FREE, FROZEN
from ganger.api.types import TrainingJobSpec
from ganger.api.validate import check


def test_every_field_is_either_free_or_frozen():
    fields = set(TrainingJobSpec.__struct_encode_fields__)

    assert fields == FREE | {freeze.field for freeze in FROZEN}
    assert len(fields) == len(FREE) + len(FROZEN)


@pytest.mark.parametrize(
    "change",
    [{"suspend": True}, {"config": {"lr": 2}}, {"live_config": {"lr": 2}}, {"active_deadline_seconds": 9}],
    ids=lambda change: next(iter(change)),
)
def test_a_free_field_changes_while_the_job_runs(change):
    before = job()

    assert [] == check(with_spec(before, **change), before)


def test_a_frozen_field_is_named_with_the_way_out():
    before = job()
    (error,) = check(with_spec(before, image="other:v1"), before)

    assert (
        "spec.image: image may change only while the job is suspended; suspend the job first, or create a new one"
        == str(error)
    )


def test_every_frozen_field_that_changed_is_named_at_once():
    before = job()
    errors = check(with_spec(before, image="other:v1", workers=3, scheduler_name="x"), before)

    assert ["spec.image", "spec.workers", "spec.schedulerName"] == [error.path for error in errors]


def test_a_suspended_job_may_change_and_resume_in_one_step():
    before = job(suspend=True)

    assert [] == check(with_spec(before, suspend=False, image="other:v1"), before)


def test_suspending_and_changing_in_one_step_is_refused():
    before = job()

    assert ["spec.image"] == [e.path for e in check(with_spec(before, suspend=True, image="other:v1"), before)]


def test_an_elastic_gang_is_resized_while_it_runs():
    before = job(workers=2, elastic={"minWorkers": 1, "maxWorkers": 4})

    assert [] == check(with_spec(before, workers=4), before)


VOLUME = {"volume": {"size": "1Gi"}, "everySteps": 5}


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": VOLUME | {"volume": {"size": "2Gi"}}},
        {"checkpoint": VOLUME | {"volume": {"size": "1Gi", "whenDeleted": "Delete"}}},
        {"checkpoint": VOLUME | {"volume": {"size": "1Gi", "storageClassName": "fast"}}},
        {"workers": 1},
        {"elastic": {"minWorkers": 1, "maxWorkers": 2}, "checkpoint": VOLUME | {"volume": {"size": "2Gi"}}},
    ],
    ids=str,
)
def test_a_volume_that_was_made_for_the_job_stays_even_while_it_is_suspended(change):
    before = job(suspend=True, checkpoint=VOLUME, workers=2)
    (error,) = check(job(**({"suspend": True, "checkpoint": VOLUME, "workers": 2} | change)), before)

    assert "spec.checkpoint.volume" == error.path


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 3},
        {"workers": 1, "checkpoint": VOLUME | {"volume": {"size": "1Gi", "accessMode": "ReadWriteMany"}}},
        {"checkpoint": VOLUME | {"volume": {"claimName": "shared"}}},
        {"checkpoint": VOLUME | {"everySteps": 6}},
        {"checkpoint": None},
    ],
    ids=str,
)
def test_what_asks_for_the_same_volume_or_for_another_claim_may_change_while_suspended(change):
    before = job(suspend=True, checkpoint=VOLUME, workers=2)

    assert [] == check(job(**({"suspend": True, "checkpoint": VOLUME, "workers": 2} | change)), before)
