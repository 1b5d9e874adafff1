"""Live settings in one process: what is declared, judged, scaled, kept and restored."""

from typing import Annotated, Any

import msgspec
import pytest
import torch
from msgspec import Meta
from torch.optim import lr_scheduler

from ganger_trainer import Live, TrainConfig, UserError, live, rates, task
from ganger_trainer.config import decode
from ganger_trainer.live import Value, settle
from ganger_trainer.live_requests import LiveRequests
from unit.trainer.kit import Tiny


class Config(TrainConfig, frozen=True, kw_only=True):
    loss_alpha: Annotated[float, Live(ge=0, le=1)] = 0.5
    depth: Annotated[int, Meta(ge=1), Live()] = 2
    fixed: int = 1


BASE = Config(lr=0.01)


def test_live_fields_are_those_that_say_so_by_their_names_in_a_manifest():
    assert ["clipNorm", "depth", "lossAlpha", "lr"] == sorted(live.declared(Config))
    assert ["clipNorm", "lr"] == sorted(live.declared(TrainConfig))


def test_values_within_their_bounds_are_in_force_from_the_step_on():
    found = settle(BASE, {"lr": 0.001, "lossAlpha": 1, "depth": 3, "clipNorm": 1.5}, (), 31)

    assert () == found.refused
    assert (0.001, 1.0, 3, 1.5) == (
        found.config.lr,
        found.config.loss_alpha,
        found.config.depth,
        found.config.clip_norm,
    )
    assert Value("lr", "0.001", 31) in found.values


@pytest.mark.parametrize(
    "wanted, reason, words",
    [
        ({"fixed": 2}, "NotLive", "live are lr (> 0), clipNorm (> 0), lossAlpha (>= 0 and <= 1), depth"),
        ({"learning rate": 2}, "NotLive", "this task does not take it while it trains"),
        ({"lr": 0}, "OutOfBounds", "lr must be > 0"),
        ({"lossAlpha": 1.5}, "OutOfBounds", "lossAlpha must be >= 0 and <= 1"),
        ({"lr": "fast"}, "Invalid", "Expected `float`, got `str`"),
        ({"lr": None}, "Invalid", "Expected `float`, got `null`"),
        ({"depth": 0}, "Invalid", "Expected `int` >= 1"),
        ({"depth": 1.5}, "Invalid", "Expected `int`, got `float`"),
    ],
)
def test_what_the_task_does_not_take_is_refused_by_name_with_what_is_allowed(wanted, reason, words):
    found = settle(BASE, wanted, (), 1)
    (refusal,) = found.refused

    assert (BASE, ()) == (found.config, found.values)
    assert (*wanted, reason) == (refusal.name, refusal.reason)
    assert words in refusal.message


def test_one_mistake_does_not_stop_the_others_and_leaves_the_value_in_force():
    before = settle(BASE, {"lr": 0.001, "depth": 3}, (), 11)

    found = settle(BASE, {"lr": 50.0, "depth": 0, "lossAlpha": 0.1}, before.values, 21)

    assert (50.0, 3, 0.1) == (found.config.lr, found.config.depth, found.config.loss_alpha)
    assert (Value("depth", "3", 11), Value("lossAlpha", "0.1", 21), Value("lr", "50.0", 21)) == found.values
    assert [("depth", "Invalid")] == [(each.name, each.reason) for each in found.refused]


def test_a_name_that_is_gone_is_as_in_the_config_and_one_that_stays_keeps_its_step():
    before = settle(BASE, {"lr": 0.001, "depth": 3}, (), 11)

    found = settle(BASE, {"depth": 3}, before.values, 21)

    assert (0.01, (Value("depth", "3", 11),)) == (found.config.lr, found.values)


def test_many_long_refusals_fit_into_a_report():
    found = settle(BASE, {f"{'n' * 90}{number}": "v" * 900 for number in range(20)}, (), 1)

    assert 4 == len(found.refused)
    assert len(msgspec.json.encode(found.refused)) < 2500


class Hooked(Tiny):
    Config = Config

    def on_live(self, model: Any, optimizer: Any, config: Any) -> None:
        """Take the values in."""


class Deaf(Tiny):
    Config = Config


class BatchIsNot(Hooked):
    class Config(TrainConfig, frozen=True, kw_only=True):
        batch_size: Annotated[int, Live(ge=1)] = 8


def test_a_live_field_that_nothing_takes_in_is_a_mistake_of_the_task():
    assert task.checked(Hooked(), "m:t")
    assert task.checked(Tiny(), "m:t")
    with pytest.raises(UserError, match=r"lossAlpha, depth is live: add on_live"):
        task.checked(Deaf(), "m:t")
    with pytest.raises(UserError, match="batchSize cannot be live: of the usual fields only lr and clipNorm can"):
        task.checked(BatchIsNot(), "m:t")


SCHEDULES = {
    "none": lambda optimizer: None,
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 40),
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 7, 0.5),
    "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9),
    "polynomial": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 40),
    "warm-up": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=12), lr_scheduler.CosineAnnealingLR(optimizer, 28)],
        [12],
    ),
    "chained": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, 12), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, [2 * group["lr"] for group in optimizer.param_groups], total_steps=60
    ),
    "restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 9),
}


def scheduled(schedule, lr, *, capturable=False):
    """An optimizer of two groups, one at a tenth of the other's rate, and its schedule."""
    body, head = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    rate = torch.tensor(lr, dtype=torch.float64) if capturable else lr
    optimizer = torch.optim.SGD([{"params": [head], "lr": rate}, {"params": [body], "lr": rate / 10}], lr=lr)
    return optimizer, SCHEDULES[schedule](optimizer)


def rates_of(schedule, changes, *, steps=40, lr=0.1):
    """The rates of both groups at each step, with the base moved after some of them."""
    optimizer, scheduler = scheduled(schedule, lr)
    found = []
    for step in range(steps):
        if step in changes:
            rates.scale(optimizer, scheduler, lr, changes[step])
            lr = changes[step]
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("at", [0, 5, 12, 20])
def test_a_schedule_goes_on_at_the_height_of_one_that_was_made_with_the_new_base(schedule, at):
    found, old, new = rates_of(schedule, {at: 0.03}), rates_of(schedule, {}), rates_of(schedule, {}, lr=0.03)

    assert old[:at] == found[:at]
    for wanted, rate in zip(new[at:], found[at:], strict=True):
        assert wanted == pytest.approx(rate, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_there_and_back_is_the_schedule_as_it_was(schedule):
    found, old = rates_of(schedule, {5: 0.03, 15: 0.1}), rates_of(schedule, {})

    for wanted, rate in zip(old[15:], found[15:], strict=True):
        assert wanted == pytest.approx(rate, rel=1e-9, abs=1e-15)


def test_a_rate_that_is_the_old_base_becomes_the_new_one_to_the_last_bit():
    optimizer, _ = scheduled("none", 1e-3)

    rates.scale(optimizer, None, 1e-3, 7e-5)

    assert 7e-5 == optimizer.param_groups[0]["lr"]


def test_a_rate_that_is_a_tensor_is_changed_in_place():
    optimizer, scheduler = scheduled("none", 0.1, capturable=True)
    held = optimizer.param_groups[0]["lr"]

    rates.scale(optimizer, scheduler, 0.1, 0.03)

    assert held is optimizer.param_groups[0]["lr"]
    assert pytest.approx(0.03) == float(held)


def test_a_wish_is_new_once_and_goes_from_container_to_container(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    supervisor, rank = LiveRequests(str(tmp_path / "a" / "reports")), LiveRequests(str(tmp_path / "a" / "reports"))
    assert not rank.is_new()
    supervisor.ask('{"lr":1}')
    assert rank.is_new()
    assert '{"lr":1}' == rank.take()
    assert not rank.is_new()
    supervisor.ask('{"lr":2}')
    assert rank.is_new()

    supervisor.bequeath(tmp_path / "note")
    after = LiveRequests(str(tmp_path / "b" / "reports"))
    after.inherit(tmp_path / "note")

    assert '{"lr":2}' == after.asked()


def test_outside_of_ganger_nobody_asks(tmp_path):
    alone = LiveRequests(None)

    alone.ask("{}")
    alone.bequeath(tmp_path / "note")

    assert (None, False) == (alone.take(), alone.is_new())
    assert [] == list(tmp_path.iterdir())


def test_the_words_of_a_config_are_as_they_were():
    with pytest.raises(UserError, match="lr must be a finite number > 0, got 0"):
        decode('{"lr": 0}', Config)
