"""`ganger shell`: where it goes, what it sends and prints, and its exit code. The pod is played by the test."""

import os
import pty
import signal
import struct
import termios

import pytest

from ganger.kube.errors import Forbidden, Unreachable

SUCCESS = b'{"metadata":{},"status":"Success"}'
EXITED = b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"%d"}]}}'
NOT_FOUND = b'{"status":"Failure","reason":"InternalError","code":500,"message":"exec: \\"bash\\": not found in $PATH"}'


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """What comes at standard input, as a file does."""

    def typed(text: bytes):
        path = tmp_path / "stdin"
        path.write_bytes(text)
        monkeypatch.setattr("sys.stdin", path.open())

    typed(b"")
    return typed


def running(ganger, **spec):
    ganger.job(spec=spec, Running="Test", phase="Running")
    for worker in (0, 1):
        ganger.pod(worker)


def ends(said: bytes, output: bytes = b""):
    async def pod(channels):
        if output:
            channels.put(1, output)
        channels.put(3, said)
        channels.end()

    return pod


def test_a_command_runs_in_worker_0_and_its_output_and_exit_code_are_ours(ganger, typed):
    running(ganger)
    ganger.streams.pod = ends(EXITED % 7, b"\x1b[1mraw\x1b[0m\n")

    said = ganger("shell", "digits", "--", "ls", "-l", "--", "x")

    assert (7, "\x1b[1mraw\x1b[0m\n", "") == (said.code, said.out, said.err)
    assert ("digits-0-0", "exec") == ganger.streams.opened[0][:2]
    asked = {"container": ["trainer"], "stdout": ["true"], "stdin": ["true"], "stderr": ["true"]}
    assert asked | {"command": ["ls", "-l", "--", "x"]} == ganger.streams.opened[0][2]


def test_outputs_are_kept_apart_and_input_comes_whole_with_its_end(ganger, typed):
    running(ganger)
    typed(b"x" * 100_000)
    seen = {}

    async def pod(channels):
        while 0 not in channels.closed:
            await _tick()
        seen["stdin"] = len(channels.sent[0])
        channels.put(1, b"out")
        channels.put(2, b"err")
        channels.put(3, SUCCESS)
        channels.end()

    ganger.streams.pod = pod

    said = ganger("shell", "digits", "--", "cat")

    assert (0, "out", "err") == (said.code, said.out, said.err)
    assert {"stdin": 100_000} == seen


@pytest.mark.parametrize(
    "options, pod",
    [(["--worker", "1"], "digits-0-1"), (["--rank", "3"], "digits-0-1"), (["--rank", "1"], "digits-0-0")],
)
def test_worker_and_rank_say_where(ganger, typed, options, pod):
    running(ganger, processesPerWorker=2)
    ganger.streams.pod = ends(SUCCESS)

    assert 0 == ganger("shell", "digits", *options, "--", "true").code
    assert pod == ganger.streams.opened[0][0]


@pytest.mark.parametrize(
    "options, what, why",
    [
        (["--worker", "2"], "job digits has no worker 2", "it has workers 0 to 1"),
        (["--rank", "4"], "job digits has no rank 4", "it has ranks 0 to 3"),
    ],
)
def test_a_worker_that_there_is_not_is_told_with_those_that_are(ganger, typed, options, what, why):
    running(ganger, processesPerWorker=2)

    said = ganger("shell", "digits", *options)

    assert (3, [f"error: {what}", f"  why: {why}"]) == (said.code, said.problem)


def test_a_job_that_does_not_run_is_told_with_the_way_to_a_pod_like_it(ganger, typed):
    ganger.job()
    ganger.pod(0, phase="Pending")

    said = ganger("shell", "digits")

    assert (5, "error: worker 0 of job digits does not run") == (said.code, said.problem[0])
    assert "'ganger shell digits --new' opens a pod like its own" in said.problem[2]


@pytest.mark.parametrize("end", ["complete", "failed"])
def test_a_new_pod_like_the_jobs_is_made_entered_and_removed(ganger, typed, end):
    ganger.job()
    ganger.streams.pod = ends(EXITED % 3, b"inside")

    async def scenario():
        await ganger.cluster.made.wait()
        ((_, name),) = [key for key in ganger.cluster.objects if key[0] == "devsessions"]
        session = ganger.cluster.objects["devsessions", name]
        ended = {"type": "Ended", "status": "True", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "pod": f"{name}-dev-0"} if end == "complete" else {
            "phase": "Failed", "message": "no image", "conditions": [ended]
        }  # fmt: skip
        ganger.cluster.put("devsessions", session | {"status": status})

    ganger.scenario = scenario

    said = ganger("shell", "digits", "--new", "--image", "x:1", "--", "ls")

    created, deleted = ganger.cluster.writes
    name = created.removeprefix("create ")
    assert name.startswith("digits-shell-")
    assert f"delete {name} {name}-uid" == deleted
    if end == "failed":
        assert (1, f"error: session {name} is failed", []) == (said.code, said.problem[0], ganger.streams.opened)
    else:
        assert (3, "inside") == (said.code, said.out), said.err
        assert (f"{name}-dev-0", "exec", ["session"]) == (
            *ganger.streams.opened[0][:2],
            ganger.streams.opened[0][2]["container"],
        )


def test_a_command_that_the_image_has_not_is_told_in_three_lines(ganger, typed):
    running(ganger)
    ganger.streams.pod = ends(NOT_FOUND)

    said = ganger("shell", "digits", "--", "bash")

    assert [
        "error: bash was not started in digits-0-0",
        '  why: exec: "bash": not found in $PATH',
        "  fix: name a command that the image has, behind --",
    ] == said.problem


def test_who_may_not_enter_pods_is_told_so(ganger, typed):
    running(ganger)
    ganger.streams.refusal = Forbidden(403, "Forbidden", 'User "ann" cannot create resource "pods/exec"')

    said = ganger("shell", "digits")

    assert (5, "error: entering digits-0-0 failed", '  why: User "ann" cannot create resource "pods/exec"') == (
        said.code,
        *said.problem[:2],
    )


@pytest.mark.parametrize("end", [None, Unreachable("the connection to the pod broke (websocket code 1006)")])
def test_a_connection_that_is_cut_is_no_exit_code(ganger, typed, end):
    running(ganger)

    async def pod(channels):
        channels.put(1, b"half")
        channels.end(end)

    ganger.streams.pod = pod

    said = ganger("shell", "digits", "--", "sleep", "9")

    assert (5, "half", "error: the way into digits-0-0 is lost") == (said.code, said.out, said.problem[0])


@pytest.fixture
def terminal(monkeypatch):
    """A real pseudo-terminal of 100 columns: the descriptors of the person and of the command, and who sits down.

    To sit down is for the test itself: pytest puts its own standard output back before it calls it.
    """
    person, ours = pty.openpty()
    resize(person, 100, 30)

    def sit():
        monkeypatch.setattr("sys.stdin", os.fdopen(ours, "r", closefd=False))
        monkeypatch.setattr("sys.stdout", os.fdopen(os.dup(ours), "w"))

    yield person, ours, sit
    os.close(person)


def resize(descriptor, columns, rows):
    import fcntl

    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_in_a_terminal_keys_go_through_raw_and_its_size_follows(ganger, terminal):
    person, ours, sit = terminal
    sit()
    running(ganger)
    before = termios.tcgetattr(ours)
    seen = {}

    async def pod(channels):
        while b"30" not in channels.sent.get(4, b""):
            await _tick()
        seen["raw"] = not termios.tcgetattr(ours)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(person, b"\x03")  # Ctrl-C belongs to the program in the pod
        resize(person, 50, 20)
        os.kill(os.getpid(), signal.SIGWINCH)
        while channels.sent.get(0) != b"\x03" or b"20" not in channels.sent[4]:
            await _tick()
        channels.put(1, b"$ \x1b[2Jbye")
        channels.put(3, EXITED % 130)
        channels.end()

    ganger.streams.pod = pod

    said = ganger("shell", "digits")

    assert 130 == said.code
    assert {"raw": True} == seen
    assert b"$ \x1b[2Jbye" == os.read(person, 100)
    assert before == termios.tcgetattr(ours)
    _, _, asked = ganger.streams.opened[0]
    assert (["true"], "stderr" in asked, ["sh", "-c"]) == (asked["tty"], False, asked["command"][:2])


async def _tick():
    import asyncio

    await asyncio.sleep(0.002)
