"""The alerts of the chart and what belongs to each: the rule, its unit tests, its page."""

from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "charts" / "ganger" / "alerts" / "ganger.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
TESTS = ROOT / "tests" / "alerts"


@cache
def rules():
    """Each rule by its name, as the rule file has it."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def names():
    return sorted(rules())


@cache
def unit_tests(alert):
    """The tests of an alert in promtool's form."""
    return yaml.safe_load((TESTS / f"{alert}.yaml").read_text())["tests"]


def expectations(test):
    """What a test expects at each time: the alerts, an empty list for silence."""
    return [check["exp_alerts"] for check in test["alert_rule_test"]]
