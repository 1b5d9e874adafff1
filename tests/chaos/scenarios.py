"""The lives of a job that every crash plan runs through: what the user does, and what the pods do.

A scenario ends when its user has seen what he waits for. Pods run long enough that no death of an operator, with the
expiry of its lease, lets them end unseen: then the end state does not depend on the crash.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos import profiled
from chaos.fates import (
    CRASHES,
    EVICTED,
    FAILS,
    LONG,
    LOST,
    SILENT,
    WRONG_INPUT,
    attempts,
    differs,
    exports,
    forever,
    no_place,
    two_lives,
    unplaced,
    well,
)
from chaos.kubelet import Fate, Script
from chaos.world import World

LAST_FAILURE = ("status.restarts.last.",)
SCORE = ("status.nodeSuspicions.0.score.",)  # decays between the two evidences, which a death holds apart for longer


@dataclass(frozen=True)
class Scenario:
    """One life. user: what he does, until he has seen the end. lossy: paths of the job that may differ, and why.

    Pods carry no finalizer (docs/adr/0014-crash-harness.md), so of a pod that went while nobody looked only its absence
    is known: that it was a disruption is still right, who did it is lost.
    """

    name: str
    user: Callable[[World], Awaitable[None]]
    script: Script
    lossy: tuple[str, ...] = ()
    fails_in_place_after: float | None = None  # seconds: workers report, and worker 1 tells a failure (memory only)
    isolates: bool = False  # jobs have a NetworkPolicy each (memory only)
    deadlocked: str = ""  # a node that says so of itself (memory only: on a real API server nodes are everybody's)


async def one_worker(world: World) -> None:
    await world.submit(workers=1)
    await world.until(lambda: world.is_running(workers=1))


async def gang(world: World) -> None:
    await world.submit(workers=4)
    await world.until(lambda: world.is_running(workers=4))


async def success(world: World) -> None:
    await world.submit(workers=4, cleanPodPolicy="All")
    await world.until(lambda: world.has("Complete") and not world.pods())


async def counted_failure(world: World) -> None:
    await world.submit(workers=4)
    await world.until(lambda: world.is_running(1))


async def ignored_failure(world: World) -> None:
    rule = {"name": "free", "onExitCodes": [1], "action": "Ignore"}
    await world.submit(workers=3, failurePolicy={"rules": [rule]})
    await world.until(lambda: world.is_running(1))


async def exhausted(world: World) -> None:
    await world.submit(failurePolicy={"maxRestarts": 2})
    await world.until(lambda: world.has("Failed", "MaxRestartsReached"))


async def fatal_rule(world: World) -> None:
    rule = {"name": "fatal", "onExitCodes": [1], "action": "FailJob"}
    await world.submit(workers=3, failurePolicy={"rules": [rule]})
    await world.until(lambda: world.has("Failed"))


async def suspend_resume(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: world.is_running())
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 3)


async def spec_edit(world: World) -> None:
    """A gang of two is edited under suspension to one of three."""
    await world.submit(workers=2)
    await world.until(lambda: world.is_running())
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(workers=3, suspend=False)
    await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 3)


BREATHES = {"minWorkers": 2, "maxWorkers": 4, "shrinkAfterSeconds": 10, "growAfterSeconds": 20}


async def elastic(world: World) -> None:
    """4 workers, scaled to 2, scaled back to 4."""
    await world.submit(workers=4, elastic={"minWorkers": 2, "maxWorkers": 4})
    await world.until(lambda: world.is_running(0, workers=4))
    await world.edit(workers=2)
    await world.until(lambda: world.is_running(1, workers=2))
    await world.edit(workers=4)
    await world.until(lambda: world.is_running(2, workers=4))


async def delete_while_starting(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: len(world.pods()) == 3)
    await world.delete_job()
    await world.until(lambda: not world.objects)


async def delete_while_running(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: world.is_running() and world.has_service)
    await world.delete_job()
    await world.until(lambda: not world.objects)


async def deadline(world: World) -> None:
    await world.submit(workers=3, activeDeadlineSeconds=20)
    await world.until(lambda: world.has("Failed", "DeadlineExceeded"))


async def start_deadline(world: World) -> None:
    await world.submit(startDeadlineSeconds=20)
    await world.until(lambda: world.has("Failed", "StartDeadlineExceeded"))


async def time_to_live(world: World) -> None:
    await world.submit(ttlSecondsAfterFinished=10)
    await world.until(lambda: world.has("Complete"))
    await world.until(lambda: not world.objects)


async def lost_node(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: world.is_running(1))


async def refilled(world: World) -> None:
    """Fails, is suspended in the second attempt, goes on, and completes."""
    await world.submit(workers=3)
    await world.until(lambda: world.is_running(1))
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: world.has("Complete"))


async def no_room(world: World) -> None:
    """An elastic gang of 4 finds room for 3, goes on with them, and grows once there is room."""
    await world.submit(workers=4, elastic=BREATHES)
    await world.until(lambda: world.is_running(1) and world.status["gangSize"] == 3)
    await world.until(lambda: world.is_running(2, workers=4))


async def elastic_failure(world: World) -> None:
    await world.submit(workers=4, elastic=BREATHES)
    await world.until(lambda: world.is_running(0, workers=4))
    await world.edit(workers=3)
    await world.until(lambda: world.is_running(2, workers=3))


async def export(world: World) -> None:
    """Trained, then a file: a try fails, the next is evicted and made again, then suspended; the last one is well."""
    checkpoint = {"everySteps": 100, "volume": {"claimName": "shared"}}
    await world.submit(checkpoint=checkpoint, export=[{"format": "onnx"}])
    await world.until(lambda: world.counts["ADDED Pod/digits-export-1"] == 2 and world.is_alive("digits-export-1"))
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: world.has("Complete"))
    assert ["onnx"] == [one["format"] for one in world.status["artifacts"]]
    assert (2, 1) == (world.status["export"]["number"], world.status["export"]["counted"])


async def export_differs(world: World) -> None:
    """The job fails with what the program says; nothing is made for it afterwards, and nothing runs on."""
    checkpoint = {"everySteps": 100, "volume": {"claimName": "shared"}}
    await world.submit(checkpoint=checkpoint, export=[{"format": "onnx"}], cleanPodPolicy="All")
    await world.until(lambda: world.has("Failed", "ExportDiffers") and not world.pods())


async def recreated(world: World) -> None:
    """Deleted, and created anew under the same name while the old pods still stop."""
    await world.submit(workers=3)
    await world.until(lambda: world.is_running() and world.has_service)
    old = world.job["metadata"]["uid"]
    await world.delete_job()
    await world.submit(workers=3)
    await world.until(lambda: world.is_running() and world.job["metadata"]["uid"] != old and len(world.pods()) == 3)


async def user_error(world: World) -> None:
    await world.submit(workers=4)
    await world.until(lambda: world.has("Failed"))


async def twice_suspended(world: World) -> None:
    await world.submit(workers=4)
    for _ in range(2):
        await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 4)
        await world.edit(suspend=True)
        await world.until(lambda: world.has("Suspended") and not world.pods())
        await world.edit(suspend=False)
    await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 4)


async def suspended_from_the_start(world: World) -> None:
    await world.submit(workers=4, suspend=True)
    await world.until(lambda: world.has("Suspended"))
    await world.edit(suspend=False)
    await world.until(lambda: world.is_running(workers=4))


async def in_place(world: World) -> None:
    """A failure that a worker tells is answered by a round in the same pods."""
    await world.submit(workers=3)
    await world.until(lambda: world.is_running() and world.status.get("round") == 1)


async def silent_node(world: World) -> None:
    """The pod of a lost node stays Terminating for ever; the gang goes on without it."""
    policy = {"nodeLostGracePeriodSeconds": 5}
    await world.submit(workers=3, terminationGracePeriodSeconds=10, failurePolicy=policy)
    await world.until(lambda: world.is_running(1))


async def eviction(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: world.is_running(1))


async def pod_deleted(world: World) -> None:
    await world.submit(workers=3)
    await world.until(lambda: world.is_running())
    await world.delete_pod("digits-0-1")
    await world.until(lambda: world.is_running(1))


async def troubled_node(world: World) -> None:
    """The node of the failure tells of a deadlock; with the crash that may be its own that excludes it."""
    await world.submit(workers=3)
    await world.until(lambda: world.is_running(1) and world.status.get("excludedNodes") == ["node-1"])
    await world.until(lambda: "nodeConditions" in world.status["restarts"]["last"])


async def known_gang(world: World) -> None:
    """The scheduler knows the gang: each attempt has a group of its own, and so has what begins after a suspension."""
    await world.submit(workers=3, schedulerName="default-scheduler")
    await world.until(lambda: world.is_running(1))
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 3)
    assert {"digits-1"} == {name for kind, name in world.objects if kind == "PodGroup"}
    assert {"digits-1"} == {pod["spec"]["schedulingGroup"]["podGroupName"] for pod in world.pods()}


async def isolated(world: World) -> None:
    """One policy for all attempts, made anew only where somebody took it away; it goes with its job."""
    await world.submit(workers=3)
    await world.until(lambda: world.is_running(1))
    await world.delete_policy()
    await world.until(lambda: world.has_policy)
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: world.status.get("phase") == "Running" and len(world.pods()) == 3)
    await world.delete_job()
    await world.until(lambda: not world.objects)


async def volume(world: World) -> None:
    checkpoint = {"everySteps": 100, "volume": {"size": "1Gi", "whenDeleted": "Delete"}}
    await world.submit(checkpoint=checkpoint)
    await world.until(lambda: world.has("Complete"))
    await world.delete_job()
    await world.until(lambda: not world.objects)


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("one-worker", one_worker, forever),
        Scenario("gang-of-four", gang, forever),
        Scenario("success", success, well),
        Scenario("counted-failure", counted_failure, attempts(FAILS)),
        Scenario("ignored-failure", ignored_failure, attempts(FAILS)),
        Scenario("exhausted-restarts", exhausted, attempts(FAILS, FAILS, FAILS)),
        Scenario("fatal-rule", fatal_rule, attempts(FAILS)),
        Scenario("suspend-resume", suspend_resume, forever),
        Scenario("spec-edit", spec_edit, forever),
        Scenario("elastic-4-2-4", elastic, forever),
        Scenario("delete-while-starting", delete_while_starting, unplaced),
        Scenario("delete-while-running", delete_while_running, forever),
        Scenario("deadline", deadline, forever),
        Scenario("start-deadline", start_deadline, unplaced),
        Scenario("time-to-live", time_to_live, well),
        Scenario("lost-node", lost_node, attempts(LOST)),
        Scenario("in-place", in_place, forever, fails_in_place_after=LONG),
        Scenario("silent-node", silent_node, attempts(SILENT)),
        Scenario("eviction", eviction, attempts(EVICTED), LAST_FAILURE),
        Scenario("pod-deleted", pod_deleted, forever, LAST_FAILURE),
        Scenario("troubled-node", troubled_node, attempts(CRASHES), SCORE, deadlocked="node-1"),
        Scenario("known-gang", known_gang, attempts(FAILS)),
        Scenario("isolated", isolated, attempts(FAILS), isolates=True),
        Scenario("volume", volume, well),
        Scenario("refilled", refilled, two_lives),
        Scenario("no-room", no_room, no_place),
        Scenario("elastic-failure", elastic_failure, attempts(Fate(), FAILS)),
        Scenario("export", export, exports),
        Scenario("export-differs", export_differs, differs),
        Scenario("recreated", recreated, forever),
        Scenario("user-error", user_error, attempts(WRONG_INPUT)),
        Scenario("twice-suspended", twice_suspended, forever),
        Scenario("suspended-at-first", suspended_from_the_start, forever),
        Scenario("profile-gone", profiled.gone, attempts(FAILS)),
        Scenario("profile-late", profiled.late, forever),
        Scenario("profile-changed", profiled.changed_early, attempts(Fate(is_placed=False), worker=0)),
        Scenario("profile-renewed", profiled.renewed, forever),
    )
}
