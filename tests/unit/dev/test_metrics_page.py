import re

from ganger.observe import catalog
from ganger_dev import metrics_page
from ganger_trainer import metrics as trainer

EVERYTHING = (*catalog.JOBS, *trainer.FAMILIES, *catalog.OPERATOR, *catalog.PROCESS)


def rows():
    """Name, type, label names of every metric that the page has a row for, in the page's order."""
    row = re.compile(r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.*?) \| \w* \| .+ \|$", re.MULTILINE)
    return [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in row.findall(metrics_page.markdown())
    ]


def test_the_page_has_a_row_for_every_metric_and_no_other():
    assert [(family.name, family.type, family.labels) for family in EVERYTHING] == rows()


def test_every_name_on_the_page_is_one_of_a_metric():
    known = {family.name for family in EVERYTHING}
    named = set(
        re.findall(r"\b(?:ganger_(?:job|worker|operator|train)|process)_[a-z_]*[a-z]\b", metrics_page.markdown())
    )

    assert set() == named - known


def test_values_are_listed_of_labels_that_there_are():
    labels = {family.name: family.labels for family in EVERYTHING}
    for line in metrics_page.markdown().partition("## Values of labels")[2].splitlines()[4:]:
        names, label, values = (re.findall(r"`(\w+)`", cell) for cell in line.strip("|").split("|"))
        assert names
        assert values
        assert [label] * len(names) == [[known] for name in names for known in labels[name] if known in label]
