"""The rules themselves: that they can be read, say enough, and each fires and stays silent when it should."""

import re
import subprocess

import promql_parser
import pytest
import yaml

from unit.alerts.alerts import RULES, TESTS, expectations, names, rules, unit_tests


@pytest.fixture
def tested(promtool, tmp_path):
    """Runs the tests of an alert with its rule alone: promtool evaluates every rule it is given at each minute."""

    def run(name, **labels):
        rule = rules()[name]
        group = {"name": "one", "rules": [rule | {"labels": rule["labels"] | labels}]}
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
        text = (TESTS / f"{name}.yaml").read_text()
        (tmp_path / "tests.yaml").write_text(text.replace("../../charts/ganger/alerts/ganger.yaml", "rules.yaml"))
        command = [promtool, "test", "rules", tmp_path / "tests.yaml"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


def test_there_is_an_alert_for_what_goes_wrong_with_jobs_and_operator():
    assert 15 <= len(names())
    assert all(re.fullmatch(r"Ganger[A-Z][A-Za-z]+", name) for name in names())


@pytest.mark.parametrize("name", names())
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(name):
    rule = rules()[name]

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert f"https://ganger.dev/docs/runbooks/{name}.md" == rule["annotations"]["runbook_url"]
    for sentence in ("summary", "description"):
        assert rule["annotations"][sentence].endswith(".")
    # The summary is the title of a notification, in which labels would repeat those that are shown beside it.
    assert "{{" not in rule["annotations"]["summary"]
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
    assert named <= {"namespace", "training_job", "rank", "resource", "result", "shard"}
    assert {"namespace"} <= named or name == "GangerOperatorDown"


@pytest.mark.parametrize("name", names())
def test_an_expression_is_promql(name):
    promql_parser.parse(rules()[name]["expr"])


@pytest.mark.parametrize("name", names())
def test_an_alert_lives_through_a_change_of_leader(name):
    """What a job's series are aggregated by never names the operator that told them."""
    expression = re.sub(r"#.*", "", rules()[name]["expr"])
    if name == "GangerWorkqueueBacklog":  # of one operator by its nature
        return
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert not {"instance", "endpoint", "service", "container"} & set(labels.split(", "))
    for match in re.finditer(r"ganger_job_\w+", expression):
        before = expression[: match.start()].rstrip("( \n")
        before = re.sub(r"min_over_time$", "", before).rstrip("( \n")
        assert before.endswith((")", "by (namespace, training_job", "ganger_job_loss !=")), match[0]


def test_promtool_accepts_the_rules(promtool):
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=60)

    assert (0, "") == (done.returncode, done.stderr)
    assert f"{len(names())} rules found" in done.stdout


def test_every_alert_has_a_file_of_tests_and_every_file_an_alert():
    assert names() == sorted(path.stem for path in TESTS.glob("*.yaml"))


@pytest.mark.parametrize("name", names())
def test_an_alert_is_tested_to_fire_and_to_stay_silent(name):
    tests = unit_tests(name)
    for test in tests:
        assert {name} == {check["alertname"] for check in test["alert_rule_test"]}
        # Silence with nothing to look at would prove nothing.
        assert test["input_series"]
        assert any(expectations(test)) == test["name"].startswith("fires"), test["name"]

    assert any(any(expectations(test)) for test in tests)
    assert any(not any(expectations(test)) for test in tests)


@pytest.mark.parametrize("name", names())
def test_promtool_sees_the_alert_fire_and_stay_silent(tested, name):
    done = tested(name)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_a_test_that_expects_the_wrong_thing_is_seen(tested):
    """Else the tests above could not fail."""
    done = tested("GangerUndecodableObjects", severity="info")

    assert 0 != done.returncode
    assert "GangerUndecodableObjects" in done.stderr
