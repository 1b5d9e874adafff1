"""Serves the figures of this pod: /metrics, with what the supervisor knows and what the GPUs say."""

import sys

from ganger_trainer import metrics, nvml
from ganger_trainer.board import Board
from ganger_trainer.endpoint import Endpoint
from ganger_trainer.environment import Worker


def serve(spec: Worker, board: Board, port: int) -> None:
    """Begin to serve on `port`, on threads of its own. A port that is taken is warned of: training needs no figures."""
    gpus = nvml.Gpus(ready=lambda: board.started() >= spec.processes)
    page = metrics.Page(
        board,
        attempt=spec.attempt,
        job=spec.job,
        keeps_checkpoints=spec.worker == 0 and spec.task is not None and spec.checkpoint_dir is not None,
        gpus=gpus.readings,
    )
    gpus.start()
    try:
        Endpoint(port, page.render)
    except OSError as error:
        print(f"warning: no /metrics on port {port}: {error.strerror}", file=sys.stderr, flush=True)
