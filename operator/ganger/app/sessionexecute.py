"""Carry the decision about one session out, in the order that makes every crash harmless.

The status first: a start and an end are written before anything follows from them. Then deletions, then keys that have
changed, the Secret, the claim and the policy, then the pod. The Secret is made and never read: its token is drawn here,
written and forgotten.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from typing import Any

from ganger.api.observed import Metadata
from ganger.api.session import DevSession
from ganger.app.caches import Key
from ganger.app.execute import refusal
from ganger.app.memory import JobMemory
from ganger.app.telling import emit, status_of
from ganger.contract import ANNOTATION_AUTHORIZED_KEYS, LABEL_MANAGED_BY, LABEL_SESSION, MANAGED_BY
from ganger.kube.cluster import Cluster
from ganger.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from ganger.kube.resources import CLAIMS, DEV_SESSIONS, NETWORK_POLICIES, PODS, SECRETS, Resource
from ganger.plan import sessionpod
from ganger.plan.session import SessionDecision
from ganger.plan.sessionkeys import KeyChange
from ganger.runtime import wire
from ganger.runtime.consistency import Consistency
from ganger.runtime.controller import WAITING_SECONDS
from ganger.runtime.events import Recorder
from ganger.runtime.limiter import Limiter
from ganger.runtime.ports import Clock

log = logging.getLogger(__name__)
TOKEN_BYTES = 32
# A Secret that is there may be that of a predecessor of the same name, which goes with it: it is waited for so long.
PREDECESSOR_SECONDS = 30.0
RETRY_SECONDS = 1.0
_SHARED = {each.kind: each for each in (CLAIMS, NETWORK_POLICIES)}


class SessionExecutor:
    """Does what a SessionDecision says. Raises the ApiErrors that the runtime retries by class."""

    def __init__(
        self,
        cluster: Cluster,
        consistency: Consistency[Key],
        limiter: Limiter[Key],
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._consistency = consistency
        self._limiter = limiter
        self._recorder = recorder
        self._clock = clock
        self._tokens: dict[Key, str] = {}  # UID of the session whose Secret this process made

    def forget(self, key: Key) -> None:
        """Forget a session that is gone."""
        self._tokens.pop(key, None)

    async def execute(self, session: DevSession, decision: SessionDecision, memory: JobMemory) -> float | None:
        """Carry the decision out; return the seconds after which the rest of it is due."""
        if decision.lost and await self._is_hidden(session, decision.lost):
            return WAITING_SECONDS
        if decision.status is not None:
            await self._write_status(session, decision)
        for metadata in decision.deletions:
            await self._delete(session, metadata)
        if decision.keys is not None:
            await self._change_keys(session, decision.keys, memory)
        if decision.pod is None:
            return None
        if decision.token and not await self._create_token(session, memory):
            return RETRY_SECONDS
        if await self._create_shared(session, decision.shared, memory):
            await self._create_pod(session, decision.pod, memory)
        return None

    async def _is_hidden(self, session: DevSession, name: str) -> bool:
        """Whether a pod that the cache lacks is there; then it is listed anew."""
        namespace = session.metadata.namespace
        try:
            found = wire.identity(await self._cluster.get(PODS, namespace, name))
        except NotFound:
            return False
        # A pod without our label is in no list of ours either, and one that is being deleted is as good as gone.
        is_ours = found.controller_uid == session.metadata.uid and found.labels.get(LABEL_MANAGED_BY) == MANAGED_BY
        if not is_ours or found.deletion_timestamp is not None:
            return False
        log.warning("pod %s is there, but the cache does not show it: listing anew", name)
        self._consistency.doubt(PODS, namespace)
        return True

    async def _write_status(self, session: DevSession, decision: SessionDecision) -> None:
        assert decision.status is not None
        namespace, name = session.key
        manifest = status_of(DEV_SESSIONS, session.metadata, decision.status)
        async with self._limiter.slot(session.key):
            written = await self._cluster.apply(DEV_SESSIONS, namespace, name, manifest, subresource="status")
        self._consistency.wrote(session.key, DEV_SESSIONS, written)
        for event in decision.events:
            emit(self._recorder, DEV_SESSIONS, session.metadata, event)

    async def _delete(self, session: DevSession, pod: Metadata) -> None:
        try:
            async with self._limiter.slot(session.key):
                await self._cluster.delete(PODS, pod.namespace, pod.name, uid=pod.uid)
        except (NotFound, Conflict):
            pass  # gone, or the name belongs to a later one by now
        self._consistency.deleted(session.key, PODS, pod)

    async def _change_keys(self, session: DevSession, change: KeyChange, memory: JobMemory) -> None:
        pod = change.pod
        # With the UID: the name may belong to a later pod by now.
        patch = {"metadata": {"uid": pod.uid, "annotations": {ANNOTATION_AUTHORIZED_KEYS: change.keys}}}
        try:
            async with self._limiter.slot(session.key):
                written = await self._cluster.patch(PODS, pod.namespace, pod.name, patch)
        except (NotFound, Conflict):
            return  # the cache will show what is there now
        except (Forbidden, Invalid) as error:
            memory.refused(refusal(error, PODS.kind), self._clock.monotonic())
            return
        memory.created()
        self._consistency.wrote(session.key, PODS, written)

    async def _create_token(self, session: DevSession, memory: JobMemory) -> bool:
        """Make the Secret, and return whether there is one that stays."""
        manifest = sessionpod.secret(session, secrets.token_urlsafe(TOKEN_BYTES))
        try:
            async with self._limiter.slot(session.key):
                await self._cluster.create(SECRETS, session.metadata.namespace, manifest)
        except AlreadyExists:
            # It cannot be read, so that it is not known whose it is.
            return self._tokens.get(session.key) == session.metadata.uid or not self._may_be_a_predecessors(session)
        except (Forbidden, Invalid) as error:
            memory.refused(refusal(error, SECRETS.kind), self._clock.monotonic())
            return False
        self._tokens[session.key] = session.metadata.uid
        return True

    def _may_be_a_predecessors(self, session: DevSession) -> bool:
        created = session.metadata.creation_timestamp
        if session.status.secret_name or created is None:
            return False
        return (self._clock.now() - created).total_seconds() < PREDECESSOR_SECONDS

    async def _create_shared(self, session: DevSession, manifests: Iterable[dict[str, Any]], memory: JobMemory) -> bool:
        """Create claim and policy, and return whether all of them are there and the session's own."""
        results = await asyncio.gather(*(self._create(session, manifest, memory) for manifest in manifests))
        return all(results)

    async def _create(self, session: DevSession, manifest: dict[str, Any], memory: JobMemory) -> bool:
        resource = _SHARED[manifest["kind"]]
        try:
            async with self._limiter.slot(session.key):
                written = await self._cluster.create(resource, session.metadata.namespace, manifest)
        except AlreadyExists:
            # Without our label it is in no cache; only reading it tells whose it is.
            written = await self._read(resource, session, manifest["metadata"]["name"])
            if written.labels.get(LABEL_SESSION) != session.metadata.name:
                memory.met_stranger(resource.kind, written, self._clock.monotonic())
                return False
        except (Forbidden, Invalid) as error:
            memory.refused(refusal(error, resource.kind), self._clock.monotonic())
            return False
        self._consistency.wrote(session.key, resource, written)
        return True

    async def _create_pod(self, session: DevSession, manifest: dict[str, Any], memory: JobMemory) -> None:
        now = self._clock.monotonic()
        try:
            async with self._limiter.slot(session.key):
                written = await self._cluster.create(PODS, session.metadata.namespace, manifest)
        except AlreadyExists:
            written = await self._read(PODS, session, manifest["metadata"]["name"])
            if written.controller_uid != session.metadata.uid:
                memory.met((written.name,), now)
                return
        except (Forbidden, Invalid) as error:
            memory.refused(refusal(error, PODS.kind), now)
            return
        memory.created()
        self._consistency.wrote(session.key, PODS, written)

    async def _read(self, resource: Resource, session: DevSession, name: str) -> Metadata:
        return wire.identity(await self._cluster.get(resource, session.metadata.namespace, name))
