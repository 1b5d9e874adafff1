"""Who may read /metrics: whoever the API server knows and lets get the path /metrics.

The same question and the same right (nonResourceURLs: [/metrics], verb get) as for the Kubernetes components, so that
Prometheus' usual role is enough. Answers are remembered for a minute, refusals for ten seconds.
"""

import hashlib
from collections.abc import Callable

from ganger.kube.cluster import Cluster
from ganger.kube.review import may_get, who

ALLOWED_SECONDS = 60.0
REFUSED_SECONDS = 10.0
REMEMBERED_MAX = 1000
PATH = "/metrics"


class Scrapers:
    """Asks the API server, and remembers."""

    def __init__(self, cluster: Cluster, *, monotonic: Callable[[], float]) -> None:
        self._cluster = cluster
        self._monotonic = monotonic
        self._known: dict[bytes, tuple[bool | None, float]] = {}

    async def may_scrape(self, token: str) -> bool | None:
        """Return whether the token's owner may get /metrics, None for a token that nobody has. Raises ApiError."""
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        user = await who(self._cluster, token)
        verdict = None if user is None else await may_get(self._cluster, user, PATH)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[key] = (verdict, self._monotonic() + (ALLOWED_SECONDS if verdict else REFUSED_SECONDS))
        return verdict
