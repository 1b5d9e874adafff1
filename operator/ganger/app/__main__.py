"""`python -m ganger.app`: the operator. Exit codes: 0 asked to stop, 1 failed, 78 (EX_CONFIG) unusable settings."""

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

log = logging.getLogger("ganger.app")
EX_CONFIG = 78


def routes(process: Process, metrics: OperatorMetrics) -> dict[str, Route]:
    """Return what the operator serves: its metrics, whether it lives, and whether it could work."""
    return {
        "/metrics": exposition(metrics.exposition),
        "/healthz": probe(lambda: "" if process.is_alive else "a loop stands still"),
        "/readyz": probe(lambda: process.trouble),
    }


async def run(settings: Settings) -> None:
    """Operate until SIGTERM or SIGINT. Raises AccessError where no API server is configured, OSError for the port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics, gate = OperatorMetrics(), WriteGate()
    async with HttpCluster(await find(), gate=gate, observe=metrics.requested) as cluster:
        process = Process(settings, cluster, gate, metrics)
        server = Server(routes(process, metrics))
        await server.start("", settings.http_port)
        log.info("operator %s as %s at port %d", __version__, settings.identity, settings.http_port)
        try:
            await process.run(stop)
        finally:
            await server.stop()
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
    except OSError as error:
        log.critical("port %d cannot be served: %s", settings.http_port, error)
        return 1
    except Exception:
        # Logged as one record: the interpreter's own traceback is no JSON, and collectors cut it into lines.
        log.critical("the operator failed", exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
