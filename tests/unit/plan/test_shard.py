"""Jobs over shards: the same place always, and a fair spread of names that differ little."""

from collections import Counter

import pytest

from ganger.plan.shard import SHARDS_MAX, lease, shard


def test_one_shard_has_every_job():
    assert {0} == {shard("team", f"job-{number}", 1) for number in range(50)}


def test_a_job_keeps_its_shard_in_every_version():
    assert [2, 3, 3] == [shard("team", "digits", 4), shard("team", "fashion", 4), shard("prod", "fashion", 4)]


@pytest.mark.parametrize("shards", [2, 3, 4, 7, SHARDS_MAX])
def test_numbered_names_are_spread(shards):
    counts = Counter(shard("team", f"sweep-{number}", shards) for number in range(2000))
    mean = 2000 / shards

    assert set(range(shards)) == set(counts)
    assert max(counts.values()) < 1.3 * mean
    assert min(counts.values()) > 0.7 * mean


def test_the_first_lease_is_that_of_an_operator_without_shards():
    assert ["ganger-operator", "ganger-operator-1", "ganger-operator-15"] == [lease(0), lease(1), lease(15)]
