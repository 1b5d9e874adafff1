"""What a type cannot say of a session, as CEL for the API server and as Python for the CLI and the controller."""

import base64
import binascii

from ganger.api import quantity
from ganger.api.pattern import matches
from ganger.api.rule import Rule
from ganger.api.rules import JOB_NAME
from ganger.api.session import IDLE_SECONDS_MIN, DevSession, DevSessionSpec, SessionStorage, Ssh
from ganger.api.workload import LABEL_KEY
from ganger.contract import API_GROUP, CODE_MOUNT, SESSION_SECRET_MOUNT, WORKSPACE_MOUNT

RSA_BITS_MIN = 3072
WEAK = f"is an RSA key of less than {RSA_BITS_MIN} bits"
_RSA_CHARACTERS_MIN = 540  # of the base64 of the shortest such key
_UP = r"(^|/)\.\.?(/|$)"


def key_trouble(line: str) -> str:
    """Return what is wrong with a public key in authorized_keys form whose pattern fits, "" where nothing is."""
    kind, blob = line.split(" ")[:2]
    try:
        data = base64.b64decode(blob, validate=True)
    except binascii.Error:
        return "is cut or damaged"
    fields = []
    while data:
        size = int.from_bytes(data[:4])
        if len(data) < 4 + size:
            return "is cut or damaged"
        fields.append(data[4 : 4 + size])
        data = data[4 + size :]
    if len(fields) < 2 or fields[0] != kind.encode():
        return "is of another type inside than its first word says"
    if kind == "ssh-rsa" and (len(fields) != 3 or int.from_bytes(fields[2]).bit_length() < RSA_BITS_MIN):
        return WEAK
    return ""


def _are_whole(ssh: Ssh) -> bool:
    return not {key_trouble(line) for line in ssh.authorized_keys} - {"", WEAK}


def _are_strong(ssh: Ssh) -> bool:
    return WEAK not in map(key_trouble, ssh.authorized_keys)


def _beside_claim(field: str, attribute: str) -> Rule:
    return Rule(
        on=SessionStorage,
        path=f".{field}",
        cel=f"!has(self.{field}) || !has(self.claimName)",
        holds=lambda storage: getattr(storage, attribute) is None or storage.claim_name is None,
        message=f"{field} has no place beside claimName: an existing claim has its own",
    )


SESSION_RULES: tuple[Rule, ...] = (
    Rule(
        on=DevSession,
        path=".metadata.name",
        cel=f"self.metadata.name.matches(r'{JOB_NAME}')",
        holds=lambda session: not session.metadata.name or matches(JOB_NAME, session.metadata.name),
        message="name must be at most 40 characters of a-z, 0-9 and '-', start with a letter and end with a "
        "letter or digit",
        remedy="the name of the pod derives from it",
    ),
    Rule(
        on=DevSession,
        path=".metadata.labels",
        holds=lambda session: not any(key.startswith(f"{API_GROUP}/") for key in session.metadata.labels),
        message=f"labels under {API_GROUP}/ are Ganger's own",
        remedy="use a prefix of your own",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=DevSessionSpec,
        path=".idleSeconds",
        cel=f"self.idleSeconds == 0 || self.idleSeconds >= {IDLE_SECONDS_MIN}",
        holds=lambda spec: spec.idle_seconds == 0 or spec.idle_seconds >= IDLE_SECONDS_MIN,
        message=f"idleSeconds must be 0, for never, or at least {IDLE_SECONDS_MIN}",
    ),
    Rule(
        on=DevSessionSpec,
        path=".checkpointAccess",
        cel="self.checkpointAccess == 'ReadOnly' || has(self.fromJob)",
        holds=lambda spec: spec.checkpoint_access == "ReadOnly" or spec.from_job is not None,
        message="checkpointAccess ReadWrite needs fromJob: there are no other checkpoints",
    ),
    Rule(
        on=DevSessionSpec,
        path=".volumeMounts",
        cel="has(self.fromJob) || !has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && "
        "self.volumes.exists(volume, volume.name == mount.name))",
        holds=lambda spec: (
            spec.from_job is not None
            or {mount.name for mount in spec.volume_mounts} <= {volume.name for volume in spec.volumes}
        ),
        message="every name in volumeMounts must be the name of a volume in volumes, or of one of fromJob",
    ),
    Rule(
        on=DevSessionSpec,
        path=".volumeMounts",
        cel="!has(self.code) || !has(self.volumeMounts) || "
        f"self.volumeMounts.all(mount, mount.mountPath != '{CODE_MOUNT}' && "
        f"!mount.mountPath.startsWith('{CODE_MOUNT}/'))",
        holds=lambda spec: (
            spec.code is None or not any(f"{m.mount_path}/".startswith(f"{CODE_MOUNT}/") for m in spec.volume_mounts)
        ),
        message=f"no mountPath of a session's volumeMounts may be {CODE_MOUNT} or below when code is set",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=DevSessionSpec,
        path=".volumeMounts",
        cel="!has(self.volumeMounts) || self.volumeMounts.all(mount, "
        f"mount.mountPath != '{SESSION_SECRET_MOUNT}' && !mount.mountPath.startsWith('{SESSION_SECRET_MOUNT}/'))",
        holds=lambda spec: (
            not any(f"{m.mount_path}/".startswith(f"{SESSION_SECRET_MOUNT}/") for m in spec.volume_mounts)
        ),
        message=f"no mountPath of volumeMounts may be {SESSION_SECRET_MOUNT} or below: the session's token is there",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=DevSessionSpec,
        path=".volumeMounts",
        cel="!has(self.storage) || !has(self.volumeMounts) || "
        f"self.volumeMounts.all(mount, mount.mountPath != '{WORKSPACE_MOUNT}')",
        holds=lambda spec: (
            spec.storage is None or all(mount.mount_path != WORKSPACE_MOUNT for mount in spec.volume_mounts)
        ),
        message=f"no mountPath of volumeMounts may be {WORKSPACE_MOUNT} when storage is set: it is there",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=DevSessionSpec,
        path=".nodeSelector",
        cel=f"!has(self.nodeSelector) || self.nodeSelector.all(key, key.matches(r'{LABEL_KEY}'))",
        holds=lambda spec: all(matches(LABEL_KEY, key) for key in spec.node_selector),
        message="every key of a session's nodeSelector must be a label key such as topology.kubernetes.io/zone",
    ),
    Rule(
        on=DevSessionSpec,
        path=".priorityClassName",
        cel="!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
        holds=lambda spec: not (spec.priority_class_name or "").startswith("system-"),
        message="priorityClassName of a session must not start with system-: these classes are the cluster's own",
        remedy="use a class of your own, as `kubectl get priorityclasses` lists them",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=Ssh,
        path=".authorizedKeys",
        holds=_are_whole,
        message="a public key is cut or damaged",
        remedy="copy the whole line of the .pub file",
    ),
    Rule(
        on=Ssh,
        path=".authorizedKeys",
        cel="self.authorizedKeys.all(key, !key.startsWith('ssh-rsa ') || "
        f"size(key.split(' ')[1]) >= {_RSA_CHARACTERS_MIN})",
        holds=_are_strong,
        message=f"an RSA key must have at least {RSA_BITS_MIN} bits",
        remedy="make another one with `ssh-keygen -t ed25519`",
    ),
    Rule(
        on=SessionStorage,
        cel="has(self.size) != has(self.claimName)",
        holds=lambda storage: (storage.size is None) != (storage.claim_name is None),
        message="exactly one of size and claimName must be set in storage",
    ),
    Rule(
        on=SessionStorage,
        path=".size",
        cel="!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",
        holds=lambda storage: storage.size is None or quantity.parse(storage.size) > 0,
        message="size of storage must be greater than 0",
    ),
    _beside_claim("storageClassName", "storage_class_name"),
    _beside_claim("accessMode", "access_mode"),
    Rule(
        on=SessionStorage,
        path=".path",
        cel="!has(self.path) || has(self.claimName)",
        holds=lambda storage: storage.path is None or storage.claim_name is not None,
        message="path needs claimName: a claim made for the session is the session's alone",
    ),
    Rule(
        on=SessionStorage,
        path=".path",
        cel=f"!has(self.path) || !self.path.matches(r'{_UP}')",
        holds=lambda storage: not matches(_UP, storage.path or ""),
        message="path of storage must not contain '.' or '..' as a folder",
    ),
)
