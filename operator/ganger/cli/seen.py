"""What `ganger status` looks at: the job, its pods, its claim and the events about them."""

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct, field

from ganger.api.observed import Claim, Metadata, Pod
from ganger.api.types import TrainingJob
from ganger.kube.resources import Resource
from ganger.plan.gang import attempt_of, worker_of

# The core view of events carries repetitions of every reporter, old or new.
CORE_EVENTS = Resource(group="", version="v1", plural="events", kind="Event")
_NEVER = datetime.min.replace(tzinfo=UTC)


class Involved(Struct, frozen=True):
    """The object that an event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class EventSeries(Struct, frozen=True, rename="camel"):
    """A repeated event: how often, and when last."""

    count: int = 0
    last_observed_time: datetime | None = None


class Event(Struct, frozen=True, rename="camel"):
    """A core/v1 event."""

    metadata: Metadata = Metadata()
    involved_object: Involved = Involved()
    type: str = "Normal"
    reason: str = ""
    message: str = ""
    count: int | None = None
    event_time: datetime | None = None
    last_timestamp: datetime | None = None
    first_timestamp: datetime | None = None
    series: EventSeries | None = None

    @property
    def time(self) -> datetime:
        """When it was last seen."""
        repeated = self.series.last_observed_time if self.series is not None else None
        times = (repeated, self.last_timestamp, self.event_time, self.first_timestamp, self.metadata.creation_timestamp)
        return next((time for time in times if time is not None), _NEVER)


class Seen(Struct, frozen=True, kw_only=True):
    """Everything of one job at one moment. `pods` are of every attempt."""

    job: TrainingJob
    pods: tuple[Pod, ...] = ()
    events: tuple[Event, ...] = ()
    claim: Claim | None = None
    claim_name: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def present(self) -> tuple[Pod, ...]:
        """The pods of the present attempt, by worker."""
        found = (pod for pod in self.pods if attempt_of(pod) == self.job.status.attempt)
        return tuple(sorted(found, key=worker_of))

    def newest_events(self) -> list[Event]:
        """Return the events, newest first."""
        return sorted(self.events, key=lambda event: event.time, reverse=True)

    def obstacles(self) -> Iterator[tuple[str, str]]:
        """Yield reason and text of everything that may keep the gang from running, the nearest cause first."""
        for pod in self.present:
            for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
                if container.state.waiting is not None:
                    yield container.state.waiting.reason, container.state.waiting.message
            for condition in pod.status.conditions:
                if condition.type == "PodScheduled" and condition.status == "False":
                    yield condition.reason, condition.message
        for condition in self.job.status.conditions:
            if condition.type == "PodsReady" and condition.status == "False":
                yield condition.reason, condition.message
        yield "", self.job.status.message or ""
        for event in self.newest_events():
            if event.type == "Warning":
                yield event.reason, event.message
