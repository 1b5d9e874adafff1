"""Sessions as the tests of `ganger dev` play them: the operator, the pod, and its Secret."""

import asyncio
import base64

from builders import T0

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " ann@laptop"
TOKEN = "canary-token-0123456789"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostHostHostHostHostHostHostHostHostHostHos"


async def until(holds, seconds=5):
    """Return once it holds; the fakes tell nobody."""
    for _ in range(int(seconds / 0.002)):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never held")


class Sessions:
    """Sessions of the fake cluster, and an operator that answers."""

    def __init__(self, ganger) -> None:
        self.ganger = ganger
        self.cluster = ganger.cluster

    def put(self, name="try", spec=None, **status):
        """Put a session. `ended` is the reason of an end."""
        ended = status.pop("ended", "")
        one = {"type": "Ended", "status": "True", "reason": ended, "message": "", "lastTransitionTime": T0.isoformat()}
        stored = self.cluster.objects.get(("devsessions", name), {})
        return self.cluster.put(
            "devsessions",
            {
                "metadata": stored.get("metadata", {}) | {"name": name, "namespace": "team", "uid": f"{name}-uid"},
                "spec": spec if spec is not None else stored.get("spec", {}),
                "status": {"conditions": [one] if ended else []} | status,
            },
        )

    def running(self, name="try", spec=None, start=0, **status):
        """Put a session that runs, its pod, its Secret and the log with its host key."""
        pod = f"{name}-dev-{start}"
        self.cluster.put("secrets", {"metadata": {"name": f"{name}-dev"}, "data": {"token": _base64(TOKEN)}})
        self.cluster.put("pods", {"metadata": {"name": pod}, "status": {"phase": "Running"}})
        stamp = "2026-01-01T12:00:00Z"
        self.ganger.logs.pods[pod] = [f"{stamp} host-key {HOST_KEY}\n{stamp} host-key ssh-ed25519 forged\n"]
        self.put(name, spec, phase="Running", start=start, pod=pod, secretName=f"{name}-dev", message="open", **status)

    def operates(self, *steps):
        """Once something is written, put one status after the other."""

        before = len(self.cluster.writes)

        async def scenario():
            await until(lambda: len(self.cluster.writes) > before)
            for step in steps:
                step()
                await asyncio.sleep(0.02)

        self.ganger.scenario = scenario

    def stored(self, name="try"):
        return self.cluster.objects["devsessions", name]


def _base64(text):
    return base64.b64encode(text.encode()).decode()
