"""TensorBoard event files. Imports tensorboard: import it only when it is wanted."""

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from ganger_trainer.sinks import Outcome, Point


class TensorBoard:
    """One file for each attempt, all in one directory, which TensorBoard shows as one run.

    purge_step: the first step that this attempt does; what an earlier attempt wrote of it and of later ones is hidden.
    """

    name = "tensorboard"

    def __init__(self, directory: Path, *, purge_step: int) -> None:
        self._directory = directory
        self._purge_step = purge_step
        self._writer: Any = None

    def write(self, point: Point) -> None:
        """Append the point and flush it. Raises OSError if the volume refuses."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._directory), purge_step=self._purge_step)
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, point.step, walltime=point.time)
        self._writer.flush()

    def close(self, _outcome: Outcome) -> None:
        """Close the file, if there is one."""
        if self._writer is not None:
            self._writer.close()
