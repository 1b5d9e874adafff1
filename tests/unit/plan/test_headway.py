"""How far an attempt came."""

from builders import at, job, pod, with_status
from ganger.api.status import CheckpointStatus, Restarts, TrainingJobStatus
from ganger.plan.gang import gang
from ganger.plan.headway import Headway, headway
from ganger.plan.live import Live, LiveReport
from ganger.plan.report import ReportedCheckpoint


def began(step, *, known=None):
    """A job whose attempt began at that checkpoint, and whose status knows of another by now."""
    checkpoint = CheckpointStatus(latest_step=known if known is not None else step)
    return with_status(job(), TrainingJobStatus(restarts=Restarts(checkpoint_step=step), checkpoint=checkpoint))


def found(a_job, said, live=None):
    pods = (pod(a_job, 0, exit_code=1, said={"outcome": "Failed"} | said), pod(a_job, 1))
    return headway(a_job, gang(pods, 0, 2), live)


def heard(**said):
    return Live(report=LiveReport(attempt=0, worker=0, sequence=1, phase="Training", **said), at=at(9))


def test_attempt_that_said_nothing_made_no_progress():
    assert Headway(checkpoint_step=50) == found(began(50), {})


def test_checkpoint_of_the_last_word_is_progress():
    expected = Headway(progressed=True, step=61, checkpoint_step=60)

    assert expected == found(began(50), {"step": 61, "checkpoint": {"step": 60}})


def test_checkpoint_that_the_status_took_over_while_the_attempt_ran_is_progress():
    assert found(began(50, known=60), {"step": 61, "checkpoint": {"step": 60}}).progressed
    assert found(began(50, known=60), {}).progressed


def test_checkpoint_that_the_attempt_began_from_is_none():
    assert not found(began(50), {"step": 61, "checkpoint": {"step": 50}}).progressed


def test_first_attempt_that_resumed_from_what_another_job_left_has_made_none_yet():
    a_job = job()

    assert not found(a_job, {"step": 61, "checkpoint": {"step": 50}, "resumedFromStep": 50}).progressed
    assert found(a_job, {"step": 61, "checkpoint": {"step": 60}, "resumedFromStep": 50}).progressed


def test_checkpoint_of_the_attempt_before_that_nobody_had_told_is_progress():
    """Committed in the seconds between the last report and the failure: the next attempt resumes from it."""
    expected = Headway(progressed=True, step=61, checkpoint_step=60)

    assert expected == found(began(50, known=60), {"step": 61, "resumedFromStep": 60})
    assert expected == found(began(50), {"step": 61, "resumedFromStep": 60})
    assert not found(began(60), {"step": 61, "resumedFromStep": 60}).progressed


def test_attempt_that_fell_back_to_an_older_checkpoint_progresses_from_there():
    assert found(began(50), {"step": 47, "checkpoint": {"step": 45}, "resumedFromStep": 40}).progressed


def test_newest_report_speaks_for_a_worker_that_had_no_last_word():
    live = heard(step=61, checkpoint=ReportedCheckpoint(step=60))

    assert Headway(progressed=True, step=61, checkpoint_step=60) == found(began(50), {}, live)
