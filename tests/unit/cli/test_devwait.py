"""`ganger dev wait`: what it waits for, what it prints, and its exit codes."""

import asyncio

import pytest


def changes(ganger, *steps):
    """Let the session change while it is waited for."""

    async def scenario():
        for step in steps:
            await asyncio.sleep(0.02)
            step()

    ganger.scenario = scenario


def test_a_session_is_waited_for_until_it_runs(ganger, sessions):
    sessions.put(phase="Pending")
    changes(ganger, lambda: sessions.put(phase="Starting"), sessions.running)

    said = ganger("dev", "wait", "try", "--timeout", "20s")

    assert (0, "try is running: open\n") == (said.code, said.out)


@pytest.mark.parametrize(
    "goal, phase, code", [("ended", "Culled", 0), ("ended", "Failed", 1), ("running", "Stopped", 1)]
)
def test_the_exit_code_mirrors_how_it_ended(ganger, sessions, goal, phase, code):
    sessions.put(phase="Starting")
    changes(ganger, lambda: sessions.put(phase=phase, ended="Test", message="so it is"))

    said = ganger("dev", "wait", "try", "--for", goal, "--timeout", "20s")

    assert (code, f"try is {phase.lower()}: so it is\n") == (said.code, said.out)


def test_a_time_that_is_over_and_a_session_that_goes_or_is_not_there_have_their_codes(ganger, sessions):
    sessions.put(phase="Starting")

    late = ganger("dev", "wait", "try", "--timeout", "1s")
    changes(ganger, lambda: ganger.cluster.take("devsessions", "try"))
    gone = ganger("dev", "wait", "try", "--timeout", "20s")
    ganger.scenario = None

    assert (4, "error: session try is not running after 1 s") == (late.code, late.problem[0])
    assert (3, "error: session try was deleted") == (gone.code, gone.problem[0])
    assert 3 == ganger("dev", "wait", "try").code
