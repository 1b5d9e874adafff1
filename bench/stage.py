"""One API server for all subjects: who runs beside it at a time, what that costs, and a clean slate after each turn."""

import asyncio
import contextlib
import time
import urllib.error
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from bench import audit, operators
from bench.peers import jobset, trainer
from bench.subjects import Subject
from bench.watching import PAGE
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS
from ganger_dev.control_plane import ControlPlane
from ganger_dev.errors import DevError
from ganger_dev.processes import Service

PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")  # kwok is in the place of kubelets
# Everybody else in the audit log is a controller. Jobs are the controller manager's, and its share is the peers' cost.
NO_CONTROLLERS = {
    "admin",
    "bench",
    "system:apiserver",
    "system:kube-scheduler",
    "system:kwok",
    "system:serviceaccount:kube-system:namespace-controller",
}
# Of everybody, and of the controller manager, which asks for a token of each of its controllers now and then.
BACKGROUND = {"leases", "nodes", "nodes/status", "csinodes", "serviceaccounts", "serviceaccounts/token"}
GONE_SECONDS = 600.0
QUIET_SECONDS = 60.0
IN_FLIGHT = 64


class Setting(Struct, frozen=True, kw_only=True):
    """Client limits of everybody but Ganger, whose own stay; None: what each comes with."""

    name: str
    qps: int | None
    burst: int | None
    manager_flags: tuple[str, ...]


# The 20 requests a second are the controller manager's default, which the users of a managed cluster cannot change.
DEFAULTS = Setting(
    name="defaults", qps=None, burst=None,
    manager_flags=("--kube-api-qps=20", "--kube-api-burst=30", "--concurrent-job-syncs=5"),
)  # fmt: skip
TUNED = Setting(
    name="tuned", qps=1000, burst=2000,
    manager_flags=("--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-job-syncs=20"),
)  # fmt: skip
SETTINGS = {one.name: one for one in (TUNED, DEFAULTS)}


class Stage:
    """The control plane and the client of a run."""

    def __init__(self, plane: ControlPlane, cluster: HttpCluster, folder: Path, setting: Setting) -> None:
        self.plane, self.cluster, self.folder, self.setting = plane, cluster, folder, setting
        self.controllers: dict[str, int] = {}  # pids by name

    # --- who runs ----------------------------------------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def running(self, subject: Subject) -> AsyncIterator[None]:
        """Run the subject's controllers, and nobody else's, for as long as the context. Raises DevError."""
        with contextlib.ExitStack() as ends:
            try:
                for name in subject.programs:
                    pid, stop = await asyncio.to_thread(self._start, name)
                    self.controllers[name] = pid
                    ends.callback(stop)
                yield
            finally:
                self.controllers = {}

    def _start(self, name: str) -> tuple[int, Callable[[], None]]:
        if name == "ganger":
            operator = operators.start(self.plane, self.folder)
            return operator.process.pid, operator.end
        peer = {jobset.NAME: jobset, trainer.NAME: trainer}[name]
        service: Service = peer.start(self.plane, qps=self.setting.qps, burst=self.setting.burst)
        pid = service.pid()
        if pid is None:
            raise DevError(f"{name} ended while starting", service.last_words(), f"Its log is {service.log}.")
        return pid, lambda: peer.stop(self.plane, service)

    # --- what it costs -----------------------------------------------------------------------------------------------
    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds so far of the control plane's programs and of the controllers. Raises DevError."""
        pids = {name: pid for name, pid in self.plane.running().items() if name in PLANE} | self.controllers
        if missing := [name for name in PLANE if name not in pids]:
            raise DevError(f"{missing[0]} does not run any more", "it ended", f"Its logs are in {self.plane.folder}.")
        return {name: operators.cpu_seconds(pid) for name, pid in pids.items()}

    def rss_mib(self) -> dict[str, float]:
        """Return the peak of each controller's resident memory since it started, MiB."""
        found = {}
        for name, pid in self.controllers.items():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found[name] = round(int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024, 1)
        return found

    def position(self) -> int:
        """Return where the audit log ends now."""
        return audit.position(self.plane.audit_log)

    def requests(self, since: int, until: int | None = None) -> dict[tuple[str, str, str, int], int]:
        """Return the requests between two positions, without those that go on whatever is done."""
        found = audit.requests(self.plane.audit_log, since, until)
        return {
            key: count for key, count in found.items()
            if key[2] not in BACKGROUND and key[1] != "watch" and not key[2].startswith("/")
        }  # fmt: skip

    # --- what it happens in ------------------------------------------------------------------------------------------
    async def namespace(self, name: str) -> None:
        """Create a namespace and return once the controller manager has made what belongs to one."""
        api = self.plane.api
        body = {"kind": "Namespace", "metadata": {"name": name}}
        await asyncio.to_thread(api.request, "POST", "/api/v1/namespaces", body)
        base = f"/api/v1/namespaces/{name}"
        for path in (f"{base}/serviceaccounts/default", f"{base}/configmaps/kube-root-ca.crt"):
            await self._until(lambda path=path: self._there(path), f"{path} was not made", 60)  # type: ignore[misc]

    async def clean(self, subject: Subject, namespace: str) -> None:
        """Delete all of a namespace and return once it is gone and no controller writes any more. Raises TimeoutError.

        Finalizers of pods are taken off here: at its default limits the controller manager needs minutes for them.
        """
        await self._delete(subject.resource.path(namespace))
        end = time.monotonic() + GONE_SECONDS
        while pods := PAGE.decode(await self.cluster.list(PODS, namespace, limit=0)).items:
            held = [pod.metadata.name for pod in pods if pod.metadata.finalizers]
            await together((lambda name=name: self._release(namespace, name)) for name in held)  # type: ignore[misc]
            await self._delete(PODS.path(namespace))
            await asyncio.sleep(0.2)
            if time.monotonic() > end:
                raise TimeoutError(f"{len(pods)} pods were not gone within {GONE_SECONDS:.0f} s")
        await self._delete(f"/api/v1/namespaces/{namespace}")
        await self._until(lambda: not self._there(f"/api/v1/namespaces/{namespace}"), "it was not gone", GONE_SECONDS)
        with contextlib.suppress(TimeoutError):  # what still goes on then is told by the floor of the next turn
            await self._quiet()

    async def _quiet(self) -> None:
        async with asyncio.timeout(QUIET_SECONDS):
            while True:
                since = self.position()
                await asyncio.sleep(1.0)
                if not any(who not in NO_CONTROLLERS for who, _, _, _ in self.requests(since)):
                    return

    async def _release(self, namespace: str, name: str) -> None:
        with contextlib.suppress(Exception):  # gone meanwhile, or asked again in the next look
            await self.cluster.patch(PODS, namespace, name, {"metadata": {"finalizers": None}})

    async def _delete(self, path: str) -> None:
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
                   "propagationPolicy": "Background"}  # fmt: skip
        with contextlib.suppress(OSError):  # asked again, it goes on with what is left
            await asyncio.to_thread(self.plane.api.request, "DELETE", path, options)

    def _there(self, path: str) -> bool:
        try:
            self.plane.api.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if await asyncio.to_thread(condition):
                    return
            if time.monotonic() > end:
                raise TimeoutError(f"{what} within {seconds:.0f} s")
            await asyncio.sleep(0.1)


async def together(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Make all calls, IN_FLIGHT at a time."""
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(call: Callable[[], Awaitable[object]]) -> None:
        async with limit:
            await call()

    await asyncio.gather(*(one(call) for call in calls))


def by_controllers(found: Mapping[tuple[str, str, str, int], int]) -> dict[str, int]:
    """Return the requests of all controllers by `user: verb resource`."""
    told: dict[str, int] = {}
    for (who, verb, resource, _), count in sorted(found.items()):
        if who not in NO_CONTROLLERS:
            name = f"{who.removeprefix('system:serviceaccount:kube-system:')}: {verb} {resource}"
            told[name] = told.get(name, 0) + count
    return told
