"""One namespace of a scenario: what its user does, what was seen in it, and what is left of it in the end."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaos.client import MERGE, Client, StatusError
from chaos.invariants import Checker, condition

Object = dict[str, Any]
JOBS = "/apis/ganger.dev/v1alpha1/namespaces/{}/trainingjobs"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
PROFILES = "/apis/ganger.dev/v1alpha1/namespaces/{}/trainingprofiles"
NAME = "digits"
PROFILE = "shared"
PATIENCE_SECONDS = 300.0
# The accounts of time differ with every delay; all else in the end state must be equal or unequal between references.
NEVER_COMPARED = ("status.goodput.", "metadata.managedFields.")


@dataclass
class World:
    """The namespace as its watch tells of it."""

    client: Client
    namespace: str
    checker: Checker = field(default_factory=Checker)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)  # by kind and name
    counts: Counter[str] = field(default_factory=Counter)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what happens ---
    def hear(self, kind: str, obj: Object) -> None:
        """Take a watch event of a job or what is made for it; in the order of the server's versions."""
        self.checker.see(kind, obj)
        key = (obj["kind"], obj["metadata"]["name"])
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = obj
        if kind != "MODIFIED":
            self.counts[f"{kind} {'/'.join(key)}"] += 1
        self._news.set()

    # --- what the user sees ---
    @property
    def job(self) -> Object:
        """The job, {} where there is none."""
        return self.objects.get(("TrainingJob", NAME), {})

    @property
    def status(self) -> Object:
        """Its status."""
        return self.job.get("status", {})

    @property
    def has_service(self) -> bool:
        """Whether the gang's Service is there; it comes last."""
        return ("Service", f"{NAME}-gang") in self.objects

    @property
    def has_policy(self) -> bool:
        """Whether the job's NetworkPolicy is there."""
        return ("NetworkPolicy", f"{NAME}-gang") in self.objects

    def pods(self) -> list[Object]:
        """All pods."""
        return [obj for (kind, _), obj in self.objects.items() if kind == "Pod"]

    def is_alive(self, name: str) -> bool:
        """Whether that pod runs."""
        return self.objects.get(("Pod", name), {}).get("status", {}).get("phase") == "Running"

    def is_running(self, attempt: int = 0, workers: int = 0) -> bool:
        """Whether the gang of that attempt runs; with `workers` only if it is so large."""
        size = f"{workers}/{workers}"
        status = self.status
        right = status.get("phase") == "Running" and status.get("attempt", 0) == attempt
        return right and (not workers or status.get("workers") == size)

    def has(self, type_: str, reason: str = "") -> bool:
        """Whether a condition of the job is True, for that reason."""
        found = condition(self.job, type_)
        return found.get("status") == "True" and (not reason or found.get("reason") == reason)

    async def until(self, what: Callable[[], bool]) -> None:
        """Return once it is so. Raises AssertionError when it does not come."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not what():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it never came so far: {self.status}") from None

    # --- what the user does ---
    async def submit(self, **spec: Any) -> None:
        """Create the job."""
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": NAME}}
        # A real control plane must not meddle: its scheduler knows no node, and it evicts from nodes without heartbeat.
        apart = {"schedulerName": "scripted", "tolerations": [{"operator": "Exists"}]}
        common = {"task": "m:t", "workers": 2, "image": "pytorch-cuda:v2.15"} | apart
        spec = common | spec
        await self.client.call("POST", JOBS.format(self.namespace), body | {"spec": spec})

    async def edit(self, **spec: Any) -> None:
        """Merge into the spec."""
        await self.client.call("PATCH", f"{JOBS.format(self.namespace)}/{NAME}", {"spec": spec}, MERGE)

    async def delete_job(self) -> None:
        """Delete the job."""
        await self.client.call("DELETE", f"{JOBS.format(self.namespace)}/{NAME}", {"propagationPolicy": "Background"})

    async def delete_policy(self) -> None:
        """Delete the job's NetworkPolicy."""
        await self.client.call("DELETE", f"{POLICIES.format(self.namespace)}/{NAME}-gang", {})

    async def delete_pod(self, name: str) -> None:
        """Delete a pod; it may be gone already."""
        try:
            await self.client.call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{name}", {})
        except StatusError as error:
            if error.code != 404:
                raise

    async def make_profile(self, **spec: Any) -> None:
        """Create the profile."""
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": PROFILE}}
        await self.client.call("POST", PROFILES.format(self.namespace), body | {"spec": spec})

    async def edit_profile(self, **spec: Any) -> None:
        """Merge into its spec."""
        await self.client.call("PATCH", f"{PROFILES.format(self.namespace)}/{PROFILE}", {"spec": spec}, MERGE)

    async def delete_profile(self) -> None:
        """Delete it."""
        await self.client.call("DELETE", f"{PROFILES.format(self.namespace)}/{PROFILE}", {})

    # --- what is left ---
    def state(self) -> dict[str, Any]:
        """Every leaf of every object that is left, by its path."""
        leaves: dict[str, Any] = {}
        for (kind, name), obj in self.objects.items():
            for path, value in _leaves(obj, ""):
                if not path.startswith(NEVER_COMPARED):
                    leaves[f"{kind}/{name}: {path}"] = value
        return leaves


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in _leaves(part, f"{path}{name}.")]
    if isinstance(value, list):
        names = [one.get("type", n) if isinstance(one, dict) else n for n, one in enumerate(value)]
        return [leaf for name, part in zip(names, value, strict=True) for leaf in _leaves(part, f"{path}{name}.")]
    return [(path, value)]
