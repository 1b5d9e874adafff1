"""What is told of a job or a session: its status as a compare-and-swap, and an event in the log and for its user."""

import logging
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.api.types import encode
from ganger.kube.resources import Resource
from ganger.plan.seen import Event
from ganger.runtime.events import Recorder

log = logging.getLogger(__name__)


def status_of(resource: Resource, metadata: Metadata, status: Struct) -> dict[str, Any]:
    """Return the manifest that applies a status to the object as it was read: on an older view it gets a Conflict."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "status": encode(status),
    }


def emit(
    recorder: Recorder, resource: Resource, metadata: Metadata, event: Event, more: Mapping[str, object] | None = None
) -> None:
    """Log an event and record it for the object. more: further fields of the log line."""
    level = logging.WARNING if event.warning else logging.INFO
    log.log(level, "%s", event.message, extra={"reason": event.reason, **(more or {})})
    recorder.record(resource, metadata, "Warning" if event.warning else "Normal", event.reason, event.message)
