"""`make security`: run every security check and print one line for each.

A check passes when all of its tests ran and passed. One with a skipped test has not passed: it says why it was not run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path

from ganger_dev.paths import repository
from ganger_dev.security_checks import CHECKS, Check

# Calls that run what they read, or trust whom they ask, in code that is shipped.
_DANGEROUS = re.compile(
    r"\b(yaml\.(load|unsafe_load|full_load)|pickle\.loads?|torch\.load|os\.system|tempfile\.mktemp|eval|exec)\("
    r"|shell=True|verify=False|weights_only=False|CERT_NONE"
)
_SHIPPED = ("operator", "jobs/ganger_trainer", "jobs/ganger_session")
# A user's kubeconfig may say insecure-skip-tls-verify; kubectl obeys it too.
ALLOWED = (
    "operator/ganger/kube/access.py: context.verify_mode = ssl.CERT_NONE",
    "operator/ganger/kube/kubeconfig.py: found = yaml.load(file.read_bytes(), Loader=loader)",  # a safe one, either way
    "operator/ganger/kube/kubeconfig.py: context.verify_mode = ssl.CERT_NONE",
)


def dangerous(text: str) -> list[str]:
    """Return the lines that make such a call; a method of that name, as a model's `.eval()`, is none."""
    code = (line.split("#")[0] for line in text.splitlines())
    return [line.strip() for line in code if any(_is_call(line, found) for found in _DANGEROUS.finditer(line))]


def _is_call(line: str, found: re.Match[str]) -> bool:
    before = line[: found.start()].rstrip()
    return not (found.group().startswith(("eval", "exec")) and before.endswith((".", "def")))


def dangerous_lines(root: Path) -> list[str]:
    """Return every such line of what is shipped, with its file."""
    files = [path for folder in _SHIPPED for path in sorted((root / folder).rglob("*.py"))]
    assert files, f"no sources below {root}"
    return [f"{path.relative_to(root)}: {line}" for path in files for line in dangerous(path.read_text("utf-8"))]


def unhashed(lock: str) -> list[str]:
    """Return the packages of a lock without a hash."""
    entries = [entry for entry in re.split(r"\n(?=\S)", lock) if "==" in entry.split("\n")[0] and entry[0] != "#"]
    assert entries, "an empty lock"
    return [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry]


def _key(node: str) -> tuple[str, str]:
    """Return what pytest's report calls a node: its module and classes with dots, and its name without parameters."""
    path, *classes, name = node.split("::")
    return ".".join([path.removesuffix(".py").replace("/", "."), *classes]), name


def outcomes(report: str) -> dict[tuple[str, str], list[str]]:
    """Return of each test the outcomes of its parameters: "passed", or what was said instead."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):  # noqa: S314
        key = case.attrib["classname"], case.attrib["name"].split("[")[0]
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        said = f"{bad[0].tag}: {' '.join(bad[0].attrib.get('message', '').split())[:100]}" if bad else "passed"
        found.setdefault(key, []).append(said)
    return found


def verdict(check: Check, found: Mapping[tuple[str, str], list[str]]) -> tuple[str, str]:
    """Return "passed", "failed", "not run" or "not applicable", and what to say of it."""
    if check.reason:
        return "not applicable", check.reason
    results: list[str] = []
    for node in check.tests:
        each = found.get(_key(node))
        if each is None:
            return "failed", f"no such test: {node}"
        if bad := next((said for said in each if said != "passed"), ""):
            return ("not run" if bad.startswith("skipped") else "failed"), f"{node}: {bad}"
        results += each
    return "passed", f"{len(results)} test{'s' if len(results) > 1 else ''}"


def lines(found: Mapping[tuple[str, str], list[str]], checks: Mapping[str, Check] = CHECKS) -> Iterable[str]:
    """Yield a line for each check, and the sum of those that apply."""
    verdicts = {name: verdict(check, found) for name, check in checks.items()}
    for name, (word, said) in verdicts.items():
        yield f"{name:<4}{word:<15}{checks[name].promise} ({said})"
    applicable = [word for word, _ in verdicts.values() if word != "not applicable"]
    yield f"{applicable.count('passed')} / {len(applicable)} passed, {len(checks) - len(applicable)} not applicable"


def run() -> int:
    """Run the tests of all checks, print what they say, and return 0 when all that apply have passed."""
    nodes = sorted({node for check in CHECKS.values() for node in check.tests})
    with tempfile.TemporaryDirectory(prefix="ganger-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", f"--junit-xml={report}", *nodes]
        subprocess.run(command, cwd=repository(), check=False)
        found = outcomes(report.read_text("utf-8"))
    text = list(lines(found))
    print("\n".join(text))
    done, _, whole = text[-1].split()[:3]
    return 0 if done == whole else 1
