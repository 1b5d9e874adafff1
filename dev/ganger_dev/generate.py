"""Write every file that is made from code, or tell which one is stale.

`python -m ganger_dev.generate` writes; `--check` writes nothing and exits 1 when a checked-in file differs from its
source.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from ganger.api import crd, reference
from ganger_dev import dashboards, failures_page, metrics_page
from ganger_dev.paths import repository

_CRD_HEAD = "# Generated from operator/ganger/api by `make generate`; edit the types there.\n"


def _crd() -> str:
    return _CRD_HEAD + crd.as_yaml(crd.crd())


def _profile_crd() -> str:
    return _CRD_HEAD + crd.as_yaml(crd.profile_crd())


def _session_crd() -> str:
    return _CRD_HEAD + crd.as_yaml(crd.session_crd())


# Each checked-in file and what makes its text. The first three serve Helm and `kubectl apply --server-side -f` alike.
OUTPUTS: dict[str, Callable[[], str]] = {
    "charts/ganger/files/trainingjobs.yaml": _crd,
    "charts/ganger/files/trainingprofiles.yaml": _profile_crd,
    "charts/ganger/files/devsessions.yaml": _session_crd,
    "docs/reference/trainingjob.md": reference.markdown,
    "docs/reference/trainingprofile.md": reference.profile_markdown,
    "docs/reference/devsession.md": reference.session_markdown,
    "docs/reference/metrics.md": metrics_page.markdown,
    "docs/failures.md": failures_page.markdown,
    **dashboards.outputs(),
}


def stale(root: Path) -> dict[str, str]:
    """Return each generated file below `root` that is not up to date, with the first lines of the difference."""
    differences: dict[str, str] = {}
    for name, make in OUTPUTS.items():
        path = root / name
        present = path.read_text("utf-8") if path.exists() else ""
        wanted = make()
        if present != wanted:
            lines = difflib.unified_diff(present.splitlines(), wanted.splitlines(), name, "generated", lineterm="", n=1)
            differences[name] = "\n".join(list(lines)[:20])
    return differences


def write(root: Path) -> list[str]:
    """Bring every generated file below `root` up to date; return the names of those that changed."""
    changed = sorted(stale(root))
    for name in changed:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OUTPUTS[name](), "utf-8")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Generate or check. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="ganger_dev.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    if parser.parse_args(arguments).check:
        differences = stale(repository())
        for name, text in differences.items():
            print(f"{name} is stale: run `make generate` and commit it\n{text}", file=sys.stderr)
        return 1 if differences else 0
    for name in write(repository()):
        print(f"generate: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
