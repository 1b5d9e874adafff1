"""The control channel's wiring: one HTTPS server for reports, and for /metrics where not everybody may read it."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from ganger.api.observed import Pod
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob
from ganger.app.caches import Caches, Key
from ganger.app.settings import Settings
from ganger.control import sessiondesk
from ganger.control.address import endpoint_slice, publish
from ganger.control.certificate import Certificate
from ganger.control.desk import PREFIX, Desk
from ganger.control.reports import Reports
from ganger.control.scrapers import Scrapers
from ganger.control.sessiondesk import SessionDesk
from ganger.control.tokens import Tokens
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError
from ganger.observe.metrics import OperatorMetrics
from ganger.observe.server import Limits, Route, Server, guarded
from ganger.plan.site import NOWHERE, Site
from ganger.runtime.ports import Clock

log = logging.getLogger(__name__)
Sessions = Callable[[str, str], DevSession | None]  # by namespace and name
RULES_SINCE = (
    1,
    36,
)  # restartPolicyRules with RestartAllContainers are beta and on; before, the API server refuses them
CERTIFICATE_SECONDS = 5.0  # how long a leader waits for it: pods that are made without it never report
# Workers keep their connections, at 90 KiB each; where there are more workers, those that have been silent for longest
# make room and come back with a new one (bench/README.md, reports).
LIMITS = Limits(connections=256, idle_seconds=90.0, body_bytes=16384)


class _Known:
    """What the desks ask of the caches."""

    def __init__(self, caches: Caches, session: Sessions) -> None:
        self._caches = caches
        self.session = session

    def pod(self, namespace: str, name: str) -> Pod | None:
        return self._caches.pods.get(namespace, name)

    def job(self, namespace: str, name: str) -> TrainingJob | None:
        return self._caches.jobs.get(namespace, name)


class Channel:
    """Everything behind the control port.

    `reports` holds what the workers say and `sessions` what sessions do; both stay empty where nobody may report.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        caches: Caches,
        clock: Clock,
        metrics: OperatorMetrics,
        *,
        leads: Callable[[], bool],
        heard: Callable[[Key], None],
        urgent: Callable[[Key], None],
        session: Sessions,
        session_heard: Callable[[Key], None],
    ) -> None:
        self.reports = Reports()
        self._settings = settings
        self._cluster = cluster
        tokens = Tokens(
            cluster,
            clock=lambda: clock.now().timestamp(),
            monotonic=clock.monotonic,
            reviewed=metrics.token_reviewed,
        )
        known = _Known(caches, session)
        self.sessions = SessionDesk(
            known,
            tokens,
            monotonic=clock.monotonic,
            leads=leads,
            heard=session_heard,
            counted=metrics.reported,
        )
        self._desk = Desk(
            known,
            tokens,
            self.reports,
            now=clock.now,
            monotonic=clock.monotonic,
            leads=leads,
            heard=heard,
            urgent=urgent,
            counted=metrics.reported,
        )
        caches.on_job_change(self._desk.changed)
        self._scrapers = Scrapers(cluster, monotonic=clock.monotonic)
        host = urlsplit(settings.control_url).hostname or settings.pod_ip or "localhost"
        hosts = (host, f"{host}.cluster.local") if host.endswith(".svc") else (host,)
        self._certificate = Certificate(
            cluster, namespace=settings.namespace, name=settings.control_secret, hosts=hosts, now=clock.now
        )
        self._server: Server | None = None
        self._version = (0, 0)

    @property
    def site(self) -> Site:
        """What the pods of new attempts are told."""
        if not self._settings.control_url:
            return NOWHERE
        return Site(
            control_url=self._settings.control_url,
            authority=self._certificate.authority,
            restarts_containers=self._version >= RULES_SINCE,
        )

    async def start(self, exposition: Route) -> int:
        """Listen, and return the port. Raises OSError."""
        routes: dict[str, Route] = {}
        if self._settings.control_url:
            routes[PREFIX] = self._desk.answer
            routes[sessiondesk.PREFIX] = self.sessions.answer
        if self._settings.metrics_auth:
            routes["/metrics"] = guarded(exposition, self._scrapers.may_scrape)
        self._server = Server(routes, limits=LIMITS)
        return await self._server.start("", self._settings.control_port, tls=self._certificate.context)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop()

    async def run(self) -> None:
        """Keep the certificate, for ever."""
        await self._certificate.keep()

    async def lead(self) -> list[asyncio.Task[None]]:
        """Begin to serve as the leader: have a certificate, lead the Service here. The caller ends the tasks."""
        self.reports.clear()
        self.sessions.clear()
        if not self._settings.control_url:
            return []
        try:
            async with asyncio.timeout(CERTIFICATE_SECONDS):
                while not self._certificate.authority:  # noqa: ASYNC110 - a matter of one request
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log.warning("no certificate yet: gangs that start now will not report")
        try:
            self._version = await self._cluster.version()
        except ApiError as error:
            log.warning("the version of the API server is unknown, so no container is started anew in place: %s", error)
        if not self._settings.control_service:
            return []
        return [asyncio.create_task(self._publish(), name="control-address")]

    async def _publish(self) -> None:
        s = self._settings
        pod = s.identity
        await publish(self._cluster, endpoint_slice(s.namespace, s.control_service, s.pod_ip, pod, s.control_port))
        log.info("workers report to %s, which leads to %s", s.control_url, s.pod_ip)
