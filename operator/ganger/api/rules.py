"""What a type cannot say: one table, read by the API server as CEL and by the CLI as Python.

Each row holds both forms of one rule, so that a manifest which `ganger validate` accepts is not refused at
`kubectl apply`. Tests run every bad manifest through both. Bounds on the lists keep the CEL within the API server's
cost budget.
"""

import msgspec
from msgspec import Struct

from ganger.api import datarules, quantity, resources
from ganger.api.pattern import matches
from ganger.api.policy import Backoff, Checkpoint, CheckpointVolume, Elastic, Export, FailureRule
from ganger.api.rule import Rule, attribute
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.api.workload import (
    LABEL_KEY,
    Code,
    DeviceClaim,
    EnvFrom,
    EnvSource,
    EnvVar,
    EphemeralVolume,
    Toleration,
    Volume,
    VolumeMount,
)
from ganger.contract import (
    API_GROUP,
    CHECKPOINT_MOUNT,
    CODE_MOUNT,
    CONTROL_MOUNT,
    ENV_NAMES_RESERVED,
    ENV_PREFIXES_RESERVED,
    EXPORT_PATH,
    LIVE_CONFIG_BYTES_MAX,
)

JOB_NAME = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"  # 40 characters: the names of pods and hosts append to it
CONFIG_KEY = r"^[A-Za-z_][A-Za-z0-9_]*$"
RESERVED_MOUNTS = r"^(/checkpoints|/dev|/proc|/sys|(/var)?/run/ganger)(/|$)"
# Both reach the worker in one environment variable, which the kernel bounds at 128 KiB (MAX_ARG_STRLEN).
ARGUMENTS_LENGTH_MAX = 32_768
CONFIG_BYTES_MAX = 65_536
VOLUME_PREFIX = "ganger-"
_UP = r"(^|/)\.\.?(/|$)"  # "." too: /./dev is /dev


def _one_of(cls: type[Struct], *fields: str) -> Rule:
    attributes = [attribute(cls, field) for field in fields]
    listed = ", ".join(fields[:-1]) + f" and {fields[-1]}"
    return Rule(
        on=cls,
        cel="[" + ", ".join(f"has(self.{field})" for field in fields) + "].exists_one(is_set, is_set)",
        holds=lambda value: sum(getattr(value, name) is not None for name in attributes) == 1,
        message=f"exactly one of {listed} must be set",
    )


def _one_at_most(cls: type[Struct], one: str, other: str, why: str = "") -> Rule:
    first, second = attribute(cls, one), attribute(cls, other)
    return Rule(
        on=cls,
        path=f".{one}" if why else "",
        cel=f"!has(self.{one}) || !has(self.{other})",
        holds=lambda value: getattr(value, first) is None or getattr(value, second) is None,
        message=f"{one} has no place beside {other}: {why}" if why else f"only one of {one} and {other} may be set",
    )


def _checkpoint_says(part: str, one: str, other: str, message: str) -> Rule:
    """One of two fields of the checkpoint, or of a part of it, must be set; that it is one alone is a rule of it."""

    def holds(spec: TrainingJobSpec) -> bool:
        if spec.profile is not None or spec.checkpoint is None:
            return True
        found = getattr(spec.checkpoint, part) if part else spec.checkpoint
        return any(getattr(found, attribute(type(found), field)) is not None for field in (one, other))

    path = f".checkpoint.{part}".rstrip(".")
    present = f"(has(self{path}) && (has(self{path}.{one}) || has(self{path}.{other})))"
    return Rule(
        on=TrainingJobSpec,
        path=path,
        # A profile may have it. What is made of both is checked by the same rules, as a job without one.
        cel=f"has(self.profile) || !has(self.checkpoint) || {present}",
        holds=holds,
        message=message,
        remedy="or name a profile that has it",
        reason="FieldValueRequired",
    )


def _path_stays_inside(cls: type[Struct], field: str) -> Rule:
    name = attribute(cls, field)
    return Rule(
        on=cls,
        path=f".{field}",
        cel=f"!has(self.{field}) || !self.{field}.matches(r'{_UP}')",
        holds=lambda value: not matches(_UP, getattr(value, name) or ""),
        message=f"{field} must not contain '.' or '..' as a folder",
    )


def _fits_a_variable(field: str) -> Rule:
    return Rule(
        on=TrainingJobSpec,
        path=f".{field}",
        cel=f"!has(self.{field}) || self.{field}.map(word, size(word)).sum() <= {ARGUMENTS_LENGTH_MAX}",
        holds=lambda spec: sum(map(len, getattr(spec, field) or ())) <= ARGUMENTS_LENGTH_MAX,
        message=f"{field} must be at most {ARGUMENTS_LENGTH_MAX} characters together",
        remedy="put long scripts into code.configMap",
    )


def _settings(field: str, bytes_max: int = CONFIG_BYTES_MAX) -> tuple[Rule, Rule]:
    """CEL cannot see into a free-form object."""
    name = attribute(TrainingJobSpec, field)
    return (
        Rule(
            on=TrainingJobSpec,
            path=f".{field}",
            holds=lambda spec: all(matches(CONFIG_KEY, key) for key in getattr(spec, name)),
            message=f"every key of {field} must be a name of letters, digits and '_'",
        ),
        Rule(
            on=TrainingJobSpec,
            path=f".{field}",
            holds=lambda spec: len(msgspec.json.encode(getattr(spec, name))) <= bytes_max,
            message=f"{field} must be at most {bytes_max} bytes as JSON",
            remedy="put data into a ConfigMap or a volume",
        ),
    )


def _positive_size(cls: type[Struct]) -> Rule:
    return Rule(
        on=cls,
        path=".size",
        cel="!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",
        holds=lambda value: getattr(value, "size", None) is None or quantity.parse(value.size) > 0,
        message="size must be greater than 0",
    )


_ENV_RESERVED_CEL = "!(self.name in [{}])".format(", ".join(f"'{name}'" for name in ENV_NAMES_RESERVED)) + "".join(
    f" && !self.name.startsWith('{prefix}')" for prefix in ENV_PREFIXES_RESERVED
)

_OF_THE_JOB = (
    Rule(
        on=TrainingJob,
        path=".metadata.name",
        cel=f"self.metadata.name.matches(r'{JOB_NAME}')",
        holds=lambda job: not job.metadata.name or matches(JOB_NAME, job.metadata.name),
        message="name must be at most 40 characters of a-z, 0-9 and '-', start with a letter and end with a "
        "letter or digit",
        remedy="the hostnames of the pods derive from it",
    ),
    Rule(
        on=TrainingJob,
        path=".metadata.labels",
        holds=lambda job: not any(key.startswith(f"{API_GROUP}/") for key in job.metadata.labels),
        message=f"labels under {API_GROUP}/ are reserved",
        remedy="use a prefix of your own",
        reason="FieldValueForbidden",
    ),
    _one_of(TrainingJobSpec, "task", "script", "command"),
    _fits_a_variable("script"),
    _fits_a_variable("command"),
    Rule(
        on=TrainingJobSpec,
        path=".workers",
        cel="!has(self.elastic) || "
        "(self.elastic.minWorkers <= self.workers && self.workers <= self.elastic.maxWorkers)",
        holds=lambda spec: spec.elastic is None or spec.elastic.min_workers <= spec.workers <= spec.elastic.max_workers,
        message="workers must be within elastic.minWorkers..elastic.maxWorkers",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".volumeMounts",
        cel="has(self.profile) || !has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && "
        "self.volumes.exists(volume, volume.name == mount.name))",
        holds=lambda spec: (
            spec.profile is not None
            or {mount.name for mount in spec.volume_mounts} <= {volume.name for volume in spec.volumes}
        ),
        message="every name in volumeMounts must be the name of a volume in volumes",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".volumeMounts",
        cel="!has(self.code) || !has(self.volumeMounts) || "
        f"self.volumeMounts.all(mount, mount.mountPath != '{CODE_MOUNT}' && "
        f"!mount.mountPath.startsWith('{CODE_MOUNT}/'))",
        holds=lambda spec: (
            spec.code is None or not any(f"{m.mount_path}/".startswith(f"{CODE_MOUNT}/") for m in spec.volume_mounts)
        ),
        message=f"no mountPath of volumeMounts may be {CODE_MOUNT} or below when code is set",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".checkpoint.volume.accessMode",
        cel="(has(self.elastic) ? self.elastic.maxWorkers : self.workers) == 1 || "
        "!has(self.checkpoint) || !has(self.checkpoint.volume) || !has(self.checkpoint.volume.accessMode) || "
        "self.checkpoint.volume.accessMode != 'ReadWriteOncePod'",
        holds=lambda spec: (
            spec.most_workers == 1
            or spec.checkpoint is None
            or spec.checkpoint.volume.access_mode != "ReadWriteOncePod"
        ),
        message="accessMode ReadWriteOncePod serves one pod: with several workers use ReadWriteMany or ReadWriteOnce",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".nodeSelector",
        cel=f"!has(self.nodeSelector) || self.nodeSelector.all(key, key.matches(r'{LABEL_KEY}'))",
        holds=lambda spec: all(matches(LABEL_KEY, key) for key in spec.node_selector),
        message="every key of nodeSelector must be a label key such as topology.kubernetes.io/zone",
    ),
    _checkpoint_says("", "everySteps", "everySeconds", "checkpoint needs everySteps or everySeconds"),
    _checkpoint_says("volume", "size", "claimName", "volume is required in checkpoint, with size or claimName"),
    Rule(
        on=TrainingJobSpec,
        path=".export",
        cel="!has(self.export) || size(self.export) == 0 || has(self.task)",
        holds=lambda spec: not spec.export or spec.task is not None,
        message="export is for a task: of a script or a command nobody knows the model",
        remedy="use task, or let the script write its model files itself",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".export",
        cel="has(self.profile) || !has(self.export) || size(self.export) == 0 || has(self.checkpoint)",
        holds=lambda spec: not spec.export or spec.profile is not None or spec.checkpoint is not None,
        message="export needs checkpoint: model files are made from what was saved, and lie beside it",
        remedy="add checkpoint with a volume, or name a profile that has it",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".export",
        cel="!has(self.export) || self.export.all(one, self.export.exists_one(other, other.format == one.format && "
        f"(has(other.path) ? other.path : '{EXPORT_PATH}') == (has(one.path) ? one.path : '{EXPORT_PATH}')))",
        holds=lambda spec: len({(one.format, one.path) for one in spec.export}) == len(spec.export),
        message="every entry of export must have another format or another path",
        remedy="give two of the same format, as from Latest and from Best, a path each",
        reason="FieldValueDuplicate",
    ),
    *_settings("config"),
    *_settings("liveConfig", LIVE_CONFIG_BYTES_MAX),
    Rule(
        on=TrainingJobSpec,
        path=".liveConfig",
        holds=lambda spec: not spec.live_config or (spec.script is None and spec.command is None),
        message="liveConfig is for a task: nothing tells a script or a command of it",
        remedy="use task, or suspend the job and change what it is started with",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".priorityClassName",
        cel="!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
        holds=lambda spec: not (spec.priority_class_name or "").startswith("system-"),
        message="priorityClassName must not start with system-: these classes are the cluster's own",
        remedy="use a class of your own, as `kubectl get priorityclasses` lists them",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=Elastic,
        path=".minWorkers",
        cel="self.minWorkers <= self.maxWorkers",
        holds=lambda elastic: elastic.min_workers <= elastic.max_workers,
        message="minWorkers must be at most maxWorkers",
    ),
)

_OF_THE_PODS = (
    _one_of(EnvVar, "value", "valueFrom"),
    Rule(
        on=EnvVar,
        path=".name",
        cel=_ENV_RESERVED_CEL,
        holds=lambda env: env.name not in ENV_NAMES_RESERVED and not env.name.startswith(ENV_PREFIXES_RESERVED),
        message="name is reserved: Ganger sets "
        + ", ".join((*ENV_NAMES_RESERVED, *(f"{prefix}*" for prefix in ENV_PREFIXES_RESERVED))),
        reason="FieldValueForbidden",
    ),
    _one_of(EnvSource, "secretKeyRef", "configMapKeyRef", "fieldRef"),
    _one_of(EnvFrom, "secretRef", "configMapRef"),
    _one_of(DeviceClaim, "claimName", "templateName"),
    _one_of(Code, "configMap", "image", "claim"),
    _one_of(Volume, "claim", "configMap", "secret", "emptyDir", "image", "ephemeral"),
    Rule(
        on=Volume,
        path=".name",
        cel=f"!self.name.startsWith('{VOLUME_PREFIX}')",
        holds=lambda volume: not volume.name.startswith(VOLUME_PREFIX),
        message=f"name must not start with {VOLUME_PREFIX}: these volumes are Ganger's own",
        reason="FieldValueForbidden",
    ),
    _positive_size(EphemeralVolume),
    Rule(
        on=VolumeMount,
        path=".mountPath",
        cel=f"!self.mountPath.matches(r'{RESERVED_MOUNTS}') && self.mountPath != '/tmp'",
        holds=lambda mount: not matches(RESERVED_MOUNTS, mount.mount_path) and mount.mount_path != "/tmp",  # noqa: S108
        message=f"mountPath must not be {CHECKPOINT_MOUNT}, {CONTROL_MOUNT}, /dev, /proc, /sys or below them, "
        "nor /tmp: these are Ganger's or the kernel's",
        reason="FieldValueForbidden",
    ),
    _path_stays_inside(VolumeMount, "mountPath"),
    _path_stays_inside(VolumeMount, "subPath"),
    Rule(
        on=Toleration,
        path=".key",
        cel="has(self.key) || self.operator == 'Exists'",
        holds=lambda toleration: toleration.key is not None or toleration.operator == "Exists",
        message="key is required unless operator is Exists",
        reason="FieldValueRequired",
    ),
    Rule(
        on=Toleration,
        path=".value",
        cel="!has(self.value) || self.operator == 'Equal'",
        holds=lambda toleration: toleration.value is None or toleration.operator == "Equal",
        message="value must be absent when operator is Exists",
    ),
    Rule(
        on=Toleration,
        path=".tolerationSeconds",
        cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        holds=lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
        message="tolerationSeconds needs effect NoExecute",
    ),
)

_OF_POLICIES = (
    _one_at_most(Checkpoint, "everySteps", "everySeconds"),
    _one_at_most(CheckpointVolume, "size", "claimName"),
    _positive_size(CheckpointVolume),
    _one_at_most(CheckpointVolume, "path", "size", "a volume made for the job is the job's alone"),
    _path_stays_inside(CheckpointVolume, "path"),
    *(
        _one_at_most(CheckpointVolume, field, "claimName", "an existing claim has its own")
        for field in ("storageClassName", "accessMode")
    ),
    Rule(
        on=FailureRule,
        cel="(has(self.onExitCodes) && size(self.onExitCodes) > 0) || "
        "(has(self.onReasons) && size(self.onReasons) > 0)",
        holds=lambda rule: bool(rule.on_exit_codes or rule.on_reasons),
        message="a rule needs onExitCodes or onReasons: without both it never matches",
        reason="FieldValueRequired",
    ),
    Rule(
        on=Backoff,
        path=".baseSeconds",
        # Written out here, because the API server fills in no default of what a profile may say.
        cel=f"(has(self.baseSeconds) ? self.baseSeconds : {Backoff().base_seconds}) <= "
        f"(has(self.capSeconds) ? self.capSeconds : {Backoff().cap_seconds})",
        holds=lambda backoff: backoff.base_seconds <= backoff.cap_seconds,
        message="baseSeconds must be at most capSeconds",
    ),
    _path_stays_inside(Export, "path"),
    Rule(
        on=Export,
        path=".opset",
        cel="!has(self.opset) || self.format == 'onnx'",
        holds=lambda export: export.opset is None or export.format == "onnx",
        message="opset is for the format onnx alone",
        remedy="leave it out",
        reason="FieldValueForbidden",
    ),
)

RULES: tuple[Rule, ...] = (*_OF_THE_JOB, *_OF_THE_PODS, *datarules.RULES, *resources.RULES, *_OF_POLICIES)
