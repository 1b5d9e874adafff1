"""Every bad manifest is refused without a cluster, with the field, what is allowed and what to do."""

import pytest

from bad_manifests.corpus import CORPUS, mistakes
from ganger.api.field_error import FieldError
from ganger.api.manifest import ManifestError, load
from ganger.api.rules import RULES
from ganger.api.session_rules import SESSION_RULES


def refusals(text: str) -> list[FieldError]:
    """Everything that is said of the first document; a text that is no manifest is blamed as a whole."""
    try:
        document = load(text)[0]
    except ManifestError as error:
        line, _, message = str(error).rpartition(": ") if error.line is None else str(error).partition(": ")
        return [FieldError(line or message, message)]
    return mistakes(document.manifest)


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_every_mistake_of_a_bad_manifest_is_named_with_its_remedy(bad):
    errors = refusals(bad.text)

    assert set(bad.fields) == {error.path for error in errors}
    assert bad.says in "\n".join(map(str, errors))
    assert bad.says


@pytest.mark.parametrize("bad", [bad for bad in CORPUS if bad.readable], ids=lambda bad: bad.name)
def test_the_refused_field_is_found_in_the_file(bad):
    """`ganger validate` prints the line: a field that is there must not be blamed on the first line of the file."""
    document = load(bad.text)[0]
    lines = bad.text.splitlines()
    for field in bad.fields:
        line = lines[document.line(field) - 1]
        word = field.rpartition(".")[2].partition("[")[0]
        there = field in document.lines

        assert not there or word in line or line.lstrip().startswith("- ")


def test_the_corpus_is_large_and_mostly_refused_by_the_server_too():
    assert len(CORPUS) >= 120
    assert sum(bad.by_server for bad in CORPUS) >= 0.9 * len(CORPUS)


def test_every_rule_has_its_bad_manifest():
    """So that the server is asked about each of them as well; only what takes a large file is tested elsewhere."""
    broken = {error.message for bad in CORPUS for error in refusals(bad.text)}
    unbroken = {rule.message for rule in (*RULES, *SESSION_RULES)} - broken

    assert {
        "script must be at most 32768 characters together",
        "command must be at most 32768 characters together",
        "config must be at most 65536 bytes as JSON",
        "liveConfig must be at most 2048 bytes as JSON",
    } == unbroken
