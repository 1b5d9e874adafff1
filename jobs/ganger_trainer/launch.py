"""Start the workers of this pod through torchrun's own elastic agent.

Workers are forked, so torch is imported once per pod and not once per process: the import is the largest part of a
start. Forking is safe for CUDA because nothing here, the agent included, initialises it before. The agent runs on a
thread: its signal handlers, which would kill workers in the middle of a checkpoint, then stay out. Must not be
imported before the environment was checked: it imports torch.
"""

import gc
import importlib
import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch.multiprocessing
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ganger.contract import ExitCode
from ganger_trainer import config as configs
from ganger_trainer import eager, helper, rendezvous, signals, stacks, worker
from ganger_trainer.environment import Worker
from ganger_trainer.failures import UserError
from ganger_trainer.reports import Ended, Sender, Started

SHUTDOWN_SECONDS: Final = 5  # what is left of a gang after one rank failed; nothing in it can be saved


def launch(spec: Worker) -> dict[int, tuple[int, int]]:
    """Run all workers of this pod to their end.

    Returns {} if all ended well, else for each failed local rank that the agent named: (global rank, exit code).
    Raises what the rendezvous raises. Blocks.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_SECONDS)
    # Ask the driver, not the CUDA runtime, whether there are GPUs: the runtime does not survive a fork.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    deadline = time.monotonic() + rendezvous.WAIT_SECONDS
    entry, arguments = _entry(spec)
    if entry is not run_command:
        # Before the name of worker 0 is asked for: it is made meanwhile.
        preload(compiler=spec.script is not None or configs.compiles(spec.config_json))
    if not gc.isenabled():  # the first round: see Supervisor._launch
        gc.freeze()  # what was imported is never looked through again, here and in the forks, which share its pages
        gc.enable()
    # A port for each round: what the ranks of the round before left in their store must not be met by these.
    port = spec.rendezvous_port + spec.round if spec.rendezvous_port else rendezvous.free_port()
    host = spec.rendezvous_host
    if spec.worker == 0:
        host = "127.0.0.1"  # the store is in this process: no need to wait for our own name
    else:
        rendezvous.resolve(host, deadline)
    config = LaunchConfig(
        min_nodes=spec.workers,
        max_nodes=spec.workers,
        nproc_per_node=spec.processes,
        run_id=f"{spec.job_uid}-{spec.attempt}-{spec.round}",
        role="trainer",
        rdzv_backend="static",
        rdzv_endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        rdzv_configs={"rank": spec.worker, "timeout": max(1, int(deadline - time.monotonic()))},
        max_restarts=0,
        monitor_interval=0.1,
        start_method="fork",
    )
    try:
        elastic_launch(config, entry)(*arguments)
    except ChildFailedError as error:
        return {failure.local_rank: (rank, failure.exitcode) for rank, failure in error.failures.items()}
    return {}


def preload(*, compiler: bool) -> None:
    """Load torch's compiler if it may be used: it costs a second, here once a pod instead of in each process.

    Torch loads it with the first optimizer. A task that does not compile does without it, and starts sooner.
    """
    if compiler or not eager.put_off_compiler():
        importlib.import_module(eager.NAME)


def _entry(spec: Worker) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return what the agent runs: our loop, a Python script in a fork, or any other command as it is."""
    if spec.script is None:
        return worker.run, (spec,)
    path = spec.script[0]
    if path.endswith(".py"):
        # Where the code comes with spec.code, PYTHONPATH names its folder: a script is found there as a task is.
        places = (Path(place, path) for place in ("", *os.environ.get("PYTHONPATH", "").split(os.pathsep)))
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UserError(
                "ScriptMissing",
                f"script {path!r} is not a file (working directory {Path.cwd()}, and PYTHONPATH): check the path, and "
                "that the code is in the image or comes with spec.code",
                ExitCode.USER_INPUT_MISSING,
            )
        return run_script, ((str(found), *spec.script[1:]),)
    command = (sys.executable, "-u", *spec.script) if path == "-m" else spec.script
    if shutil.which(command[0]) is None:
        raise UserError(
            "ScriptMissing",
            f"command {command[0]!r} is not a program of this image: check the spelling and PATH, or name a .py file",
            ExitCode.USER_INPUT_MISSING,
        )
    return run_command, (command,)


def run_script(script: tuple[str, ...]) -> None:
    """Run a Python script as `__main__` in this forked process, as `python script.py` would."""
    signals.uninstall()  # a script that does not ask keeps Python's own behaviour
    sender = Sender.from_environment()
    rank = int(os.environ.get("RANK", "0"))
    sender.send(Started(rank=rank, pid=os.getpid()), surely=True)
    sender.send(stacks.listen(rank), surely=True)
    path = Path(script[0])
    sys.argv = list(script)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        if code:
            _ended(sender, rank, "Failed", "ProcessExited", f"the script exited with {code}", code)
            sys.stdout.flush()
            os._exit(code)
    except BaseException as error:  # noqa: BLE001 - the last word of this process
        worker.fail(error, rank, sender)
    # With a handler of its own for SIGTERM a script may have left early and well: whether it is done, it alone knows.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL or helper.is_listening():
        _ended(sender, rank, "Done", "Done", "", 0)
    signals.uninstall()


def run_command(command: tuple[str, ...]) -> None:
    """Run any program and end as it ends. The supervisor signals the program itself, not this process."""
    sender = Sender.from_environment()
    rank = int(os.environ.get("RANK", "0"))
    # preexec_fn: nothing may outlive this process, and in a fork without threads it is safe.
    program = subprocess.Popen(command, preexec_fn=_die_with_parent)
    for number in (signal.SIGTERM, signal.SIGINT):  # from the agent, when a sibling has failed
        signal.signal(number, lambda received, _frame: program.send_signal(received))
    sender.send(Started(rank=rank, pid=program.pid), surely=True)
    code = program.wait()
    signals.uninstall()
    if code > 0:
        _ended(sender, rank, "Failed", "ProcessExited", f"{command[0]} exited with {code}", code)
        os._exit(code)
    if code < 0:
        os.kill(os.getpid(), -code)  # whoever judges this process sees the signal that ended the program


def _die_with_parent() -> None:
    torch.multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)  # noqa: SLF001 - torch's own workers do the same


def _ended(sender: Sender, rank: int, outcome: str, reason: str, message: str, code: int) -> None:
    sender.send(
        Ended(rank=rank, outcome=outcome, reason=reason, message=message, exit_code=code, time=time.monotonic()),
        surely=True,
    )
