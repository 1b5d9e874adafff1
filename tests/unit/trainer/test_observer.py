"""What rank 0 says between steps: progress, evaluations and phases, each at the moment when it is true."""

import types

import pytest
import torch
from torch import nn

from ganger_trainer import TrainConfig, mfu
from ganger_trainer.batches import Order
from ganger_trainer.heartbeat import Heartbeat
from ganger_trainer.observer import Observer
from ganger_trainer.pace import Pace
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Entered, Progress
from unit.trainer.kit import ALONE


class Heard(list):
    def send(self, report, *, surely=False):
        self.append(report)


class Told:
    """A task that measures `accuracy` on each batch as 0.1 and in an evaluation as 0.9."""

    def metrics(self, model, batch):
        return {"accuracy": 0.1, "nan": float("nan")}

    def evaluate(self, model, config):
        return {"accuracy": 0.9}

    def tokens_per_sample(self, config):
        return 16

    def flops_per_sample(self, model, config):
        return 3.12e12


def parts(step):
    model = nn.Linear(1, 1)
    return types.SimpleNamespace(
        config=TrainConfig(precision="bf16"), model=model, module=model, step=step, total_steps=100,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5), device=torch.device("cpu"),
        order=Order(size=64, batch_size=8, seed=0, world_size=1), beat=Heartbeat(),
    )  # fmt: skip


@pytest.fixture
def pace(monkeypatch):
    """Ten steps of 8 samples, 0.1 s each, as one rank of two saw them: 160 samples a second of both."""
    now = [0.0]
    monkeypatch.setattr("ganger_trainer.pace.perf_counter", lambda: now[0])
    pace = Pace(5.0)
    for _ in range(10):
        now[0] += 0.1
        pace.stepped(8, 16)
    return pace


def observed(task=None, ranks=ALONE):
    heard = Heard()
    return Observer(ranks, heard, task or Told(), evaluate_every=10), heard


def test_a_line_reports_tokens_and_the_share_of_the_peak_that_this_rank_had(pace, monkeypatch):
    monkeypatch.setattr(mfu, "device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    observer, heard = observed(ranks=Ranks(rank=0, world_size=2, local_rank=0, device=torch.device("cpu")))

    observer.log(parts(10), pace, torch.tensor(0.5), torch.tensor(1.0), None)

    (line,) = heard
    assert (80, 80 * 16) == (line.samples, line.tokens)
    assert pytest.approx(0.8) == line.mfu  # 160 * 3.12e12 of 2 * 312e12


def test_a_task_that_counts_nothing_has_neither_tokens_nor_mfu(pace):
    observer, heard = observed(object())

    observer.log(parts(10), pace, torch.tensor(0.5), torch.tensor(float("inf")), None)

    assert (None, None, None) == (heard[0].tokens, heard[0].mfu, heard[0].gradient_norm)


def test_an_evaluation_is_reported_at_once_and_as_a_phase_of_its_own(capsys):
    observer, heard = observed()

    observer.evaluate(parts(10))

    phases, progress = heard[:2], heard[2]
    assert [Entered(rank=0, phase="Evaluating"), Entered(rank=0, phase="Training")] == phases
    assert Progress(rank=0, step=10, total_steps=100, metrics={"accuracy": 0.9}) == progress
    assert "evaluation at step 10: accuracy 0.9000\n" == capsys.readouterr().out


def test_a_batch_does_not_hide_what_an_evaluation_of_the_same_name_found(pace, capsys):
    observer, heard = observed()
    observer.log(parts(5), pace, torch.tensor(0.5), torch.tensor(1.0), None)
    observer.evaluate(parts(10))
    observer.log(parts(15), pace, torch.tensor(0.5), torch.tensor(1.0), None)

    values = [report.metrics["accuracy"] for report in heard if isinstance(report, Progress)]
    assert [0.1, 0.9, 0.9] == values
    assert "accuracy 0.1\n" in capsys.readouterr().out.splitlines(keepends=True)[-1], "the line is about the batch"


def test_only_rank_0_measures():
    second = Ranks(rank=1, world_size=2, local_rank=1, device=torch.device("cpu"))
    observer, _ = observed(ranks=second)

    assert 0 == observer.evaluate_every
    observer.evaluate_last(parts(10))
    assert {} == observer.metrics
