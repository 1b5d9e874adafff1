"""The control channel's wiring: one HTTPS server for reports, and for /metrics where not everybody may read it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
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
from ganger.control.peers import Peers
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
        elsewhere: Callable[[Key], str | None],
        addresses: Callable[[], Iterator[str]],
        heard: Callable[[Key], None],
        urgent: Callable[[Key], None],
        session: Sessions,
        session_heard: Callable[[Key], None],
        sessions_elsewhere: Callable[[], str | None],
    ) -> None:
        self.reports = Reports()
        self._settings = settings
        self._cluster = cluster
        self._addresses = addresses
        self._moved = asyncio.Event()
        host = urlsplit(settings.control_url).hostname or settings.pod_ip or "localhost"
        self._peers = Peers(lambda: self._certificate.authority, host)
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
            elsewhere=sessions_elsewhere,
            forward=self._peers.forward,
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
            elsewhere=elsewhere,
            forward=self._peers.forward,
        )
        caches.on_job_change(self._desk.changed)
        self._scrapers = Scrapers(cluster, monotonic=clock.monotonic)
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
        await self._peers.close()

    async def run(self) -> None:
        """Keep the certificate, for ever."""
        await self._certificate.keep()

    def moved(self) -> None:
        """Take that shards may have other leaders now."""
        self._moved.set()

    async def lead(self, mine: Callable[[Key], bool]) -> None:
        """Begin to serve as the leader of some jobs: forget what was heard before, have a certificate."""
        for key in [key for key in self.reports if mine(key)]:
            self.reports.forget(key)  # another process led meanwhile, and heard what came
        if not self._settings.control_url:
            return
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

    async def publish(self) -> None:
        """Lead the Service here, and to the leaders of other shards as they change; until cancelled."""
        s = self._settings
        written: list[str] | None = None
        while s.control_service:
            self._moved.clear()
            others = [address.rpartition(":")[0].strip("[]") for address in self._addresses()][1:]
            if others != written:
                await publish(
                    self._cluster,
                    endpoint_slice(s.namespace, s.control_service, s.pod_ip, s.identity, s.control_port, others),
                )
                written = others
                log.info("workers report to %s, which leads to %s", s.control_url, ", ".join((s.pod_ip, *others)))
            await self._moved.wait()
