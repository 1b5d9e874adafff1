"""`python -m chaos.victim`: the operator as it is, but for a gate that kills its process with SIGKILL at one write.

GANGER_CHAOS_PLAN: `7:after`; absent or "" kills nobody. All else as `python -m ganger.app`.
"""

import os
import signal
import sys
from typing import Any

from chaos.campaign import plan_of
from chaos.operators import LastingGate
from ganger.app import __main__ as app
from ganger.kube.gate import Crash, Write


class KillingGate(LastingGate):
    """Where the plan says die, the process is gone: no handler runs, no buffer is flushed, no lease is given back."""

    async def call(self, write: Write, send: Any) -> Any:
        try:
            return await super().call(write, send)
        except Crash:
            os.kill(os.getpid(), signal.SIGKILL)
            raise


if __name__ == "__main__":
    plan = plan_of(os.environ.get("GANGER_CHAOS_PLAN", ""))
    app.WriteGate = lambda: KillingGate(plan=plan)  # type: ignore[assignment,misc]
    sys.exit(app.main())
