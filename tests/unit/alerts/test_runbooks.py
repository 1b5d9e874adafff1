"""Every alert has a page that says what to do, in commands and queries that work."""

import re
import shlex
import shutil

import click
import promql_parser
import pytest
import yaml

from ganger.cli.main import cli
from unit.alerts.alerts import ROOT, RUNBOOKS, names, rules
from unit.alerts.test_metrics import known, selectors

SECTIONS = ["Meaning", "Impact", "How to look", "Causes", "Remedies"]
# Shown by the kubelet and by Prometheus itself.
OF_OTHERS = {"up": {"namespace"}, "kubelet_volume_stats_available_bytes": {"namespace"}}


def page(name):
    return (RUNBOOKS / f"{name}.md").read_text()


def blocks(text, kind):
    """Lines of the code blocks of one kind, without comments."""
    lines = "\n".join(re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def commands(text):
    """Every command of a page, in blocks and in sentences."""
    inline = re.findall(
        r"`((?:ganger|kubectl|helm) [^`]+)`", re.sub(r"\s+", " ", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    )
    found = [part.strip() for line in (*blocks(text, ""), *inline) for part in re.split(r" && | \| ", line)]
    return [line for line in found if line.startswith(("ganger ", "kubectl ", "helm "))]


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert names() == sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")


@pytest.mark.parametrize("name", names())
def test_a_page_has_its_sections_and_says_how_bad_it_is(name):
    rule = rules()[name]

    assert page(name).startswith(
        f"# {name}\n\n{rule['annotations']['summary']} Severity: {rule['labels']['severity']}.\n"
    )
    assert SECTIONS == re.findall(r"^## (.+)$", page(name), re.MULTILINE)
    for body in re.split(r"^## .+$", page(name), flags=re.MULTILINE)[1:]:
        assert body.strip()


def test_the_index_lists_every_alert():
    rows = [
        f"| [{name}]({name}.md) | {rule['labels']['severity']} | {rule['annotations']['summary']} |"
        for name, rule in rules().items()
    ]

    assert rows == re.findall(r"^\| \[.*$", page("README"), re.MULTILINE)


@pytest.mark.parametrize("name", names())
def test_the_queries_of_a_page_ask_for_series_that_there_are(name):
    queries = blocks(page(name), "promql")

    assert queries
    there = known() | OF_OTHERS
    for query in queries:
        promql_parser.parse(query)
        for series, labels in selectors(query):
            assert series in there, f"{query}: nobody shows {series}"
            assert labels <= there[series], f"{query}: {series} has no label {labels - there[series]}"


@pytest.mark.parametrize("name", names())
def test_the_commands_of_a_page_are_complete(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "jobs" / "examples" / "digits" / "job.yaml", "job.yaml")
    found = commands(page(name))

    assert found
    for line in found:
        # What stands for a name of the reader's is a name of Kubernetes in small letters, or the number of an attempt.
        program, *words = shlex.split(re.sub(r"\b(NAMESPACE|JOB)\b", lambda word: word[0].lower(), line))
        words = ["1" if word == "N" else word for word in words]
        if program == "ganger":
            # Raises where a command, an option or an argument is not there.
            command = cli.get_command(click.Context(cli), words[0])
            assert command is not None, line
            if words[1:]:  # else a sentence only speaks of it
                # Below its parent, whose settings a command keeps from the first time that it is asked for help.
                command.make_context(words[0], words[1:], parent=click.Context(cli, **cli.context_settings))


@pytest.mark.parametrize("name", [*names(), "README"])
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)]+)\)", page(name)):
        assert (RUNBOOKS / link).exists(), link


@pytest.mark.parametrize("name", names())
def test_values_of_the_chart_that_a_page_names_are_there(name):
    values = yaml.safe_load((ROOT / "charts" / "ganger" / "values.yaml").read_text())
    for path in re.findall(r"`((?:prometheusRule|metrics|control|crds|rbac|operator)\.[\w.]+)", page(name)):
        inner = values
        for part in path.split("."):
            if path.startswith("prometheusRule.overrides.") and part in (*names(), "for", "severity"):
                continue
            assert part in inner, path
            inner = inner[part]
