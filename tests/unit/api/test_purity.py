"""The check of a manifest loads nothing that talks, waits or trains."""

import subprocess
import sys

HEAVY = (
    "kubernetes",
    "aiohttp",
    "asyncio",
    "torch",
    "socket",
    "ssl",
    "prometheus_client",
    "ganger.kube",
    "ganger.runtime",
)


def test_validating_needs_no_client_no_loop_and_no_torch():
    """`ganger validate` starts in a blink; imports in a process of its own, since pytest loads much of it."""
    modules = "ganger.api.validate, ganger.api.manifest, ganger.plan.decide"
    program = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
