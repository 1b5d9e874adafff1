import os
import subprocess

import pytest

from ganger_dev.errors import DevError
from ganger_dev.processes import Service, free_ports, start_time


@pytest.fixture
def service(tmp_path):
    service = Service(name="sleeper", folder=tmp_path)
    yield service
    service.stop()


def test_a_started_program_is_found_and_stopped(service):
    service.start(["sleep", "60"])
    pid = service.pid()

    assert pid is not None
    assert os.getsid(pid) == pid

    service.stop()

    assert start_time(pid) is None
    assert service.pid() is None


def test_a_second_start_keeps_the_first_program(service):
    service.start(["sleep", "60"])
    first = service.pid()
    service.start(["sleep", "60"])

    assert first == service.pid()


def test_a_pid_that_was_used_again_is_not_ours_and_stays_alive(service):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        service.folder.mkdir(exist_ok=True)
        service.pid_file.write_text(f"{stranger.pid} 1\n")

        assert service.pid() is None

        service.stop()

        assert stranger.poll() is None
        stranger.kill()


def test_a_program_that_ignores_the_polite_signal_is_stopped_all_the_same(service):
    service.start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"])
    service.wait_ready(lambda: "deaf" in service.log.read_text(), timeout_seconds=5)
    pid = service.pid()
    assert pid is not None

    service.stop(grace_seconds=0.1)

    assert start_time(pid) is None


def test_a_program_that_ends_while_starting_is_named_with_its_last_words(service):
    service.start(["sh", "-c", "echo no such flag; exit 3"])

    with pytest.raises(DevError, match=r"sleeper ended while starting: no such flag\. Its log is "):
        service.wait_ready(lambda: False, timeout_seconds=5)


def test_free_ports_are_different():
    assert 5 == len(set(free_ports(5)))
