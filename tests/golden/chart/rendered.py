"""The chart as helm renders it."""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the definition is long
CHART = Path(__file__).parents[3] / "charts" / "ganger"
# What the Prometheus operator serves; a cluster has it unless a test says otherwise.
MONITORING = tuple(f"monitoring.coreos.com/v1/{kind}" for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor"))
GRAFANA = ("grafana.integreatly.org/v1beta1/GrafanaDashboard",)  # and what the Grafana operator serves


class Refused(Exception):  # noqa: N818 - it is what the tests want
    """What helm said instead of rendering."""


@dataclass(frozen=True)
class Chart:
    """The chart and the helm that renders it."""

    helm: Path

    def run(self, *arguments: str, values: object = None) -> str:
        """Run helm and return what it says. Raises Refused."""
        if values is not None:
            arguments = (*arguments, "--values", "-")
        return _run(str(self.helm), arguments, json.dumps(values))

    def text(
        self, values: object = None, *, release: str = "ganger", served: tuple[str, ...] = (*MONITORING, *GRAFANA)
    ) -> str:
        """What is installed with these values, as one text, in a cluster that serves these further versions."""
        versions = [word for version in served for word in ("--api-versions", version)]
        return self.run("template", release, str(CHART), "--namespace", "ganger-system", *versions, values=values or {})

    def notes(self, values: object = None) -> str:
        """What helm tells whoever installs it."""
        said = self.run("install", "ganger", str(CHART), "-n", "ganger-system", "--dry-run=client", values=values or {})
        return said.partition("NOTES:")[2]

    def objects(self, values: object = None, **options: str) -> list[dict]:
        """What is installed with these values."""
        return [found for found in yaml.load_all(self.text(values, **options), Loader=LOADER) if found]

    def one(self, kind: str, values: object = None, name: str = "") -> dict:
        """The only object of that kind, or of that kind and name."""
        (found,) = [
            found for found in self.objects(values) if found["kind"] == kind and name in ("", found["metadata"]["name"])
        ]
        return found

    @property
    def values(self) -> dict:
        """The chart's own values."""
        return yaml.safe_load((CHART / "values.yaml").read_text())

    @property
    def schema(self) -> dict:
        """The schema of the values."""
        return json.loads((CHART / "values.schema.json").read_text())


@cache
def _run(helm: str, arguments: tuple[str, ...], text: str) -> str:
    done = subprocess.run([helm, *arguments], input=text, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout
