import re

import pytest

from ganger.observe import catalog

EVERYTHING = (*catalog.JOBS, *catalog.OPERATOR, *catalog.PROCESS)


def test_every_name_is_there_once():
    names = [family.name for family in EVERYTHING]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("family", EVERYTHING, ids=lambda family: family.name)
def test_a_name_has_a_prefix_a_base_unit_and_a_sentence(family):
    assert re.fullmatch(r"(ganger_(job|worker|operator)|process)(_[a-z]+)+", family.name)
    assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent|count|sum|bucket|created)(_total)?$", family.name)
    assert (family.type == "counter") == family.name.endswith("_total")
    assert family.help.endswith(".")
    assert "\n" not in family.help


@pytest.mark.parametrize("family", EVERYTHING, ids=lambda family: family.name)
def test_histograms_have_buckets_that_grow_and_others_none(family):
    assert (family.type == "histogram") == bool(family.buckets)
    assert sorted(set(family.buckets)) == list(family.buckets)
    assert family.type != "histogram" or catalog.unit(family.name) == "seconds"


@pytest.mark.parametrize("family", EVERYTHING, ids=lambda family: family.name)
def test_no_label_is_one_that_prometheus_sets_itself(family):
    assert set() == {"job", "instance", "le", "quantile", "container", "endpoint", "service"} & set(family.labels)
    assert len(family.labels) == len(set(family.labels))


def test_every_series_of_a_job_names_the_job_first():
    assert {catalog.JOB_LABELS} == {family.labels[:2] for family in catalog.JOBS}
    assert {"leader"} == {family.source for family in catalog.JOBS}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("ganger_job_seconds", "seconds"),
        ("ganger_operator_job_seconds_total", "seconds"),
        ("ganger_job_created_timestamp_seconds", "timestamp"),
        ("process_start_time_seconds", "timestamp"),
        ("ganger_job_checkpoint_bytes", "bytes"),
        ("ganger_train_gpu_power_watts", "watts"),
        ("ganger_train_gpu_temperature_celsius", "celsius"),
        ("ganger_job_goodput_ratio", "ratio"),
        ("ganger_job_samples_per_second", ""),
        ("ganger_job_restarts_total", ""),
        ("ganger_job_step", ""),
    ],
)
def test_a_unit_is_the_end_of_a_name(name, unit):
    assert unit == catalog.unit(name)
