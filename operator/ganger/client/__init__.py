"""The Python client: what `ganger` does on the command line, as typed calls. `from ganger import Client`."""

from ganger.api.types import TrainingJob
from ganger.cli.problem import Code, Problem
from ganger.client.client import Client
from ganger.client.following import LogLine

__all__ = ["Client", "Code", "LogLine", "Problem", "TrainingJob"]
