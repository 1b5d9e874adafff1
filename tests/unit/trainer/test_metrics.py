"""/metrics of a pod: the names that dashboards and alerts are written for, served by the supervisor itself."""

import http.client
import re
import socket
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ganger.contract import REPORT_CAUSES
from ganger_trainer.board import Board
from ganger_trainer.endpoint import CONNECTIONS_MAX, CONTENT_TYPE, Endpoint
from ganger_trainer.metrics import FAMILIES, Page
from ganger_trainer.nvml import Reading
from ganger_trainer.pace import STEP_BUCKETS, Pace
from ganger_trainer.reports import Progress, Quarantined, RolledBack, Saved, Training

PROGRESS = Progress(
    rank=1, step=40, total_steps=100, epoch=2, loss=0.25, learning_rate=0.001, gradient_norm=1.5, samples=640,
    samples_per_second=320.0, step_seconds=2.0, step_counts=[3] + [0] * 19 + [1], data_wait_seconds=0.5,
    gpu_bytes=7, gpu_bytes_max=9, tokens=1280, mfu=0.4, metrics={"accuracy": 0.9},
)  # fmt: skip
READING = Reading(utilization=0.5, memory_used=30, memory_total=80, power_watts=350.0, temperature_celsius=61)


def families(board, **options):
    text = Page(board, **({"attempt": 0, "job": "digits"} | options)).render().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(found, series, **labels):
    return next(
        sample.value
        for family in found.values()
        for sample in family.samples
        if sample.name == series and labels.items() <= sample.labels.items()
    )


@pytest.fixture
def everything():
    """Families of a pod of which all is known."""
    board = Board()
    board.hear(Training(rank=1, total_steps=100, device="NVIDIA H100 PCIe"))
    board.hear(PROGRESS)
    board.hear(Saved(step=30, seconds=0.5, bytes=99, kept=1))
    board.hear(Quarantined(names=["step_20.corrupt"]))
    board.hear(RolledBack(count=1, step=33, to_step=30))
    board.posted("ok")
    return families(board, attempt=2, gpus=lambda: {0: READING})


def test_every_family_of_the_table_is_exposed_with_its_type_and_labels_and_no_other(everything):
    exposed = {
        (
            f"{name}_total" if family.type == "counter" else name,
            family.type,
            frozenset(family.samples[0].labels) - {"le", "training_job"},
            family.documentation,
        )
        for name, family in everything.items()
    }

    assert {(f.name, f.type, frozenset(f.labels), f.help) for f in FAMILIES} == exposed


def test_every_sample_says_whose_it_is(everything):
    samples = [sample for family in everything.values() for sample in family.samples]

    assert {"digits"} == {sample.labels["training_job"] for sample in samples}


def test_names_follow_the_rules_for_units_and_counters():
    counters = {family.name for family in FAMILIES if family.type == "counter"}

    assert counters == {family.name for family in FAMILIES if family.name.endswith("_total")}
    assert len(FAMILIES) == len({family.name for family in FAMILIES})
    assert {"ganger_train_"} == {family.name[: len("ganger_train_")] for family in FAMILIES}


def test_the_seconds_are_those_of_the_ledger_and_the_reports_those_that_were_posted():
    now = [0.0]
    board = Board(clock=lambda: now[0])
    now[0] = 5.0
    board.hear(Training(rank=0, total_steps=100))
    now[0] = 12.0
    for result in ("ok", "ok", "failed"):
        board.posted(result)
    found = families(board)

    seconds = {s.labels["cause"]: s.value for s in found["ganger_train_seconds"].samples}
    assert dict.fromkeys(REPORT_CAUSES, 0) | {"starting": 5, "productive": 7} == seconds
    assert {"ok": 2, "refused": 0, "failed": 1} == {
        s.labels["result"]: s.value for s in found["ganger_train_reports"].samples
    }


def test_a_gpu_has_the_series_that_it_told_and_no_other():
    found = families(Board(), gpus=lambda: {1: Reading(power_watts=70.5), 0: READING})

    assert {"0": 350.0, "1": 70.5} == {s.labels["gpu"]: s.value for s in found["ganger_train_gpu_power_watts"].samples}
    assert ["0"] == [s.labels["gpu"] for s in found["ganger_train_gpu_utilization_ratio"].samples]


def test_a_worker_that_writes_no_checkpoints_has_no_age_of_one():
    assert not [name for name in families(Board(), keeps_checkpoints=False) if "checkpoint" in name]


def test_a_script_that_only_says_where_it_is_has_no_series_that_it_did_not_measure():
    board = Board()
    board.hear(Progress(rank=0, step=3, loss=0.5))

    ranked = {
        name for name, family in families(board).items() if any("rank" in sample.labels for sample in family.samples)
    }
    assert {"ganger_train_step", "ganger_train_loss"} == ranked


@pytest.mark.parametrize("text", ['quo"te', "back\\slash", "new\nline", "ünï", "", "{},=", "\\n"])
def test_any_text_in_a_label_comes_back_as_it_was(text):
    board = Board()
    board.hear(Progress(rank=0, step=1, metrics={text: 1.0}))
    found = families(board, job=text)

    sample = found["ganger_train_evaluation_metric"].samples[0]
    assert {"name": text, "training_job": text} == sample.labels


@pytest.mark.parametrize("number", [0, 1e300, 5e-324, 2**53, -0.1, float("inf"), float("-inf")])
def test_any_number_comes_back_as_it_was(number):
    board = Board()
    board.hear(Progress(rank=0, step=1, loss=number))

    assert number == value(families(board), "ganger_train_loss")


def test_nan_is_shown_as_such():
    board = Board()
    board.hear(Progress(rank=0, step=1, learning_rate=float("nan")))

    assert b'ganger_train_learning_rate{training_job="",rank="0"} NaN\n' in Page(board, attempt=0, job="").render()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ganger_train_loss", 0.25),
        ("ganger_train_step", 40),
        ("ganger_train_steps_planned", 100),
        ("ganger_train_epoch", 2),
        ("ganger_train_learning_rate", 0.001),
        ("ganger_train_gradient_norm", 1.5),
        ("ganger_train_samples_total", 640),
        ("ganger_train_samples_per_second", 320),
        ("ganger_train_data_wait_seconds_total", 0.5),
        ("ganger_train_step_seconds_sum", 2.0),
        ("ganger_train_step_seconds_count", 4),
        ("ganger_train_gpu_memory_peak_bytes", 9),
        ("ganger_train_tokens_total", 1280),
        ("ganger_train_mfu_ratio", 0.4),
    ],
)
def test_a_rank_shows_what_it_reported(name, expected):
    board = Board()
    board.hear(PROGRESS)

    assert expected == value(families(board), name, rank="1")


def test_step_times_are_a_cumulative_histogram():
    board = Board()
    board.hear(PROGRESS)
    found = families(board)

    assert 3 == value(found, "ganger_train_step_seconds_bucket", le=repr(STEP_BUCKETS[0]))
    assert 3 == value(found, "ganger_train_step_seconds_bucket", le=repr(STEP_BUCKETS[-1]))
    assert 4 == value(found, "ganger_train_step_seconds_bucket", le="+Inf")


def test_checkpoint_age_counts_from_the_start_and_then_from_the_newest_commit(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    board = Board()
    page = Page(board, attempt=0, job="digits")

    def age():
        text = page.render().decode()
        return float(re.search(r"^ganger_train_checkpoint_age_seconds{.*} (\S+)$", text, re.MULTILINE)[1])

    now[0] = 1060.0
    assert 60 == age()
    board.hear(Saved(step=30, seconds=0.5, bytes=99, kept=1))
    now[0] = 1065.0
    assert 5 == age()
    board.hear(Saved(step=35, seconds=0.5, reason="ENOSPC"))
    now[0] = 1070.0
    assert 10 == age(), "a refused save does not make the checkpoint younger"


def test_refused_saves_evaluations_and_restarts_are_counted():
    board = Board()
    board.hear(PROGRESS)
    for _ in range(2):
        board.hear(Saved(step=35, seconds=0.5, reason="ENOSPC"))
    found = families(board, attempt=3)

    assert 2 == value(found, "ganger_train_checkpoint_failures_total")
    assert 3 == value(found, "ganger_train_restarts")
    assert 0.9 == value(found, "ganger_train_evaluation_metric", name="accuracy")


def test_a_rank_that_has_not_reported_has_no_series():
    assert "ganger_train_loss" not in families(Board())
    assert "ganger_train_checkpoint_step" not in families(Board())


def test_pace_counts_each_step_once_and_knows_the_rate(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ganger_trainer.pace.perf_counter", lambda: now[0])
    pace = Pace(10.0)
    assert pace.fetched(), "the first step is logged"
    for seconds in (0.001, 0.1, 500.0):
        now[0] += seconds
        pace.stepped(4, 8)

    assert 3 == sum(pace.counts)
    assert 1 == pace.counts[-1], "longer than the largest bucket"
    assert (12, pytest.approx(500.101)) == (pace.samples, pace.seconds)
    assert pytest.approx(24 / 500.101) == pace.logged()
    assert not pace.fetched()
    now[0] += 10.0
    assert pace.fetched()


@pytest.fixture(scope="module")
def endpoint():
    served = Endpoint(0, lambda: b"ganger_train_step 1\n")
    yield served
    served.close()


def get(endpoint, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=5)
    connection.request(method, path)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, reply.headers["Content-Type"], body


def test_metrics_and_health_are_served_without_a_sidecar(endpoint):
    assert (200, CONTENT_TYPE, b"ganger_train_step 1\n") == get(endpoint, "/metrics")
    assert (200, CONTENT_TYPE, b"ganger_train_step 1\n") == get(endpoint, "/metrics?name=x")
    assert 200 == get(endpoint, "/healthz")[0]
    assert 404 == get(endpoint, "/")[0]
    assert 501 == get(endpoint, "/metrics", method="POST")[0]


def test_a_page_that_cannot_be_made_says_so():
    served = Endpoint(0, lambda: [].pop())
    try:
        assert (500, CONTENT_TYPE, b"IndexError: pop from empty list\n") == get(served, "/metrics")
    finally:
        served.close()


def test_scrapes_one_after_another_never_use_up_the_connections(endpoint):
    assert [200] * 3 * CONNECTIONS_MAX == [get(endpoint, "/metrics")[0] for _ in range(3 * CONNECTIONS_MAX)]


def test_a_crowd_of_silent_scrapers_is_turned_away(endpoint):
    crowd = [socket.create_connection(("127.0.0.1", endpoint.port), 5) for _ in range(CONNECTIONS_MAX)]
    try:
        deadline = time.monotonic() + 5
        while endpoint._server._room._value and time.monotonic() < deadline:
            time.sleep(0.01)  # the crowd is let in on another thread
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(endpoint, "/metrics")
    finally:
        for one in crowd:
            one.close()
