"""Ganger: TrainingJobs on Kubernetes, as gangs of pods that start together, checkpoint, and finish."""

import importlib
from typing import Any

__version__ = "0.1.0"
# The Python client, loaded when it is asked for: a worker imports this package for its contract alone.
_CLIENT = ("Artifact", "Client", "Code", "DevSession", "Door", "LogLine", "Problem", "TrainingJob")


def __getattr__(name: str) -> Any:
    if name in _CLIENT:
        return getattr(importlib.import_module("ganger.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
