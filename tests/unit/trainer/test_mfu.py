"""Tokens and model flops utilisation: arithmetic that can be checked by hand, and silence where a number is unknown."""

import pytest
import torch

from ganger_trainer import TrainConfig, UserError, mfu
from ganger_trainer.examples import chargpt
from unit.trainer.kit import ALONE


class Told:
    def __init__(self, tokens=16, flops=2e9):
        self.tokens, self.flops = tokens, flops

    def tokens_per_sample(self, config):
        return self.tokens

    def flops_per_sample(self, model, config):
        return self.flops


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", False, 989e12),
        ("NVIDIA H100 80GB HBM3", "fp16", False, 989e12),
        ("NVIDIA H100 80GB HBM3", "fp32", True, 494e12),
        ("NVIDIA H100 80GB HBM3", "fp32", False, 67e12),
        ("NVIDIA H200", "bf16", False, 989e12),
        ("NVIDIA H100 PCIe", "bf16", False, 756e12),
        ("NVIDIA H100 NVL", "bf16", False, 835e12),
        ("NVIDIA A100-SXM4-80GB", "bf16", False, 312e12),
        ("NVIDIA A100 80GB PCIe", "fp32", True, 156e12),
        ("NVIDIA A10", "bf16", False, 125e12),
        ("NVIDIA A10G", "bf16", False, None),
        ("Tesla V100-SXM2-16GB", "fp32", True, 15.7e12),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", False, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16", False, None),
        ("cpu", "bf16", False, None),
        ("NVIDIA Z9", "bf16", False, None),
    ],
)
def test_the_peak_is_that_of_the_whole_device_at_the_precision(name, precision, tf32, expected):
    assert expected == mfu.peak(name, precision, tf32=tf32)


def test_mfu_is_flops_done_over_flops_possible_of_all_devices(monkeypatch):
    monkeypatch.setattr(mfu, "device_name", lambda device: "NVIDIA A100-SXM4-80GB")

    work = mfu.work(Told(flops=3.12e9), None, TrainConfig(precision="bf16"), ALONE)

    assert pytest.approx(0.25) == work.mfu(100_000, world_size=4)  # 3.12e14 of 4 * 3.12e14
    assert 16 == work.tokens


@pytest.mark.parametrize("task", [Told(), object()])
def test_where_the_device_or_the_cost_is_unknown_there_is_no_mfu(task):
    assert mfu.work(task, None, TrainConfig(), ALONE).mfu(1000.0, 1) is None


@pytest.mark.parametrize("method", ["tokens", "flops"])
@pytest.mark.parametrize("answer", [0, -1, float("nan"), None, "many"])
def test_an_answer_that_is_no_number_is_told_with_the_method(method, answer):
    with pytest.raises(UserError, match=rf"{method}_per_sample\(\) returned .*: return a finite number above 0"):
        mfu.work(Told(**{method: answer}), None, TrainConfig(), ALONE)


def test_the_gpt_counts_its_characters_and_six_flops_for_each_parameter():
    config = chargpt.CharGpt.Config(layers=1, width=8, heads=2, context=4)
    model = chargpt.task.model(config)
    parameters = sum(p.numel() for p in model.parameters())

    assert 4 == chargpt.task.tokens_per_sample(config)
    assert 6 * parameters * 4 == chargpt.task.flops_per_sample(model, config)


def test_the_name_of_a_device_without_a_driver_is_its_kind():
    assert "cpu" == mfu.device_name(torch.device("cpu"))
