"""Defaults that depend on other fields or on the operator."""

import pytest

from builders import job
from ganger.api.defaults import fill

VOLUME = {"volume": {"size": "1Gi"}, "everySteps": 1}


@pytest.mark.parametrize("image, filled", [(None, "default:v1"), ("own:v1", "own:v1")])
def test_the_image_of_the_operator_is_used_where_the_job_names_none(image, filled):
    assert filled == fill(job(image=image), "default:v1").spec.image


@pytest.mark.parametrize("workers, mode", [(1, "ReadWriteOnce"), (2, "ReadWriteMany"), (64, "ReadWriteMany")])
def test_a_volume_made_for_several_workers_is_shared(workers, mode):
    filled = fill(job(workers=workers, checkpoint=VOLUME), "i")

    assert mode == filled.spec.checkpoint.volume.access_mode


def test_a_mode_that_was_asked_for_stays():
    asked = VOLUME | {"volume": {"size": "1Gi", "accessMode": "ReadWriteOnce"}}

    assert "ReadWriteOnce" == fill(job(workers=4, checkpoint=asked), "i").spec.checkpoint.volume.access_mode


def test_an_existing_claim_gets_no_mode():
    claimed = VOLUME | {"volume": {"claimName": "c"}}

    assert fill(job(workers=4, checkpoint=claimed), "i").spec.checkpoint.volume.access_mode is None


def test_a_job_that_says_everything_is_left_as_it_is():
    whole = job()

    assert fill(whole, "i") is whole
