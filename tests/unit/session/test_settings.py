"""What the pod is told, what sshd is told of it, and how servers are kept."""

import json
import sys

import pytest

from ganger import contract
from ganger_session import lastword, settings, ssh
from ganger_session.child import STARTS_MAX, Child
from ganger_session.settings import SettingsError


def test_the_environment_of_the_operator_is_understood():
    found = settings.read(
        {"GANGER_SESSION": "notes", "GANGER_SESSION_SSH_PORT": "2222", "GANGER_SESSION_IDLE_SECONDS": "0"}
    )

    assert ("notes", None, 2222, 0) == (found.name, found.jupyter_port, found.ssh_port, found.idle_seconds)
    assert contract.SESSION_HEALTH_PORT == found.health_port
    assert ["/var/run/ganger-session/token", "/workspace"] == [str(found.token), str(found.workspace)]


def test_all_faults_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        settings.read(
            {
                "GANGER_SESSION_SSH_PORT": "22",
                "GANGER_SESSION_MAX_SECONDS": "-1",
                "GANGER_SESSION_REPORT_URL": "http://a",
            }
        )

    assert "GANGER_SESSION_SSH_PORT is '22', allowed: a whole number 1024 .. 65535" in str(caught.value)
    assert "GANGER_SESSION_MAX_SECONDS is '-1'" in str(caught.value)
    assert "GANGER_SESSION_REPORT_URL is 'http://a', allowed: an https:// URL" in str(caught.value)


def test_a_user_without_an_account_is_told_what_to_do():
    with pytest.raises(SettingsError, match="user id 4242424 has none in /etc/passwd: run the pod as user id 1000"):
        settings.login(4242424)
    with pytest.raises(SettingsError, match="does not run as root"):
        settings.login(0)


def test_a_login_inherits_what_can_be_said_to_sshd():
    kept = ssh.inherited(
        {"A": "1", "HOME": "/workspace", "USER": "x", "SSH_CLIENT": "y", "LINES": "a\nb", "bash-func%%": "z"}
    )

    assert {"A": "1", "HOME": "/workspace"} == kept


def test_the_last_word_is_what_the_operator_expects():
    said = json.loads(lastword.compose("Ended", "Idle", "x" * 5000, 0.0))

    assert ("Ended", "Idle", "1970-01-01T00:00:00Z", 900) == (
        said["outcome"], said["reason"], said["lastActivityTime"], len(said["message"])
    )  # fmt: skip
    assert said["reason"] in contract.SESSION_ENDS


def test_a_server_that_never_answers_is_given_up_and_one_that_did_is_not(capsys):
    def deaths(*, ready: bool) -> Child:
        child, now = Child("jupyter", [sys.executable, "-c", "raise SystemExit(3)"], {}), 0.0
        for _ in range(STARTS_MAX):
            child.tend(now)
            child.ready = ready
            child._process.wait()
            child.tend(now)
            now += 100.0
        return child

    assert [True, False] == [deaths(ready=False).hopeless, deaths(ready=True).hopeless]
    assert "jupyter ended (exit code 3), it starts again in 1 s" in capsys.readouterr().err
