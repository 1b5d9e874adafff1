"""What may become of a job of a soak: what its user and its kubelets do to it, and the end that it has to come to.

A script names what it wants and waits until it sees it; a request that fails is sent again, so that it gets through an
outage. Workers run on kwok nodes until the script ends them, or after SECONDS by themselves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from ganger.contract import ExitCode
from ganger_dev.kwok import ENV_SECONDS

GONE = "gone"
SECONDS = {"env": [{"name": ENV_SECONDS, "value": "2s"}]}
POLICY = {"maxRestarts": 1, "noProgressRestarts": 10, "backoff": {"baseSeconds": 0, "capSeconds": 1}}


class End(Struct, frozen=True):
    """How a job ended: phase or GONE, reason of the condition Failed, restarts that counted and all, resizes."""

    phase: str
    reason: str = ""
    counted: int = 0
    restarts: int = 0
    resizes: int = 0


class Fate(Struct, frozen=True):
    """A kind of life. workers: None for any number. script: gets the job in the hands of its user (`soakplay.Hand`)."""

    name: str
    end: End
    script: Callable[..., Awaitable[None]]
    spec: dict = {}
    workers: int | None = None


async def _left_alone(hand):
    """Nobody does anything."""


async def _worker_fails(hand, code):
    await hand.running()
    await hand.end_pods(code)


async def _recovers(hand):
    await _worker_fails(hand, ExitCode.RETRYABLE)
    await hand.running(attempt=1)
    await hand.end_pods(0)


async def _exhausts(hand):
    await _worker_fails(hand, ExitCode.RETRYABLE)
    await hand.running(attempt=1)
    await hand.end_pods(ExitCode.RETRYABLE)


async def _is_misconfigured(hand):
    await _worker_fails(hand, ExitCode.BAD_CONFIG)


async def _loses_a_pod(hand):
    await hand.running()
    await hand.delete_pod()
    await hand.running(attempt=1)
    await hand.end_pods(0)


async def _is_deleted(hand):
    await hand.running()
    await hand.delete()


async def _is_suspended(hand):
    await hand.running()
    await hand.change(suspend=True)
    await hand.until(lambda: hand.phase == "Suspended" and not hand.pods)
    await asyncio.sleep(0.5)
    await hand.change(suspend=False)
    await hand.running()
    await hand.end_pods(0)


async def _is_scaled(hand):
    await hand.running()
    await hand.change(workers=2)
    await hand.running(attempt=1)
    await hand.end_pods(0)


FATES = (
    Fate("completes", End("Complete"), _left_alone, SECONDS),
    Fate("fails", End("Failed", "ProcessExited"), _is_misconfigured),
    Fate("exhausted", End("Failed", "MaxRestartsReached", 1, 1), _exhausts),
    Fate("recovers", End("Complete", "", 1, 1), _recovers),
    Fate("evicted", End("Complete", "", 0, 1), _loses_a_pod),
    Fate("suspended", End("Complete"), _is_suspended),
    Fate("elastic", End("Complete", "", 0, 0, 1), _is_scaled, {"elastic": {"minWorkers": 2, "maxWorkers": 4}}, 4),
    Fate("deleted", End(GONE), _is_deleted),
    Fate("expires", End(GONE), _left_alone, SECONDS | {"ttlSecondsAfterFinished": 1}),
    Fate("overdue", End("Failed", "DeadlineExceeded"), _left_alone, {"activeDeadlineSeconds": 3}),
)


def manifest(name: str, fate: Fate, workers: int) -> dict:
    """Return the manifest of a job of that fate."""
    spec = {"task": "m:t", "image": "pytorch-cuda:v2.15", "failurePolicy": POLICY, "workers": fate.workers or workers}
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": spec | {"resources": {"requests": {"cpu": "100m"}}} | fate.spec,
    }


def ended(exit_code: int) -> dict:
    """Return the status of a pod whose container ended with that code, as a kubelet writes it."""
    state = {
        "exitCode": int(exit_code),
        "reason": "Error" if exit_code else "Completed",
        "finishedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    container = {"name": "trainer", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    container["state"] = {"terminated": state}
    return {"status": {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [container]}}
