"""A few lines for a script that torchrun could run too.

    import ganger_trainer
    ganger_trainer.report(step=step, loss=loss.item(), total_steps=1000, accuracy=0.9)
    if ganger_trainer.should_save():      # somebody asked for a checkpoint
        save(ganger_trainer.checkpoint_dir() / "last.safetensors")
    if ganger_trainer.should_stop():      # SIGTERM came: save, then leave the loop
        save(ganger_trainer.checkpoint_dir() / "last.safetensors"); break

Outside Ganger the first three do nothing and `checkpoint_dir` is `./checkpoints`. torch is not needed. The first of
these calls also makes SIGUSR2 write the stacks of this process for Ganger to show: so one sees where a job hangs.
"""

import math
import os
import signal
from pathlib import Path
from types import FrameType

from ganger.contract import ENV_CHECKPOINT_DIR
from ganger_trainer import stacks
from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.heartbeat import Heartbeat
from ganger_trainer.reports import Progress, Sender, Stopping
from ganger_trainer.save_requests import SaveRequests

_sender: tuple[int, Sender] | None = None
_beat: tuple[int, Heartbeat] | None = None
_requests: SaveRequests | None = None
_stop = False
_listening = False


def report(
    *, step: int, loss: float | None = None, total_steps: int | None = None, epoch: int | None = None, **metrics: float
) -> None:
    """Tell Ganger where this rank is. Costs one small datagram; never raises and never waits.

    Call it as often as you like to print a line, not at every step of a millisecond. Values that are not finite are
    left out.
    """
    global _beat
    if _beat is None or _beat[0] != os.getpid():
        _beat = (os.getpid(), Heartbeat.from_environment(_rank()))
    _beat[1].reported(int(step), total_steps)
    _to_supervisor().send(
        Progress(
            rank=_rank(),
            step=int(step),
            total_steps=total_steps,
            epoch=epoch,
            loss=float(loss) if loss is not None and math.isfinite(loss) else None,
            metrics={name: float(value) for name, value in metrics.items() if math.isfinite(float(value))},
        )
    )


def should_stop() -> bool:
    """Return True once SIGTERM has come to any process of this pod: save and leave the loop.

    The first call installs the handler, so call it from the main thread, once before the loop at the latest. In a
    gang, let all ranks agree (all-reduce the flag) before one of them leaves.
    """
    global _listening
    if not _listening and os.environ.get(HELPER_SOCKET):
        signal.signal(signal.SIGTERM, _on_terminate)
        _listening = True
    if _stop:
        _to_supervisor().send(Stopping(rank=_rank()), surely=True)
    return _stop


def should_save() -> bool:
    """Return True once for each request for a checkpoint: save, and go on.

    A request reaches every process of the job, at slightly different times: in a gang let rank 0's answer count for
    all (broadcast it), or all-reduce it and save where any rank has it. Costs a few microseconds; never raises.
    """
    global _requests
    _to_supervisor()
    if _requests is None:
        _requests = SaveRequests.from_environment()
    return _requests.take()


def is_listening() -> bool:
    """Return True if this process has asked `should_stop` under Ganger."""
    return _listening


def checkpoint_dir() -> Path:
    """Return the directory that survives restarts, created if it is missing."""
    path = Path(os.environ.get(ENV_CHECKPOINT_DIR) or "checkpoints")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _on_terminate(_number: int, _frame: FrameType | None) -> None:
    global _stop
    _stop = True


def _to_supervisor() -> Sender:
    """Return this process's sender; a fork gets one of its own."""
    global _sender
    if _sender is None or _sender[0] != os.getpid():
        _sender = (os.getpid(), Sender.from_environment())
        if os.environ.get(HELPER_SOCKET):
            _sender[1].send(stacks.listen(_rank()))
    return _sender[1]


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
