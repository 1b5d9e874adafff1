"""A trained task and its model files, for the tests of exports."""

import json

import msgspec

from ganger_trainer import worker
from ganger_trainer.export import make, source, wanted
from unit.trainer import kit


def train(directory, task, config):
    spec = kit.worker(directory, config=json.dumps({"steps": 4, "threads": 1, "batchSize": 16} | config), every_steps=2)
    worker._train(msgspec.structs.replace(spec, task=task), kit.ToBoard())


def subject(directory, task, config, **asked):
    step = source.choose(directory, wanted.Wanted(format="onnx", **asked))
    return make.subject(source.open_checkpoint(directory, step, task, json.dumps(config)))


def provenance(directory, task, attempt=0, **said):
    spec = msgspec.structs.replace(kit.worker(directory, attempt=attempt), task=task)
    return make.Provenance(worker=spec, **said)


class Trained:
    """A checkpoint directory, its task, and what is exported of it."""

    def __init__(self, directory, task, config, **asked):
        self.directory, self.task, self.config = directory, task, config
        self.subject = subject(directory, task, config, **asked)

    def make(self, name, root=None, attempt=0, told=None, said=None, **asked):
        asked = wanted.Wanted(format=name, **asked)
        said = provenance(self.directory, self.task, attempt, **(said or {}))
        return make.make(self.subject, asked, root or self.directory, said, (told if told is not None else []).append)


def left(directory):
    return sorted(path.name for path in (directory / "exports").iterdir())
