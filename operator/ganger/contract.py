"""What the operator, the trainer and the CLI must agree on, in one place.

Names that cross a process boundary live here and nowhere else: label keys, environment names, ports, paths, exit codes.
The standard library alone may be imported: the trainer image carries this file, and it must start fast.
Removing or renaming anything here breaks running jobs; it needs a new API version.
"""

from enum import IntEnum
from typing import Final

# --- the API ---
API_GROUP: Final = "ganger.dev"
API_VERSION: Final = "v1alpha1"
KIND: Final = "TrainingJob"
CONTROLLER: Final = "ganger.dev/ganger"  # the value of spec.managedBy that is ours
PLURAL: Final = "trainingjobs"
SHORT_NAMES: Final = ("tj", "tjob")
PROFILE_KIND: Final = "TrainingProfile"
PROFILE_PLURAL: Final = "trainingprofiles"
PROFILE_SHORT_NAMES: Final = ("tprof",)
SESSION_KIND: Final = "DevSession"
SESSION_PLURAL: Final = "devsessions"
SESSION_SHORT_NAMES: Final = ("devs",)
FIELD_MANAGER: Final = "ganger"
OPERATOR_LEASE: Final = "ganger-operator"  # whoever holds it leads; `ganger doctor` asks who does

# --- labels and annotations of every object that Ganger makes ---
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_JOB: Final = "ganger.dev/job"  # the job's name: for people and for `kubectl logs -l`
LABEL_JOB_UID: Final = "ganger.dev/job-uid"  # tells a job from its same-named predecessor
LABEL_ATTEMPT: Final = "ganger.dev/attempt"  # attempts count from 0
LABEL_WORKER: Final = "ganger.dev/worker"  # index of the pod in its gang, from 0
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
LABEL_SESSION: Final = "ganger.dev/session"  # the session's name
LABEL_SESSION_UID: Final = "ganger.dev/session-uid"
MANAGED_BY: Final = "ganger"
CONTAINER: Final = "trainer"
SESSION_CONTAINER: Final = "session"
DATA_CONTAINER: Final = "ganger-data"  # an init container, where something is to be fetched

# --- environment of a worker ---
# Read by the supervisor; `ganger run` and the pod builder write the same names through the same function.
ENV_JOB: Final = "GANGER_JOB"
ENV_JOB_UID: Final = "GANGER_JOB_UID"
ENV_NAMESPACE: Final = "GANGER_NAMESPACE"
ENV_ATTEMPT: Final = "GANGER_ATTEMPT"
ENV_WORKER: Final = "GANGER_WORKER"  # this pod's index, 0 .. workers-1 (torchrun: node rank)
ENV_WORKERS: Final = "GANGER_WORKERS"  # pods in the gang (torchrun: nnodes)
ENV_WORKERS_MAX: Final = "GANGER_WORKERS_MAX"  # most pods that the gang may ever have; absent: GANGER_WORKERS
ENV_PROCESSES: Final = "GANGER_PROCESSES_PER_WORKER"  # processes in this pod, >= 1 (torchrun: nproc per node)
ENV_RENDEZVOUS: Final = "GANGER_RENDEZVOUS"  # host:port of worker 0's store
ENV_TASK: Final = "GANGER_TASK"  # module:name; exactly one of task and script is set
ENV_SCRIPT: Final = "GANGER_SCRIPT"  # JSON list: path and arguments, run under torchrun's agent
ENV_CONFIG: Final = "GANGER_CONFIG"  # JSON object: spec.config, checked against the task's own config class
ENV_LIVE_CONFIG: Final = "GANGER_LIVE_CONFIG"  # JSON object: spec.liveConfig as it was when the pod was made
ENV_CHECKPOINT_DIR: Final = "GANGER_CHECKPOINT_DIR"  # absent: the job keeps no checkpoints
ENV_CHECKPOINT: Final = "GANGER_CHECKPOINT"  # JSON object of `CHECKPOINT_KEYS`
ENV_NON_FINITE: Final = "GANGER_NON_FINITE"  # what a NaN or an infinity does: Fail or Rollback
ENV_MAX_ROLLBACKS: Final = "GANGER_MAX_ROLLBACKS"  # how often a job may go back before it fails; absent: ROLLBACKS_MAX
ENV_EXPORTS: Final = "GANGER_EXPORTS"  # JSON list of objects of `EXPORT_KEYS`; workers have it too, to find out early
ENV_EXPORT_DIR: Final = "GANGER_EXPORT_DIR"  # where their paths begin; absent: GANGER_CHECKPOINT_DIR
ENV_EXPORT_METRICS: Final = "GANGER_EXPORT_METRICS"  # JSON {"step": int, "metrics": {name: number}}; absent: unknown
ENV_IMAGE_ID: Final = "GANGER_IMAGE_ID"  # of the image that trained, as the kubelet told it; absent: unknown
ENV_METRICS_PORT: Final = "GANGER_METRICS_PORT"
ENV_TERMINATION_LOG: Final = "GANGER_TERMINATION_LOG"  # file that takes the structured last word
ENV_GRACE_SECONDS: Final = "GANGER_GRACE_SECONDS"  # between SIGTERM and SIGKILL
ENV_CONTROL_URL: Final = "GANGER_CONTROL_URL"  # https://host:port/v1/jobs/<uid>; absent: nobody listens
ENV_CONTROL_TOKEN: Final = "GANGER_CONTROL_TOKEN"  # noqa: S105 - a file of the pod's token; the kubelet renews it
ENV_CONTROL_CA: Final = "GANGER_CONTROL_CA"  # file of the certificate authority that the operator's certificate is of
# What Hugging Face's KubeflowCallback looks for: URL, and the paths of certificate authority and token.
ENV_HF_URL: Final = "KUBEFLOW_TRAINER_SERVER_URL"
ENV_HF_CA: Final = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
ENV_HF_TOKEN: Final = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105
ENV_DATA_DIR: Final = "GANGER_DATA_DIR"  # what spec.data names lies there, in a folder of that name; absent: no data
# Of the container that fetches data, before the worker's (docs/adr/0029-data.md):
ENV_DATA_ORDERS: Final = "GANGER_DATA_ORDERS"  # JSON list of objects of `DATA_ORDER_KEYS`
ENV_DATA_CACHE: Final = "GANGER_DATA_CACHE"  # folder that takes what is fetched
ENV_DATA_HOLDER: Final = "GANGER_DATA_HOLDER"  # who fetches: the name of the pod; absent: nobody that was here before
ENV_PREFIXES_RESERVED: Final = ("GANGER_", "PET_", "TORCHELASTIC_")
ENV_NAMES_RESERVED: Final = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "ROLE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "LD_PRELOAD",
)
CHECKPOINT_KEYS: Final = (
    "everySteps",  # int or null
    "everySeconds",  # int or null; exactly one of the two is set
    "keepLast",  # int >= 1
    "keepBest",  # int >= 0
    "keepEvery",  # int or null: keep every checkpoint whose step is a multiple
    "resume",  # Auto | Never | Required
    "onNoValidCheckpoint",  # Fail | Restart
)
DATA_ORDER_KEYS: Final = (
    "name",  # of spec.data
    "key",  # the folder in the cache
    "url",  # http, https or s3; one that ends in / is all below it
    "sha256",  # "" for none
    "unpack",  # Auto | None
    "maxBytes",  # int >= 1
    "endpoint",  # of an S3-compatible store, "" for AWS
    "region",  # "" for us-east-1
    "secret",  # folder of credentials, one file for each of `DATA_SECRET_KEYS` that there is; "" for none
    "authority",  # PEM file of a further certificate authority, "" for none
)
DATA_SECRET_KEYS: Final = ("accessKey", "secretKey", "sessionToken", "token", "username", "password")

# --- export (docs/adr/0027-exports.md): `python -m ganger_trainer.export`, one process, after the training ---
# It reads the environment of a worker, of which it needs ENV_TASK, ENV_CHECKPOINT_DIR and ENV_EXPORTS; ENV_ATTEMPT is
# the number of the try. What a command of the user's may not set in its environment it takes as options, which win:
#   --task M:N  --config JSON  --checkpoints DIR  --exports JSON  --to DIR  --job NAME
# A file lies at <ENV_EXPORT_DIR>/<path>/<format>/model.<ext> with export.json and MODEL_CARD.md; until it was compared
# the folder is <format>.part-<try>. Ends as ExitCode says, with these reasons:
#   ExportUnavailable  BAD_CONFIG  a package is missing (workers find it at their start)
#   ExportFailed       BAD_CONFIG  the exporter does not take this model
#   ExportDiffers      USER_DATA   the file computes something else than the model
#   ExportNotWritten   RETRYABLE   the volume refused
EXPORT_KEYS: Final = (
    "format",  # one of EXPORT_FORMATS
    "path",  # folder, relative; default EXPORT_PATH. No two entries may have the same format and path
    "from",  # Latest | Best; default Latest
    "tolerance",  # float > 0, largest absolute difference; default EXPORT_TOLERANCE
    "opset",  # int or null, of onnx alone
    "step",  # int or null: that checkpoint, whatever `from` says
)
EXPORT_FORMATS: Final = ("onnx", "torch-export", "torchscript", "safetensors")
EXPORTS_MAX: Final = 8
EXPORT_PATH: Final = "exports"
EXPORT_PATH_CHARACTERS_MAX: Final = 200
EXPORT_TOLERANCE: Final = 1e-4

# --- ports and paths in a worker ---
RENDEZVOUS_PORT: Final = 29400
METRICS_PORT: Final = 9095
CHECKPOINT_MOUNT: Final = "/checkpoints"
CODE_MOUNT: Final = "/code"
DATA_MOUNT: Final = "/data"  # with a folder for each of spec.data
DATA_CACHE_MOUNT: Final = "/data-cache"  # in the container that fetches
DATA_ACCESS_MOUNT: Final = "/data-access"  # there too: credentials and authorities, in a folder for each of spec.data
TERMINATION_LOG: Final = "/dev/termination-log"
QUARANTINED_MAX: Final = 20
TERMINATION_MESSAGE_BYTES_MAX: Final = 4096  # the kubelet cuts there
GRACE_SECONDS: Final = 60  # default of spec.terminationGracePeriodSeconds
RESTART_GRACE_SECONDS: Final = 5  # for the victims of a failure: the gang is broken, there is nothing left to save

ROLLBACKS_MAX: Final = 3  # by default

# --- a dev session (docs/adr/0028-dev-sessions.md) ---
# Its pod is NAME-dev-N: N counts its starts, status.start. The Secret with the token is NAME-dev, status.secretName.
ENV_SESSION: Final = "GANGER_SESSION"  # its name
ENV_SESSION_JUPYTER_PORT: Final = "GANGER_SESSION_JUPYTER_PORT"  # absent: no Jupyter
ENV_SESSION_SSH_PORT: Final = "GANGER_SESSION_SSH_PORT"  # absent: no SSH
ENV_SESSION_HEALTH_PORT: Final = "GANGER_SESSION_HEALTH_PORT"
ENV_SESSION_SECRET_DIR: Final = "GANGER_SESSION_SECRET_DIR"  # noqa: S105 - a folder of the two files below
ENV_SESSION_WORKSPACE: Final = "GANGER_SESSION_WORKSPACE"
ENV_SESSION_IDLE_SECONDS: Final = "GANGER_SESSION_IDLE_SECONDS"  # 0: never
ENV_SESSION_MAX_SECONDS: Final = "GANGER_SESSION_MAX_SECONDS"  # that are left when the pod is made
ENV_SESSION_REPORT_URL: Final = "GANGER_SESSION_REPORT_URL"  # https://...; absent: nobody listens
SESSION_JUPYTER_PORT: Final = 8888
SESSION_SSH_PORT: Final = 2222
SESSION_HEALTH_PORT: Final = 8890
SESSION_HEALTH_PATH: Final = "/healthz"  # 200 once everything that the session asks for answers
SESSION_SECRET_MOUNT: Final = "/var/run/ganger-session"  # noqa: S105
SESSION_TOKEN_FILE: Final = "token"  # noqa: S105 - its name
SESSION_KEYS_FILE: Final = "authorized_keys"  # there with SSH alone
WORKSPACE_MOUNT: Final = "/workspace"  # HOME too
ANNOTATION_AUTHORIZED_KEYS: Final = "ganger.dev/authorized-keys"  # of the pod, so that the kubelet can project it
# Of a DevSession: an RFC 3339 time. One that is newer than status.endTime starts an ended session again.
ANNOTATION_START: Final = "ganger.dev/start-requested-at"
# The termination message of a session that ended by itself: one JSON object with
#   outcome           Ended, or Failed where it cannot be one (exit code 78) or a server never came up (1)
#   reason            one of SESSION_ENDS: idle for idleSeconds, older than maxSeconds, asked to stop (SIGTERM); of
#                     one that failed ConfigInvalid, ServerFailed
#   message           one sentence for people
#   lastActivityTime  RFC 3339
SESSION_ENDED: Final = "Ended"
SESSION_ENDS: Final = ("Idle", "Expired", "Stopped")
# POST to ENV_SESSION_REPORT_URL with `Authorization: Bearer <token>`, the token and the authority as workers have them,
# and one JSON object:
#   lastActivityTime  RFC 3339          idleSeconds  int, after which it ends by itself; 0: never
# Answer, 200 and one JSON object: nextReportSeconds, a float. Whatever else is answered, the session goes on.
SESSION_REPORT_SECONDS: Final = 30.0  # between two reports of a session; the answer to each may ask for another time

CONTROL_MOUNT: Final = "/var/run/ganger"  # token and ca.crt, projected by the kubelet

# --- the control channel (docs/adr/0007-control-channel.md) ---
CONTROL_PORT: Final = 9443
CONTROL_TOKEN_SECONDS: Final = 3600  # the kubelet renews at 80 %; Hugging Face's callback keeps one for 300 s more
ANNOTATION_CONTROL_CA: Final = "ganger.dev/control-ca"  # of a pod, so that the kubelet can project it as a file
ANNOTATION_EXCLUDED: Final = "ganger.dev/excluded-nodes"  # of a pod: the nodes that it avoids, with commas
ANNOTATION_EDITION: Final = "ganger.dev/edition"  # of a pod: generation and digest of the spec it was made from
ANNOTATION_PROFILE: Final = "ganger.dev/profile"  # of a pod: the digest of the profile's values that it was made with
ANNOTATION_BOOST_MARK: Final = "ganger.dev/priority-boost"  # of a Workload: which boost was written last, and when
# Of a TrainingJob: an RFC 3339 time. Workers that were created before it do what it asks, once.
ANNOTATION_CHECKPOINT: Final = "ganger.dev/checkpoint-requested-at"
ANNOTATION_STACKS: Final = "ganger.dev/stacks-requested-at"
REPORT_BYTES_MAX: Final = 16384
LIVE_CONFIG_BYTES_MAX: Final = 2048  # of spec.liveConfig as JSON: it travels in every answer, and back in every report
LIVE_VALUE_CHARACTERS_MAX: Final = 256  # of one value as JSON
LIVE_VALUES_MAX: Final = 64
LIVE_REFUSALS_MAX: Final = 4  # that a worker tells
REPORT_SECONDS: Final = 5.0  # between two reports of a worker; the answer to each may ask for more
# POST <url>/report with `Authorization: Bearer <token>` and one JSON object. Required:
#   attempt, worker  ints          sequence  int that grows with every report of this supervisor
#   phase            one of REPORT_PHASES: what the worker does now
# Optional: what the termination message has under the same names: step, totalSteps, epoch, loss, metrics, checkpoint,
#   resumedFromStep, quarantined, rollbacks; and
#   samplesPerSecond   float, of all workers together       learningRate  float
#   seconds            object: seconds of this attempt by REPORT_CAUSES, on this worker's clock since its process began
#   graceSecondsNeeded float, what a stop with a checkpoint takes at most, by what was measured (rank 0's worker alone)
#   checkpointFailures int, saves of this attempt that the volume refused
#   checkpointTrouble  object, while the newest save failed: inARow int, reason text (ENOSPC ...), message text
#   done               list of ids of directives that were carried out or begun
#   ranks              list of at most REPORT_RANKS_MAX objects, one for each local rank with a heartbeat: rank, step,
#                      stage (one of REPORT_STAGES), ageSeconds since step or stage changed, steps and busySeconds (its
#                      own work, without waiting for other ranks) since its loop began, state (the kernel's letter)
#   round              int, which start of the gang's processes inside these pods this is, from 0
#   failure            object, with phase Failed alone: reason, message, rank as in the termination message;
#                      exitCode, with which this worker ends if it is not started anew; seconds since it failed;
#                      lastLines, list of text
#   live               object, of a task: what of spec.liveConfig is in force. step: the first that used this set;
#                      values: list of {name, value, step}, value as JSON text, step the first that used it;
#                      refused: list of at most LIVE_REFUSALS_MAX {name, value, reason, message}
#   longest            object: seconds of the longest first, step, evaluation, checkpoint so far; the least of the ranks
# Answer, 200 and one JSON object:
#   nextReportSeconds  float, when to report again         directives  list of {id, kind}, kind one of DIRECTIVES
#   round              int; greater than the worker's own: end all processes, then start them anew as this round
#   rung               Process or Container: how           startSeconds  float, how long to wait before
#   live               object: spec.liveConfig, whole; absent: it stays as it is
# 401, 403 and 404: this token, attempt or job is not (any more) welcome. 429 and 5xx: later. None of them stops a step.
# POST <url>/progress takes the body of Hugging Face's KubeflowCallback and answers 200 {}.
REPORT_PHASES: Final = ("Starting", "Restoring", "Training", "Checkpointing", "Evaluating", "Stopping", "Failed")
REPORT_CAUSES: Final = ("starting", "restoring", "productive", "checkpointing")
# In the order in which a rank meets them from one step count to the next; `script` is all of a script's.
REPORT_STAGES: Final = (
    "starting",
    "log",
    "evaluate",
    "checkpoint",
    "agree",
    "data",
    "forward",
    "backward",
    "update",
    "script",
)
REPORT_RANKS_MAX: Final = 64
DIRECTIVES: Final = ("Checkpoint", "DumpStacks")

# --- restart in place (docs/adr/0010-restart-ladder.md) ---
# An attempt is one set of pods, a round one start of the gang's processes inside them. A worker whose processes failed
# reports phase Failed at once and waits this long for a round greater than its own; then it ends with its exit code.
RESTART_WAIT_SECONDS: Final = 10.0
# Rung Container: the supervisor ends with this code and the kubelet starts all containers of the pod anew
# (restartPolicyRules, Kubernetes 1.36). It is no way to end a job, so it is not in ExitCode; a program that ends with
# it is told as 1. A file in the pod's /tmp carries the number of the round over.
RESTART_CONTAINER_EXIT_CODE: Final = 88
ROUNDS_MAX: Final = 1000  # in one attempt: round r meets at the rendezvous port + r


class ExitCode(IntEnum):
    """How a worker ended. The supervisor exits with one of these; the operator acts on nothing else.

    DONE ends the worker well. PREEMPTED is not counted as a failure. The user errors (sysexits.h numbers) are never
    retried: the next attempt would end the same. Every other code, 1 and 137 among them, is a counted failure that is
    retried.
    """

    DONE = 0
    RETRYABLE = 1
    USER_DATA = 65  # a checkpoint of another model, a data set that cannot be read as such
    USER_INPUT_MISSING = 66  # a path, data set or required checkpoint that is not there
    FENCED = 75  # a later attempt owns the checkpoints: stop, write nothing
    BAD_CONFIG = 78  # the task, its configuration or the environment is wrong
    PREEMPTED = 143  # SIGTERM: the step was finished and a checkpoint committed


USER_ERRORS: Final = frozenset({ExitCode.USER_DATA, ExitCode.USER_INPUT_MISSING, ExitCode.BAD_CONFIG})
NOT_COUNTED: Final = frozenset({ExitCode.PREEMPTED, ExitCode.FENCED})

# --- the termination message ---
# One JSON object, at most TERMINATION_MESSAGE_BYTES_MAX bytes. Keys, all optional but `outcome`:
#   outcome      Done | Preempted | UserError | Failed | Fenced
#   reason       CamelCase class: ConfigInvalid, CheckpointMismatch, NonFiniteLoss, ProcessKilled, Exception ...
#   message      one sentence for people, at most 1,000 characters
#   rank         global rank of the first failing process        exitCode   of that process
#   traceback    the last lines, cut to fit
#   lastLines    list of text: what the pod's standard error said last, where there is no traceback
#   step, totalSteps, epoch   ints          loss   float       metrics   object of name: number
#   checkpoint   {step, bytes, kept, verified, savedAt}   the newest committed one
#   quarantined  list of at most QUARANTINED_MAX names of damaged checkpoints in the volume; absent: not looked
#   rollbacks    {count, step, toStep}: how often the job went back after a NaN, where the newest was seen and led to
#   resumedFromStep  int or absent
#   artifacts    list of at most EXPORTS_MAX objects, of an export: format; path, of the file, relative to
#                ENV_EXPORT_DIR; sha256 and bytes of that file; maxAbsDiff; step of the checkpoint. In a failure those
#                that were made before. Eight of them with the longest paths fit: what is cut is `message`
OUTCOMES: Final = ("Done", "Preempted", "UserError", "Failed", "Fenced")
