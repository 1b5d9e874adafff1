"""Which node is looked at after a failure, and what its answer does (docs/adr/0009). Pure.

The read begins with the write of the restart and is under way while old pods stop. Only new pods wait for it, and no
longer than HOLD_SECONDS. What it finds is written down with the failure that it was asked for, and that it is there
says that it was counted. Until then the status says that the question is open, so that another operator asks it again.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from ganger.api.observed import Node
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.failure import action
from ganger.plan.hardware import added, some, troubles
from ganger.plan.lifecycle import RUNNING
from ganger.plan.remedy import DISRUPTIONS
from ganger.plan.suspicion import REPEATED, Evidence, remember

HOLD_SECONDS = 0.05  # guessed: a read takes 2 to 5 ms; one that takes longer shows a server that is busy enough
NODE_UNHEALTHY = "NodeUnhealthy"
# Done to the gang by its node. The others of these were done to it by people, or by pods of a higher priority.
_OF_NODE = frozenset({"NodeLost", "NodeShutdown", "Evicted", "Disrupted"})
_NOT_ASKED = (DISRUPTIONS - _OF_NODE) | {"Fenced"}
_MESSAGE_LENGTH_MAX = 1024


class Question(Struct, frozen=True, kw_only=True):
    """How is the node on which restart number `restart` of a job began?"""

    node: str
    restart: int


class Answer(Struct, frozen=True, kw_only=True):
    """The node as it was read for that question."""

    question: Question
    node: Node


def question(job: TrainingJob, status: TrainingJobStatus) -> Question | None:
    """Return what to ask while a job with this status restarts; None where no node is to blame, or it was asked before.

    Once the gang runs again nobody asks: the node may have changed since, and a new leader would ask for every job.
    """
    running, restarts = status.condition(RUNNING), status.restarts
    restarts_now = running is not None and (running.status, running.reason) == ("False", "Restarting")
    if status.finished or not restarts_now or restarts is None or restarts.last is None:
        return None
    last = restarts.last
    if not last.node or last.node_conditions or last.reason in _NOT_ASKED:
        return None
    if last.reason not in DISRUPTIONS and action(job.spec.failure_policy, last) == "Ignore":
        return None
    return Question(node=last.node, restart=restarts.total)


def noted(job: TrainingJob, answer: Answer | None, now: datetime) -> tuple[TrainingJobStatus, str] | None:
    """Return the status with what the node of the newest failure says, and a sentence; None where that is nothing new.

    It weighs as much as one failure that may be the node's own: together they exclude it. The gang may run already.
    """
    restarts = job.status.restarts
    if answer is None or restarts is None or restarts.last is None:
        return None
    last, found = restarts.last, troubles(answer.node)
    is_of_it = answer.question == Question(node=last.node, restart=restarts.total)
    if not is_of_it or last.node_conditions or not found:
        return None
    said = f"node {last.node} has {some(found)}"
    message = added(last.message, said, length_max=_MESSAGE_LENGTH_MAX)
    last = msgspec.structs.replace(last, node_conditions=found, message=message)
    status = msgspec.structs.replace(job.status, restarts=msgspec.structs.replace(restarts, last=last))
    status = remember(status, (Evidence(node=last.node, reason=NODE_UNHEALTHY, weight=REPEATED),), now)
    outcome = "is avoided" if last.node in status.excluded_nodes else "is suspected"
    return status, f"{said}, and {outcome}: a worker failed there with {last.reason}"
