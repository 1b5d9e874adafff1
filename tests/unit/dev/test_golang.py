"""Go is found on the PATH, or where it installs itself."""

import pytest

from ganger_dev import golang
from ganger_dev.errors import DevError


def test_go_is_found_where_it_installs_itself_if_no_path_leads_there(monkeypatch, tmp_path):
    installed = tmp_path / "go"
    installed.touch(mode=0o755)
    monkeypatch.setattr(golang, "_INSTALLED", str(tmp_path))
    monkeypatch.setenv("PATH", "")

    assert str(installed) == golang.program()


def test_without_go_the_way_without_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(golang, "_INSTALLED", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DevError, match="Go is not installed"):
        golang.program()
