"""Another controller that writes the status of jobs, told from everything else that changes them."""

import pytest
from msgspec.structs import replace

from builders import job
from ganger.api.observed import Metadata
from ganger.api.status import ProfileStatus, TrainingJobStatus
from ganger.app.duplicates import Duplicates

LED_SINCE = 100
STARTING, RUNNING = TrainingJobStatus(phase="Starting"), TrainingJobStatus(phase="Running")


def at(version, status=STARTING, uid="u"):
    plain = job()
    return replace(plain, metadata=replace(plain.metadata, resource_version=str(version), uid=uid), status=status)


@pytest.fixture
def found():
    return []


@pytest.fixture
def duplicates(found):
    return Duplicates(lambda: LED_SINCE, found.append)


def test_a_status_that_changed_under_a_write_of_ours_is_another_controllers(duplicates, found):
    duplicates.met(at(101))
    duplicates.look(at(101))
    assert [] == found
    duplicates.look(at(102, RUNNING))
    duplicates.look(at(103))

    assert [at(102, RUNNING)] == found


def test_an_edit_of_the_user_is_not(duplicates, found):
    duplicates.met(at(101))
    duplicates.look(at(102))

    assert [] == found


def test_a_profile_that_was_read_and_is_not_stored_yet_is_not(duplicates, found):
    """The user suspends the job in the seconds before its first status."""
    duplicates.met(at(101, replace(STARTING, profile=ProfileStatus(name="gpu", namespace="team"))))
    duplicates.look(at(102))

    assert [] == found


def test_the_last_word_of_the_leader_before_is_not(duplicates, found):
    duplicates.met(at(LED_SINCE))
    duplicates.look(at(102, RUNNING))

    assert [] == found


def test_an_own_write_whose_answer_was_lost_is_not(duplicates, found):
    duplicates.failed(at(101))
    duplicates.met(at(101))
    duplicates.look(at(102, RUNNING))

    assert [] == found


def test_an_own_write_that_the_cache_does_not_show_yet_is_not(duplicates, found):
    duplicates.wrote(at(101), Metadata(name="digits", resource_version="102"))
    duplicates.met(at(101))
    duplicates.look(at(102, RUNNING))

    assert [] == found


def test_another_job_of_the_same_name_is_not(duplicates, found):
    duplicates.met(at(101))
    duplicates.look(at(105, RUNNING, uid="another"))

    assert [] == found
