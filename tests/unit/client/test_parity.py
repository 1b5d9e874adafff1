"""Every verb of the command has a call, or stands here with the reason why it has none."""

import pytest

from ganger import Client
from ganger.cli import dev, main
from ganger.client.sessions import Sessions

# The command and what it is called in Python, where that is another word.
CALLS = {
    "status": ("status", "describe"),
    "request": ("request_checkpoint", "request_stacks"),
    "cp": ("fetch", "send"),
}
# It makes no sense in a program, or a program has it already.
NONE = {
    "init": "writes a file for a person to edit",
    "examples": "prints files for a person to edit",
    "run": "has the terminal and its signals: a program starts the command",
    "diff": "tells a person what an apply would do; rehearse() returns the stored job to compare",
    "shell": "a terminal in the hands of a person",
    "dev": "the calls are those of client.sessions",
    "top": "a picture of the cluster for a person; list() has each job's resources",
    "checkpoints": "tells and prunes volumes across jobs, asking first; checkpoint() is that of one job",
    "doctor": "a page for a person",
    "report": "a file for a person to send",
    "version": "ganger.__version__ is that of the program",
    "completion": "is for shells",
}
SESSION_CALLS = {"ls": ("list",)}
SESSION_NONE = {"ssh": "becomes the ssh of a terminal; a program starts the command"}


@pytest.mark.parametrize("verb", main.COMMANDS)
def test_a_command_is_a_call_of_the_client_or_says_why_not(verb):
    missing = [call for call in CALLS.get(verb, (verb,)) if not callable(getattr(Client, call, None))]

    assert (verb in NONE) == bool(missing), f"{verb}: {missing}"


@pytest.mark.parametrize("verb", dev.COMMANDS)
def test_a_command_of_sessions_is_a_call_of_the_client_or_says_why_not(verb):
    missing = [call for call in SESSION_CALLS.get(verb, (verb,)) if not callable(getattr(Sessions, call, None))]

    assert (verb in SESSION_NONE) == bool(missing), f"{verb}: {missing}"


def test_no_reason_is_left_of_a_command_that_there_is_not():
    assert set() == (set(NONE) | set(CALLS)) - set(main.COMMANDS)
    assert set() == (set(SESSION_NONE) | set(SESSION_CALLS)) - set(dev.COMMANDS)
