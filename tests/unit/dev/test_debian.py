import os
import subprocess

import pytest

from ganger_dev import debian
from ganger_dev.errors import DevError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANGER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt-get and a dpkg-deb that deliver a package, once `apt-get update` was run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "calls"
    (folder / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        f"case $1 in update) touch {tmp_path}/lists;;\n"
        f"download) test -e {tmp_path}/lists || exit 100; touch lua5.4_5.4.4_amd64.deb;; esac\n"
    )
    (folder / "dpkg-deb").write_text('#!/bin/sh\nmkdir -p "$3/usr/bin" && touch "$3/usr/bin/$WITHIN"\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("WITHIN", "lua5.4")
    return log


def test_a_package_is_fetched_once_after_the_lists_if_need_be(cache, apt):
    folder = debian.ensure("lua5.4")
    again = debian.ensure("lua5.4")

    assert cache / "debian" / "lua5.4" == folder == again
    assert debian.program("lua5.4", "lua5.4").exists()
    assert ["download -q lua5.4", "update -q", "download -q lua5.4"] == apt.read_text().splitlines()
    assert [] == list((cache / "tmp").iterdir())


def test_a_package_without_its_program_is_refused_and_not_kept(cache, apt, monkeypatch):
    monkeypatch.setenv("WITHIN", "another")

    with pytest.raises(DevError, match=r"lua5.4_5.4.4_amd64.deb lacks programs: not all of usr/bin/lua5.4"):
        debian.ensure("lua5.4")

    assert not (cache / "debian" / "lua5.4").exists()


def test_a_machine_without_apt_is_told_what_follows(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(
        DevError, match=r"prometheus is not fetched: this machine has no apt-get. Tests that need it are"
    ):
        debian.ensure("prometheus")


def test_a_network_that_fails_is_one_line(cache, apt, tmp_path):
    apt_get = tmp_path / "bin" / "apt-get"
    apt_get.write_text("#!/bin/sh\necho 'E: Could not resolve host' >&2\nexit 100\n")

    with pytest.raises(DevError, match=r"`apt-get update -q` failed: E: Could not resolve host. Tests that need it"):
        debian.ensure("lua5.4")


def test_the_fixture_has_no_network(apt):
    assert 100 == subprocess.run(["apt-get", "download", "x"], capture_output=True).returncode
