from ganger.api.types import TrainingJob as TrainingJob
from ganger.cli.problem import Code as Code
from ganger.cli.problem import Problem as Problem
from ganger.client.client import Client as Client
from ganger.client.following import LogLine as LogLine

__version__: str
