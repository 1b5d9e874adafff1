import inspect
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ganger import __version__
from ganger.observe.metrics import OperatorMetrics
from ganger.runtime import ports

# Each call of the runtime and of `kube.http`, and the samples that it must leave: the names are part of the product.
CALLS = {
    "queue_depth": ((3,), {"queue_depth": 3}),
    "queue_waited": ((0.2,), {"queue_wait_seconds_sum": 0.2, "queue_wait_seconds_count": 1}),
    "queue_retried": ((), {"queue_retries_total": 1}),
    "reconciled": (
        ("done", 0.5),
        {'reconciles_total{result="done"}': 1, "reconcile_seconds_sum": 0.5, "reconcile_seconds_count": 1},
    ),
    "listed": (
        ("pods", 2.0),
        {'lists_total{resource="pods"}': 1, 'list_seconds_sum{resource="pods"}': 2.0},
    ),
    "watch_event": (("pods", "added"), {'watch_events_total{resource="pods",type="added"}': 1}),
    "watch_ended": (
        ("pods", "stalled"),
        {'watch_ends_total{reason="stalled",resource="pods"}': 1, 'watch_stalls_total{resource="pods"}': 1},
    ),
    "regressed": (("pods",), {'resource_version_regressions_total{resource="pods"}': 1}),
    "cached": (
        ("pods", 7, 2),
        {'cached_objects{resource="pods"}': 7, 'undecodable_objects{resource="pods"}': 2},
    ),
    "stale": (("pods",), {'stale_caches_total{resource="pods"}': 1}),
    "leading": ((True,), {"leader": 1}),
    "lease_renewed": (
        ("ok", 0.1),
        {'lease_writes_total{result="ok"}': 1, "lease_write_seconds_sum": 0.1},
    ),
    "writes_in_flight": ((4,), {"writes_in_flight": 4}),
    "write_waited": ((0.3,), {"write_wait_seconds_sum": 0.3}),
    "event": (("sent",), {'events_total{result="sent"}': 1}),
    "requested": (
        ("create", "pods", "ok", 0.4),
        {
            'api_requests_total{resource="pods",result="ok",verb="create"}': 1,
            'api_request_seconds_sum{verb="create"}': 0.4,
        },
    ),
}


def samples(metrics):
    """Every sample by its name without the prefix, with its labels in the order of the alphabet."""
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("ganger_operator_")
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


@pytest.mark.parametrize("method", CALLS)
def test_a_figure_shows_under_its_name(method):
    arguments, expected = CALLS[method]
    metrics = OperatorMetrics()
    getattr(metrics, method)(*arguments)

    assert expected.items() <= samples(metrics).items()


def test_every_figure_of_the_runtime_is_taken_and_tested():
    wanted = {name for name, _ in inspect.getmembers(ports.Metrics, inspect.isfunction) if not name.startswith("_")}

    assert wanted == set(CALLS) - {"requested"}


@pytest.mark.parametrize("method", sorted(set(CALLS) - {"requested"}))
def test_a_method_takes_what_the_runtime_hands_over(method):
    wanted = list(inspect.signature(getattr(ports.Metrics, method)).parameters)

    assert wanted == list(inspect.signature(getattr(OperatorMetrics, method)).parameters)


def test_a_watch_that_ended_well_is_no_stall():
    metrics = OperatorMetrics()
    metrics.watch_ended("pods", "closed")

    assert 'watch_stalls_total{resource="pods"}' not in samples(metrics)


def test_the_leader_steps_down():
    metrics = OperatorMetrics()
    metrics.leading(True)
    metrics.leading(False)

    assert 0 == samples(metrics)["leader"]


def test_the_build_names_the_version():
    assert 1 == samples(OperatorMetrics())[f'build_info{{version="{__version__}"}}']


def test_two_operators_of_one_process_do_not_share_their_figures():
    one, other = OperatorMetrics(), OperatorMetrics()
    one.queue_depth(5)

    assert 0 == samples(other)["queue_depth"]


def test_names_have_one_prefix_a_base_unit_and_a_sentence():
    metrics = OperatorMetrics()
    for method, (arguments, _) in CALLS.items():
        getattr(metrics, method)(*arguments)
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        assert family.name.startswith("ganger_operator_")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)$", family.name)
        assert family.documentation.endswith(".") or family.name.endswith("_created")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_no_label_grows_with_jobs_or_pods():
    metrics = OperatorMetrics()
    for method, (arguments, _) in CALLS.items():
        getattr(metrics, method)(*arguments)
    labels = {
        label
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        for label in sample.labels
    }

    assert {"le", "reason", "resource", "result", "type", "verb", "version"} == labels
