"""Write docs/benchmarks.md from build/bench.json: `python -m bench.page`. No number of the page comes from elsewhere.

A bench may return `tables`, each {"title": ..., "columns": [...], "rows": [[...], ...], "note": ...}, which follow the
figures; a row has as many cells as there are columns, None where nothing was measured.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import keys

ROOT = Path(__file__).parents[1]
SOURCE, TARGET = ROOT / "build" / "bench.json", ROOT / "docs" / "benchmarks.md"
NOTHING = "–"
HEAD = """\
# Benchmarks

Written by `make bench` from `build/bench.json`; nothing here is typed by hand. Each row says the command that repeats
it. Ratios are medians of rounds that were taken in one run on one machine, alternating; how, and who is measured, is in
[ADR 0033](adr/0033-side-by-side.md), what each bench measures in [bench/README.md](../bench/README.md). A figure that
could not be measured says why.
"""


def render(found: Mapping[str, Any]) -> str:
    """Return the page for the content of build/bench.json, which may be empty."""
    details: Mapping[str, Mapping[str, Any]] = found.get("details", {})
    told = keys.assemble(details)
    parts = [HEAD, _ran(details)]
    for group, known in keys.KEYS.items():
        rows = [_row(group, name, key, told) for name, key in known.items()]
        parts.append(f"## {group}\n\n" + table(("figure", "what it is", "goal", "measured", "holds", "command"), rows))
    for bench, result in details.items():
        for one in result.get("tables", ()):
            note = f"\n{one['note']}\n" if one.get("note") else ""
            lines = table(one["columns"], one["rows"])
            parts.append(f"## {one['title']}\n\n`{result.get('command', bench)}`\n\n{lines}{note}")
    return "\n".join(parts)


def table(columns: list[str] | tuple[str, ...], rows: list[list[Any]]) -> str:
    """Return a Markdown table; what is None was not measured."""
    lines = [_line(columns), _line(["---"] * len(columns))]
    return "\n".join([*lines, *(_line([show(cell) for cell in row]) for row in rows)]) + "\n"


def show(value: Any) -> str:
    """Return a cell: three significant digits of a fraction, all of a whole number."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and value != int(value):
        digits = f"{value:.3g}"
        return digits if "e" not in digits else f"{value:.0f}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{int(value):,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _row(group: str, name: str, key: keys.Key, told: Mapping[str, Any]) -> list[Any]:
    path, value = f"{group}.{name}", told[group][name]
    if value is None:
        return [f"`{path}`", key.says, key.goal, told["reasons"][path], None, None]
    holds = ("yes" if key.holds(value) else "**no**") if key.goal != "none" else None
    return [f"`{path}`", key.says, key.goal, value, holds, f"`{told['sources'][path].get('command', NOTHING)}`"]


def _ran(details: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for bench, result in details.items():
        machine = result.get("machine", {})
        where = [f"{machine['cpus']} x {machine['cpu']}"] if {"cpus", "cpu"} <= machine.keys() else []
        where += [str(each) for each in (machine.get("gpu"),) if each]
        versions = machine.get("versions", {}) | {"Python": machine.get("python")}
        said = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        rows.append([bench, result.get("date"), ", ".join(where) or None, machine.get("load1BeforeStart"), said or None,
                     str(result.get("commit", ""))[:10] or None])  # fmt: skip
    return "## What was run, where and when\n\n" + table(
        ("bench", "date", "machine", "load before", "versions", "commit"), rows
    )


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the page; 1 where nothing was measured yet."""
    if not SOURCE.exists():
        print(f"there is no {SOURCE.relative_to(ROOT)}; `make bench` makes it", file=sys.stderr)
        return 1
    TARGET.write_text(render(json.loads(SOURCE.read_text())))
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
