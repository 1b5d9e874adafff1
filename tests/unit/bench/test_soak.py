import random

import pytest
from bench import soak, soakfates

from ganger.api.types import decode


def test_every_program_is_killed_in_a_run_of_the_least_size():
    kills = [soak.kills_of(wave, random.Random(1)) for wave in range(6)]

    assert [["kube-apiserver"], ["operator"], ["operator"], ["etcd"], [], []] == [
        [name for name, _, _ in wave] for wave in kills
    ]


def test_the_same_seed_kills_at_the_same_moments():
    assert soak.kills_of(0, random.Random(7)) == soak.kills_of(0, random.Random(7))


@pytest.mark.parametrize(
    ("rss", "growth"), [([100.0] * 9, 0.0), ([100, 101, 900, 100, 100, 100, 110, 112, 111], 9.9), ([50.0], 0.0)]
)
def test_growth_is_that_of_the_medians_of_the_first_and_the_last_third(rss, growth):
    assert growth == soak.growth_percent(rss)


@pytest.mark.parametrize("jobs", [1, 60, 300, 1000])
def test_a_run_has_at_least_as_many_jobs_as_asked_for_and_all_fates_in_each_wave(jobs):
    size, waves = soak.sizes(jobs)

    assert 0 == size % len(soakfates.FATES)
    assert jobs <= size * waves < max(jobs + size, 61)


@pytest.mark.parametrize("fate", soakfates.FATES, ids=lambda fate: fate.name)
def test_the_manifest_of_every_fate_is_a_job(fate):
    job = decode(soakfates.manifest("job-0", fate, 3))

    assert (fate.workers or 3) == job.spec.workers
    assert 1 == job.spec.failure_policy.max_restarts
