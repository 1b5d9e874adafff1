"""Every query of every panel, asked of a real Prometheus that watches real jobs: each finds something to show."""

import subprocess
import urllib.request

import pytest

from ganger_dev import boards_run, debian, prometheus, showcase
from ganger_dev.errors import DevError

pytestmark = pytest.mark.e2e
WATCH_SECONDS = 90.0


@pytest.fixture(scope="module")
def fleet(installed, tmp_path_factory):
    try:
        debian.ensure("prometheus")
    except DevError as error:
        pytest.skip(f"no Prometheus can be had here: {error}")
    folder = tmp_path_factory.mktemp("prometheus")
    with showcase.running(installed.embedded, folder, watch_seconds=WATCH_SECONDS, image=installed.image) as found:
        yield found


def labels(fleet, expression):
    """The label sets that an expression finds now."""
    found = fleet.get("query", query=expression)["result"]
    return [one["metric"] for one in found]


def test_every_query_of_every_board_finds_data(fleet):
    answers = boards_run.check(fleet.get, fleet.window(), showcase.VALUES)
    every = [one for found in answers.values() for one in found]

    print(f"queries: {len(every)}, with data: {sum(one.has_data for one in every)}")
    assert len(every) > 60


def test_every_target_is_scraped_without_a_mistake(fleet):
    targets = fleet.get("targets", state="active")["activeTargets"]
    wrong = [(target["labels"], target["lastError"]) for target in targets if target["health"] == "down"]

    # A pod that has just ended may be asked once more.
    assert [] == [one for one in wrong if "connect" not in one[1]]
    pools = {"ganger-operator", "kubernetes-pods", "dcgm-exporter", "gpus-of-a-worker"}
    assert pools == {target["scrapePool"] for target in targets}


def test_the_pages_of_operator_and_workers_keep_to_the_rules(fleet):
    targets = fleet.get("targets", state="active")["activeTargets"]
    pages = [one["scrapeUrl"] for one in targets if one["scrapePool"] in ("ganger-operator", "kubernetes-pods")]
    for page in pages:
        with urllib.request.urlopen(page, timeout=5) as answer:
            body = answer.read()
        command = [str(prometheus.ensure().promtool), "check", "metrics"]
        checked = subprocess.run(command, input=body, capture_output=True)

        assert (0, b"") == (checked.returncode, checked.stdout + checked.stderr), page
    assert len(pages) >= 5


def test_job_series_outlive_the_pods_and_name_the_jobs_namespace(fleet):
    (finished,) = labels(fleet, 'ganger_job_phase{training_job="finished"}')

    assert ("Complete", showcase.NAMESPACE) == (finished["phase"], finished["namespace"])
    others = labels(fleet, f'ganger_job_phase{{namespace!="{showcase.NAMESPACE}"}}')
    assert [] == [found for found in others if found["namespace"] == "ganger-system"]


def test_each_job_has_one_source(fleet):
    assert [] == labels(fleet, "count by (namespace, training_job) (ganger_job_attempt) > 1")
    assert 1 == len(labels(fleet, "sum(ganger_operator_leader) == 1"))


def test_restarts_and_failures_are_told_apart_by_reason(fleet):
    reasons = {found["reason"] for found in labels(fleet, "ganger_operator_restarts_total")}

    assert "PodDeleted" in reasons
    assert {"Complete", "Failed"} <= {found["result"] for found in labels(fleet, "ganger_operator_jobs_finished_total")}


def test_devices_are_joined_to_the_job_that_uses_them(fleet):
    join = "DCGM_FI_DEV_GPU_UTIL * on (namespace, pod) group_left (training_job) ganger_worker_info"

    assert {"digits"} == {found["training_job"] for found in labels(fleet, join)}


def test_the_parts_of_every_jobs_time_sum_to_its_age(fleet):
    age = "time() - ganger_job_created_timestamp_seconds"
    behind = f"abs(sum by (namespace, training_job) (ganger_job_seconds) - on (namespace, training_job) ({age}))"
    unfinished = "unless on (namespace, training_job) ganger_job_completed_timestamp_seconds"

    # Every job is shown anew every 15 s, and then scraped.
    assert [] == labels(fleet, f"({behind} {unfinished}) > 25")
