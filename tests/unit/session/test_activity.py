"""What counts as activity and what does not, look by look."""

import pytest

from ganger_session import processes
from ganger_session.activity import Activity, Glance, connections
from ganger_session.processes import TICKS, Process

STAMPS = {"a kernel": 100.0, "a document": 0.0, "a terminal": 100.0}


def after(glance: Glance, *, before: Glance | None = None, seconds: float = 10.0, quiet: float = 0.0) -> str:
    """What was done between two looks, "" for nothing."""
    activity = Activity(0.0)
    activity.ignore_terminals(quiet)
    activity.take(before or Glance(stamps=dict(STAMPS), cpu_seconds=5.0, transferred={7: 1000}), 1.0, 1001.0)
    began = activity.what
    activity.take(glance, 1.0 + seconds, 1001.0 + seconds)
    return "" if activity.last == 0.0 and activity.what == began else activity.what


@pytest.mark.parametrize(
    "changed, what",
    [
        ({}, ""),
        ({"kernels_busy": True}, "a kernel is busy"),
        ({"stamps": STAMPS | {"a kernel": 108.0}}, "a kernel was used"),
        ({"stamps": STAMPS | {"a document": 108.0}}, "a document was used"),
        ({"stamps": STAMPS | {"a terminal": 108.0}}, "a terminal was used"),
        ({"stamps": STAMPS | {"a kernel": 0.0}}, ""),
        ({"cpu_seconds": 5.4}, ""),  # 4 % of a core
        ({"cpu_seconds": 5.6}, "a program computed"),
        ({"cpu_seconds": 1.0}, ""),  # one has ended
        ({"transferred": {7: 3900}}, ""),  # a keep-alive each second
        ({"transferred": {7: 7100}}, "data went through SSH"),
        ({"transferred": {7: 1000, 8: 90_000}}, ""),  # a new connection has read its own files
    ],
)
def test_a_look_is_compared_with_the_one_before(changed, what):
    glance = Glance(**({"stamps": dict(STAMPS), "cpu_seconds": 5.0, "transferred": {7: 1000}} | changed))

    assert what == after(glance)


def test_a_jupyter_that_did_not_answer_once_makes_nothing_new_of_what_is_old():
    activity = Activity(0.0)
    for now, stamps in enumerate((STAMPS, STAMPS | {"a kernel": 0.0}, STAMPS), start=1):
        activity.take(Glance(stamps=dict(stamps)), float(now), 1000.0)

    assert (0.0, "the session began") == (activity.last, activity.what)


def test_a_terminal_that_only_the_warning_was_written_to_was_not_used():
    warned = Glance(stamps=STAMPS | {"a terminal": 104.0}, cpu_seconds=5.0)

    assert ("", "a terminal was used") == (after(warned, quiet=105.0), after(warned, quiet=103.0))


def test_a_line_of_the_kernel_is_read_with_any_name():
    text = f"42 (a) (b c) R 7 42 42 {(136 << 8) | 3} 42 0 0 0 0 0 {TICKS} {TICKS} {2 * TICKS} 0 20 0 1 0 99"

    process = processes.parse(42, text)

    assert ("a) (b c", "R", 7, 3, 4.0) == (
        process.name, process.state, process.parent, process.terminal, process.cpu_seconds
    )  # fmt: skip
    assert processes.parse(42, text.replace(str((136 << 8) | 3), "0")).terminal is None


def one(pid: int, parent: int, name: str = "x") -> Process:
    return Process(pid=pid, parent=parent, name=name, state="S", terminal=None, cpu_seconds=0.0)


def test_what_is_below_a_process_and_what_came_from_outside():
    every = (one(1, 0, "tini"), one(2, 1), one(3, 2), one(4, 3), one(5, 1), one(60, 0, "sh"), one(61, 60))
    seen = {process.pid: process for process in every}

    assert [3, 4] == sorted(processes.below(2, seen))
    assert [3, 4, 60, 61] == sorted(processes.of_session(2, seen))


def test_a_connection_is_no_program_that_was_started_through_it():
    every = (one(10, 2, "sshd"), one(11, 10, "sshd"), one(12, 11, "sshd-session"), one(13, 12, "bash"))

    assert [11, 12] == sorted(connections(10, {process.pid: process for process in every}))
    assert [] == connections(None, {})
