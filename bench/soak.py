"""Many jobs of every fate through a control plane and an operator that are killed in the middle, and what is left.

Jobs come in waves of equal load: as many of each fate in each wave (`soakfates`), in an order from the seed, on kwok
nodes. The operator is killed in the second and the third wave; the API server and etcd in turn, in every third wave; at
moments from the seed, while the jobs of the wave live. At the end of each wave its jobs are compared with the end that
each has to come to, and deleted. Left then must be nothing that was not there before the first job, in the namespaces
of the jobs and of the operator, of whatever type the API server serves. Memory is that of the last operator, which
lives from the third wave on: read when all jobs of a wave have ended, the first wave not counted, the median of the
last third of its waves over that of the first third.
GANGER_SOAK_JOBS sets the number of jobs, GANGER_SOAK_SEED the seed.
"""

import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from bench.soakfates import FATES
from bench.soakplay import Hand, View
from bench.soakworld import World
from ganger.kube.access import from_kubeconfig
from ganger.kube.http import HttpCluster

JOBS = int(os.environ.get("GANGER_SOAK_JOBS", "1000"))
SEED = int(os.environ.get("GANGER_SOAK_SEED", "1"))
WAVE_SECONDS = 300.0  # a job that has not ended by then is at no end
OPERATOR_WAVES = (1, 2)
SERVERS = ("kube-apiserver", "etcd")
SERVER_EVERY = 3  # waves
WAVES_MIN = 6  # every program is killed once, and three waves count for the memory
GOAL = "wrong ends 0, leaked objects 0, growth of memory < 5 %"


def kills_of(wave: int, rng: random.Random) -> list[tuple[str, float, float]]:
    """Return what is killed in a wave: the program, after how many seconds, and for how long it is away."""
    names = ["operator"] if wave in OPERATOR_WAVES else []
    if wave % SERVER_EVERY == 0:
        names.append(SERVERS[wave // SERVER_EVERY % len(SERVERS)])
    return [(name, rng.uniform(0.5, 4.0), rng.uniform(0.5, 3.0)) for name in names]


def growth_percent(rss_mib: list[float]) -> float:
    """Return by how much the median of the last third is above that of the first."""
    third = max(1, len(rss_mib) // 3)
    first, last = statistics.median(rss_mib[:third]), statistics.median(rss_mib[-third:])
    return round(100 * (last / first - 1), 2)


async def _kill(world, kills):
    for name, after, away in kills:
        await asyncio.sleep(after)
        await asyncio.to_thread(world.kill, name, away)


async def _watch_over(world):
    while True:
        await asyncio.sleep(1.0)
        await asyncio.to_thread(world.look_after)


async def _wave(world, view, number, size, rng):
    """Lead the jobs of a wave to their ends; return the wrong ones, in words, and the operator's memory then."""
    hands = [
        Hand(view, f"job-{number}-{one}", FATES[one % len(FATES)], 1 + one // len(FATES) % 4) for one in range(size)
    ]
    rng.shuffle(hands)
    kills = asyncio.create_task(_kill(world, kills_of(number, rng)))
    lives = {asyncio.create_task(hand.live()): hand for hand in hands}
    _, late = await asyncio.wait(lives, timeout=WAVE_SECONDS)
    await kills
    for task in late:
        task.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    for task in lives.keys() - late:
        task.result()  # a script that is wrong itself
    wrong = [
        f"{hand.name} ({hand.fate.name}): {hand.came_to()}, not {hand.fate.end}"
        for task, hand in lives.items()
        if task in late or hand.came_to() != hand.fate.end
    ]
    rss = world.rss_mib()
    await asyncio.gather(*(hand.delete() for hand in hands))
    with contextlib.suppress(TimeoutError):  # what stays is counted at the end
        await asyncio.wait_for(view.until(lambda: not view.jobs and not view.pods), WAVE_SECONDS)
    return wrong, rss


async def _waves(world, num_waves, size):
    rng, wrong, rss = random.Random(SEED), [], []
    access = await from_kubeconfig(str(world.plane.kubeconfig_for("bench")))
    async with HttpCluster(access) as cluster, View(cluster) as view:
        for number in range(num_waves):
            began = time.monotonic()
            guard = asyncio.create_task(_watch_over(world))
            try:
                found, mib = await _wave(world, view, number, size, rng)
            finally:
                guard.cancel()
                await asyncio.gather(guard, return_exceptions=True)
            wrong += found
            rss.append(mib)
            print(f"  wave {number}: {time.monotonic() - began:.0f} s, {len(found)} wrong, {mib:.1f} MiB", flush=True)
            for text in found:
                print(f"    {text}", flush=True)
    return wrong, rss


def sizes(jobs: int) -> tuple[int, int]:
    """Return the jobs of a wave, as many of each fate, and the waves that have that many jobs or a few more."""
    size = 50 if jobs >= 500 else max(len(FATES), jobs // 10 // len(FATES) * len(FATES))
    return size, max(WAVES_MIN, -(-jobs // size))


def measure() -> dict:
    """Run it and return the figures; `failed` where a job came to a wrong end or something was left."""
    size, num_waves = sizes(JOBS)
    with tempfile.TemporaryDirectory(prefix="ganger-soak-") as name:
        world = World(Path(name))
        try:
            before = world.inventory()
            wrong, rss = asyncio.run(_waves(world, num_waves, size))
            leaked = world.leaked(before)
        finally:
            world.stop()
    counted = rss[max(OPERATOR_WAVES) + 1 :]
    growth = growth_percent(counted)
    return {
        "bench": "soak",
        "seed": SEED,
        "waves": num_waves,
        "kills": world.kills,
        "strayed": world.strayed,
        "wrong": wrong,
        "leaked": leaked,
        "rssMiB": [round(one, 1) for one in rss],
        "failed": bool(wrong or leaked or "operator" in world.strayed),
        "goal": GOAL,
        "keys": {
            "soak": {
                "jobs": num_waves * size,
                "wrong_ends": len(wrong),
                "leaked_objects": len(leaked),
                "rss_growth_percent": growth,
            }
        },
    }
