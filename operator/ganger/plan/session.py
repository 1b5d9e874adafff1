"""One pass over a session: what is there, what should be, what to do about it. Pure.

A start is one pod. A new start is opened by a status write alone (write-ahead), so that two controllers, a stale cache
or a crash meet in a harmless 409. A session that waits or idles costs no write.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ganger.api.conditions import upsert
from ganger.api.observed import Claim, Metadata, NetworkPolicy, Pod
from ganger.api.session import DevSession, DevSessionStatus, SessionPhase
from ganger.api.types import TrainingJob
from ganger.api.validate import check_session
from ganger.contract import (
    ANNOTATION_EDITION,
    ANNOTATION_START,
    LABEL_MANAGED_BY,
    LABEL_SESSION,
    MANAGED_BY,
)
from ganger.plan import (
    admission,
    quota,
    sessionactivity,
    sessionend,
    sessionfork,
    sessionkeys,
    sessionname,
    sessionpod,
    sessionqueue,
    waiting,
)
from ganger.plan.gang import is_over
from ganger.plan.profile import MISFITS_TOLD
from ganger.plan.quota import ADMITTED, Change, Hold, Quota
from ganger.plan.seen import Event, Refusal
from ganger.plan.sessionactivity import SessionReport
from ganger.plan.sessionkeys import KeyChange
from ganger.plan.site import NOWHERE, Site

READY, ENDED = "Ready", "Ended"
_MESSAGE_LENGTH_MAX = 1024
_WARNINGS = frozenset({"Failed", "Lost"})


class SessionSeen(Struct, frozen=True, kw_only=True):
    """What the caches hold of a session's surroundings.

    pods: all whose controller is this session. source: the job of fromJob with its profile's values; trouble: reason
    and message of why there is none, or why the stored spec cannot be served. claim, policy: the objects of the names
    that the session would give them, whoever owns them. squatter: a foreign pod that has the name of the session's.
    refusal: what the API server said to the newest create, while that is fresh. quota: what Kueue says, where the
    session is or was in a queue of it. report: what the pod of the present start last told of its activity.
    """

    pods: tuple[Pod, ...] = ()
    source: TrainingJob | None = None
    trouble: tuple[str, str] | None = None
    claim: Claim | None = None
    policy: NetworkPolicy | None = None
    squatter: str = ""
    refusal: Refusal | None = None
    quota: Quota | None = None
    report: SessionReport | None = None


class SessionSite(Struct, frozen=True, kw_only=True):
    """What the operator says of all sessions. isolates: each gets a NetworkPolicy. channel: where they report."""

    image: str
    isolates: bool = False
    channel: Site = NOWHERE


class SessionDecision(Struct, frozen=True, kw_only=True):
    """Everything one pass will do.

    status: the whole new status, None where it stays. deletions: pods. shared: claim and NetworkPolicy that are made
    before the pod. token: whether a Secret with a new token is made before the pod. keys: of a pod that is there.
    events: after the status write. lost: the name of a pod that only the cache may lack; it is asked for before a new
    start. workload: what Kueue is told. requeue_after_seconds: look again then.
    """

    status: DevSessionStatus | None = None
    deletions: tuple[Metadata, ...] = ()
    shared: tuple[dict[str, Any], ...] = ()
    token: bool = False
    pod: dict[str, Any] | None = None
    keys: KeyChange | None = None
    events: tuple[Event, ...] = ()
    lost: str = ""
    workload: Change | None = None
    requeue_after_seconds: float | None = None


def decide_session(session: DevSession, seen: SessionSeen, now: datetime, site: SessionSite) -> SessionDecision:
    """Return what one pass does about a session."""
    return _Pass(session, seen, now, site).decide()


class _Pass:
    def __init__(self, session: DevSession, seen: SessionSeen, now: datetime, site: SessionSite) -> None:
        self.session, self.seen, self.now, self.site = session, seen, now, site
        self.old = session.status
        self.name = sessionname.pod(session.metadata.name, self.old.start)
        self.pod = next((pod for pod in seen.pods if pod.metadata.name == self.name), None)
        self.others = tuple(pod for pod in seen.pods if pod is not self.pod)
        self.whole = sessionqueue.whole(session, seen.source, site.image)

    def decide(self) -> SessionDecision:
        if self.session.metadata.deletion_timestamp is not None:
            return SessionDecision()  # the garbage collector ends what it has
        if self.old.ended:
            return self._queued(self._ended())
        if self.session.spec.suspend:
            return self._queued(self._suspended())
        if self.pod is None:
            return self._queued(self._lost(None)) if self.old.pod == self.name else self._absent()
        if is_over(self.pod):
            return self._queued(self._over(self.pod))
        held = sessionqueue.eviction(self.pod, self.seen.quota)
        return self._queued(self._alive(self.pod) if held is None else self._evicted(self.pod, held))

    def _queued(self, decision: SessionDecision, *, may_ask: bool = True) -> SessionDecision:
        """Add what Kueue is told; nothing while only the cache may lack a pod."""
        if self.seen.quota is None or decision.lost:
            return decision
        told = sessionqueue.change(
            self.session,
            self.seen.source,
            self.site.image,
            self.seen.pods,
            self.seen.quota,
            self.now,
            is_ready=self._is_true(READY),
            may_ask=may_ask and self.seen.trouble is None,
        )
        times = (decision.requeue_after_seconds, quota.retry_seconds(self.seen.quota))
        after = min((seconds for seconds in times if seconds is not None), default=None)
        return replace(decision, workload=told, requeue_after_seconds=after)

    # --- a session that has ended ---
    def _ended(self) -> SessionDecision:
        stopped = self.old.phase == "Stopped"
        if not self.session.spec.suspend and (stopped or self._is_asked_again()):
            return self._restarted("Started", "it is started again", anew=True)
        # Of one that failed the pod stays, for its log; it makes room for the next.
        kept = self.old.phase == "Failed"
        deletions = _leaving(pod for pod in self.seen.pods if not (kept and is_over(pod)))
        if self.session.spec.suspend and not stopped:
            status = replace(self.old, phase="Stopped")
            return SessionDecision(status=self._told(status), deletions=deletions)
        return SessionDecision(status=self._news(self._told(self.old)), deletions=deletions)

    def _is_asked_again(self) -> bool:
        try:
            at = datetime.fromisoformat(self.session.metadata.annotations.get(ANNOTATION_START, ""))
        except ValueError:
            return False
        return at.tzinfo is not None and self.old.end_time is not None and at > self.old.end_time

    def _suspended(self) -> SessionDecision:
        alive = [pod for pod in self.seen.pods if not is_over(pod)]
        deletions = _leaving(self.seen.pods)
        if alive:
            status = self._with("Stopping", "Stopping", f"pod {alive[0].metadata.name} stops", pod=self.old.pod)
            return SessionDecision(status=self._news(status), deletions=deletions)
        end = sessionend.end(self.pod) if self.pod is not None else None
        return self._end("Stopped", "Suspended", "it was stopped (spec.suspend)", end, deletions)

    def _end(
        self,
        phase: SessionPhase,
        reason: str,
        message: str,
        end: sessionend.End | None = None,
        deletions: tuple[Metadata, ...] = (),
    ) -> SessionDecision:
        status = self._with(phase, reason, message, ended=True, pod=self.old.pod)
        at = end.last_activity_time if end is not None and end.last_activity_time else self.old.last_activity_time
        status = replace(status, end_time=self.now, last_activity_time=at)
        event = Event(reason=phase, message=message, warning=phase in _WARNINGS)
        return SessionDecision(status=status, deletions=deletions, events=(event,))

    # --- a pod that is not there ---
    def _absent(self) -> SessionDecision:
        left = self._seconds_left()
        if left <= 0:
            return self._end("Expired", "Expired", f"it is older than {self.session.spec.max_seconds} s (maxSeconds)")
        found = self._obstacle()
        if found is not None:
            return self._queued(self._waits(*found, Hold(*found)), may_ask=False)
        held = sessionqueue.hold(self.whole, self.seen.quota)
        if held is not None:
            return self._queued(self._waits(held.reason, held.message, held))
        if (lack := admission.lacks(self.whole, self.seen.quota)) is not None:
            return self._queued(self._waits(*lack))
        if self.seen.refusal is not None:
            return self._queued(self._waits(self.seen.refusal.reason, self.seen.refusal.message))
        pod = sessionpod.pod(
            self.session, self.seen.source, self.site.image, seconds_left=left, channel=self.site.channel
        )
        if clash := sessionqueue.conflict(self.whole, pod, self.seen.quota):
            text = f"{clash}; change the session, its job or the ResourceFlavor, and start it again"
            return self._end("Failed", "AdmissionConflict", text)
        shared = (
            (sessionpod.claim(self.session), self.seen.claim),
            (sessionpod.network_policy(self.session) if self.site.isolates else None, self.seen.policy),
        )
        decision = SessionDecision(
            shared=tuple(manifest for manifest, present in shared if manifest is not None and present is None),
            token=self.session.spec.jupyter,
            pod=sessionqueue.placed(self.whole, pod, self.seen.quota),
        )
        return self._queued(decision)

    def _waits(self, reason: str, message: str, held: Hold | None = None) -> SessionDecision:
        status = self._news(self._with("Pending", reason, message, held=held))
        # Of one that was evicted the time goes on: nobody else tells when it is over.
        left = float(self._seconds_left()) if self.old.start_time is not None else None
        return SessionDecision(status=status, deletions=_leaving(self.others), requeue_after_seconds=left)

    def _obstacle(self) -> tuple[str, str] | None:
        """Return reason and message of what must be out of the way before quota is asked for and the pod is made."""
        session, seen = self.session, self.seen
        if seen.trouble is not None:
            return seen.trouble
        wrong = [str(error) for error in check_session(session)] or sessionfork.misfits(
            sessionfork.blueprint(session, seen.source, self.site.image)
        )
        if wrong:
            beside = f" together with job {session.spec.from_job}" if session.spec.from_job else ""
            return "SpecInvalid", f"the spec{beside} cannot be served: {'; '.join(wrong[:MISFITS_TOLD])}"
        alive = next((pod for pod in self.others if not is_over(pod)), None)
        if alive is not None:
            where = f" on node {alive.spec.node_name}" if alive.spec.node_name else ""
            return "WaitingForPreviousPod", f"pod {alive.metadata.name} of an earlier start has not ended{where}"
        if seen.squatter:
            return "WaitingForPreviousPod", f"pod {seen.squatter} of another owner carries the name that is needed"
        if seen.policy is not None and self.site.isolates and not self._is_own(seen.policy.metadata):
            return "WaitingForPreviousPolicy", f"NetworkPolicy {seen.policy.metadata.name} belongs to another owner"
        return self._claim_trouble()

    def _claim_trouble(self) -> tuple[str, str] | None:
        claim = self.seen.claim
        if claim is None or sessionpod.claim(self.session) is None:
            return None
        if claim.metadata.deletion_timestamp is not None:
            return "WaitingForPreviousVolume", f"claim {claim.metadata.name} is being deleted"
        labels = claim.metadata.labels
        if labels.get(LABEL_MANAGED_BY) != MANAGED_BY or labels.get(LABEL_SESSION) != self.session.metadata.name:
            remedy = "rename the session or name the claim in spec.storage.claimName"
            return "VolumeConflict", f"claim {claim.metadata.name} exists and is not of this session; {remedy}"
        return None

    def _is_own(self, metadata: Metadata) -> bool:
        return metadata.controller_uid == self.session.metadata.uid

    def _lost(self, pod: Pod | None) -> SessionDecision:
        """Another pod takes the place of one that was lost; an eviction is no end of a session."""
        end = sessionend.end(pod) if pod is not None else None
        why = end.message if end is not None else f"pod {self.name} is gone"
        runs = self.old.short_runs
        if self._was_short(pod):
            runs = sessionend.counted(runs, self.now)
        if len(runs) >= sessionend.SHORT_RUNS_MAX:
            text = f"{len(runs)} pods were lost within an hour, none of which ran for 60 s; the last: {why}"
            decision = self._end("Failed", "LostTooOften", text, end)
        else:
            held = sessionqueue.hold(self.whole, self.seen.quota)
            then = "another one takes its place" if held is None else "it waits in its queue for another one"
            decision = self._restarted("Restarted", f"{why}; {then}", anew=False, held=held)
        status = decision.status
        assert status is not None
        return replace(decision, status=replace(status, short_runs=runs), lost=self.name if pod is None else "")

    def _was_short(self, pod: Pod | None) -> bool:
        """Whether a lost pod has to be counted as a short run; of one that was seen leaving it was decided then."""
        if self.old.phase == "Stopping":
            return False
        if pod is not None:
            return sessionend.was_short(pod)
        ready = self.old.condition(READY)
        since = ready.last_transition_time if ready is not None and ready.status == "True" else None
        return since is None or (self.now - since).total_seconds() < sessionend.SHORT_RUN_SECONDS

    def _restarted(self, reason: str, message: str, *, anew: bool, held: Hold | None = None) -> SessionDecision:
        """Open the next start. anew: at the wish of the user, so that its time begins anew. held: told instead."""
        why = (held.reason, held.message) if held is not None else (reason, message)
        status = self._with("Pending", *why, held=held)
        status = replace(status, start=self.old.start + 1, pod="", end_time=None)
        if anew:
            status = replace(status, start_time=None, short_runs=())
        event = Event(reason=reason, message=message, warning=not anew)
        return SessionDecision(status=status, events=(event,))

    def _seconds_left(self) -> int:
        if self.old.start_time is None:
            return self.session.spec.max_seconds
        return self.session.spec.max_seconds - int((self.now - self.old.start_time).total_seconds())

    # --- a pod that is there ---
    def _over(self, pod: Pod) -> SessionDecision:
        end = sessionend.end(pod)
        if end.kind == "Lost":
            return self._lost(pod)
        return self._end(end.kind, end.reason, end.message, end)

    def _alive(self, pod: Pod) -> SessionDecision:
        spec = self.session.spec
        found = waiting.of_pod(pod)
        keys, kept = sessionkeys.change(self.session, pod, self.seen.refusal)
        if pod.metadata.deletion_timestamp is not None:
            status = self._with("Stopping", "PodDeleted", f"pod {self.name} is being deleted", pod=self.name)
            if self.old.phase != "Stopping" and sessionend.runs_short(pod, self.now):
                status = replace(status, short_runs=sessionend.counted(self.old.short_runs, self.now))
        elif any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions):
            name = self.session.metadata.name
            doors = [word for word, there in (("connect", spec.jupyter), ("ssh", spec.ssh is not None)) if there]
            words = " or ".join(f"ganger dev {word} {name}" for word in doors) or "it runs"
            if pod.metadata.annotations.get(ANNOTATION_EDITION) != sessionpod.edition(self.session):
                words = f"{words}; the spec has changed since the start: stop and start it to take that over"
            words += f"; its keys are still those of before: {kept}" if kept else ""
            status = self._with("Running", "Running", words, ready=True, pod=self.name)
        elif found is not None:
            status = self._with("Starting", found.reason, found.message, pod=self.name)
        else:
            status = self._with("Starting", "Starting", f"pod {self.name} starts", pod=self.name)
        secret = sessionname.secret(self.session.metadata.name) if spec.jupyter else ""
        since = self.old.start_time or pod.metadata.creation_timestamp or self.now
        status = replace(status, secret_name=secret, start_time=since)
        events: tuple[Event, ...] = ()
        if status.phase == "Running" and self.old.phase != "Running":
            events = (Event(reason="Running", message=f"pod {self.name} is ready"),)
        if status.phase == "Running":
            status = sessionactivity.told(status, self.old, self.seen.report, self.now)
        return SessionDecision(status=self._news(status), deletions=_leaving(self.others), keys=keys, events=events)

    def _evicted(self, pod: Pod, held: Hold) -> SessionDecision:
        """Stop a pod that holds quota no more; what it was is on the volume, and it counts as no short run."""
        status = self._with("Stopping", held.reason, held.message, pod=self.name, held=held)
        event = Event(reason=held.reason, message=held.message, warning=True)
        known = self.old.phase == "Stopping"
        return SessionDecision(
            status=self._news(status), deletions=_leaving(self.seen.pods), events=() if known else (event,)
        )

    # --- the status ---
    def _with(
        self,
        phase: SessionPhase,
        reason: str,
        message: str,
        *,
        ready: bool = False,
        ended: bool = False,
        pod: str = "",
        held: Hold | None = None,
    ) -> DevSessionStatus:
        generation, text = self.session.metadata.generation, message[:_MESSAGE_LENGTH_MAX]
        conditions = self.old.conditions
        conditions = upsert(conditions, READY, ready, reason, text, now=self.now, generation=generation)
        why = (reason, text) if ended else ("NotEnded", "")
        conditions = upsert(conditions, ENDED, ended, *why, now=self.now, generation=generation)
        told = self.old.condition(ADMITTED) is not None
        place = sessionqueue.fact(self.whole, self.pod, self.seen.quota, held, told=told, ended=ended)
        if place is not None:
            conditions = upsert(conditions, *place, now=self.now, generation=generation)
        return replace(
            self.old,
            phase=phase,
            observed_generation=generation,
            pod=pod,
            cull_time=None,
            message=text,
            conditions=conditions,
        )

    def _is_true(self, type_: str) -> bool:
        found = self.old.condition(type_)
        return found is not None and found.status == "True"

    def _told(self, status: DevSessionStatus) -> DevSessionStatus:
        return replace(status, observed_generation=self.session.metadata.generation)

    def _news(self, status: DevSessionStatus) -> DevSessionStatus | None:
        """Return the status where it says anything new."""
        return status if status != self.old else None


def _leaving(pods: Any) -> tuple[Metadata, ...]:
    return tuple(pod.metadata for pod in pods if pod.metadata.deletion_timestamp is None)
