"""What is expected of a run: its gangs, what their queues may hand out, and for how long a gang may be in part."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ganger_dev.gangs.facts import Amounts


class Gang(Struct, frozen=True, kw_only=True):
    """A gang of `size` workers whose quota is that of the cluster queue `queue`."""

    size: int
    queue: str
    urgent: bool = False


class Expected(Struct, frozen=True, kw_only=True):
    """What a run has to keep.

    quota: of each cluster queue by resource. partial_seconds: for how long some of a gang's workers may hold nodes
    while the others have none. preempts: quota has to be taken from a gang for a more urgent one, or nothing is shown.
    """

    gangs: Mapping[str, Gang]
    quota: Mapping[str, Amounts]
    partial_seconds: float
    preempts: bool = True


class Violation(Struct, frozen=True, kw_only=True):
    """A rule that was broken: by which gang, when (seconds of the run), and by how much."""

    rule: str
    gang: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.gang} at {self.at:.2f} s: {self.text}"
