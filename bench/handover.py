"""B7: two operators; the leader is ended, a job is submitted at once, and the clock runs until its first pod exists."""

import signal
import statistics
import tempfile
import time
from pathlib import Path

from bench import operators
from ganger.api.crd import definitions
from ganger_dev.control_plane import start_control_plane

REPEATS = 5
WARM_SECONDS = 3.0


def _job(name):
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"task": "m:t", "workers": 1, "image": "pytorch-cuda:v2.15"},
    }


def _leader(api):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{operators.NAMESPACE}/leases/ganger-operator"
    try:
        return api.request("GET", path)["spec"].get("holderIdentity") or ""
    except OSError:
        return ""


def _wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)


def _once(plane, folder, number, how):
    api, name = plane.api, f"{how.name.lower()}-{number}"
    first = operators.start(plane, folder, name=f"a-{name}")
    _wait(lambda: _leader(api).startswith(f"a-{name}"))
    second = operators.start(plane, folder, user="ganger-standby", name=f"b-{name}")
    time.sleep(WARM_SECONDS)
    first.process.send_signal(how)
    began = time.perf_counter()
    api.request("POST", "/apis/ganger.dev/v1alpha1/namespaces/default/trainingjobs", _job(name))

    def there():
        try:
            return api.request("GET", f"/api/v1/namespaces/default/pods/{name}-0-0")
        except OSError:
            return None

    _wait(there)
    seconds = time.perf_counter() - began
    first.end()
    second.end()
    _wait(lambda: not _leader(api))
    return seconds


def measure() -> dict:
    """Run it and return the figures, in seconds."""
    with tempfile.TemporaryDirectory(prefix="ganger-bench-") as name:
        folder = Path(name)
        plane = start_control_plane(folder)
        try:
            for definition in definitions():
                plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            plane.api.request(
                "POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": operators.NAMESPACE}}
            )
            times = {
                how.name: [round(_once(plane, folder, number, how), 3) for number in range(REPEATS)]
                for how in (signal.SIGTERM, signal.SIGKILL)
            }
        finally:
            plane.stop()
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "bench": "handover",
        "seconds": times,
        "keys": {
            "control_plane": {
                "handover_sigterm_seconds": medians["SIGTERM"],
                "handover_sigkill_seconds": medians["SIGKILL"],
            }
        },
    }
