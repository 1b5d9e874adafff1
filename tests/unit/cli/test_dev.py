"""`ganger dev`: what is sent, printed and refused; the operator, the pod and ssh are played by the test."""

import asyncio
import base64
import json
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
import yaml

from builders import T0, at
from ganger.cli import devconnect, devup, main
from ganger.kube.errors import Forbidden, NotFound, ServerError

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " ann@laptop"
TOKEN = "canary-token-0123456789"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostHostHostHostHostHostHostHostHostHostHos"


async def until(holds, seconds=5):
    """Return once it holds; the fakes tell nobody."""
    for _ in range(int(seconds / 0.002)):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never held")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without keys."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


class Sessions:
    """Sessions of the fake cluster, and an operator that answers."""

    def __init__(self, ganger) -> None:
        self.ganger = ganger
        self.cluster = ganger.cluster

    def put(self, name="try", spec=None, **status):
        """Put a session. `ended` is the reason of an end."""
        ended = status.pop("ended", "")
        one = {"type": "Ended", "status": "True", "reason": ended, "message": "", "lastTransitionTime": T0.isoformat()}
        stored = self.cluster.objects.get(("devsessions", name), {})
        return self.cluster.put(
            "devsessions",
            {
                "metadata": stored.get("metadata", {}) | {"name": name, "namespace": "team", "uid": f"{name}-uid"},
                "spec": spec if spec is not None else stored.get("spec", {}),
                "status": {"conditions": [one] if ended else []} | status,
            },
        )

    def running(self, name="try", spec=None, start=0, **status):
        """Put a session that runs, its pod, its Secret and the log with its host key."""
        pod = f"{name}-dev-{start}"
        self.cluster.put("secrets", {"metadata": {"name": f"{name}-dev"}, "data": {"token": _base64(TOKEN)}})
        self.cluster.put("pods", {"metadata": {"name": pod}, "status": {"phase": "Running"}})
        stamp = "2026-01-01T12:00:00Z"
        self.ganger.logs.pods[pod] = [f"{stamp} host-key {HOST_KEY}\n{stamp} host-key ssh-ed25519 forged\n"]
        self.put(name, spec, phase="Running", start=start, pod=pod, secretName=f"{name}-dev", message="open", **status)

    def operates(self, *steps):
        """Once something is written, put one status after the other."""

        before = len(self.cluster.writes)

        async def scenario():
            await until(lambda: len(self.cluster.writes) > before)
            for step in steps:
                step()
                await asyncio.sleep(0.02)

        self.ganger.scenario = scenario

    def stored(self, name="try"):
        return self.cluster.objects["devsessions", name]


def _base64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def sessions(ganger, home):
    return Sessions(ganger)


def test_up_makes_what_the_options_say_and_tells_the_way_until_it_runs(ganger, sessions, home):
    (home / ".ssh" / "id_ed25519.pub").write_text(ED25519 + "\n")
    sessions.operates(lambda: sessions.put(phase="Pending", message="no node has a free GPU"), sessions.running)

    said = ganger("dev", "up", "try", "--from-job", "digits", "--gpus", "1", "--cpu", "4", "--memory", "16Gi",
                  "--storage", "20Gi", "--idle", "2h", "--max", "1d", "--no-connect", "-n", "team")  # fmt: skip

    assert (0, "try runs\n") == (said.code, said.out), said.err
    assert {
        "fromJob": "digits",
        "idleSeconds": 7200,
        "maxSeconds": 86400,
        "storage": {"size": "20Gi"},
        "ssh": {"authorizedKeys": [ED25519]},
        "resources": {
            "requests": {"cpu": "4", "memory": "16Gi"},
            "limits": {"memory": "16Gi", "nvidia.com/gpu": 1},
        },
    } == sessions.stored()["spec"]
    assert [
        "session try made in namespace team",
        "try: Pending: no node has a free GPU",
        "open",
    ] == said.err.splitlines()


def test_up_connects_to_a_session_that_runs_and_writes_nothing(ganger, sessions):
    sessions.running()

    said = ganger("dev", "up", "try", "--no-connect")

    assert (0, "try runs\n", []) == (said.code, said.out, ganger.cluster.writes)


def test_up_starts_an_ended_session_again_with_other_values_where_they_are_named(ganger, sessions):
    old = {"resources": {"limits": {"memory": "1Gi", "nvidia.com/gpu": 1}}, "image": "x:1"}
    sessions.put(spec=old, phase="Culled", ended="Idle", start=3, endTime=at(59).isoformat())
    sessions.operates(lambda: sessions.put(phase="Pending", start=4), lambda: sessions.running(start=4))

    said = ganger("dev", "up", "try", "--memory", "2Gi", "--no-connect")

    assert 0 == said.code, said.err
    (write,) = ganger.cluster.writes
    patch = json.loads(write.removeprefix("patch ").rpartition(" ")[0])
    assert {"ganger.dev/start-requested-at": "2026-01-01T12:01:01Z"} == patch["metadata"]["annotations"]
    limits = {"memory": "2Gi", "nvidia.com/gpu": None}
    assert {"resources": {"requests": {"memory": "2Gi"}, "limits": limits}, "suspend": False} == patch["spec"]
    assert "session try is started again; it was culled" in said.err


def test_up_refuses_to_change_a_session_that_runs(ganger, sessions):
    sessions.running(spec={"image": "x:1"})

    said = ganger("dev", "up", "try", "--image", "x:2")

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert [
        "error: session try runs with other values than these",
        "  why: spec.image",
        "  fix: leave the options out to connect to it; to change it: ganger dev stop try, then the same command",
    ] == said.problem


def test_up_of_a_session_that_fails_tells_why(ganger, sessions):
    text = "image x:1 holds no session: build it FROM pytorch-cuda-dev"
    sessions.operates(lambda: sessions.put(phase="Failed", ended="ImageWithoutSession", message=text))

    said = ganger("dev", "up", "try", "--image", "x:1")

    assert (1, "error: session try is failed", f"  why: {text}") == (said.code, *said.problem[:2])


def test_up_without_an_operator_says_so(ganger, sessions, monkeypatch):
    monkeypatch.setattr(devup, "SILENCE_SECONDS", 0.01)

    async def scenario():
        await ganger.cluster.made.wait()
        await asyncio.sleep(0.05)
        sessions.cluster.take("devsessions", "try")

    ganger.scenario = scenario

    said = ganger("dev", "up", "try", "--no-connect")

    assert "no operator has looked at the session" in said.err
    assert (3, "error: session try was deleted") == (said.code, said.problem[0])


@pytest.mark.parametrize(
    "options, text",
    [
        (["--idle", "5s"], "spec.idleSeconds: idleSeconds must be 0, for never, or at least 60"),
        (["--memory", "lots"], "spec.resources"),
        (["--storage", "0"], "spec.storage.size: size of storage must be greater than 0"),
        (["--max", "30d"], "spec.maxSeconds: must be at least 60 and at most 604800"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_field(ganger, sessions, options, text):
    said = ganger("dev", "up", "try", *options)

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert text in said.err


def test_a_cluster_that_knows_no_sessions_is_told_with_the_remedy(ganger, sessions, monkeypatch):
    async def get(resource, namespace, name):
        raise NotFound(404, "NotFound", "the server could not find the requested resource")

    monkeypatch.setattr(ganger.cluster, "get", get)

    said = ganger("dev", "up", "try")

    assert (3, "error: there are no dev sessions in this cluster") == (said.code, said.problem[0])
    assert "helm upgrade --install ganger" in said.problem[2]


@pytest.mark.parametrize(
    "name, content, why",
    [
        ("key", "-----BEGIN OPENSSH PRIVATE KEY-----", "it is a private key, and there is no key.pub beside it"),
        ("weak.pub", "ssh-dss AAAA", "it holds no key that a session takes, but ssh-dss"),
        ("with.pub", f'command="x" {ED25519}', "it holds no key that a session takes, but command="),
        ("none.pub", "\n", "it is empty"),
    ],
)
def test_what_is_no_public_key_is_refused_and_a_private_one_never_sent(ganger, sessions, home, name, content, why):
    (home / name).write_text(content)

    said = ganger("dev", "up", "try", "--ssh-key", str(home / name))

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert why in said.problem[1]
    assert "PRIVATE" not in said.err


def test_of_a_private_key_the_public_one_beside_it_is_taken(ganger, sessions, home):
    (home / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (home / "key.pub").write_text(ED25519)
    sessions.operates(sessions.running)

    assert 0 == ganger("dev", "up", "try", "--ssh-key", str(home / "key"), "--no-connect").code
    assert {"authorizedKeys": [ED25519]} == sessions.stored()["spec"]["ssh"]


def test_a_manifest_says_the_rest_and_its_mistakes_have_lines(ganger, sessions, home):
    path = home / "session.yaml"
    path.write_text(yaml.safe_dump({
        "apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "try"}, "spec": {"idle": 1}
    }))  # fmt: skip
    said = ganger("dev", "up", "try", "-f", str(path))
    assert f"{path}:6: spec.idle: unknown field" in said.err

    path.write_text(path.read_text().replace("idle: 1", "idleSeconds: 600"))
    sessions.operates(sessions.running)
    assert 0 == ganger("dev", "up", "try", "-f", str(path), "--cpu", "2", "--no-connect").code
    assert {"idleSeconds": 600, "resources": {"requests": {"cpu": "2"}}} == sessions.stored()["spec"]


def test_ls_prints_one_line_for_each_session(ganger, sessions):
    sessions.running(
        "b", {"fromJob": "digits", "ssh": {"authorizedKeys": [ED25519]}}, lastActivityTime=at(30).isoformat()
    )
    sessions.put("a", {"jupyter": False}, phase="Culled", ended="Idle")

    assert [
        "NAME   PHASE     JOB      DOORS         IDLE   AGE",
        "a      Culled                                  60s",
        "b      Running   digits   jupyter+ssh   30s    60s",
    ] == ganger("dev", "ls").out.splitlines()
    assert "devsession.ganger.dev/a\ndevsession.ganger.dev/b\n" == "".join(
        sorted(ganger("dev", "ls", "-o", "name").out.splitlines(keepends=True))
    )
    assert ["a", "b"] == sorted(
        item["metadata"]["name"] for item in json.loads(ganger("dev", "ls", "-o", "json").out)["items"]
    )
    assert ["POD", "MESSAGE"] == ganger("dev", "ls", "-o", "wide").out.splitlines()[0].split()[-2:]


def test_ls_of_nothing_says_how_to_begin(ganger, sessions):
    assert "no sessions in namespace team; 'ganger dev up NAME' opens one\n" == ganger("dev", "ls").err


def test_stop_says_what_stays(ganger, sessions):
    sessions.running(spec={"storage": {"size": "1Gi"}})

    said = ganger("dev", "stop", "try")

    assert (0, "try stopped\n") == (said.code, said.out)
    assert ['patch {"spec": {"suspend": true}} try'] == ganger.cluster.writes
    assert [
        "claim try-workspace and what is in /workspace stay",
        "begin again with: ganger dev up try -n team",
    ] == said.err.splitlines()
    assert "try is stopped already\n" == ganger("dev", "stop", "try").out


@pytest.mark.parametrize(
    "spec, stays",
    [
        ({}, "it has no storage (spec.storage): what was in /workspace goes with its pod"),
        ({"storage": {"claimName": "home"}}, "claim home and what is in /workspace stay"),
    ],
)
def test_delete_asks_and_says_what_stays(ganger, sessions, spec, stays):
    sessions.running(spec=spec)

    assert "fix: add --yes" in ganger("dev", "delete", "try").err
    said = ganger("dev", "delete", "try", "-y")

    assert (0, "try deleted\n", f"{stays}\n") == (said.code, said.out, said.err)
    assert ["delete try try-uid"] == ganger.cluster.writes


@pytest.mark.parametrize("command", ["connect", "ssh", "stop", "delete", "logs"])
def test_a_session_that_is_not_there_is_told(ganger, sessions, command):
    said = ganger("dev", command, "nothing")

    assert (3, "error: there is no session nothing in namespace team") == (said.code, said.problem[0])


def test_logs_print_the_pods_lines_without_their_times(ganger, sessions):
    sessions.running()

    assert f"host-key {HOST_KEY}" == ganger("dev", "logs", "try").out.splitlines()[0]


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
    port = _free_port()
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
    port = _free_port()

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


# --- the group ---


def test_options_of_the_cluster_stand_anywhere():
    assert ["dev", "ls", "-n", "team"] == main.behind_command(["-n", "team", "dev", "ls"])


def test_names_of_sessions_are_completed(ganger, sessions):
    from ganger.cli import completion
    from ganger.cli.session import Session

    for name in ("try", "try-2", "other"):
        sessions.put(name)

    for command in ("up", "connect", "ssh", "stop", "delete", "logs"):
        words = completion.kubectl(("dev", command, "tr"), Session(connect=ganger._connect))
        assert ["try", "try-2", ":4"] == words, command


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
