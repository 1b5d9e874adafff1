"""Whether policies can be enforced here: said before anything is built or started."""

import os
from subprocess import CompletedProcess

import pytest

from ganger_dev import policies


@pytest.fixture
def machine(monkeypatch):
    """A machine of root's, with every program, that answers commands as told."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(policies.system, "ensure_packages", lambda *_: None)
    asked = []

    def answers(code, stderr=""):
        def run(*command):
            asked.append(command)
            return CompletedProcess(command, code, stdout="", stderr=stderr)

        monkeypatch.setattr(policies, "_run", run)
        return asked

    return answers


def test_a_kernel_that_hands_packets_over_is_asked_in_a_network_of_its_own(machine):
    asked = machine(0)

    assert "" == policies.trouble()
    assert [("unshare", "--net", "iptables")] == [command[:3] for command in asked]


def test_a_kernel_that_does_not_is_the_reason_that_is_told(machine):
    machine(1, "iptables: No chain/target/match by that name.\n")

    assert "NFQUEUE" in policies.trouble()
    assert policies.trouble().endswith("No chain/target/match by that name.")


def test_only_root_enforces(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "root" in policies.trouble()
