"""The training loop, on one screen: forward, loss, backward, update.

Everything else (batches, checkpoints, agreement, metrics) is handed in and is called between steps. The loop asks the
device for a value only when a line is logged, when the ranks meet (some four times a second), and for a checkpoint.
"""

import contextlib
from typing import Any

import torch
from msgspec import Struct, field

from ganger_trainer.agreement import Agreement, Wish
from ganger_trainer.batches import Order
from ganger_trainer.config import TrainConfig
from ganger_trainer.failures import NotAScalarError
from ganger_trainer.feed import Feed
from ganger_trainer.heartbeat import AGREE, Heartbeat
from ganger_trainer.keeper import Keeper
from ganger_trainer.observer import Observer
from ganger_trainer.pace import Pace
from ganger_trainer.settings import Fixed, Settings
from ganger_trainer.signals import stop_requested
from ganger_trainer.soundness import Soundness


class Parts(Struct, kw_only=True):
    """What one rank trains. `model` is the user's module, `module` the same inside DDP and torch.compile."""

    config: TrainConfig
    task: Any
    model: Any
    module: Any
    optimizer: Any
    scheduler: Any | None
    scaler: Any | None
    order: Order
    feed: Feed
    soundness: Soundness
    device: Any
    total_steps: int
    step: int = 0
    live: Fixed | Settings = field(default_factory=Fixed)
    beat: Heartbeat = field(default_factory=Heartbeat)


def train(parts: Parts, agreement: Agreement, keeper: Keeper, observer: Observer) -> bool:
    """Train from `parts.step` to `parts.total_steps`; return False if the ranks agreed to stop before.

    The last step reached is checkpointed and committed when it returns. Raises, on all ranks after the same step,
    NonFiniteError for a NaN or an infinity, and TrainerError (ReplicaDivergence) for ranks that differ.
    """
    config, task, module, optimizer = parts.config, parts.task, parts.module, parts.optimizer
    scheduler, scaler, feed, step, last_step = parts.scheduler, parts.scaler, parts.feed, parts.step, parts.total_steps
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    precision = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
    autocast = torch.autocast(parts.device.type, precision) if precision else contextlib.nullcontext()
    synced, unsynced = contextlib.nullcontext(), getattr(module, "no_sync", contextlib.nullcontext)
    clip_norm, evaluate_every, save_every = config.clip_norm, observer.evaluate_every, keeper.every_steps
    parts.beat.begin(step)
    soundness, losses, compare_every = parts.soundness, parts.soundness.losses, parts.soundness.compare_every
    pace, loss = Pace(config.log_every_seconds, parts.beat, on_host=parts.device.type == "cpu"), None
    module.train()

    while step < last_step:
        share = feed.at(step)
        micros = share.micros
        log = pace.fetched()

        for micro in micros:
            # Gradients of all ranks are averaged in the last backward only.
            with synced if micro is micros[-1] else unsynced():
                with autocast:
                    loss = task.loss(module, micro.batch)
                if log and getattr(loss, "ndim", None) != 0:  # the first step is always logged
                    raise NotAScalarError(loss)
                losses.add_(loss.detach())  # a NaN or an infinity stays in the sum
                if micro is micros[-1]:
                    pace.backward()
                scaled = loss if micro.weight == 1.0 else loss * micro.weight
                (scaled if scaler is None else scaler.scale(scaled)).backward()

        keeper.release(parts)  # parameters have changed nowhere but here since the last save
        pace.update()
        norm = _gradient_norm(parameters, clip_norm, optimizer, scaler) if log or clip_norm else None
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if scheduler is not None:
            scheduler.step()
        optimizer.zero_grad(set_to_none=True)

        step = parts.step = step + 1
        pace.stepped(share.samples, share.global_samples)
        if log:
            observer.log(parts, pace, loss, norm, micros[-1].batch)
        if compare_every and step % compare_every == 0:
            soundness.compare(step)
            pace.resumed()
        if evaluate_every and step % evaluate_every == 0:
            observer.evaluate(parts)
            pace.resumed()
        if save_every and step % save_every == 0 and step < last_step:
            keeper.save(parts, loss)
            pace.resumed()
        if step == agreement.next_step and step < last_step:
            parts.beat.enter(AGREE)
            wish = Wish(stop=stop_requested(), save=keeper.due(), broken=soundness.broken(), change=parts.live.asked())
            decision = agreement.meet(step, wish, step_seconds=pace.step_seconds())
            if decision.stop:
                keeper.save_last(parts, loss)
                observer.finished(parts, loss)
                return False
            if decision.change:
                keeper.release(parts)  # a task's own hook may change anything
                clip_norm = parts.live.take(parts).clip_norm
            if decision.save:
                keeper.save(parts, loss)
            keeper.poll()
            pace.resumed()
    observer.evaluate_last(parts)
    keeper.save_last(parts, loss)
    observer.finished(parts, loss)
    return True


def _gradient_norm(parameters: list[Any], limit: float | None, optimizer: Any, scaler: Any) -> Any:
    """Return the L2 norm of all gradients as a tensor, and clip them to `limit` if there is one. No device sync."""
    if scaler is not None:
        scaler.unscale_(optimizer)
    if limit is not None:
        return torch.nn.utils.clip_grad_norm_(parameters, limit)
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
