"""`python -m ganger_trainer.fetch`: fetch what GANGER_DATA_ORDERS lists into GANGER_DATA_CACHE, then end.

It runs before the worker, in each of its pods; whoever comes first fetches, the others wait. The exit code and the last
word are those of a worker that failed.
"""

import os
import signal
import socket
import sys
import uuid
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ganger.contract import ENV_DATA_CACHE, ENV_DATA_HOLDER, ENV_DATA_ORDERS, ENV_TERMINATION_LOG, ExitCode
from ganger_trainer import lastword
from ganger_trainer.failures import UserError, classify
from ganger_trainer.fetch import order
from ganger_trainer.fetch.fetcher import fetch
from ganger_trainer.fetch.order import Limits
from ganger_trainer.fetch.store import Store


def main(limits: Limits | None = None) -> int:
    """Fetch all orders of the environment, one after another; return the exit code. Never raises."""
    try:
        _fetch_all(limits or Limits())
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is told as every other failure
        found = classify(error)
        said = {"outcome": found.outcome, "reason": found.reason, "message": found.message}
        print(f"error: {found.message}", file=sys.stderr, flush=True)
        if found.traceback:
            said["traceback"] = found.traceback
            print(found.traceback, file=sys.stderr, flush=True)
        log = os.environ.get(ENV_TERMINATION_LOG)
        lastword.write(Path(log) if log else None, said)
        return found.exit_code
    return ExitCode.DONE


def _fetch_all(limits: Limits) -> None:
    root = Path(os.environ.get(ENV_DATA_CACHE) or "/")
    if root == Path("/"):
        raise UserError("EnvironmentInvalid", f"{ENV_DATA_CACHE} must name a folder: the operator sets it")
    who = os.environ.get(ENV_DATA_HOLDER) or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    for wanted in order.read(os.environ.get(ENV_DATA_ORDERS) or "[]"):
        print(f"data {wanted.name}: {wanted.url.partition('?')[0]}", flush=True)
        fetch(wanted, Store(root), who, limits, partial(_say, wanted.name))


def _say(name: str, text: str) -> None:
    print(f"data {name} {text}", flush=True)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Leave at once: what is on the disk is resumed. Threads of downloads do not hold the process."""
    os._exit(int(ExitCode.PREEMPTED))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    sys.exit(main())
