"""The first process of a session's pod: keeps JupyterLab and sshd running, counts activity, and ends the session.

It ends when nobody was active for idleSeconds, at the age of maxSeconds, and at SIGTERM; each with exit code 0 and a
last word that says which. Nothing of it waits for the operator.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from ganger import contract
from ganger_session import activity, jupyter, lastword, processes, settings, ssh
from ganger_session.activity import Activity
from ganger_session.child import Child
from ganger_session.health import Health
from ganger_session.reporter import Reporter
from ganger_session.settings import Settings, SettingsError

TICK_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 10.0  # between two looks at the activity, less where idleSeconds is short
OPENING_SECONDS: Final = 120.0  # nobody can be active before the servers answer, so long at most
WARN_SECONDS: Final = 300.0  # before the end, in every terminal
KILL_SECONDS: Final = 2.0  # of the grace period, kept for what does not end
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Run the session and end the process with a code of the contract."""
    try:
        found = settings.read(environ)
        settings.check(found, os.getuid())
    except SettingsError as error:
        log = environ.get(contract.ENV_TERMINATION_LOG, contract.TERMINATION_LOG)
        _leave(Path(log) if log else None, "Failed", "ConfigInvalid", str(error), None, contract.ExitCode.BAD_CONFIG)
    Supervisor(found, environ).run()


class Supervisor:
    """One session's life. `run` does not return."""

    def __init__(self, found: Settings, environ: Mapping[str, str]) -> None:
        self._settings = found
        self._began = time.monotonic()
        self._activity = Activity(self._began)
        self._stop = threading.Event()
        self._ending = False
        self._warned: set[str] = set()
        self._opened = False
        self._server = jupyter.Server(found) if found.jupyter_port is not None else None
        self._folder = Path(tempfile.mkdtemp(prefix="ganger-session-"))  # mode 0700
        self._children: dict[str, Child] = {}
        try:
            self._children = self._make(environ)
        except (OSError, subprocess.CalledProcessError) as error:
            text = f"sshd cannot be prepared: {error}: the pod needs a writable /tmp"
            self._end("Failed", "ServerFailed", text, contract.ExitCode.RETRYABLE)

    def _make(self, environ: Mapping[str, str]) -> dict[str, Child]:
        made, shell = {}, None
        if self._settings.ssh_port is not None:
            account = settings.login(os.getuid())
            shell = account.pw_shell
            command, public = ssh.prepare(self._settings, account.pw_name, self._folder, environ)
            made["sshd"] = Child("sshd", command, environ)
            print(f"host-key {public}", flush=True)  # `ganger dev ssh` reads it
        if self._settings.jupyter_port is not None:
            with contextlib.suppress(SettingsError):
                shell = settings.login(os.getuid()).pw_shell
            values = jupyter.environment(self._settings, environ, self._folder, shell)
            made["jupyter"] = Child("jupyter", jupyter.command(), values)
        return made

    def run(self) -> NoReturn:
        """Start everything, look after it, and end the process."""
        # Whatever loses its parent, a `nohup` of a login for one, stays below this process and is counted.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        Health(self._settings.health_port, self._word)
        idle = self._settings.idle_seconds
        self._report()
        pause = min(LOOK_SECONDS, max(TICK_SECONDS, idle / 12)) if idle else LOOK_SECONDS
        look_at = self._began
        while not self._stop.wait(TICK_SECONDS):
            now = time.monotonic()
            self._tend(now)
            if now >= look_at:
                look_at = now + pause
                self._look(now)
            self._judge(now)
        self._end(contract.SESSION_ENDED, "Stopped", "it was asked to stop")

    def _report(self) -> None:
        found = self._settings
        if found.report_url is not None:
            control = (found.report_url, found.control_token, found.control_authority)
            Reporter(*control, lambda: self._activity.wall, found.idle_seconds).start()

    def _tend(self, now: float) -> None:
        for child in self._children.values():
            child.tend(now)
            if child.hopeless:
                text = f"{child.name} was started {child.starts} times and never answered: the log of the pod says why"
                self._end("Failed", "ServerFailed", text, contract.ExitCode.RETRYABLE)
            if child.pid is not None and not child.ready:
                child.ready = self._answers(child)
                if child.ready:
                    print(f"{child.name} is ready", flush=True)
        if not self._opened and (self._word() == "ok" or now - self._began >= OPENING_SECONDS):
            self._opened = True
            self._activity.begin(now)
        own = {child.pid for child in self._children.values()}
        for process in processes.look().values():
            if process.parent == os.getpid() and process.state == "Z" and process.pid not in own:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)

    def _answers(self, child: Child) -> bool:
        if child.name == "jupyter":
            return self._server is not None and self._server.answers()
        return processes.listens(self._settings.ssh_port or 0)

    def _word(self) -> str:
        if self._ending:
            return "stopping"
        return "ok" if all(child.ready for child in self._children.values()) else "starting"

    def _look(self, now: float) -> None:
        pids = {name: child.pid for name, child in self._children.items()}
        glance = activity.look(os.getpid(), pids, self._folder, self._server)
        self._activity.take(glance, now, time.time())

    def _judge(self, now: float) -> None:
        """End the session where it is time to, and say so beforehand."""
        idle, limit = self._settings.idle_seconds, self._settings.max_seconds
        quiet, age = now - self._activity.last if self._opened else 0.0, now - self._began
        if age >= limit:
            self._end(contract.SESSION_ENDED, "Expired", f"it has reached its maximum life of {limit} s")
        if idle and quiet >= idle:
            text = f"nothing was done for {idle} s (last: {self._activity.what})"
            self._end(contract.SESSION_ENDED, "Idle", text)
        ends = {"is as old as it may become": (limit - age, limit)} | (
            {"is idle": (idle - quiet, idle)} if idle else {}
        )
        near = {why: left for why, (left, whole) in ends.items() if left <= min(WARN_SECONDS, whole / 2)}
        for why in near.keys() - self._warned:
            left = max(1, round(near[why] / 60))
            self._tell(f"this session {why}: it ends in {left} min; what is in its workspace stays")
        self._warned = set(near)

    def _tell(self, text: str) -> None:
        """Say it in every terminal, and in the log."""
        print(text, flush=True)
        inside = processes.of_session(os.getpid(), processes.look())
        for number in {one.terminal for one in inside.values() if one.terminal is not None}:
            with contextlib.suppress(OSError):
                descriptor = os.open(f"/dev/pts/{number}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
                with os.fdopen(descriptor, "wb", buffering=0) as terminal:
                    terminal.write(f"\r\n*** {text} ***\r\n".encode())
        self._activity.ignore_terminals(time.time())

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _end(self, outcome: str, reason: str, message: str, code: int = contract.ExitCode.DONE) -> NoReturn:
        """End everything in order: Jupyter ends its kernels, logins are hung up, what is left is killed."""
        self._ending = True
        # First, while there is time: a kubelet whose patience ends takes what is there.
        lastword.write(self._settings.termination_log, lastword.compose(outcome, reason, message, self._activity.wall))
        self._tell(f"this session ends: {message}")
        deadline = time.monotonic() + max(1.0, self._settings.grace_seconds - KILL_SECONDS)
        for child in self._children.values():
            child.end()
        jupyter_pid = self._children["jupyter"].pid if "jupyter" in self._children else None
        self._signal(signal.SIGTERM, sparing=jupyter_pid)
        self._signal(signal.SIGHUP, sparing=jupyter_pid)  # an interactive shell heeds nothing else
        if "jupyter" in self._children:
            self._wait(deadline, self._children["jupyter"].gone)
            self._signal(signal.SIGTERM)
        self._wait(deadline, lambda: not self._alive())
        self._signal(signal.SIGKILL)
        _leave(self._settings.termination_log, outcome, reason, message, self._activity.wall, code)

    def _wait(self, deadline: float, done: Callable[[], bool]) -> None:
        while not done() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _alive(self, sparing: int | None = None) -> list[int]:
        seen = processes.look()
        spared = {sparing, *processes.below(sparing, seen)} if sparing is not None else set()
        inside = processes.of_session(os.getpid(), seen)
        return [pid for pid, one in inside.items() if one.state != "Z" and pid not in spared]

    def _signal(self, number: int, *, sparing: int | None = None) -> None:
        for pid in self._alive(sparing):
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def _leave(log: Path | None, outcome: str, reason: str, message: str, last: float | None, code: int) -> NoReturn:
    lastword.write(log, lastword.compose(outcome, reason, message, last))
    stream = sys.stdout if code == contract.ExitCode.DONE else sys.stderr
    print(f"{reason}: {message}", file=stream, flush=True)
    os._exit(code)
