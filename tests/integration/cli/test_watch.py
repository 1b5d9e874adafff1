"""`ganger watch` in a real terminal against the real API server; the test plays the operator."""

import signal
import sys
import threading
from pathlib import Path

import pexpect
import pyte
import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"  # of the alternate screen
SHOW_CURSOR = b"\x1b[?25h"
WIDTH, HEIGHT = 100, 40


class Terminal:
    """`ganger` in a pseudo-terminal, and what a person sees of it."""

    def __init__(self, ganger, *arguments: str, **environ: str) -> None:
        self._screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.ByteStream(self._screen)
        self.sent = b""
        where = ["--kubeconfig", ganger.kubeconfig, "-n", ganger.namespace]
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "ganger.cli", *arguments, *where],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "operator"), "TERM": "xterm", "LANG": "C.UTF-8"}
            | environ,
            dimensions=(HEIGHT, WIDTH),
            timeout=30,
        )

    def read(self) -> bool:
        """Take what has come; False at the end."""
        try:
            piece = self.child.read_nonblocking(1 << 16, timeout=0.2)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.sent += piece
        # pyte keeps no alternate screen: entering one clears it, as a terminal does.
        self._stream.feed(piece.replace(ENTER, b"\x1b[2J\x1b[H"))
        return True

    @property
    def lines(self) -> list[str]:
        """The lines that are on the screen now."""
        return [line.rstrip() for line in self._screen.display]

    def shows(self, text: str) -> str:
        """Return the line with the text once it is there."""

        def found() -> str:
            self.read()
            return next((line for line in self.lines if text in line), "")

        try:
            return wait_for(found, 30, f"{text!r} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.lines)) from None

    def code(self) -> int:
        """Return the exit code once the command has ended."""
        wait_for(lambda: not self.read(), 30, "the end of the command")
        self.child.close()
        return self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus


@pytest.fixture
def terminal(ganger):
    """Call `ganger` in a terminal; what is left of it ends with the test."""
    started = []

    def start(*arguments: str, **environ: str) -> Terminal:
        started.append(Terminal(ganger, *arguments, **environ))
        return started[-1]

    yield start
    for one in started:
        one.child.close(force=True)


def progress(step: int, loss: str):
    return {"step": step, "totalSteps": 200, "percent": f"{step // 2}%", "loss": loss, "samplesPerSecond": 64.0}


def test_a_status_that_changes_changes_the_screen_and_the_end_of_the_job_ends_the_watch(ganger, terminal):
    ganger("submit", ganger.manifest())

    screen = terminal("watch", "digits")
    assert "digits  Pending  0/2 workers" in screen.shows("Pending")

    ganger.says("Running", phase="Running", workers="2/2", progress=progress(50, "0.9"))
    assert "digits  Running  2/2 workers" in screen.shows("Running")
    assert "25%  step 50/200" in screen.shows("Progress")

    ganger.says("Running", progress=progress(100, "0.4"))
    assert "50%  step 100/200" in screen.shows("step 100")
    assert "100: 0.4" in screen.shows("step 50")  # the axis of the curve, from the first step seen to the last

    ganger.says("Complete", phase="Complete")

    assert 0 == screen.code()
    assert 1 == screen.sent.count(ENTER) == screen.sent.count(LEAVE)
    assert screen.sent.rindex(SHOW_CURSOR) > screen.sent.index(ENTER)
    rest = screen.sent[screen.sent.index(LEAVE) :].decode()
    assert "step 100/200" in rest, "the last picture stays"
    assert "digits is complete" in rest


def test_a_failed_job_ends_the_watch_with_its_code_and_no_colour_is_sent_where_none_is_wanted(ganger, terminal):
    ganger("submit", ganger.manifest())
    screen = terminal("watch", "digits", NO_COLOR="1")
    screen.shows("Pending")

    last = {"attempt": 0, "reason": "OOMKilled", "exitCode": 137, "lastLines": ["out of memory"]}
    ganger.says("Failed", "MaxRestartsReached", phase="Failed", restarts={"total": 0, "last": last})

    assert 1 == screen.code()
    assert b"OOMKilled, exit 137 in a worker" in screen.sent
    assert b"| out of memory" in screen.sent
    assert b"\x1b[3" not in screen.sent
    assert b"\x1b[1;3" not in screen.sent


def test_colours_are_sent_where_they_are_wanted(ganger, terminal):
    ganger("submit", ganger.manifest())

    screen = terminal("watch", "digits")
    screen.shows("Pending")

    assert b"\x1b[33mPending" in screen.sent


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_watch_restores_the_terminal(ganger, terminal, number, code):
    ganger("submit", ganger.manifest())
    screen = terminal("watch")
    assert "digits" in screen.shows("Pending  ")
    assert "1 job in" in screen.lines[0]

    ganger("submit", ganger.manifest("second"))
    assert "0/2" in screen.shows("second")
    screen.child.kill(number)

    assert code == screen.code()
    assert screen.sent.index(LEAVE) > screen.sent.index(ENTER)
    assert screen.sent.rindex(SHOW_CURSOR) > screen.sent.index(ENTER)
    assert b"Traceback" not in screen.sent


def test_jobs_of_every_namespace_are_told_apart(ganger, terminal):
    ganger("submit", ganger.manifest())

    screen = terminal("watch", "-A")

    assert ganger.namespace in screen.shows(f"{ganger.namespace}  digits")
    assert "in all namespaces" in screen.lines[0]
    assert screen.lines[1].startswith("NAMESPACE")


def test_a_job_that_is_not_there_is_told_without_a_screen(ganger, terminal):
    screen = terminal("watch", "nothing")

    assert 3 == screen.code()
    assert b"there is no job nothing" in screen.sent
    assert ENTER not in screen.sent


def test_a_pipe_gets_lines(ganger):
    ganger("submit", ganger.manifest())
    timer = threading.Timer(0.4, ganger.says, ["Complete"], {"phase": "Complete", "workers": "2/2"})
    timer.start()

    said = ganger("watch", "digits")
    timer.join()

    assert 0 == said.code, said.err
    assert "\x1b" not in said.out
    phases = [line.split()[3] for line in said.out.splitlines()]
    assert ["phase=Pending", "phase=Complete"] == phases
