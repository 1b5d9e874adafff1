"""A job under `decide` alone: every pod runs as soon as it is made, every deletion ends at once, time stands still."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from builders import T0
from ganger.api.defaults import fill
from ganger.api.observed import Claim, Metadata, Pod, Service
from ganger.api.types import TrainingJob, TrainingJobSpec, decode
from ganger.plan.decide import decide
from ganger.plan.seen import Seen

Object = dict[str, Any]
IMAGE = "operators-default:v1"
PASSES_MAX = 40


def stored(manifest: Object) -> TrainingJob:
    """The job as the operator reads it from the API server, with its defaults."""
    metadata = manifest["metadata"] | {"namespace": "team", "uid": "uid-1", "generation": 1, "creationTimestamp": T0}
    return fill(decode(manifest | {"metadata": metadata}), IMAGE)


@dataclass
class Life:
    """One job and what was made for it, as manifests by kind and name."""

    job: TrainingJob
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)

    def edit(self, spec: TrainingJobSpec) -> None:
        """What `kubectl apply` of another manifest does."""
        metadata = msgspec.structs.replace(self.job.metadata, generation=self.job.metadata.generation + 1)
        self.job = fill(msgspec.structs.replace(self.job, metadata=metadata, spec=spec), IMAGE)

    def suspend(self, asked: bool = True) -> None:
        """What `ganger suspend` does, and `ganger resume`."""
        self.edit(msgspec.structs.replace(self.job.spec, suspend=asked))

    def settle(self) -> None:
        """Passes until nothing is left to do. Raises AssertionError when that does not come."""
        for _ in range(PASSES_MAX):
            decision = decide(self.job, self._seen(), T0)
            if decision.empty:
                return
            if decision.status is not None:
                self.job = msgspec.structs.replace(self.job, status=decision.status)
            for deletion in decision.deletions:
                del self.objects["Pod", deletion.metadata.name]
            for manifest in (*decision.shared, *decision.pods):
                self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        raise AssertionError(f"after {PASSES_MAX} passes there is still something to do: {self.job.status}")

    def pods(self) -> list[Object]:
        """The manifests of the pods by name."""
        return [manifest for (kind, _), manifest in sorted(self.objects.items()) if kind == "Pod"]

    def one(self, kind: str) -> Object | None:
        """The only object of a kind."""
        found = [manifest for (of, _), manifest in self.objects.items() if of == kind]
        assert len(found) <= 1, f"{len(found)} objects of kind {kind}"
        return found[0] if found else None

    def _seen(self) -> Seen:
        service, claim = self.one("Service"), self.one("PersistentVolumeClaim")
        return Seen(
            pods=tuple(_running(manifest) for manifest in self.pods()),
            service=None if service is None else Service(metadata=_metadata(service)),
            claim=None if claim is None else msgspec.convert(claim | {"metadata": _metadata(claim)}, Claim),
        )


def _metadata(manifest: Object) -> Metadata:
    return msgspec.convert(manifest["metadata"] | {"uid": "uid-2", "creationTimestamp": T0}, Metadata)


def _running(manifest: Object) -> Pod:
    ready = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
    container = {"name": "trainer", "image": "a", "state": {"running": {"startedAt": T0}}}
    status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": ready, "containerStatuses": [container]}
    return msgspec.convert({"metadata": _metadata(manifest), "spec": {"nodeName": "node-1"}, "status": status}, Pod)
