"""Read the environment contract into one frozen value.

The operator and `ganger run` write these names, people sometimes write them by hand: every error names the variable,
what it may hold and what to do. All errors are told at once. Pure: a mapping goes in, a value comes out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from ganger import contract
from ganger_trainer import config
from ganger_trainer.failures import UserError

HELPER_SOCKET: Final = "GANGER_TRAINER_SOCKET"  # set by the supervisor for its own workers; not part of the contract

_PLAIN: Final = (("http", "127.0.0.1"), ("http", "::1"), ("http", "localhost"))

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]


class CheckpointPolicy(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When checkpoints are written, which are kept, and how an attempt resumes."""

    every_steps: Positive | None = None
    every_seconds: Positive | None = None
    keep_last: Positive = 3
    keep_best: Natural = 0
    keep_every: Positive | None = None
    resume: Literal["Auto", "Never", "Required"] = "Auto"
    on_no_valid_checkpoint: Literal["Fail", "Restart"] = "Fail"


class NonFinitePolicy(Struct, frozen=True, kw_only=True):
    """What a NaN or an infinity does. max_rollbacks: in the life of the job."""

    action: Literal["Fail", "Rollback"] = "Fail"
    max_rollbacks: int = contract.ROLLBACKS_MAX


class Control(Struct, frozen=True, kw_only=True):
    """Where this worker reports to, and the files that prove who speaks and who listens."""

    url: str
    token: Path
    authority: Path


class Worker(Struct, frozen=True, kw_only=True):
    """Everything one pod knows about itself and its job.

    rendezvous_port 0 means: any free port (allowed for a gang of one only). metrics_port None: no metrics endpoint.
    control None: nobody wants reports. round: which start of the processes in this pod.
    workers_max: most pods that the gang may ever have, `workers` if it never grows.
    """

    job: str
    job_uid: str
    namespace: str
    attempt: int
    worker: int
    workers: int
    processes: int
    rendezvous_host: str
    rendezvous_port: int
    task: str | None
    script: tuple[str, ...] | None
    config_json: str
    checkpoint_dir: Path | None
    checkpoint: CheckpointPolicy
    metrics_port: int | None
    termination_log: Path | None
    grace_seconds: int
    workers_max: int
    live_json: str = "{}"
    non_finite: NonFinitePolicy = NonFinitePolicy()
    control: Control | None = None
    round: int = 0

    @property
    def world_size(self) -> int:
        """Processes of the whole gang."""
        return self.workers * self.processes

    @property
    def world_size_max(self) -> int:
        """Most processes that the gang may ever have; the cut of an epoch into steps counts with it."""
        return self.workers_max * self.processes

    @property
    def first_rank(self) -> int:
        """The lowest rank in this pod."""
        return self.worker * self.processes


def read(environ: Mapping[str, str]) -> Worker:
    """Return the worker that `environ` describes.

    Raises UserError (BAD_CONFIG, reason EnvironmentInvalid) that lists every variable at fault.
    """
    reader = _Reader(environ)
    workers = reader.integer(contract.ENV_WORKERS, default=1, low=1)
    worker = reader.integer(contract.ENV_WORKER, default=0, low=0)
    if worker >= workers:
        reader.fault(contract.ENV_WORKER, str(worker), f"0 .. {workers - 1} ({contract.ENV_WORKERS} is {workers})")
    host, port = reader.rendezvous(workers)
    task, script = reader.entry()
    directory = environ.get(contract.ENV_CHECKPOINT_DIR) or None
    port_text = environ.get(contract.ENV_METRICS_PORT)
    result = Worker(
        job=environ.get(contract.ENV_JOB) or "local",
        job_uid=environ.get(contract.ENV_JOB_UID) or "local",
        namespace=environ.get(contract.ENV_NAMESPACE) or "default",
        attempt=reader.integer(contract.ENV_ATTEMPT, default=0, low=0),
        worker=worker,
        workers=workers,
        processes=reader.integer(contract.ENV_PROCESSES, default=1, low=1),
        rendezvous_host=host,
        rendezvous_port=port,
        task=task,
        script=script,
        config_json=environ.get(contract.ENV_CONFIG) or "{}",
        checkpoint_dir=Path(directory) if directory else None,
        checkpoint=reader.policy(),
        metrics_port=reader.integer(contract.ENV_METRICS_PORT, default=0, low=0, high=65535) if port_text else None,
        termination_log=Path(log) if (log := environ.get(contract.ENV_TERMINATION_LOG)) else None,
        grace_seconds=reader.integer(contract.ENV_GRACE_SECONDS, default=contract.GRACE_SECONDS, low=1),
        workers_max=reader.integer(contract.ENV_WORKERS_MAX, default=workers, low=workers),
        live_json=reader.live(),
        non_finite=reader.non_finite(),
        control=reader.control(),
    )
    if reader.faults:
        raise UserError("EnvironmentInvalid", "; ".join(reader.faults))
    return result


class _Reader:
    """Collects faults while values are read, so that all of them are told at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[str] = []

    def fault(self, name: str, value: str, allowed: str) -> None:
        remedy = "the operator and `ganger run` set it; by hand, export it with an allowed value"
        self.faults.append(f"{name} is {value!r}, allowed: {allowed} ({remedy})")

    def integer(self, name: str, *, default: int, low: int, high: int = 2**31 - 1) -> int:
        text = self.environ.get(name)
        if text is None or text == "":
            return default
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            self.fault(name, text, f"a whole number {low} .. {high}")
            return default if low <= default <= high else low
        return value

    def rendezvous(self, workers: int) -> tuple[str, int]:
        text = self.environ.get(contract.ENV_RENDEZVOUS)
        if not text:
            if workers > 1:
                self.fault(contract.ENV_RENDEZVOUS, "", "host:port of worker 0, since the gang has several workers")
            return "127.0.0.1", 0
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            self.fault(contract.ENV_RENDEZVOUS, text, "host:port, for example digits-0.digits:29400")
            return "127.0.0.1", 0
        return host.strip("[]"), int(port)

    def entry(self) -> tuple[str | None, tuple[str, ...] | None]:
        task, script = self.environ.get(contract.ENV_TASK), self.environ.get(contract.ENV_SCRIPT)
        if bool(task) == bool(script):
            have = "both are set" if task else "neither is set"
            self.faults.append(
                f"exactly one of {contract.ENV_TASK} (module:name) and {contract.ENV_SCRIPT} (JSON list of path and "
                f"arguments) must be set, {have}: set spec.task or spec.script in the manifest"
            )
            return None, None
        if task:
            return task, None
        try:
            parts = msgspec.json.decode(script or "", type=tuple[str, ...])
        except msgspec.MsgspecError:
            parts = ()
        if not parts:
            self.fault(
                contract.ENV_SCRIPT, script or "", 'a JSON list of strings, for example ["train.py", "--lr=0.1"]'
            )
            return None, None
        return None, parts

    def live(self) -> str:
        text = self.environ.get(contract.ENV_LIVE_CONFIG) or "{}"
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            self.fault(contract.ENV_LIVE_CONFIG, text, 'a JSON object of settings, for example {"lr": 0.0001}')
            return "{}"
        return text

    def non_finite(self) -> NonFinitePolicy:
        action = self.environ.get(contract.ENV_NON_FINITE) or "Fail"
        rollbacks = self.integer(contract.ENV_MAX_ROLLBACKS, default=contract.ROLLBACKS_MAX, low=0)
        if action == "Rollback":
            return NonFinitePolicy(action="Rollback", max_rollbacks=rollbacks)
        if action != "Fail":
            self.fault(contract.ENV_NON_FINITE, action, "Fail, Rollback")
        return NonFinitePolicy(max_rollbacks=rollbacks)

    def control(self) -> Control | None:
        text = self.environ.get(contract.ENV_CONTROL_URL)
        if not text:
            return None
        try:
            url = urlsplit(text)
            good = bool(url.hostname) and url.port != 0 and not url.query and not url.fragment
        except ValueError:
            good = False
        if not good or (url.scheme != "https" and (url.scheme, url.hostname) not in _PLAIN):
            allowed = "https://host:port/path; without TLS this machine alone, as http://127.0.0.1:port/path"
            self.fault(contract.ENV_CONTROL_URL, text, allowed)
            return None
        return Control(
            url=text.rstrip("/"),
            token=Path(self.environ.get(contract.ENV_CONTROL_TOKEN) or f"{contract.CONTROL_MOUNT}/token"),
            authority=Path(self.environ.get(contract.ENV_CONTROL_CA) or f"{contract.CONTROL_MOUNT}/ca.crt"),
        )

    def policy(self) -> CheckpointPolicy:
        text = self.environ.get(contract.ENV_CHECKPOINT)
        if not text:
            return CheckpointPolicy()
        try:
            policy = msgspec.json.decode(text, type=CheckpointPolicy)
        except msgspec.MsgspecError as error:
            keys = ", ".join(contract.CHECKPOINT_KEYS)
            self.fault(
                contract.ENV_CHECKPOINT,
                text,
                f"a JSON object of {keys}: {config.explain(str(error), CheckpointPolicy)}",
            )
            return CheckpointPolicy()
        if policy.every_steps and policy.every_seconds:
            self.fault(contract.ENV_CHECKPOINT, text, "everySteps or everySeconds, not both")
        return policy


def as_json(value: Any) -> str:
    """Return `value` as compact JSON text, the form in which lists and objects travel in the environment."""
    return msgspec.json.encode(value).decode()
