"""One training process: from the environment to an exit code.

It runs in a process that torchrun's agent forked from the supervisor, with torch already imported and CUDA untouched.
Every path out of here sends a last word; the exit code follows from it.
"""

import os
import sys
import time
from typing import Any, Final

import torch

from ganger.contract import ExitCode
from ganger_trainer import (
    anomaly,
    compiler,
    cpus,
    feed,
    loop,
    mfu,
    randomness,
    ranks,
    rollback,
    signals,
    sinks,
    stacks,
    task,
)
from ganger_trainer import config as configs
from ganger_trainer.batches import Order
from ganger_trainer.environment import Worker
from ganger_trainer.export import wanted
from ganger_trainer.failures import UserError, classify, is_peer_lost
from ganger_trainer.heartbeat import ENDED, Heartbeat
from ganger_trainer.observer import Observer
from ganger_trainer.opening import open_keeper
from ganger_trainer.reports import Ended, Sender, Started, Training
from ganger_trainer.settings import Settings
from ganger_trainer.soundness import Soundness

# How long a failing rank waits for the checkpoint in flight. A victim's peers are gone, so its save may never complete.
SETTLE_SECONDS: Final = 5.0
SETTLE_VICTIM_SECONDS: Final = 1.0


def run(worker: Worker) -> bool:
    """Train one rank; return True when done, False when preempted. Any failure ends the process with its code."""
    signals.install()
    sender = Sender.from_environment()
    rank = int(os.environ.get("RANK", "0"))
    beat = Heartbeat.from_environment(rank)  # before it is known: nothing is said of a gang before all are seen
    sender.send(Started(rank=rank, pid=os.getpid()), surely=True)
    sender.send(stacks.listen(rank), surely=True)
    try:
        done, metrics = _train(worker, sender, beat)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last word of this process
        fail(error, rank, sender)
    outcome = "Done" if done else "Preempted"
    code = ExitCode.DONE if done else ExitCode.PREEMPTED
    sender.send(
        Ended(
            rank=rank,
            outcome=outcome,
            reason=outcome,
            message="",
            exit_code=code,
            time=time.monotonic(),
            metrics=metrics,
        ),
        surely=True,
    )
    signals.uninstall()
    return done


def fail(error: BaseException, rank: int, sender: Sender) -> None:
    """Say what went wrong, once to people and once to the supervisor, and end the process."""
    failure = classify(error)
    if failure.traceback:
        print(failure.traceback, file=sys.stderr, flush=True)
    print(f"rank {rank}: {failure.reason}: {failure.message}", file=sys.stderr, flush=True)
    sender.send(
        Ended(
            rank=rank, outcome=failure.outcome, reason=failure.reason, message=failure.message,
            exit_code=failure.exit_code, time=time.monotonic(), traceback=failure.traceback,
        ),
        surely=True,
    )  # fmt: skip
    sys.stdout.flush()
    # Not sys.exit: other threads may sit in a collective whose peer is gone, and would hold the interpreter back.
    os._exit(failure.exit_code)


def _train(worker: Worker, sender: Sender, beat: Heartbeat | None = None) -> tuple[bool, dict[str, float]]:
    assert worker.task is not None
    # Before the gang meets: every rank finds the same mistake by itself, in a second.
    job = task.load(worker.task)
    config = configs.decode(worker.config_json, task.config_class(job))
    sinks.require(config)
    wanted.check(os.environ)
    torch.set_num_threads(config.threads or cpus.threads(worker.processes, os.environ))
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    gang = ranks.join()
    if config.compile:
        compiler.require(os.environ, gang.device.type)
    live = Settings(config, gang, sender, worker.live_json)
    config = live.config
    parts = _parts(job, config, gang, worker.world_size_max)
    parts.live = live
    if config.detect_anomaly:
        parts.task = anomaly.Watched(job, parts.model, lambda: parts.step)
    every = config.evaluate_every_steps or parts.order.steps_per_epoch
    observer = Observer(gang, sender, job, evaluate_every=every)
    parts.beat = beat or parts.beat
    keeper = open_keeper(worker, gang, sender, observer.score)
    resumed = keeper.resume(parts)
    live.begin()
    if gang.is_first:
        where = f"resumed from step {resumed}" if resumed is not None else "training begins"
        print(f"{where} (attempt {worker.attempt}, {gang.world_size} processes, {gang.device.type})", flush=True)
        observer.sinks = sinks.open_sinks(config, worker, resumed_from=resumed)
    sender.send(
        Training(
            rank=gang.rank, total_steps=parts.total_steps, resumed_from=resumed, device=mfu.device_name(gang.device)
        ),
        surely=True,
    )
    try:
        with anomaly.watching(config.detect_anomaly):
            done = rollback.train(parts, gang, keeper, observer, sender, worker.non_finite)
    except Exception as error:
        keeper.settle(SETTLE_VICTIM_SECONDS if is_peer_lost(error) else SETTLE_SECONDS)
        observer.sinks.close("Failed")
        raise
    observer.sinks.close("Done" if done else "Preempted")
    parts.beat.enter(ENDED)
    gang.leave()
    return done, observer.metrics


def _parts(job: Any, config: configs.TrainConfig, gang: ranks.Ranks, world_size_max: int) -> loop.Parts:
    """Build what this rank trains, the same on every rank but for its share of the data and its generators."""
    randomness.seed_all(config.seed)
    data = _data(job, config)
    order = Order(
        size=feed.size(data),
        batch_size=config.batch_size,
        seed=config.seed,
        world_size=gang.world_size,
        world_size_max=world_size_max,
    )
    model = _returned(job.model(config), torch.nn.Module, "model").to(gang.device)
    optimizer = _returned(job.optimizer(model, config), torch.optim.Optimizer, "optimizer")
    total = config.steps or (config.epochs or 1) * order.steps_per_epoch
    scheduler = job.scheduler(optimizer, config, total) if hasattr(job, "scheduler") else None
    scaler = torch.amp.GradScaler(gang.device.type) if config.precision == "fp16" else None
    module = model
    if gang.world_size > 1:
        module = torch.nn.parallel.DistributedDataParallel(
            model,
            device_ids=[gang.device.index] if gang.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            # Else DDP regroups gradients after the first step, and a resumed run of three or more ranks adds them in
            # another order than the uninterrupted one.
            find_unused_parameters=config.deterministic,
        )
    if config.compile:
        module = torch.compile(module)
    randomness.seed_all(
        config.seed + 1 + gang.rank
    )  # dropout differs between ranks, and does so the same way each time
    return loop.Parts(
        config=config,
        task=job,
        model=model,
        module=module,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=scaler,
        order=order,
        feed=feed.Feed(
            data,
            order,
            rank=gang.rank,
            device=gang.device,
            micro_batch=config.micro_batch,
            data_workers=config.data_workers,
        ),
        soundness=Soundness(model, gang, compare_every=config.parameter_check_every_steps or 0),
        device=gang.device,
        total_steps=total,
    )


def _returned(value: Any, kind: Any, method: str) -> Any:
    if isinstance(value, kind):
        return value
    wanted = f"{kind.__module__.split('.')[0]}.{kind.__module__.split('.')[1]}.{kind.__name__}"
    raise UserError("TaskInvalid", f"{method}() returned a {type(value).__name__}: return a {wanted}")


def _data(job: Any, config: configs.TrainConfig) -> Any:
    try:
        return job.data(config)
    except OSError as error:
        raise UserError(
            "DataMissing",
            f"data() could not read {error.filename or 'its input'} ({error.strerror or error}): check the path and "
            "the volumes of the job",
            ExitCode.USER_INPUT_MISSING,
        ) from error
