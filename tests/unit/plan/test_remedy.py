"""The table of failure classes is closed, and everything that is said of a failure comes out of it."""

import ast
from pathlib import Path

import pytest

import ganger_trainer
from builders import at, job, pod, running_gang, with_status
from ganger.api.status import Failure
from ganger.plan.decide import decide
from ganger.plan.remedy import CLASSES, DISRUPTIONS, advised, remedy
from ganger.plan.seen import Seen

# The next two are told in a notebook, where no job fails; the last one costs a checkpoint, and training goes on.
NOT_FAILURES = {"Done", "JobMissing", "TaskMissing", "StateChanged"}


def _words_of_the_trainer():
    """Every reason that the trainer's source gives to an error, a verdict or a last word."""
    for path in Path(ganger_trainer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("UserError", "TrainerError"):
                yield node.args[0]
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "reason")


def test_every_class_that_the_trainer_names_is_in_the_table():
    said = {node.value for node in _words_of_the_trainer() if isinstance(node, ast.Constant)}

    assert {"ConfigInvalid", "PeerLost", "ProcessKilled"} <= said
    assert set() == said - set(CLASSES) - NOT_FAILURES


@pytest.mark.parametrize("name", CLASSES)
def test_cause_and_remedy_are_one_clause_each(name):
    found = CLASSES[name]

    for text in (found.cause, found.remedy):
        assert text
        assert not text.endswith(".")
        assert not set(text) & {"\n", "|"}  # they stand in a table


def test_exit_code_tells_more_than_a_class_that_says_little():
    assert "the image does not have the command" == remedy("ProcessExited", 127).cause
    assert CLASSES["Exception"] == remedy("Exception", 127)
    assert CLASSES["ProcessExited"] == remedy("ProcessExited", 1)


def test_class_of_a_users_own_has_no_remedy_but_that_of_its_exit_code():
    assert remedy("BadShard", 1) is None
    assert "correct what the message names" == remedy("BadShard", 78).remedy


def test_event_of_a_failure_says_the_remedy():
    a_job = job()
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    failed = pod(a_job, 1, exit_code=137, reason="OOMKilled")
    (event,) = decide(a_job, Seen(pods=(pod(a_job, 0), failed)), at(12)).events

    assert event.message.endswith(f"Remedy: {CLASSES['OOMKilled'].remedy}")


def test_event_of_what_nobody_knows_is_left_as_it_is():
    assert "boom" == advised("boom", Failure(reason="BadShard", exit_code=1))


def test_disruptions_are_those_that_are_never_counted():
    assert {"Preempted", "Evicted", "PodDeleted", "GaveWay", "NodeLost", "NodeShutdown", "Disrupted"} == DISRUPTIONS
