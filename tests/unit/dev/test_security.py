"""`make security`: what it looks at, and that it takes nothing for passed that was not run."""

import ast
from pathlib import Path

import pytest

from ganger_dev import security
from ganger_dev.security_checks import CHECKS, Check

ROOT = Path(__file__).parents[3]
NODE = "tests/unit/x/test_y.py::test_it"
REPORT = '<testsuite><testcase classname="tests.unit.x.test_y" name="test_it[a]">{}</testcase>{}</testsuite>'
OTHER = '<testcase classname="tests.unit.x.test_y" name="test_it[b]"/>'


def test_nothing_that_is_shipped_makes_a_dangerous_call():
    assert list(security.ALLOWED) == security.dangerous_lines(ROOT)


@pytest.mark.parametrize("line", ["x = yaml.load(text)", "eval(text)", "  return torch.load(f)", "run(a, shell=True)"])
def test_a_dangerous_call_would_be_found(line):
    assert [line.strip()] == security.dangerous(f"a = 1\n{line}\n")
    assert [] == security.dangerous("module.eval()\nsafe_load(text)\n# eval(text)\ndef exec(self):\n")


def test_every_locked_package_has_a_hash():
    locks = sorted((ROOT / "requirements").glob("*.lock"))

    assert len(locks) >= 5
    assert {lock.name: [] for lock in locks} == {lock.name: security.unhashed(lock.read_text()) for lock in locks}
    assert ["b"] == security.unhashed("a==1 \\\n    --hash=sha256:00\nb==2\n")


def test_all_checks_are_there_and_each_is_proved_or_says_why_not():
    assert [f"S{number}" for number in range(1, 37)] == list(CHECKS)
    for name, check in CHECKS.items():
        assert bool(check.tests) != bool(check.reason), name


def test_every_test_that_a_check_names_exists():
    for node in {node for check in CHECKS.values() for node in check.tests}:
        path, *classes, name = node.split("::")
        tree = ast.parse((ROOT / path).read_text())
        for part in classes:
            tree = next(found for found in tree.body if isinstance(found, ast.ClassDef) and found.name == part)
        functions = {found.name for found in tree.body if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, node


@pytest.mark.parametrize(
    ("expected", "inside"),
    [
        ("passed", ""),
        ("failed", '<failure message="x"/>'),
        ("failed", '<error message="x"/>'),
        ("not run", '<skipped message="no helm"/>'),
    ],
)
def test_a_check_passes_only_if_every_case_of_every_test_ran_and_passed(expected, inside):
    found = security.outcomes(REPORT.format(inside, OTHER))

    assert expected == security.verdict(Check(promise="p", tests=(NODE,)), found)[0]


def test_a_test_that_is_gone_is_a_failure():
    assert ("failed", f"no such test: {NODE}") == security.verdict(Check(promise="p", tests=(NODE,)), {})


def test_the_last_line_counts_what_applies():
    checks = {"S1": Check(promise="p", tests=(NODE,)), "S2": Check(promise="q", reason="r")}
    *_, last = security.lines(security.outcomes(REPORT.format("", OTHER)), checks)

    assert "1 / 1 passed, 1 not applicable" == last
