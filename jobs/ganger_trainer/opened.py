"""A job as a notebook sees it: its task, its config and its checkpoints, read and never written.

`from_job` reads the environment that a forked session and the job's own pods have. A checkpoint is verified as a
resuming gang does it, byte for byte; a volume that is mounted read-only, and a job that saves meanwhile, are fine.
torch is imported when the first checkpoint is opened.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import config as configs
from ganger_trainer import task as tasks
from ganger_trainer.checkpoint import layout, manifest
from ganger_trainer.failures import UserError

LOOKS_MAX: Final = 3  # a job that saves removes old checkpoints, so what was listed may be gone when it is read


def from_job(environ: Mapping[str, str] = os.environ) -> "OpenedJob":
    """Return the job that this process was forked from.

    Raises UserError (JobMissing) where the environment speaks of none.
    """
    name = environ.get(contract.ENV_JOB)
    if not name:
        raise UserError(
            "JobMissing",
            f"{contract.ENV_JOB} is not set, so there is no job to open: start the session with fromJob "
            "(`ganger dev up NAME --from-job JOB`)",
        )
    directory = environ.get(contract.ENV_CHECKPOINT_DIR)
    return OpenedJob(
        name=name,
        task_name=environ.get(contract.ENV_TASK) or None,
        config_json=environ.get(contract.ENV_CONFIG) or "{}",
        directory=Path(directory) if directory else None,
    )


class OpenedJob:
    """The job's parts, each made when it is asked for. directory: of its checkpoints, None where it keeps none."""

    def __init__(self, *, name: str, task_name: str | None, config_json: str, directory: Path | None) -> None:
        self.name = name
        self.directory = directory
        self._task_name = task_name
        self._config_json = config_json
        self._task: Any = None

    def __repr__(self) -> str:
        return f"<job {self.name}: task {self._task_name or 'none'}, checkpoints in {self.directory or 'no place'}>"

    @property
    def task(self) -> Any:
        """The task, as the workers load it. Raises UserError: TaskMissing, TaskNotFound, TaskInvalid."""
        if self._task is None:
            if self._task_name is None:
                raise UserError(
                    "TaskMissing",
                    f"job {self.name} runs a script or a command, so only its author knows its model: make it as the "
                    "script does, and read its files in `job.directory`",
                )
            self._task = tasks.load(self._task_name)
        return self._task

    @property
    def config(self) -> Any:
        """The job's config, of the task's own class. Raises UserError (ConfigInvalid)."""
        return configs.decode(self._config_json, tasks.config_class(self.task))

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints that are there now, newest first. Raises UserError without a volume."""
        return list(layout.look(self._volume()).steps)

    def checkpoint(self, step: int | Literal["best"] | None = None) -> Any:
        """Return one verified checkpoint: `.step`, `.parts["model"]`, `.manifest`.

        step: None is the newest that is whole, "best" the one with the least score, as keep.best compares. Raises
        UserError: CheckpointMissing (USER_INPUT_MISSING), NoValidCheckpoint (USER_DATA).
        """
        from ganger_trainer.checkpoint.loader import Loaded

        directory = self._volume()
        complaints: dict[int, str] = {}
        for _ in range(LOOKS_MAX):
            steps = self._candidates(step)
            for candidate in steps:
                path = directory / layout.committed(candidate)
                try:
                    loaded = Loaded(manifest.verify(path), path, 0)
                except manifest.InvalidError as error:
                    complaints[candidate] = str(error)
                    continue
                for damaged in (found for found in complaints if (directory / layout.committed(found)).exists()):
                    why = f"{complaints[damaged]:.200}"
                    print(f"checkpoint of step {damaged} is not whole ({why}), step {candidate} is opened", flush=True)
                return loaded
            if all((directory / layout.committed(candidate)).exists() for candidate in steps):
                break
        there = ", ".join(map(str, self.steps()[:10])) or "none"
        if not complaints:
            wanted = "that is scored" if step == "best" else "at all" if step is None else f"of step {step}"
            raise UserError(
                "CheckpointMissing",
                f"job {self.name} has no checkpoint {wanted} in {directory}; steps that are there: {there}",
                ExitCode.USER_INPUT_MISSING,
            )
        told = "; ".join(f"step {found}: {why:.200}" for found, why in list(complaints.items())[:3])
        raise UserError(
            "NoValidCheckpoint",
            f"no checkpoint that was asked for is whole ({told}); steps that are there: {there}",
            ExitCode.USER_DATA,
        )

    def model(self, step: int | Literal["best"] | None = None) -> Any:
        """Return the task's model with the weights of one checkpoint, on the CPU, in evaluation mode.

        step: as of `checkpoint`. Raises UserError as `checkpoint` and `task` do, and CheckpointMismatch where code or
        config are not those it was written with.
        """
        from ganger_trainer.checkpoint.loader import load_model

        made, loaded = self.task.model(self.config), self.checkpoint(step)
        load_model(made, loaded)
        made.eval()
        return made

    def _volume(self) -> Path:
        if self.directory is None or not self.directory.is_dir():
            where = "keeps no checkpoints" if self.directory is None else f"has no {self.directory} here"
            raise UserError(
                "CheckpointMissing",
                f"job {self.name} {where}: set spec.checkpoint of the job, or mount its volume",
                ExitCode.USER_INPUT_MISSING,
            )
        return self.directory

    def _candidates(self, step: int | Literal["best"] | None) -> list[int]:
        """Return the steps to try, in that order."""
        there = self.steps()
        if step is None:
            return there
        if step != "best":
            return [found for found in there if found == step]
        scores = {}
        for found in there:
            try:
                scores[found] = manifest.read(self._volume() / layout.committed(found)).score
            except manifest.InvalidError:
                continue  # no score is known of it
        return sorted(
            (found for found, score in scores.items() if score is not None), key=lambda one: (scores[one], -one)
        )
