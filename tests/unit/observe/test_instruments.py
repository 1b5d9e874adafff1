"""The instruments against those of Prometheus' own client."""

import prometheus_client as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families

from ganger.observe.catalog import Family
from ganger.observe.instruments import Metric

BOUNDS = (0.001, 0.5, 1.0, 10.0)
VALUES = some.lists(some.one_of(some.sampled_from((0.0, *BOUNDS, 11.0)), some.floats(0, 20)), max_size=30)


def family(kind, *labels, buckets=()):
    return Family(name="a_total" if kind == "counter" else "a", type=kind, help="A.", labels=labels, buckets=buckets)


def read(page):
    """Samples by name and labels; what the client says of when a series began is its own."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(VALUES, some.sampled_from([(), ("one",)]))
def test_a_histogram_counts_as_the_client_does(values, labels):
    registry = theirs.CollectorRegistry()
    other = theirs.Histogram("a", "A.", ["label"] if labels else [], registry=registry, buckets=BOUNDS)
    metric = Metric(family("histogram", *(["label"] if labels else []), buckets=BOUNDS))
    for value in values:
        metric.distribution(*labels).observe(value)
        (other.labels(*labels) if labels else other).observe(value)

    assert read(theirs.generate_latest(registry).decode()) == read(metric.text())


@given(some.lists(some.tuples(some.text(min_size=1, max_size=5), some.floats(0, 1e6)), max_size=10))
def test_a_counter_adds_up_as_the_client_does(values):
    registry = theirs.CollectorRegistry()
    other = theirs.Counter("a_total", "A.", ["label"], registry=registry)
    metric = Metric(family("counter", "label"))
    for label, value in values:
        metric.number(label).inc(value)
        other.labels(label).inc(value)

    assert read(theirs.generate_latest(registry).decode()) == read(metric.text())


@pytest.mark.parametrize(
    ("kind", "buckets", "expected"),
    [
        ("gauge", (), "a 0.0"),
        ("counter", (), "a_total 0.0"),
        ("histogram", (1.0,), 'a_bucket{le="1.0"} 0\na_bucket{le="+Inf"} 0\na_count 0\na_sum 0.0'),
    ],
)
def test_a_metric_without_labels_shows_zero_from_the_start(kind, buckets, expected):
    assert expected == Metric(family(kind, buckets=buckets)).text().split("\n", 2)[2].rstrip()


@pytest.mark.parametrize(("kind", "buckets"), [("gauge", ()), ("counter", ()), ("histogram", (1.0,))])
def test_a_metric_with_labels_shows_nothing_before_it_is_used(kind, buckets):
    assert "" == Metric(family(kind, "label", buckets=buckets)).text()


def test_a_gauge_shows_what_it_was_set_to_last():
    metric = Metric(family("gauge", "label"))
    metric.number("x").set(3)
    metric.number("x").set(2)

    assert {("a", (("label", "x"),)): 2.0} == read(metric.text())


def test_labels_must_be_those_of_the_family():
    with pytest.raises(ValueError, match="shorter"):
        Metric(family("counter", "one", "two")).number("x")
