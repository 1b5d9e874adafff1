"""The classes of failure: one closed table, with the cause and the remedy of each in words.

Events, `ganger status` and docs/failures.md read it. What Ganger says of itself is in it; a program of the user's may
name a class of its own in the termination message, for its own rules, and is then told by its exit code.
"""

from msgspec import Struct

from ganger.api.status import Failure


class FailureClass(Struct, frozen=True, kw_only=True):
    """One class. cause: what happened, as a clause. remedy: what to do, as an imperative without a full stop.

    disruption: done to the gang from outside, never counted. victim: a consequence of another worker's failure.
    of_node: the node may be at fault, so that it is suspected when this happens there again and again.
    """

    cause: str
    remedy: str
    disruption: bool = False
    victim: bool = False
    of_node: bool = False


_GPU = "look at the node's GPUs (nvidia-smi -q, Xid lines of dmesg)"

CLASSES: dict[str, FailureClass] = {
    # --- the program ---
    "Exception": FailureClass(
        cause="the training code raised an exception",
        remedy="correct what the traceback shows: 'ganger status' prints its end, 'ganger logs' all of it",
    ),
    "GpuOutOfMemory": FailureClass(
        cause="a rank needed more GPU memory than was free",
        remedy="use a smaller batch, bf16 or activation checkpointing, or shard over more GPUs",
    ),
    "OOMKilled": FailureClass(
        cause="a worker used more memory than its limit",
        remedy="raise spec.resources.limits.memory, or use a smaller batch or fewer data loader workers",
    ),
    "ProcessExited": FailureClass(
        cause="a process ended with an error and said no more",
        remedy="read the logs of that worker: 'ganger logs' with --worker",
    ),
    "ProcessKilled": FailureClass(
        cause="a process was ended by a signal",
        remedy="after SIGKILL look at its memory, spec.resources.limits.memory; after SIGSEGV or SIGABRT set "
        "PYTHONFAULTHANDLER=1 under spec.env to see where",
        of_node=True,
    ),
    "PortInUse": FailureClass(
        cause="another process had a port that a rank was to listen on",
        remedy="choose another port in the code: a pod's ranks meet at 29400 and the ports that follow",
    ),
    "NonFiniteLoss": FailureClass(
        cause="the loss became NaN or infinite",
        remedy="lower the learning rate, clip gradients, or use bf16 instead of fp16; the last checkpoint is from "
        "before it, and failurePolicy.nonFinite: Rollback goes back to it and skips the data; "
        "config.detectAnomaly names the operation",
    ),
    "NonFiniteOperation": FailureClass(
        cause="config.detectAnomaly found the operation that made the first NaN or infinity",
        remedy="the message names operation, line and module: keep its input away from where it has no derivative (an "
        "epsilon under a root, a clamp before a logarithm), then turn detectAnomaly off",
    ),
    "ReplicaDivergence": FailureClass(
        cause="the replicas of the model are no longer equal",
        remedy=f"{_GPU}: a bit flipped, or a rank computes something of its own",
        of_node=True,
    ),
    "NoProgress": FailureClass(
        cause="the job restarted again and again without a new checkpoint",
        remedy="look at what happens at the steps that the message names, or save more often",
    ),
    "MaxRestartsReached": FailureClass(
        cause="the workers failed again and again",
        remedy="the logs name the cause: 'ganger logs' with --worker; raise failurePolicy.maxRestarts if it is rare",
    ),
    # --- what the user wrote ---
    "ConfigInvalid": FailureClass(
        cause="spec.config does not fit the task's own settings",
        remedy="correct what the message names, then submit the job again",
    ),
    "EnvironmentInvalid": FailureClass(
        cause="the environment of the worker is incomplete or contradicts itself",
        remedy="remove what spec.env sets of torchrun's and Ganger's own variables",
    ),
    "TaskInvalid": FailureClass(
        cause="spec.task could not be used",
        remedy="check module:name and what its methods return",
    ),
    "TaskNotFound": FailureClass(
        cause="spec.task could not be loaded",
        remedy="check module:name, and that spec.image or spec.code contains the module",
    ),
    "ScriptMissing": FailureClass(
        cause="spec.script is not in the image",
        remedy="check its path, and that spec.image or spec.code contains it",
    ),
    "LibraryMissing": FailureClass(
        cause="the image lacks a library that the settings ask for",
        remedy="use an image that has it, or take the setting out",
    ),
    "DataInvalid": FailureClass(
        cause="the data cannot be used as it is",
        remedy="correct the data set that the message names",
    ),
    "DataMissing": FailureClass(
        cause="the data is not there, or none of it",
        remedy="check the paths in spec.config, that the volume is mounted, and the url in spec.data",
    ),
    "DataRefused": FailureClass(
        cause="the server of a url in spec.data refused it",
        remedy="check the Secret that its secretName names, its endpoint and region, and who may read the bucket",
    ),
    "DataDigest": FailureClass(
        cause="what was fetched for spec.data has another SHA-256 than its sha256 says",
        remedy="if the data was meant to change, correct sha256; else find out who changed it",
    ),
    "DataTooLarge": FailureClass(
        cause="what is fetched for spec.data, or what is in its archive, has more bytes than maxSize",
        remedy="raise its maxSize if that is meant",
    ),
    "DataUnreachable": FailureClass(
        cause="the server of a url in spec.data sent no byte for ten minutes",
        remedy="look at the server, at proxies under spec.env, and at network policies; what came is kept in dataCache",
    ),
    "DataVolume": FailureClass(
        cause="the volume for spec.data does not take what is fetched",
        remedy="look at the claim of spec.dataCache: free space, and whether UID 1000 may write there",
    ),
    "DataTooSmall": FailureClass(
        cause="the data set has fewer samples than one global batch",
        remedy="use a smaller batch, fewer workers, or more data",
    ),
    "StateNotSaveable": FailureClass(
        cause="the task's state cannot be written to a checkpoint",
        remedy="keep tensors, numbers and text in it: the message names the part",
    ),
    "Unsupported": FailureClass(
        cause="the operator cannot serve a field of this job", remedy="remove the field that the message names"
    ),
    # --- ranks that talk to each other ---
    "PeerLost": FailureClass(
        cause="a rank lost the connection to another",
        remedy="look at the other workers' logs, and at the network between their nodes",
        victim=True,
    ),
    "CollectiveTimeout": FailureClass(
        cause="a collective operation (NCCL, gloo) was not answered in time by every rank",
        remedy="find the rank that did not take part: one that hangs, is slow, or left the loop alone; 'ganger request "
        "stacks' shows where each one is",
        victim=True,
    ),
    "RendezvousTimeout": FailureClass(
        cause="not every worker came to the rendezvous in time",
        remedy="look at the workers that did not start, and whether a network policy keeps them apart",
        victim=True,
    ),
    "Hang": FailureClass(
        cause="a rank made no progress for too long",
        remedy="look at the stacks that were kept of it; a data loader or a collective that waits for ever is usual",
        of_node=True,
    ),
    # --- checkpoints ---
    "CheckpointFailed": FailureClass(
        cause="checkpoints could not be written",
        remedy="look at the checkpoint volume: free space, quota and permissions",
    ),
    "CheckpointMismatch": FailureClass(
        cause="the checkpoints are of another model or configuration",
        remedy="restore the old configuration, or give the job another folder with spec.checkpoint.volume.path",
    ),
    "CheckpointDirInUse": FailureClass(
        cause="another job keeps its checkpoints in the same folder",
        remedy="give this one its own spec.checkpoint.volume.path",
    ),
    "CheckpointVolumeReadOnly": FailureClass(
        cause="the checkpoint volume cannot be written",
        remedy="mount it for writing: its access mode, and whether UID 1000 may write there",
    ),
    "NoValidCheckpoint": FailureClass(
        cause="checkpoints exist and none of them is whole",
        remedy="restore one from a backup, or set spec.checkpoint.onNoValidCheckpoint: Restart to begin at step 0",
    ),
    "CheckpointMissing": FailureClass(
        cause="spec.checkpoint.resume is Required and there is no checkpoint",
        remedy="check spec.checkpoint.volume, or set resume: Auto",
    ),
    "Fenced": FailureClass(
        cause="a later attempt owns the checkpoints, so the old worker stopped and wrote nothing",
        remedy="nothing: the newest attempt goes on",
    ),
    # --- model files ---
    "ExportUnavailable": FailureClass(
        cause="the image lacks a package that a format of spec.export needs",
        remedy="use an image that has it (pip install 'ganger[export]'), or take the format out of spec.export",
    ),
    "ExportFailed": FailureClass(
        cause="a model file could not be made, though the training is done",
        remedy="change what the message names, as control flow that depends on data; the checkpoint stays, and "
        "'ganger export' makes the file from it without training anew",
    ),
    "ExportDiffers": FailureClass(
        cause="a model file was made, but computes something else than the model",
        remedy="look at the difference that the message tells: raise tolerance in spec.export if it is rounding, else "
        "take what depends on data out of forward; the checkpoint stays, and 'ganger export' makes the file from it",
    ),
    "ExportNotWritten": FailureClass(
        cause="a model file could not be written",
        remedy="look at the checkpoint volume: free space, quota and permissions",
    ),
    "ExportTooLong": FailureClass(
        cause="a model file was not made within an hour",
        remedy="give the worker more CPU and memory under spec.resources, or make that format with 'ganger export'",
    ),
    # --- disruptions: never counted ---
    "Preempted": FailureClass(
        cause="the worker was told to stop, for another pod or by its node",
        remedy="give the job a higher spec.priorityClassName if it must not yield",
        disruption=True,
    ),
    "Evicted": FailureClass(
        cause="a worker was evicted: a drained node, or one short of memory or disk",
        remedy="nothing after a drain; else set requests equal to limits under spec.resources, so that others go first",
        disruption=True,
    ),
    "PodDeleted": FailureClass(
        cause="somebody deleted a worker's pod",
        remedy="nothing: the gang starts anew; 'ganger suspend' stops a job with a checkpoint",
        disruption=True,
    ),
    "GaveWay": FailureClass(
        cause="the gang held some places, another held others, and neither could start",
        remedy="nothing: it starts when there is room for all of it; let the cluster serve PodGroups of "
        "scheduling.k8s.io, so that no gang takes a place before it can have all",
        disruption=True,
    ),
    "NodeLost": FailureClass(
        cause="a worker's node does not answer any more or was taken away",
        remedy="nothing for the job, which goes on elsewhere; look after the node, and taint it "
        "node.kubernetes.io/out-of-service once it is surely off, so that its volumes come free",
        disruption=True,
        of_node=True,
    ),
    "NodeShutdown": FailureClass(
        cause="a worker's node was shut down",
        remedy="nothing: the gang starts anew elsewhere",
        disruption=True,
    ),
    "Disrupted": FailureClass(
        cause="something outside ended a worker",
        remedy="the message names it; the restart is not counted",
        disruption=True,
    ),
    # --- the node ---
    "PodRejected": FailureClass(
        cause="the kubelet refused a worker that was given to its node",
        remedy="look at the node: its device plugin, and what else runs there",
        of_node=True,
    ),
    "StartError": FailureClass(
        cause="the container could not be started",
        remedy="correct spec.command, or use an image that has it and is built for the node's architecture",
    ),
    "ImagePull": FailureClass(
        cause="the image could not be pulled before spec.startDeadlineSeconds",
        remedy="check spec.image and its tag, spec.imagePullSecrets, and that the nodes reach the registry",
    ),
    "InvalidImageName": FailureClass(
        cause="spec.image is no image reference", remedy="correct spec.image, as registry/name:tag"
    ),
    # --- deadlines ---
    "DeadlineExceeded": FailureClass(
        cause="the job was not complete within spec.activeDeadlineSeconds",
        remedy="raise it; a new job goes on from the checkpoints",
    ),
    "StartDeadlineExceeded": FailureClass(
        cause="not every worker ran within spec.startDeadlineSeconds", remedy="raise it, or free resources"
    ),
}

# What the code alone tells of a process that said nothing.
_BY_EXIT_CODE: dict[int, tuple[str, str]] = {
    65: ("the data or the checkpoint cannot be used as it is", "read the message and the logs of that worker"),
    66: ("a file, data set or checkpoint is missing", "check the paths in spec.config and that the volume is mounted"),
    78: ("the task, its configuration or its environment is wrong", "correct what the message names"),
    126: ("the command is there but cannot be executed", "check its permissions and the image's architecture"),
    127: ("the image does not have the command", "correct spec.command, or use an image that has it"),
    137: ("a worker was killed from outside (SIGKILL)", "look at its memory: spec.resources.limits.memory, dmesg"),
    139: (
        "a worker crashed in native code (SIGSEGV)",
        "run it with PYTHONFAULTHANDLER=1 under spec.env to see where",
    ),
}
_SILENT = frozenset({"ProcessExited", "ProcessKilled"})
DISRUPTIONS = frozenset(name for name, each in CLASSES.items() if each.disruption)
VICTIMS = frozenset(name for name, each in CLASSES.items() if each.victim)


def remedy(reason: str, exit_code: int | None = None) -> FailureClass | None:
    """Return cause and remedy of a failure, None where nothing is known of it.

    The exit code is asked where the class alone says little, and where it is none of ours.
    """
    known = CLASSES.get(reason)
    if (known is None or reason in _SILENT) and exit_code in _BY_EXIT_CODE:
        cause, fix = _BY_EXIT_CODE[exit_code]
        return FailureClass(cause=cause, remedy=fix)
    return known


def advised(message: str, failure: Failure | None, reason: str = "") -> str:
    """Return the message of an event with the remedy of the failure, or of the reason where nothing failed."""
    known = remedy(failure.reason, failure.exit_code) if failure is not None else remedy(reason)
    if known is None or known.remedy in message:
        return message
    return f"{message}. Remedy: {known.remedy}"
