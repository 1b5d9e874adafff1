"""What holds for every session: SIGINT reaches the tests, and the last lines count the checks of the invariants."""

import signal

import pytest

from chaos import tally


def pytest_configure():
    """Take SIGINT again where a shell started the session with `&`: it is ignored there, by every child too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session):
    """A worker of xdist hands its counts over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["invariant_events"] = dict(tally.events)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take in the counts of a worker; one that crashed has none."""
    for where, count in getattr(node, "workeroutput", {}).get("invariant_events", {}).items():
        tally.add(where, count)


def pytest_terminal_summary(terminalreporter):
    """Say the counts."""
    for where, count in sorted(tally.events.items()):
        terminalreporter.write_line(f"invariants checked at {count} watch events of {where}")
