"""`client.sessions`: what is sent, returned and raised; the operator is played by the test."""

import urllib.request

import pytest

from ganger import Code, DevSession, Problem
from ports import free_port
from unit.cli.devs import ED25519, TOKEN, Sessions
from unit.cli.test_devdoors import answering


@pytest.fixture
def sessions(ganger, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return Sessions(ganger)


def test_a_session_is_made_with_the_options_of_the_command_and_returned_once_it_runs(
    client, ganger, sessions, tmp_path
):
    key = tmp_path / "key.pub"
    key.write_text(ED25519)
    sessions.operates(lambda: sessions.put(phase="Pending"), sessions.running)

    found = client.sessions.up(
        "try", from_job="digits", gpus=1, memory="16Gi", idle_seconds=7200, ssh_keys=[key], jupyter=False, seconds=20
    )

    assert isinstance(found, DevSession)
    assert ("Running", "try-dev-0") == (found.status.phase, found.status.pod)
    assert {
        "fromJob": "digits",
        "idleSeconds": 7200,
        "jupyter": False,
        "ssh": {"authorizedKeys": [ED25519]},
        "resources": {"requests": {"memory": "16Gi"}, "limits": {"memory": "16Gi", "nvidia.com/gpu": 1}},
    } == sessions.stored()["spec"]


def test_sessions_are_listed_read_stopped_and_deleted(client, ganger, sessions):
    sessions.running()

    assert ["try"] == [one.metadata.name for one in client.sessions.list()]
    client.sessions.stop("try")
    client.sessions.stop("try")
    assert client.sessions.get("try").spec.suspend
    client.sessions.delete("try")
    assert [] == client.sessions.list()
    assert ['patch {"spec": {"suspend": true}} try', "delete try try-uid"] == ganger.cluster.writes


def test_every_mistake_is_in_one_problem_and_nothing_is_sent(client, ganger, sessions, tmp_path):
    manifest = tmp_path / "session.yaml"
    manifest.write_text("apiVersion: ganger.dev/v1alpha1\nkind: DevSession\nspec: {gpu: 1}\n")

    for options, text in (
        ({"memory": "lots"}, "spec.resources"),
        ({"manifest": manifest}, "session.yaml:3: spec.gpu"),
        ({"ssh": False, "ssh_keys": ["x"]}, "contradict"),
    ):
        with pytest.raises(Problem, match=text) as caught:
            client.sessions.up("try", **options)
        assert Code.USAGE == caught.value.code
    assert [] == ganger.cluster.writes


@pytest.mark.parametrize(
    "status, code",
    [({"phase": "Failed", "ended": "Failed", "message": "no image"}, Code.FAILED), ({}, Code.TIMEOUT)],
)
def test_a_session_that_ends_or_does_not_come_is_a_problem(client, sessions, status, code):
    sessions.operates(lambda: sessions.put(**status))

    with pytest.raises(Problem) as caught:
        client.sessions.up("try", seconds=20 if status else 0.1)

    assert code == caught.value.code


def test_a_port_leads_to_jupyter_for_as_long_as_it_is_held(client, ganger, sessions):
    sessions.running()
    ganger.streams.pod = answering()
    port = free_port()

    with client.sessions.connect("try", port=port) as door:
        assert (port, TOKEN, f"{door.server}/lab?token={TOKEN}") == (door.port, door.token, door.address)
        assert b"hi" == urllib.request.urlopen(door.server, timeout=20).read()

    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(door.server, timeout=20)


def test_what_runs_not_or_has_no_jupyter_opens_no_port(client, sessions):
    sessions.put("away", phase="Pending", message="no node")
    sessions.running("bare", spec={"jupyter": False})

    for name, text in (("away", "no node"), ("bare", "has no Jupyter"), ("none", "there is no session none")):
        with pytest.raises(Problem, match=text), client.sessions.connect(name):
            pytest.fail("it opened")


def test_the_log_of_a_session_is_lines(client, sessions):
    sessions.running()

    assert "host-key" == next(client.sessions.logs("try")).split()[0]


def test_a_session_is_waited_for_until_it_runs_or_has_ended(client, sessions):
    sessions.running()

    assert "Running" == client.sessions.wait("try", seconds=20).status.phase
    sessions.put(phase="Culled", ended="Idle")
    assert "Culled" == client.sessions.wait("try", "ended", seconds=20).status.phase
    for goal, code in (("running", Code.FAILED), ("soon", Code.USAGE)):
        with pytest.raises(Problem) as caught:
            client.sessions.wait("try", goal, seconds=20)
        assert code == caught.value.code
