"""The chart against its schema and, in combinations that hold every pair of values, against a real API server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from ganger_dev.chart import mistakes, space
from ganger_dev.chart.mistakes import Mistake
from ganger_dev.chart.programs import Programs
from ganger_dev.chart.space import CHART
from ganger_dev.chart.tally import Tally
from ganger_dev.pairwise import covering, pairs

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the definition is long
_SIDE_BY_SIDE = 3  # helm waits for nothing but the processor


def lint(programs: Programs, tally: Tally) -> None:
    """Expect that `helm lint --strict` finds nothing."""
    answer = programs.helm("lint", "--strict", str(CHART))
    tally.expect("lints without a complaint", str(CHART), answer.ok, answer.out + answer.error)


def refusals(programs: Programs, tally: Tally) -> None:
    """Expect that every misspelt key and every mistyped value is refused by its name."""
    root = space.schema()

    def refused(mistake: Mistake) -> tuple[Mistake, bool, str]:
        answer = programs.helm("template", "ganger", str(CHART), values=mistake.values)
        return mistake, not answer.ok and mistake.named in answer.error, answer.error or "it was rendered"

    for kind, found in (("misspelt keys", mistakes.misspelt(root)), ("mistyped values", mistakes.mistyped(root))):
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for mistake, held, said in pool.map(refused, found):
                tally.expect(f"{kind} refused by their names", json.dumps(mistake.values), held, said)


def combinations(programs: Programs, tally: Tally, *, definitions: bool) -> None:
    """Expect that the API server takes every object of every combination, in a dry run under strict validation.

    definitions: whether it serves those of the operators of Prometheus and Grafana, which helm asks it itself. Where it
    does not, what needs them must be refused with a sentence before anything is sent.
    """
    factors = space.factors(space.schema(), definitions=definitions)
    world = f"{'with' if definitions else 'without'} the definitions of other operators"
    taken: set[str] = set()
    for row in covering(factors):
        values = space.nested(row)
        answer = programs.helm("template", "ganger", str(CHART), programs.ask_server, values=values)
        tally.expect(f"combinations rendered {world}", json.dumps(values), answer.ok, answer.error)
        if answer.ok:
            _dry_run(programs, tally, _objects(answer.out), taken, world)
    tally.held[f"pairs of values in them {world}"] = len(pairs(factors))
    for path in () if definitions else space.NEED_DEFINITIONS:
        values = space.nested({path: True})
        answer = programs.helm("template", "ganger", str(CHART), programs.ask_server, values=values)
        said = f"{path}=true needs the"
        tally.expect("values refused for a missing definition", path, not answer.ok and said in answer.error, answer)


def _objects(text: str) -> list[dict[str, Any]]:
    return [found for found in yaml.load_all(text, Loader=_LOADER) if found]


def _dry_run(programs: Programs, tally: Tally, objects: Iterable[dict[str, Any]], taken: set[str], world: str) -> None:
    """Ask the server for each object that it has not taken yet."""
    fresh = {key: found for found in objects if (key := _digest(found)) not in taken}
    if not fresh:
        return
    answer = programs.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=chart", "--dry-run=server", "--validate=strict",
        "--filename=-", stdin="\n---\n".join(json.dumps(found) for found in fresh.values()),
    )  # fmt: skip
    held = answer.ok and len(answer.out.splitlines()) == len(fresh)
    names = ", ".join(f"{found['kind']} {found['metadata']['name']}" for found in fresh.values())
    kind = f"different objects taken by the API server {world}"
    tally.expect(kind, names, held, answer.error or answer.out, count=len(fresh))
    taken |= set(fresh)


def _digest(found: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def install_definitions(programs: Programs, files: Iterable[Path]) -> None:
    """Let the API server serve the definitions of the operators of Prometheus and Grafana. Raises RuntimeError."""
    for file in files:
        name = f"crd/{yaml.load(file.read_text(), Loader=_LOADER)['metadata']['name']}"  # noqa: S506 - the safe one
        for arguments in (("create", f"--filename={file}"), ("wait", "--for=condition=Established", name)):
            answer = programs.kubectl(*arguments)
            if not answer.ok:
                raise RuntimeError(answer.error)
