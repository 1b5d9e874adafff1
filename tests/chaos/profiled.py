"""Lives of a job that has a profile."""

from chaos.invariants import condition
from chaos.world import PROFILE, World

OLD, NEW = ({"env": [{"name": "FROM_PROFILE", "value": value}]} for value in ("old", "new"))


def _is_running_with(world: World, value: str, attempt: int, workers: int) -> bool:
    """Whether the gang of that attempt runs, all of it with that value of the profile."""
    pods = [pod for pod in world.pods() if pod["metadata"]["labels"]["ganger.dev/attempt"] == str(attempt)]
    found = [
        one.get("value") for pod in pods for one in pod["spec"]["containers"][0]["env"] if one["name"] == "FROM_PROFILE"
    ]
    return world.is_running(attempt, workers=workers) and [value] * workers == found


async def gone(world: World) -> None:
    """Changed and deleted while the gang runs: the attempt after a failure has the old values all the same."""
    await world.make_profile(**OLD)
    await world.submit(workers=3, profile=PROFILE)
    await world.until(lambda: world.is_running(0, workers=3))
    await world.edit_profile(**NEW)
    await world.delete_profile()
    await world.until(lambda: _is_running_with(world, "old", 1, 3))


async def late(world: World) -> None:
    await world.submit(workers=3, profile=PROFILE)
    await world.until(lambda: condition(world.job, "PodsReady").get("reason") == "WaitingForProfile")
    await world.make_profile(**NEW)
    await world.until(lambda: _is_running_with(world, "new", 0, 3))


async def changed_early(world: World) -> None:
    """Changed after the pods and before the status that keeps the values: the gang starts anew with the new ones."""
    await world.make_profile(**OLD)
    await world.submit(workers=1, profile=PROFILE)
    await world.until(lambda: bool(world.pods()))
    await world.edit_profile(**NEW)
    await world.until(lambda: _is_running_with(world, "new", 1, 1))


async def renewed(world: World) -> None:
    """A resume reads it anew."""
    await world.make_profile(**OLD)
    await world.submit(workers=2, profile=PROFILE)
    await world.until(lambda: world.is_running(0, workers=2))
    await world.edit_profile(**NEW)
    await world.edit(suspend=True)
    await world.until(lambda: world.has("Suspended") and not world.pods())
    await world.edit(suspend=False)
    await world.until(lambda: _is_running_with(world, "new", world.status.get("attempt", 0), 2))
