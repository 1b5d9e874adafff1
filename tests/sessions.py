"""Test data in words: sessions and their pods as the tests speak of them."""

import json
from typing import Any

import msgspec

from builders import T0, at
from ganger.api.observed import Pod
from ganger.api.session import DevSession
from ganger.contract import SESSION_CONTAINER
from ganger.plan import sessionname, sessionpod

IMAGE = "pytorch-cuda-dev:v2.15"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann"


def session(
    *,
    name: str = "notes",
    uid: str = "uid-s",
    namespace: str = "team",
    status: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> DevSession:
    """A session, changed by `spec` in the words of the manifest."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "generation": 1,
        "labels": labels or {},
        "annotations": annotations or {},
        "creationTimestamp": T0,
    }
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status or {}}, DevSession)


def pod(
    session_: DevSession,
    *,
    start: int | None = None,
    phase: str = "Running",
    ready: bool = False,
    leaving: bool = False,
    exit_code: int | None = None,
    reason: str = "",
    said: dict[str, Any] | str = "",
    ran: float = 100.0,
    pod_reason: str = "",
    target: str = "",
) -> Pod:
    """A pod of the session as the kubelet would report it; `ran` in seconds from T0 + 10 on."""
    number = session_.status.start if start is None else start
    name = sessionname.pod(session_.metadata.name, number)
    state: dict[str, Any] = {"running": {"startedAt": at(10)}} if phase == "Running" else {}
    if exit_code is not None:
        message = said if isinstance(said, str) else json.dumps(said)
        ends = {"exitCode": exit_code, "reason": reason or "Error", "message": message}
        state = {"terminated": ends | {"startedAt": at(10), "finishedAt": at(10 + ran)}}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if target:
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": target})
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "labels": sessionname.labels(session_),
        "annotations": {"ganger.dev/edition": sessionpod.edition(session_)},
        "ownerReferences": [sessionname.owner_reference(session_)],
        "creationTimestamp": at(5),
    }
    if leaving:
        metadata["deletionTimestamp"] = at(50)
    status = {
        "phase": phase,
        "reason": pod_reason,
        "conditions": conditions,
        "containerStatuses": [{"name": SESSION_CONTAINER, "image": IMAGE, "state": state}],
    }
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}, Pod)
