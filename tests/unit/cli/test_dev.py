"""`ganger dev`: what is sent, printed and refused; the operator and the pod are played by the test."""

import asyncio
import json

import pytest
import yaml

from builders import at
from ganger.cli import devup, main
from ganger.kube.errors import NotFound
from unit.cli.devs import ED25519, HOST_KEY


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


def test_up_changes_the_keys_of_a_session_that_runs(ganger, sessions, tmp_path):
    sessions.running(spec={"image": "x:1", "ssh": {"authorizedKeys": [ED25519]}})
    path = tmp_path / "new.pub"
    path.write_text(f"{ED25519}-2\n")

    said = ganger("dev", "up", "try", "--ssh-key", str(path), "--no-connect")

    assert 0 == said.code, said.err
    (write,) = ganger.cluster.writes
    assert {"spec": {"ssh": {"authorizedKeys": [f"{ED25519}-2"]}}} == json.loads(
        write.removeprefix("patch ").rpartition(" ")[0]
    )
    assert "the keys of session try are now these: they hold at the next login" in said.err


def test_up_gives_a_session_that_runs_without_ssh_no_keys(ganger, sessions, tmp_path):
    sessions.running(spec={"image": "x:1"})
    path = tmp_path / "new.pub"
    path.write_text(f"{ED25519}\n")

    assert (2, []) == (ganger("dev", "up", "try", "--ssh-key", str(path)).code, ganger.cluster.writes)


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
    last, cull = at(30).isoformat(), at(3630).isoformat()
    doors = {"fromJob": "digits", "ssh": {"authorizedKeys": [ED25519]}}
    sessions.running("b", doors, lastActivityTime=last, cullTime=cull)
    sessions.running("c", lastActivityTime=last)
    sessions.put("a", {"jupyter": False}, phase="Culled", ended="Idle")

    assert [
        "NAME   PHASE     JOB      DOORS         IDLE     CULL-IN   AGE",
        "a      Culled                                              60s",
        "b      Running   digits   jupyter+ssh   30s      59m       60s",
        "c      Running            jupyter       in use             60s",
    ] == ganger("dev", "ls").out.splitlines()
    assert "devsession.ganger.dev/a\ndevsession.ganger.dev/b\ndevsession.ganger.dev/c\n" == "".join(
        sorted(ganger("dev", "ls", "-o", "name").out.splitlines(keepends=True))
    )
    assert ["a", "b", "c"] == sorted(
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
