"""The sizes of a run, and what its end says."""

from collections import Counter
from fractions import Fraction

import pytest

from ganger.api.validate import check_manifest
from ganger_dev.gangs import scale as sizes
from ganger_dev.gangs.scale import FULL, GPU, SMALL


def test_the_full_size_is_that_of_the_issue():
    gangs = sizes.gangs(FULL)
    assert (1000, 200, {16}) == (FULL.nodes, len(gangs), {gang.size for gang in gangs.values()})
    assert {("north", True): 20, ("north", False): 80, ("south", True): 20, ("south", False): 80} == Counter(
        (gang.queue, gang.urgent) for gang in gangs.values()
    )


@pytest.mark.parametrize("scale", [FULL, SMALL])
def test_gangs_have_to_wait_for_quota_and_for_nodes_and_for_more_urgent_ones(scale):
    gangs = list(sizes.gangs(scale).values())
    assert [False, True] == list(dict.fromkeys(gang.urgent for gang in gangs))
    for queue in sizes.QUEUES:
        demand = sum(gang.size for gang in gangs if gang.queue == queue and not gang.urgent)
        assert demand > scale.quota
    assert 2 * scale.quota > scale.nodes


@pytest.mark.parametrize("scale", [FULL, SMALL])
def test_its_jobs_are_valid_and_ask_for_one_gpu_for_each_worker(scale):
    for name, gang in sizes.gangs(scale).items():
        manifest = sizes.job(name, gang, scale)
        assert [] == check_manifest(manifest)[1]
        assert {GPU: 1} == manifest["spec"]["resources"]["limits"]
        assert gang.queue == manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
        least, most = scale.seconds
        assert least <= int(manifest["spec"]["env"][0]["value"].removesuffix("s")) <= most


def test_an_urgent_gang_is_so_for_kueue_alone_or_for_the_scheduler_too():
    found = {gang.queue: sizes.job(name, gang, SMALL) for name, gang in sizes.gangs(SMALL).items() if gang.urgent}
    assert "urgent" == found["north"]["spec"]["priorityClassName"]
    assert "urgent" == found["south"]["metadata"]["labels"]["kueue.x-k8s.io/priority-class"]
    assert "priorityClassName" not in found["south"]["spec"]


def test_the_queues_have_the_quota_that_is_expected():
    quota = sizes.expected(SMALL).quota
    made = {body["metadata"]["name"]: body for _, body in sizes.objects(SMALL, "n") if body["kind"] == "ClusterQueue"}
    assert quota.keys() == made.keys()
    for name, body in made.items():
        (group,) = body["spec"]["resourceGroups"]
        (flavor,) = group["flavors"]
        assert quota[name] == {one["name"]: Fraction(one["nominalQuota"]) for one in flavor["resources"]}
