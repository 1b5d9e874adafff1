"""Notices that somebody else writes the status of jobs while this process leads: a second controller, by mistake.

Nothing is asked for it. A write of ours that meets a newer version of the job keeps the job that it was based on; if
the newer version has another status, then its author was not the user, who writes the spec, and not this process.
"""

from collections.abc import Callable

from msgspec.structs import replace

from ganger.api.observed import Metadata
from ganger.api.types import TrainingJob
from ganger.app.caches import Key
from ganger.runtime.wire import version_of


class Duplicates:
    """Judges the conflicts of one leader's status writes.

    led_since: the version of the lease that this process took; what is older may be a word of the leader before it.
    found: called with the job, once for each such write that is noticed. Not every one is: only those that meet ours.
    """

    def __init__(self, led_since: Callable[[], int], found: Callable[[TrainingJob], None]) -> None:
        self._led_since = led_since
        self._found = found
        self._bases: dict[Key, TrainingJob] = {}
        self._unsure: dict[Key, str] = {}
        self._own: dict[Key, int] = {}

    def wrote(self, job: TrainingJob, written: Metadata) -> None:
        """Take the version of a status that this process wrote: a conflict on an older base explains itself."""
        self._own[job.key] = version_of(written.resource_version)

    def failed(self, job: TrainingJob) -> None:
        """Take that a write based on that job failed, perhaps with its answer alone: the next change may be our own."""
        self._unsure[job.key] = job.metadata.resource_version

    def met(self, job: TrainingJob) -> None:
        """Take that a write based on that job met a newer version."""
        text = job.metadata.resource_version
        newest = max(self._led_since() + 1, self._own.get(job.key, 0))
        if self._unsure.get(job.key) != text and version_of(text) >= newest:
            self._bases[job.key] = job

    def look(self, job: TrainingJob) -> None:
        """Judge the conflict before, if there was one, now that the newer version is here."""
        base = self._bases.get(job.key)
        if base is None or base.metadata.resource_version == job.metadata.resource_version:
            return
        del self._bases[job.key]
        # A pass gives a new job its profile before any status keeps it (docs/adr/0018-profiles.md): nobody wrote that.
        before, now = (replace(one.status, profile=None) for one in (base, job))
        if base.metadata.uid == job.metadata.uid and before != now:
            self._found(job)

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._bases.pop(key, None)
        self._unsure.pop(key, None)
        self._own.pop(key, None)
