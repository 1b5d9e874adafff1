"""A gang that shrinks and grows while it trains: the same samples, the same order, the same losses."""

import json
import random
from collections import defaultdict

import msgspec
import numpy as np
import pytest
import torch

from apiclient import wait_for
from ganger_trainer import config as configs
from ganger_trainer import randomness, worker
from ganger_trainer.checkpoint import loader, manifest
from ganger_trainer.opening import open_keeper
from integration.trainer.recorded import task
from unit.trainer import kit

pytestmark = pytest.mark.integration

WORKERS_MAX = 4
EPOCHS, STEPS = 15, 120  # eight steps each
SIZES = (4, 2, 4, 1, 3)


class Unheard:
    def send(self, report, *, surely=False):
        pass


def record(gang):
    """Return samples (in their order) and mean loss of every step that the gang did, whatever its size was."""
    seen = defaultdict(list)
    for path in gang.directory.glob("record-*.jsonl"):
        _, attempt, rank = path.stem.split("-")
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            seen[entry["step"]].append((int(attempt), int(rank), entry["samples"], entry["loss"]))
    samples, losses = {}, {}
    for step, parts in seen.items():
        samples[step] = [sample for part in sorted(parts) for sample in part[2]]
        losses[step] = sum(len(part[2]) * part[3] for part in parts) / len(samples[step])
    return samples, losses


def has_lines(path, count):
    return path.exists() and path.read_bytes().count(b"\n") >= count


def gang_of(gangs, name, **config):
    return gangs(
        name,
        workers=WORKERS_MAX,
        task="recorded:task",
        environ={"GANGER_WORKERS_MAX": str(WORKERS_MAX)},
        config={"steps": STEPS, "batchSize": 12, "lr": 1e-2} | config,
        checkpoint={"everySteps": 1000},
    )


def test_a_gang_that_shrinks_and_grows_trains_as_a_gang_of_one_size(gangs, capsys):
    whole = gang_of(gangs, "whole")
    assert [0] * 4 == whole.run().codes
    breathing = gang_of(gangs, "breathing", stepSleep=0.03)

    stopped = []
    for attempt, workers in enumerate(SIZES):
        breathing.attempt, breathing.workers = attempt, workers
        breathing.start()
        if attempt < len(SIZES) - 1:
            wait_for(lambda path=breathing.directory / f"record-{attempt}-0.jsonl": has_lines(path, 16), 60, "16 steps")
            breathing.signal(0)
        ending = breathing.end()
        assert [143 if attempt < len(SIZES) - 1 else 0] * workers == ending.codes
        stopped.append(ending.messages[0]["step"])
        assert ([None, *stopped])[attempt] == ending.messages[0].get("resumedFromStep")

    expected_samples, expected_losses = record(whole)
    samples, losses = record(breathing)
    assert sorted(set(stopped)) == stopped
    assert stopped[-1] == STEPS
    assert expected_samples == samples  # no step is done twice, none is left out, and each has the same samples
    for epoch in range(EPOCHS):
        assert list(range(99)) == sorted(sample for step in range(8) for sample in samples[8 * epoch + step])
    difference = max(abs(losses[step] - expected_losses[step]) for step in range(STEPS))
    with capsys.disabled():
        print(f"\nworkers {SIZES} until steps {stopped}: largest difference of a loss to 4 workers {difference:.2e}")
    assert difference <= 1e-5


def test_everything_but_the_generators_is_resumed_at_another_world_size(gangs):
    writers = gang_of(gangs, "writers", precision="fp16", steps=9)
    writers.workers = 2
    assert [0, 0] == writers.run().codes
    directory = writers.directory / "checkpoints"
    alone = msgspec.structs.replace(kit.worker(directory, attempt=1), job="toy", namespace="default")
    saved = loader.Loaded(manifest.verify(directory / "step_9"), directory / "step_9", 0)
    config = configs.decode(json.dumps({"steps": 20, "batchSize": 12, "precision": "fp16"}), task.Config)
    parts = worker._parts(task, config, kit.ALONE, 4)

    step = open_keeper(alone, kit.ALONE, Unheard(), lambda: None).resume(parts)

    drawn = torch.rand(1).item(), float(np.random.rand()), random.random()
    randomness.seed_all(randomness.derive(config.seed, 9, 0))
    assert 9 == step == parts.scheduler.last_epoch
    assert 2 == saved.manifest.world_size
    assert saved.parts["scaler"] == parts.scaler.state_dict()
    assert saved.parts["scheduler"] == parts.scheduler.state_dict()
    for number, state in parts.optimizer.state_dict()["state"].items():
        assert all(saved.parts["optimizer"]["state"][number][name].equal(state[name]) for name in state)
    assert (torch.rand(1).item(), float(np.random.rand()), random.random()) == drawn
