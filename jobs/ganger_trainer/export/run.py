"""The process of an export: from the environment to an exit code and a last word. torch is loaded late."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from msgspec import Struct

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import cpus, environment, lastword
from ganger_trainer.board import Board
from ganger_trainer.environment import Worker
from ganger_trainer.export import wanted
from ganger_trainer.export.card import Card
from ganger_trainer.failures import UserError, classify
from ganger_trainer.verdict import Verdict

if TYPE_CHECKING:
    from ganger_trainer.export.make import Provenance, Subject

DIGITS: Final = 3  # of a difference in the last word


class _Metrics(Struct, frozen=True, kw_only=True):
    step: int
    metrics: dict[str, float | None] = {}  # JSON has no NaN


class Run:
    """One try. `end` makes everything and ends the process."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        log = environ.get(contract.ENV_TERMINATION_LOG)
        self._log = Path(log) if log else None
        self._artifacts: list[dict[str, Any]] = []

    def end(self) -> NoReturn:
        """Make what is asked for, one after the other, say how it went, and end the process."""
        try:
            self._make()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last word of this process
            failure = classify(error)
            if failure.traceback:
                print(failure.traceback, file=sys.stderr, flush=True)
            self._leave(
                Verdict(
                    exit_code=failure.exit_code, outcome=failure.outcome, reason=failure.reason,
                    message=failure.message, traceback=failure.traceback,
                )
            )  # fmt: skip
        self._leave(Verdict(exit_code=ExitCode.DONE, outcome="Done", reason="Done"))

    def stopped(self) -> NoReturn:
        """End at once, as a handler of SIGTERM: what is complete has its name, the rest is made by the next try."""
        text = "the export was stopped before it was complete"
        self._leave(Verdict(exit_code=ExitCode.PREEMPTED, outcome="Preempted", reason="Preempted", message=text))

    def _make(self) -> None:
        worker = environment.read(self._environ)
        asked = wanted.read(self._environ.get(contract.ENV_EXPORTS, ""))
        if worker.task is None or worker.checkpoint_dir is None or not asked:
            raise UserError(
                "EnvironmentInvalid",
                f"an export needs {contract.ENV_TASK}, {contract.ENV_CHECKPOINT_DIR} and {contract.ENV_EXPORTS}, or "
                "the options --task, --checkpoints and --exports",
            )
        wanted.require(asked)
        root = Path(self._environ.get(contract.ENV_EXPORT_DIR) or worker.checkpoint_dir)

        import torch

        from ganger_trainer.export import make, source

        torch.set_num_threads(cpus.threads(1, self._environ))
        subjects: dict[int, Subject] = {}  # most jobs export one step in several formats
        provenance = self._provenance(worker)
        for one in asked:
            step = source.choose(worker.checkpoint_dir, one)
            if step not in subjects:
                opened = source.open_checkpoint(worker.checkpoint_dir, step, worker.task, worker.config_json)
                _say(f"step {step} is whole; its model is compared on real batches")
                subjects = {step: make.subject(opened)}
            done = make.make(subjects[step], one, root, provenance, _say)
            self._artifacts.append(artifact(one, done))

    def _provenance(self, worker: Worker) -> "Provenance":
        from ganger_trainer.export.make import Provenance

        text = self._environ.get(contract.ENV_EXPORT_METRICS)
        try:
            told = msgspec.json.decode(text, type=_Metrics) if text else None
        except msgspec.MsgspecError as error:
            raise UserError(
                "EnvironmentInvalid",
                f'{contract.ENV_EXPORT_METRICS} is {text!r}, allowed: {{"step": 1, "metrics": {{"x": 0.5}}}} ({error})',
            ) from None
        return Provenance(
            worker=worker,
            image_id=self._environ.get(contract.ENV_IMAGE_ID) or None,
            metrics={name: value for name, value in told.metrics.items() if value is not None}
            if told is not None
            else {},
            metrics_step=told.step if told is not None else None,
        )

    def _leave(self, verdict: Verdict) -> NoReturn:
        message = lastword.compose(verdict, Board())
        if self._artifacts:
            message["artifacts"] = self._artifacts
        lastword.write(self._log, message)
        _say(f"{verdict.reason}{f': {verdict.message}' if verdict.message else ''}")
        sys.stderr.flush()
        os._exit(verdict.exit_code)  # not sys.exit: runtimes have threads that may hold the interpreter back


def artifact(one: wanted.Wanted, done: Card) -> dict[str, Any]:
    """Return what the last word says of an export. Pure."""
    difference = done.parity.max_abs_diff
    if difference > 0:  # three digits are enough, and rounded up: what is said is never below what was seen
        scale = 10.0 ** (DIGITS - 1 - math.floor(math.log10(difference)))
        difference = float(f"{math.ceil(difference * scale) / scale:.{DIGITS}g}")
    model = done.files[0]
    return {
        "format": done.format,
        "path": f"{one.folder}/{model.name}",
        "sha256": model.sha256,
        "bytes": model.bytes,
        "maxAbsDiff": difference,
        "step": done.checkpoint.step,
    }


def _say(text: str) -> None:
    print(f"export: {text}", flush=True)
