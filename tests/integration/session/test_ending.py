"""When a session ends, and how: by what is done in it, by its age, and when it is told to."""

import os
import signal
import subprocess
import time
from datetime import datetime

import pytest

from integration.session.browser import Tab
from integration.session.conftest import wait
from operator_end import OperatorEnd

IDLE = {"GANGER_SESSION_IDLE_SECONDS": "4"}


def open_login(pod, command: str = "cat") -> subprocess.Popen:
    """A connection that stays, and proves each second that it is alive."""
    words = pod.ssh_command("-tt", "-o", "ServerAliveInterval=1")
    return subprocess.Popen([*words, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_an_open_tab_and_an_open_login_keep_nothing_alive_and_a_busy_kernel_does(make_pod):
    pod = make_pod(environ=IDLE).start().until_ready()
    tab, login = Tab(pod), open_login(pod)
    tab.run("import time")
    tab.send("time.sleep(7)")
    began = time.monotonic()

    while pod.process.poll() is None and time.monotonic() - began < 40:
        try:
            tab.poll()
        except OSError:
            break
        time.sleep(0.5)

    assert 0 == pod.end()
    assert 7 + 4 <= time.monotonic() - began < 7 + 4 + 8, pod.log
    told = pod.message
    assert ("Ended", "Idle") == (told["outcome"], told["reason"])
    assert "nothing was done for 4 s (last: a kernel was used)" == told["message"]
    assert 4 <= time.time() - datetime.fromisoformat(told["lastActivityTime"]).timestamp() < 14
    assert b"this session is idle" in login.communicate(timeout=10)[0]
    assert 255 == login.returncode


def test_what_is_done_over_ssh_keeps_it_alive(make_pod):
    """Printing, computing, and data without a terminal: three sessions side by side, each with one of them."""
    commands = (
        "while sleep 1; do date; done",
        "exec >/dev/null </dev/null; sleep 1; while :; do :; done",
        "while sleep 0.5; do head -c 8000 /dev/zero; done",
    )
    # Longer than the 8 seconds to which the kernel keeps the times of a terminal.
    pods = [make_pod(jupyter=False, environ={"GANGER_SESSION_IDLE_SECONDS": "10"}).start() for _ in commands]
    options = [("-tt",), ("-tt",), ()]
    logins = []
    for pod, command, option in zip(pods, commands, options, strict=True):
        words = [*pod.until_ready(20).ssh_command(*option), command]
        logins.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
    time.sleep(13)

    assert [None] * 3 == [pod.process.poll() for pod in pods], [pod.log for pod in pods]
    for pod, login in zip(pods, logins, strict=True):
        login.kill()
        login.communicate()
        os.kill(pod.first(), signal.SIGTERM)
    assert [0] * 3 == [pod.end(20) for pod in pods]


def test_it_tells_the_operator_when_something_was_last_done(make_pod):
    pod = make_pod(jupyter=False, environ=dict(IDLE))
    operator = OperatorEnd(pod.folder).start()
    pod.environ |= {
        "GANGER_SESSION_REPORT_URL": f"https://127.0.0.1:{operator.port}/v1/sessions/uid-s/report",
        "GANGER_CONTROL_TOKEN": str(operator.token),
        "GANGER_CONTROL_CA": str(operator.authority),
    }
    code = pod.start().end(40)
    operator.stop()

    assert 0 == code, pod.log
    assert {"Bearer secret-1"} == set(operator.tokens)
    last = {"lastActivityTime": pod.message["lastActivityTime"], "idleSeconds": 4}
    assert [last, last] == operator.reports[-2:]


def test_it_ends_at_its_age_whatever_is_done(make_pod):
    pod = make_pod(jupyter=False, environ={"GANGER_SESSION_MAX_SECONDS": "4"}).start().until_ready(20)
    login = open_login(pod, "while sleep 0.2; do date; done")

    assert 0 == pod.end(20)
    assert ("Expired", "it has reached its maximum life of 4 s") == (pod.message["reason"], pod.message["message"])
    assert b"this session is as old as it may become" in login.communicate(timeout=10)[0]


def test_told_to_stop_it_ends_everything_in_order_and_in_time(make_pod):
    pod = make_pod().start().until_ready()
    Tab(pod).run("import atexit, pathlib; atexit.register(pathlib.Path('kernel-ended').touch)")
    left = "trap 'touch login-ended; exit' TERM; touch began; while :; do sleep 0.2; done"
    pod.run(f'nohup sh -c "{left}" >/dev/null 2>&1 &')
    wait((pod.folder / "workspace" / "began").exists, 10, lambda: pod.log, pod.process)
    began = time.monotonic()
    os.kill(pod.first(), signal.SIGTERM)

    assert 0 == pod.end(20)
    assert time.monotonic() - began < 10
    assert ("Ended", "Stopped") == (pod.message["outcome"], pod.message["reason"])
    names = [path.name for path in (pod.folder / "workspace").iterdir()]
    assert {"kernel-ended", "login-ended"} <= set(names), pod.log


def test_a_server_that_dies_is_started_anew_and_the_probe_says_so(make_pod):
    pod = make_pod().start().until_ready()
    os.kill(pod.pid_of("-m jupyterlab"), signal.SIGKILL)

    wait(lambda: (503, "starting\n") == pod.health(), 10, lambda: pod.log, pod.process)
    pod.until_ready()
    assert "jupyter ended (signal 9), it starts again in 1 s" in pod.log
    assert 1 == pod.log.count("host-key ")


def test_without_doors_it_lives_by_what_comes_with_kubectl_exec(make_pod):
    pod = make_pod(jupyter=False, ssh=False, environ=IDLE).start().until_ready(20)
    # A process that joins from outside has no parent that those inside can see.
    words = ["nsenter", "--target", str(pod.first()), "--pid", "--mount", "--setuid", "1000", "--setgid", "1000"]
    words += ["sh", "-c", "while :; do :; done"]
    with subprocess.Popen(words) as entered:
        time.sleep(7)
        kept = pod.process.poll()
        if kept is None:
            os.kill(pod.first(), signal.SIGTERM)
        code = pod.end(20)

    assert (None, 0) == (kept, code), pod.log
    assert -signal.SIGTERM == entered.returncode


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"token": " "}, "holds no token: the session's Secret, key `token`, has to have one"),
        (
            {"environ": {"GANGER_SESSION_IDLE_SECONDS": "soon"}},
            "GANGER_SESSION_IDLE_SECONDS is 'soon', allowed: a whole",
        ),
    ],
    ids=["no token", "no number"],
)
def test_what_cannot_be_a_session_ends_at_once_and_says_why(make_pod, fields, said):
    pod = make_pod(**fields).start()

    assert 78 == pod.end(20)
    assert ("Failed", "ConfigInvalid") == (pod.message["outcome"], pod.message["reason"])
    assert said in pod.message["message"]
    assert said in pod.log
