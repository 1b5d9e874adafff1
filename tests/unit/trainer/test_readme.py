"""jobs/README.md: its task trains, its manifest is accepted, its tables are true."""

import re
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

import ganger_trainer
from builders import job
from ganger.contract import METRICS_PORT
from ganger.plan.environment import worker_environment
from ganger_trainer import TrainConfig, environment, worker
from ganger_trainer.board import Board

README = (Path(ganger_trainer.__file__).parents[1] / "README.md").read_text()


class ToBoard:
    def __init__(self):
        self.board = Board()

    def send(self, report, *, surely=False):
        self.board.hear(report)


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


def test_the_task_of_the_readme_learns_its_line_with_the_manifest_of_the_readme(tmp_path, monkeypatch):
    (tmp_path / "line.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "line", raising=False)
    manifest = yaml.safe_load(block("yaml"))
    filled = job(name=manifest["metadata"]["name"], **(manifest["spec"] | {"workers": 1}))
    environ = worker_environment(filled, 0, 0, rendezvous_host="x", checkpoint_dir=str(tmp_path / "checkpoints"))
    sender = ToBoard()

    done, metrics = worker._train(environment.read(environ | {"OMP_NUM_THREADS": "1"}), sender)

    assert done
    assert pytest.approx(3.0, abs=0.05) == metrics["slope"]
    assert 400 == sender.board.progress_by_rank()[0].step
    assert 400 == sender.board.checkpoint()[0].step


def test_every_key_of_the_config_is_in_the_table_and_no_other():
    table = README.split("## Config of every task")[1].split("##")[0]
    told = {key for row in re.findall(r"^\|(.*?)\|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}

    assert {field.encode_name for field in msgspec.structs.fields(TrainConfig)} == told


def test_the_port_and_the_helpers_are_what_the_readme_says():
    assert f":{METRICS_PORT}/metrics" in README
    for name in ("report", "should_save", "should_stop", "checkpoint_dir"):
        assert callable(getattr(ganger_trainer, name))
        assert f"`{name}(" in README
