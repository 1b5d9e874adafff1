"""Which tokens the API server has confirmed, at no more requests than needed.

A confirmed token is believed until it expires: what can change before, whether its pod lives, is asked of the caches. A
refused one is refused for a minute without asking again. Reviews are rationed, so that forgers cannot make the
operator flood the API server; whoever meets an empty ration is told to come back.
"""

import asyncio
import hashlib
from collections.abc import Callable

from ganger.control.claims import Claims
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError
from ganger.kube.review import who

REFUSED_SECONDS = 60.0
REVIEWS_PER_SECOND = 50.0
REVIEWS_BURST = 500.0  # a gang of some hundred workers reports at once after a hand-over
REMEMBERED_MAX = 50_000


class Unavailable(Exception):  # noqa: N818 - a state, not a mistake
    """The token cannot be checked now: come back later."""


class Tokens:
    """Asks and remembers. clock: seconds since the epoch, the API server's; monotonic: seconds that never step."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        reviewed: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._monotonic = monotonic
        self._reviewed = reviewed
        self._known: dict[bytes, tuple[bool, float]] = {}  # hash: valid, and until when that is believed
        self._asking: dict[bytes, asyncio.Task[bool]] = {}
        self._ration = REVIEWS_BURST
        self._rationed_at = monotonic()

    async def confirm(self, token: str, claims: Claims, audience: str) -> bool:
        """Return whether the token is what it claims, for that audience. Raises Unavailable."""
        if claims.expires <= self._clock() or audience not in claims.audiences:
            return False
        # The hash, not the token: memory must not hold what opens something.
        key = hashlib.sha256(f"{audience}\n{token}".encode()).digest()
        known = self._known.get(key)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        task = self._asking.get(key)
        if task is None:
            self._spend()
            task = self._asking[key] = asyncio.create_task(self._ask(key, token, claims, audience))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, token: str, claims: Claims, audience: str) -> bool:
        try:
            user = await who(self._cluster, token, audience)
        except ApiError as error:
            self._reviewed("error")
            raise Unavailable(str(error)) from error
        valid = user is not None and user.pod == (claims.pod_name, claims.pod_uid)
        valid = valid and user is not None and user.username.startswith(f"system:serviceaccount:{claims.namespace}:")
        self._reviewed("ok" if valid else "refused")
        seconds = claims.expires - self._clock() if valid else REFUSED_SECONDS
        self._remember(key, valid, self._monotonic() + seconds)
        return valid

    def _remember(self, key: bytes, valid: bool, until: float) -> None:
        if len(self._known) >= REMEMBERED_MAX:
            now = self._monotonic()
            self._known = {kept: value for kept, value in self._known.items() if value[1] > now}
            while len(self._known) >= REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
        self._known[key] = (valid, until)

    def _spend(self) -> None:
        now = self._monotonic()
        self._ration = min(REVIEWS_BURST, self._ration + (now - self._rationed_at) * REVIEWS_PER_SECOND)
        self._rationed_at = now
        if self._ration < 1.0:
            self._reviewed("rationed")
            raise Unavailable("too many tokens wait to be reviewed")
        self._ration -= 1.0
