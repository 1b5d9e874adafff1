"""The Python client with the fake cluster of the command line's tests in its session."""

import pytest

from ganger import Client
from ganger.cli.session import Session
from unit.cli.conftest import Command, manifest

__all__ = ["manifest"]


@pytest.fixture
def ganger(capsys):
    return Command(capsys)


@pytest.fixture
def client(ganger, monkeypatch):
    with Client() as client:
        client._link.session = Session(
            terminal=client._link.session.terminal, connect=ganger._connect, now=lambda: ganger.now
        )
        yield client
