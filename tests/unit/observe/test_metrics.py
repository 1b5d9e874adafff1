import inspect

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ganger import __version__
from ganger.observe import catalog
from ganger.observe.metrics import REASONS_MAX, OperatorMetrics
from ganger.runtime import ports
from unit.observe.told import told_of

# Each call, and the samples that it must leave: the names are part of the product.
CALLS = {
    "queue_depth": ((3,), {'queue_depth{shard="0"}': 3}),
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
    "leading": ((True,), {'leader{shard="0"}': 1}),
    "lease_renewed": (
        ("ok", 0.1),
        {'lease_writes_total{result="ok"}': 1, "lease_write_seconds_sum": 0.1},
    ),
    "duplicate_seen": ((), {"foreign_status_writes_total": 1}),
    "writes_in_flight": ((4,), {"writes_in_flight": 4}),
    "write_waited": ((0.3,), {"write_wait_seconds_sum": 0.3}),
    "event": (("sent",), {'events_total{result="sent"}': 1}),
    "reported": (
        ("accepted", 0.002),
        {'reports_total{result="accepted"}': 1, "report_seconds_sum": 0.002, "report_seconds_count": 1},
    ),
    "token_reviewed": (("refused",), {'token_reviews_total{result="refused"}': 1}),
    "job_finished": (
        ("team", "Failed", "Oom"),
        {'jobs_finished_total{namespace="team",reason="Oom",result="Failed"}': 1},
    ),
    "job_restarted": (
        ("team", "Oom", True),
        {'restarts_total{counted="true",namespace="team",reason="Oom"}': 1},
    ),
    "job_resized": (("team", "down"), {'resizes_total{direction="down",namespace="team"}': 1}),
    "job_seconds": (
        ("team", "productive", 12.5),
        {'job_seconds_total{cause="productive",namespace="team"}': 12.5},
    ),
    "job_waited": ((40.0,), {"job_wait_seconds_sum": 40.0, "job_wait_seconds_count": 1}),
    "sessions": (("team", "Running", 2), {'sessions{namespace="team",phase="Running"}': 2}),
    "loop_lagged": ((0.01,), {"loop_lag_seconds_sum": 0.01, "loop_lag_seconds_count": 1}),
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


OF_THE_RUNTIME = {name for name, _ in inspect.getmembers(ports.Metrics, inspect.isfunction) if not name.startswith("_")}


def test_every_method_is_tested_and_the_runtime_has_all_it_calls():
    methods = {name for name, _ in inspect.getmembers(OperatorMetrics, inspect.isfunction) if not name.startswith("_")}

    assert methods - {"exposition", "of_shard"} == set(CALLS)
    assert OF_THE_RUNTIME <= set(CALLS)


@pytest.mark.parametrize("method", sorted(OF_THE_RUNTIME))
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

    assert 0 == samples(metrics)['leader{shard="0"}']


def test_the_build_names_the_version():
    assert 1 == samples(OperatorMetrics())[f'build_info{{version="{__version__}"}}']


def test_two_operators_of_one_process_do_not_share_their_figures():
    one, other = OperatorMetrics(), OperatorMetrics()
    one.queue_depth(5)

    assert 0 == samples(other)['queue_depth{shard="0"}']


def test_shards_of_one_process_have_figures_of_their_own():
    metrics = OperatorMetrics()
    third = metrics.of_shard(3)
    third.leading(True)
    third.queue_depth(2)
    third.reconciled("done", 0.5)
    metrics.of_shard(3)  # another view of it resets nothing
    found = samples(metrics)

    assert (0, 1) == (found['leader{shard="0"}'], found['leader{shard="3"}'])
    assert (0, 2) == (found['queue_depth{shard="0"}'], found['queue_depth{shard="3"}'])
    assert 1 == found['reconciles_total{result="done"}']


def exercised():
    metrics = OperatorMetrics()
    for method, (arguments, _) in CALLS.items():
        getattr(metrics, method)(*arguments)
    return metrics


def test_what_is_shown_is_the_catalog_and_nothing_else():
    wanted = {family.name: (family.type, set(family.labels), family.help) for family in catalog.OPERATOR}
    page = exercised().exposition().decode()
    shown = {name: told for name, told in told_of(page).items() if name.startswith("ganger_")}

    assert wanted == shown


def test_the_process_is_shown_as_the_catalog_says():
    wanted = {family.name: (family.type, set(family.labels)) for family in catalog.PROCESS}
    page = exercised().exposition().decode()
    shown = {name: told[:2] for name, told in told_of(page).items() if not name.startswith("ganger_")}

    assert wanted == shown


def test_no_label_grows_with_jobs_or_pods():
    labels = {label for family in catalog.OPERATOR for label in family.labels}
    bounded = {
        "cause",
        "counted",
        "direction",
        "namespace",
        "phase",
        "reason",
        "resource",
        "result",
        "shard",
        "type",
        "verb",
        "version",
    }

    assert bounded == labels


def test_reasons_that_never_end_are_summed_up():
    metrics = OperatorMetrics()
    for number in range(1000):
        metrics.job_restarted("team", f"Reason{number}", True)
        metrics.job_finished("team", "Failed", f"Reason{number}")
    metrics.job_restarted("other", "Reason999", True)
    found = samples(metrics)
    restarts = {name: value for name, value in found.items() if name.startswith("restarts_total")}

    assert REASONS_MAX + 2 == len(restarts)
    assert 1 == restarts['restarts_total{counted="true",namespace="other",reason="Reason999"}']
    assert 1 == restarts['restarts_total{counted="true",namespace="team",reason="Reason0"}']
    assert 950 == restarts['restarts_total{counted="true",namespace="team",reason="Other"}']
    assert 950 == found['jobs_finished_total{namespace="team",reason="Other",result="Failed"}']


def test_a_long_reason_is_cut():
    metrics = OperatorMetrics()
    metrics.job_restarted("team", "x" * 100, False)

    assert 1 == samples(metrics)[f'restarts_total{{counted="false",namespace="team",reason="{"x" * 64}"}}']


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_time_of_jobs_never_goes_back(seconds):
    metrics = OperatorMetrics()
    metrics.job_seconds("team", "productive", 5.0)
    metrics.job_seconds("team", "productive", seconds)

    assert 5.0 == samples(metrics)['job_seconds_total{cause="productive",namespace="team"}']
