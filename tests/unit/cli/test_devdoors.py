"""The doors of a session: `ganger dev connect`, `ssh` and what they start; pod and ssh are played by the test."""

import asyncio
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import urllib.request
from pathlib import Path

import pytest

from ganger.cli import devconnect
from ganger.kube.errors import Forbidden, ServerError
from ports import free_port
from unit.cli.devs import ED25519, HOST_KEY, TOKEN, until

# --- connect ---


def answering(body=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"):
    """A pod that answers one request on each connection, as the kubelet frames it."""

    async def pod(channels):
        channels.put(0, (8888).to_bytes(2, "little"))
        channels.put(1, (8888).to_bytes(2, "little"))
        await until(lambda: b"\r\n\r\n" in channels.sent.get(0, b""))
        channels.put(0, body)
        channels.end()

    return pod


def test_connect_prints_the_address_to_stdout_alone_and_ends_with_the_session(ganger, sessions):
    sessions.running()
    ganger.streams.pod = answering()

    async def scenario():
        await asyncio.sleep(0.05)
        sessions.put(phase="Culled", ended="Idle", message="nothing happened in it for 1h")

    ganger.scenario = scenario

    said = ganger("dev", "connect", "try")

    assert 0 == said.code, said.err
    assert said.out.startswith("http://127.0.0.1:")
    assert said.out.endswith(f"/lab?token={TOKEN}\n")
    assert TOKEN not in said.err
    assert "session try: nothing happened in it for 1h" in said.err
    assert "begin again with: ganger dev up try -n team" in said.err


def test_connections_follow_the_session_to_its_next_pod(ganger, sessions, monkeypatch):
    sessions.running()
    ganger.streams.pod = answering()
    port = free_port()
    got = []

    async def ask():
        got.append(await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()))

    async def scenario():
        await asyncio.sleep(0.05)
        await asyncio.gather(*(ask() for _ in range(5)))
        sessions.put(phase="Pending", start=1, message="evicted")
        await asyncio.sleep(0.05)
        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.05)
        sessions.running(start=1)
        await asking
        os.kill(os.getpid(), signal.SIGINT)

    ganger.scenario = scenario

    said = ganger("dev", "connect", "try", "--port", str(port))

    assert 130 == said.code, said.err
    assert [b"hi"] * 6 == got
    assert ["try-dev-0"] * 5 + ["try-dev-1"] == [pod for pod, _, _ in ganger.streams.opened]
    assert {("portforward", "8888")} == {(kind, *asked["ports"]) for _, kind, asked in ganger.streams.opened}


def test_a_connection_that_fails_is_told_and_the_others_go_on(ganger, sessions):
    sessions.running()
    port = free_port()

    async def refused(channels):
        channels.put(1, (8888).to_bytes(2, "little") + b"connection refused\x1b[2J")

    ganger.streams.pod = refused

    async def scenario():
        await asyncio.sleep(0.05)
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        assert b"" == await reader.read()
        os.kill(os.getpid(), signal.SIGINT)

    ganger.scenario = scenario

    said = ganger("dev", "connect", "try", "--port", str(port))

    assert "a connection failed: connection refused\\x1b[2J" in said.err


def test_a_port_that_is_taken_is_told_where_it_was_asked_for(ganger, sessions):
    sessions.running()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = ganger("dev", "connect", "try", "--port", str(taken.getsockname()[1]))

    assert 2 == said.code
    assert "fix: leave --port out: a free one is found" in said.err


def test_who_may_not_read_the_secret_is_told_what_it_opens(ganger, sessions, monkeypatch):
    sessions.running()
    get = ganger.cluster.get

    async def guarded(resource, namespace, name):
        if resource.plural == "secrets":
            raise Forbidden(403, "Forbidden", 'User "ann" cannot get resource "secrets"')
        return await get(resource, namespace, name)

    monkeypatch.setattr(ganger.cluster, "get", guarded)

    said = ganger("dev", "connect", "try")

    assert (5, "error: reading Secret try-dev failed") == (said.code, said.problem[0])
    assert "who has it may use the session" in said.problem[2]


@pytest.mark.parametrize(
    "state, problem",
    [
        ({"phase": "Culled", "ended": "Idle", "message": "idle"}, ["error: session try is culled", "  why: idle"]),
        ({}, ["error: session try is pending", "  why: no operator has looked at it yet"]),
    ],
)
def test_a_session_that_does_not_run_has_no_doors(ganger, sessions, state, problem):
    sessions.put(spec={"ssh": {"authorizedKeys": [ED25519]}}, **state)

    for command in ("connect", "ssh"):
        said = ganger("dev", command, "try")
        assert (5, problem) == (said.code, said.problem[:2])
        assert "ganger dev up try" in said.problem[2]


def test_the_browser_is_sent_through_a_file_that_only_we_may_read():
    seen = []

    def opened(address):
        path = Path(address.removeprefix("file://"))
        seen.append((stat.S_IMODE(path.stat().st_mode), f"?token={TOKEN}" in path.read_text(), TOKEN in address, path))

    with devconnect._browser(f"http://127.0.0.1:1/lab?token={TOKEN}", opened):
        pass

    (found,) = seen
    assert (0o600, True, False) == found[:3]
    assert not found[3].exists()


# --- ssh ---


@pytest.fixture
def became(monkeypatch):
    """The program that the command became, instead of becoming it."""
    found = []
    monkeypatch.setattr("ganger.cli.devssh._become", lambda program, words: found.append(list(words)))
    return found


def test_ssh_becomes_ssh_with_strict_checking_against_a_file_of_the_session(ganger, sessions, became, home):
    sessions.running(spec={"ssh": {"authorizedKeys": [ED25519]}})

    said = ganger("dev", "ssh", "try", "-i", "key", "--context", "prod", "--", "nvidia-smi", "-L", "a b")

    assert 0 == said.code, said.err
    (words,) = became
    options = dict(word.partition("=")[::2] for word in words[2:-3:2])
    assert ["ssh", "ganger-team-try", "--", "nvidia-smi -L 'a b'"] == [words[0], *words[-3:]]
    assert "yes" == options["StrictHostKeyChecking"]
    assert "ganger" == options["User"]
    assert f'"{Path("key").absolute()}"' == options["IdentityFile"]
    assert options["UserKnownHostsFile"].startswith(f'"{home}/.cache/ganger/hosts/team-try-')
    proxy = shlex.split(options["ProxyCommand"])
    assert ["-n", "team", "--context", "prod"] == proxy[-4:]
    assert ["dev", "proxy", "try", "--known-hosts", options["UserKnownHostsFile"].strip('"')] == proxy[-9:-4]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed here: its reading is not tried")
def test_a_host_block_is_one_that_ssh_understands(ganger, sessions, home):
    sessions.put(spec={"ssh": {"authorizedKeys": [ED25519]}}, phase="Culled", ended="Idle")

    said = ganger("dev", "ssh", "try", "--config")

    assert 0 == said.code, said.err
    config = home / "config"
    config.write_text(said.out)
    ssh = subprocess.run(["ssh", "-G", "-F", str(config), "ganger-team-try"], capture_output=True, text=True)
    assert 0 == ssh.returncode, ssh.stderr
    found = dict(line.partition(" ")[::2] for line in ssh.stdout.splitlines())
    keys = ("user", "stricthostkeychecking", "hostkeyalias")
    assert ["ganger", "true", "ganger-team-try"] == [found[key] for key in keys]
    assert " dev proxy try --known-hosts " in found["proxycommand"]


def test_a_session_without_ssh_says_how_to_get_it(ganger, sessions, became):
    sessions.running()

    said = ganger("dev", "ssh", "try")

    assert (2, "error: session try has no SSH", []) == (said.code, said.problem[0], became)


def test_the_proxy_writes_the_host_key_of_the_pod_and_carries_bytes(ganger, sessions, home, monkeypatch, tmp_path):
    sessions.running(spec={"ssh": {"authorizedKeys": [ED25519]}}, start=2)
    (tmp_path / "in").write_bytes(b"SSH-2.0-client\r\n")
    monkeypatch.setattr("sys.stdin", (tmp_path / "in").open())

    async def pod(channels):
        channels.put(0, (2222).to_bytes(2, "little") + b"SSH-2.0-server\r\n")
        await until(lambda: b"client" in channels.sent.get(0, b""))
        channels.put(0, b"bye")
        channels.end()

    ganger.streams.pod = pod

    file = home / "hosts" / "try"
    said = ganger("dev", "proxy", "try", "--known-hosts", str(file))

    assert (0, "SSH-2.0-server\r\nbye") == (said.code, said.out), said.err
    assert [("try-dev-2", "portforward", {"ports": ["2222"]})] == ganger.streams.opened
    assert f"ganger-team-try {HOST_KEY}\n" == file.read_text()


def test_the_proxy_sends_nothing_where_the_host_key_is_not_known(ganger, sessions, home):
    sessions.running()
    ganger.logs.pods["try-dev-0"] = ["2026-01-01T12:00:00Z hello\n"]

    said = ganger("dev", "proxy", "try", "--known-hosts", str(home / "x"))

    assert (3, "error: the host key of session try is not known", []) == (
        said.code,
        said.problem[0],
        ganger.streams.opened,
    )


def test_the_proxy_tells_ssh_where_nobody_listens(ganger, sessions, home, monkeypatch, tmp_path):
    sessions.running()
    (tmp_path / "in").write_bytes(b"")
    monkeypatch.setattr("sys.stdin", (tmp_path / "in").open())
    ganger.streams.refusal = ServerError(500, "InternalError", "connection refused")

    said = ganger("dev", "proxy", "try", "--known-hosts", str(home / "x"))

    assert (5, "error: reaching SSH of session try failed") == (said.code, said.problem[0])
