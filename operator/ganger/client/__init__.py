"""The Python client: what `ganger` does on the command line, as typed calls. `from ganger import Client`."""

from ganger.api.session import DevSession
from ganger.api.status import Artifact
from ganger.api.types import TrainingJob
from ganger.cli.problem import Code, Problem
from ganger.client.client import Client
from ganger.client.following import LogLine
from ganger.client.sessions import Door

__all__ = ["Artifact", "Client", "Code", "DevSession", "Door", "LogLine", "Problem", "TrainingJob"]
