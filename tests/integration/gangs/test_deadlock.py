"""Where the scheduler places pod by pod, a gang that comes later gives its places back."""

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration


def test_two_gangs_that_hold_half_of_the_cluster_each_both_finish(plain):
    """Two of four nodes are kept for the more urgent gang until it is done."""
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    polite = {"kind": "PriorityClass", "metadata": {"name": "polite"}, "value": 100, "preemptionPolicy": "Never"}
    plain.api.create(path, polite)
    plain.start_operator()
    wait_for(plain.leader, 20, "a leader")
    plain.add_nodes(2)
    plain.submit("first")
    wait_for(lambda: plain.num_placed("first") == 2, 20, "half of the first")
    plain.add_nodes(2, taint="kept")
    plain.submit("urgent", priorityClassName="polite", tolerations=[{"key": "kept", "operator": "Exists"}])
    wait_for(lambda: (plain.num_placed("first"), plain.num_placed("urgent")) == (2, 2), 20, "half of each")

    # 30 s without a change, then the one that is less urgent goes.
    plain.wait_phase("Running", "urgent", timeout=60)
    restarts = plain.status("first")["restarts"]
    assert ("GaveWay", 0) == (restarts["last"]["reason"], restarts.get("counted", 0))
    assert 0 == plain.status("urgent").get("attempt", 0)
    plain.finish("urgent")
    plain.remove_taints()
    plain.wait_phase("Running", "first", timeout=60)
    assert 1 == plain.status("first")["attempt"]
    plain.finish("first")
