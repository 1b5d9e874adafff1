"""`python -m ganger.app`: the operator.

Exit codes: 0 asked to stop, 1 failed or lost its lease to another, 78 (EX_CONFIG) unusable settings.
"""

import asyncio
import logging
import os
import signal
import sys

from ganger import __version__
from ganger.app.process import Process
from ganger.app.settings import Settings, SettingsError, read
from ganger.kube.access import AccessError, find
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.observe import logs
from ganger.observe.metrics import OperatorMetrics
from ganger.observe.server import Route, Server, exposition, probe
from ganger.runtime.lease import LeadershipLost

log = logging.getLogger("ganger.app")
EX_CONFIG = 78


def routes(process: Process, settings: Settings, metrics: Route) -> dict[str, Route]:
    """Return what the operator serves in the clear: whether it lives and could work, and metrics unless guarded."""
    open_to_all = {} if settings.metrics_auth else {"/metrics": metrics}
    return open_to_all | {
        "/healthz": probe(lambda: "" if process.is_alive else "a loop stands still"),
        "/readyz": probe(lambda: process.trouble),
    }


async def run(settings: Settings) -> None:
    """Operate until SIGTERM or SIGINT.

    Raises AccessError where no API server is configured, OSError for the port, LeadershipLost where another leads.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics, gate = OperatorMetrics(), WriteGate()
    async with HttpCluster(await find(), gate=gate, observe=metrics.requested) as cluster:
        process = Process(settings, cluster, gate, metrics)
        page = exposition(metrics.exposition, process.observing.series.exposition)
        server = Server(routes(process, settings, page))
        await server.start("", settings.http_port)
        if settings.serves_tls:
            await process.channel.start(page)
        log.info("operator %s as %s at port %d", __version__, settings.identity, settings.http_port)
        try:
            await process.run(stop)
        finally:
            await server.stop()
            await process.channel.stop()
    log.info("stopped")


def main() -> int:
    """Run the operator of this environment and return its exit code; mistakes are told in lines, never a traceback."""
    try:
        settings = read(os.environ)
    except SettingsError as error:
        print(f"the operator cannot start; mend its environment:\n{error}", file=sys.stderr)
        return EX_CONFIG
    logs.configure(settings.log_level)
    try:
        asyncio.run(run(settings))
    except AccessError as error:
        log.critical("no way to the API server: %s", error)
        return EX_CONFIG
    except LeadershipLost as error:
        log.warning("ending, to begin anew as a standby: %s", error)
        return 1
    except OSError as error:
        log.critical("a port cannot be served: %s", error)
        return 1
    except Exception:
        # Logged as one record: the interpreter's own traceback is no JSON, and collectors cut it into lines.
        log.critical("the operator failed", exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
