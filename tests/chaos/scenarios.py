"""The lives of a job that every crash plan runs through: what the user does, and what the pods do.

A scenario ends when its user has seen what he waits for. Pods run long enough that no death of an operator, with the
expiry of its lease, lets them end unseen: then the end state does not depend on the crash.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.invariants import condition
from chaos.kubelet import Fate, Script
from chaos.world import PROFILE, World

LAST_FAILURE = ("status.restarts.last.",)
SCORE = ("status.nodeSuspicions.0.score.",)  # decays between the two evidences, which a death holds apart for longer
LONG = 15.0  # longer than an operator is away


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


def _forever(_: str, __: int) -> Fate:
    return Fate()


def _attempts(*fates: Fate, worker: int = 1) -> Script:
    """In the first attempts that worker meets these fates, one after the other; all else runs for ever."""

    def script(name: str, _: int) -> Fate:
        _, attempt, index = name.rsplit("-", 2)
        mine = index == str(worker) and int(attempt) < len(fates)
        return fates[int(attempt)] if mine else Fate()

    return script


def _well(_: str, __: int) -> Fate:
    return Fate(runs_seconds=LONG)


def _unplaced(_: str, __: int) -> Fate:
    return Fate(is_placed=False)


def _two_lives(name: str, earlier: int) -> Fate:
    """Worker 1 of attempt 0 fails; what begins after the suspension ends well."""
    if name == "digits-0-1":
        return FAILS
    return Fate(runs_seconds=LONG) if earlier else Fate()


def _no_room(name: str, _: int) -> Fate:
    """At first worker 3 finds no node."""
    return Fate(is_placed=name != "digits-0-3")


_FILE = {"format": "onnx", "path": "exports/onnx/model.onnx", "sha256": "a" * 64, "bytes": 9, "maxAbsDiff": 2e-6}
FILES_MADE = json.dumps({"outcome": "Done", "artifacts": [_FILE | {"step": 100}]})
FILES_DIFFER = json.dumps({"outcome": "UserError", "reason": "ExportDiffers", "message": "onnx: 0.3 instead of 1e-4"})
_TRIES = {
    ("digits-export-0", 0): Fate(runs_seconds=LONG, exit_code=137, message="killed"),
    ("digits-export-1", 0): Fate(runs_seconds=LONG, disrupted="EvictionByEvictionAPI"),
    ("digits-export-1", 1): Fate(),
    ("digits-export-2", 0): Fate(runs_seconds=LONG, message=FILES_MADE),
}


def _exports(name: str, earlier: int) -> Fate:
    return _TRIES.get((name, earlier), Fate(runs_seconds=LONG))


def _differs(name: str, _: int) -> Fate:
    if name.startswith("digits-export"):
        return Fate(runs_seconds=LONG, exit_code=65, message=FILES_DIFFER)
    return Fate(runs_seconds=LONG)


EVICTED = Fate(runs_seconds=LONG, disrupted="EvictionByEvictionAPI")
SILENT = Fate(runs_seconds=LONG, disrupted="DeletionByTaintManager", lost=True, is_collected=False)
LOST = Fate(runs_seconds=LONG, disrupted="DeletionByTaintManager", lost=True)
WRONG_INPUT = Fate(runs_seconds=LONG, exit_code=65, message="no such data")
FAILS = Fate(runs_seconds=LONG, exit_code=1, message="boom")
CRASHES = Fate(runs_seconds=LONG, exit_code=139)


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


OLD, NEW = ({"env": [{"name": "FROM_PROFILE", "value": value}]} for value in ("old", "new"))


def _is_running_with(world: World, value: str, attempt: int, workers: int) -> bool:
    """Whether the gang of that attempt runs, all of it with that value of the profile."""
    pods = [pod for pod in world.pods() if pod["metadata"]["labels"]["ganger.dev/attempt"] == str(attempt)]
    found = [
        one.get("value") for pod in pods for one in pod["spec"]["containers"][0]["env"] if one["name"] == "FROM_PROFILE"
    ]
    return world.is_running(attempt, workers=workers) and [value] * workers == found


async def profile_gone(world: World) -> None:
    """Changed and deleted while the gang runs: the attempt after a failure has the old values all the same."""
    await world.make_profile(**OLD)
    await world.submit(workers=3, profile=PROFILE)
    await world.until(lambda: world.is_running(0, workers=3))
    await world.edit_profile(**NEW)
    await world.delete_profile()
    await world.until(lambda: _is_running_with(world, "old", 1, 3))


async def profile_late(world: World) -> None:
    await world.submit(workers=3, profile=PROFILE)
    await world.until(lambda: condition(world.job, "PodsReady").get("reason") == "WaitingForProfile")
    await world.make_profile(**NEW)
    await world.until(lambda: _is_running_with(world, "new", 0, 3))


async def profile_changed_early(world: World) -> None:
    """Changed after the pods and before the status that keeps the values: the gang starts anew with the new ones."""
    await world.make_profile(**OLD)
    await world.submit(workers=1, profile=PROFILE)
    await world.until(lambda: bool(world.pods()))
    await world.edit_profile(**NEW)
    await world.until(lambda: _is_running_with(world, "new", 1, 1))


async def profile_renewed(world: World) -> None:
    """A resume reads it anew."""
    await world.make_profile(**OLD)
    await world.submit(workers=2, profile=PROFILE)
    await world.until(lambda: world.is_running(0, workers=2))
    await world.edit_profile(**NEW)
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: _is_running_with(world, "new", world.status.get("attempt", 0), 2))


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("one-worker", one_worker, _forever),
        Scenario("gang-of-four", gang, _forever),
        Scenario("success", success, _well),
        Scenario("counted-failure", counted_failure, _attempts(FAILS)),
        Scenario("ignored-failure", ignored_failure, _attempts(FAILS)),
        Scenario("exhausted-restarts", exhausted, _attempts(FAILS, FAILS, FAILS)),
        Scenario("fatal-rule", fatal_rule, _attempts(FAILS)),
        Scenario("suspend-resume", suspend_resume, _forever),
        Scenario("spec-edit", spec_edit, _forever),
        Scenario("elastic-4-2-4", elastic, _forever),
        Scenario("delete-while-starting", delete_while_starting, _unplaced),
        Scenario("delete-while-running", delete_while_running, _forever),
        Scenario("deadline", deadline, _forever),
        Scenario("start-deadline", start_deadline, _unplaced),
        Scenario("time-to-live", time_to_live, _well),
        Scenario("lost-node", lost_node, _attempts(LOST)),
        Scenario("in-place", in_place, _forever, fails_in_place_after=LONG),
        Scenario("silent-node", silent_node, _attempts(SILENT)),
        Scenario("eviction", eviction, _attempts(EVICTED), LAST_FAILURE),
        Scenario("pod-deleted", pod_deleted, _forever, LAST_FAILURE),
        Scenario("troubled-node", troubled_node, _attempts(CRASHES), SCORE, deadlocked="node-1"),
        Scenario("known-gang", known_gang, _attempts(FAILS)),
        Scenario("isolated", isolated, _attempts(FAILS), isolates=True),
        Scenario("volume", volume, _well),
        Scenario("refilled", refilled, _two_lives),
        Scenario("no-room", no_room, _no_room),
        Scenario("elastic-failure", elastic_failure, _attempts(Fate(), FAILS)),
        Scenario("export", export, _exports),
        Scenario("export-differs", export_differs, _differs),
        Scenario("recreated", recreated, _forever),
        Scenario("user-error", user_error, _attempts(WRONG_INPUT)),
        Scenario("twice-suspended", twice_suspended, _forever),
        Scenario("suspended-at-first", suspended_from_the_start, _forever),
        Scenario("profile-gone", profile_gone, _attempts(FAILS)),
        Scenario("profile-late", profile_late, _forever),
        Scenario("profile-changed", profile_changed_early, _attempts(Fate(is_placed=False), worker=0)),
        Scenario("profile-renewed", profile_renewed, _forever),
    )
}
