"""A real Prometheus and promtool, for tests of rules, scrape configurations and dashboards."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev import debian
from ganger_dev.errors import DevError
from ganger_dev.processes import Service, free_ports

_PACKAGE = "prometheus"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where the two programs lie."""

    prometheus: Path
    promtool: Path


def programs() -> Programs:
    """Return where the programs lie once they are fetched, whether or not they are."""
    return Programs(prometheus=debian.program(_PACKAGE, "prometheus"), promtool=debian.program(_PACKAGE, "promtool"))


def ensure() -> Programs:
    """Return the programs, fetching them when they are missing. Raises DevError where apt-get cannot deliver them."""
    debian.ensure(_PACKAGE)
    return programs()


class RefusedError(DevError):
    """Prometheus answered that it will not do that, such as a query that it cannot parse."""


def get(url: str, path: str, **parameters: str) -> Any:
    """Return the data of an answer of the HTTP API of the Prometheus at `url`; path: such as `targets` or `rules`.

    Raises RefusedError with what Prometheus said where it refuses, and DevError where nobody answers.
    """
    address = f"{url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - what the developer named
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise RefusedError(f"Prometheus refused {path}", error.read().decode(errors="replace"), "Mend it.") from error
    except OSError as error:
        raise DevError(f"no Prometheus answers at {url}", str(error), "Start it, or name another address.") from error


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running Prometheus on a loopback port; `folder` holds its configuration, data and log."""

    service: Service
    port: int

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its HTTP API, as `get` does."""
        return get(self.url, path, **parameters)

    def query(self, expression: str, *, at: float | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the samples of an instant query by their sorted labels, now or `at` seconds since the epoch."""
        time = {} if at is None else {"time": repr(at)}
        found = self.get("query", query=expression, **time)
        if found["resultType"] == "scalar":
            return {(): float(found["result"][1])}
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found["result"]}

    def stop(self) -> None:
        """Stop it."""
        self.service.stop()


def start(folder: Path, configuration: str, *, port: int = 0, retention: str = "15d", tied: bool = True) -> Prometheus:
    """Start a Prometheus with that configuration text and return it once it answers queries.

    folder: for configuration, data and log; kept at the end. port: 0 for a free one. tied: it dies with this process.
    Raises DevError where the programs cannot be had or it does not start.
    """
    found = ensure()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(configuration)
    chosen = port or free_ports(1)[0]
    running = Prometheus(service=Service(name="prometheus", folder=folder), port=chosen)
    command = [str(found.prometheus), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{chosen}", f"--storage.tsdb.retention.time={retention}"]
    command += ["--log.level=warn"]
    running.service.start(command, tied=tied)
    try:
        running.service.wait_ready(running.ready)
    except DevError:
        running.stop()
        raise
    return running


@contextmanager
def running(folder: Path, configuration: str) -> Iterator[Prometheus]:
    """Run a Prometheus with that configuration text for the body. Raises what `start` raises."""
    started = start(folder, configuration)
    try:
        yield started
    finally:
        started.stop()
