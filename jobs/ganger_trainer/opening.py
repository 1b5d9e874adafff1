"""How an attempt takes its checkpoint directory: whose it is, which attempt may write, whether it can be written."""

from collections.abc import Callable
from pathlib import Path

from ganger_trainer.checkpoint import layout, ownership
from ganger_trainer.checkpoint.exchange import Alone, Exchange, Shared
from ganger_trainer.environment import CheckpointPolicy, Worker
from ganger_trainer.failures import TrainerError, UserError
from ganger_trainer.keeper import DirectoryKeeper, Keeper, NoKeeper
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Sender
from ganger_trainer.save_requests import SaveRequests


def open_keeper(worker: Worker, ranks: Ranks, sender: Sender, score: Callable[[], float | None]) -> Keeper:
    """Return the keeper of this attempt, its directory owned, fenced and swept by rank 0. A collective call.

    Raises UserError (BAD_CONFIG): CheckpointDirInUse, or CheckpointVolumeReadOnly if a checkpoint is required;
    FencedError for an old attempt.
    """
    directory = worker.checkpoint_dir
    if directory is None:
        return NoKeeper()
    owner = ownership.Owner(namespace=worker.namespace, job=worker.job, job_uid=worker.job_uid, attempt=worker.attempt)
    writable, problem = True, None
    if ranks.is_first:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            ownership.acquire(directory, owner)
            layout.sweep(directory, worker.attempt)
        except OSError as error:
            writable, problem = False, _read_only(directory, error, worker.checkpoint)
        except TrainerError as error:
            problem = error
    if not ranks.agree(problem is None):
        raise problem or TrainerError(
            "PeerLost", "rank 0 could not take the checkpoint directory; its message says why"
        )
    writable = ranks.agree(writable)
    exchange: Exchange = Alone()
    if ranks.world_size > 1:
        exchange = Shared(rank=ranks.rank, world_size=ranks.world_size, attempt=worker.attempt)
    requests = SaveRequests.from_environment()
    return DirectoryKeeper(
        directory, worker.checkpoint, owner, exchange, ranks, sender, score, requests, writable=writable
    )


def _read_only(directory: Path, error: OSError, policy: CheckpointPolicy) -> TrainerError | None:
    """Return the error that a volume which cannot be written is, or None (and a warning) if the job can do without."""
    text = (
        f"{directory} cannot be written ({error.strerror}): mount the volume read-write, for the user of this container"
    )
    if policy.resume == "Required" or not directory.is_dir():
        return UserError("CheckpointVolumeReadOnly", text)
    print(f"warning: {text}; this job trains without checkpoints", flush=True)
    return None
