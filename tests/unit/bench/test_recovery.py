import pytest
from bench import recovery, recovery_peers

TABLE = {
    "Process": {"p50": 0.2},
    "Container": {"p50": 2.6},
    "Pods": {"p50": 2.7},
    "operatorsShare": {"p50": 0.0381, "p99": 0.0541},
}
SHARE = {"controller_p50_ms": 38.1, "controller_p99_ms": 54.1}


class Workload:
    """A peer's workload that trains anew, as another process, 9 s after rank 1 was killed."""

    look_seconds = 0.0

    def __init__(self):
        self.killed, self.closed = [], False

    def log(self, worker):
        if worker == 1:
            return "PROCESS 1 77 4711\n"
        old = "PROCESS 0 7 12\nSTEP 7 100.0\nSTEP 7 100.5\n"
        return old + ("STEP 7 101.5\nSTEP 8 110.0\nSTEP 8 110.1\n" if self.killed else "")

    def kill(self, pid, rung):
        self.killed.append(pid)
        return 101.0

    def close(self):
        self.closed = True


def test_a_peer_is_timed_from_the_kill_to_the_first_step_of_another_process():
    workload = Workload()

    assert 9.0 == recovery.peer_trial(workload)
    assert [4711] == workload.killed
    assert workload.closed


def test_in_pods_each_rung_is_one_of_the_promised_figures():
    keys, reasons = recovery._promised(TABLE | {"Node": {"p50": 140.0}}, in_pods=True, no_node="")

    rungs = {"in_place_p50_seconds": 0.2, "worker_p50_seconds": 2.6, "pod_p50_seconds": 2.7, "node_p50_seconds": 140.0}
    assert {"recovery": rungs | SHARE} == keys
    assert {} == reasons


def test_what_was_not_measured_in_pods_is_null_with_its_reason():
    keys, reasons = recovery._promised(TABLE, in_pods=False, no_node="no cluster")

    assert SHARE == {name: value for name, value in keys["recovery"].items() if value is not None}
    nulls = {f"recovery.{name}" for name, value in keys["recovery"].items() if value is None}
    assert nulls == set(reasons)


@pytest.mark.parametrize(("percent", "seconds"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_one_of_the_measured_values(percent, seconds):
    assert seconds == recovery._percentile(list(range(100, 0, -1)), percent)


@pytest.mark.parametrize("kind", recovery_peers.PEERS)
def test_every_peer_is_two_workers_of_our_image_that_run_the_script(kind):
    text = str(recovery_peers.PEERS[kind][0]("x"))

    assert recovery_peers.IMAGE in text
    assert "torchrun" in text
    assert "/code/recovery_script.py" in text
    assert ("'completions': 2" in text) or ("'numNodes': 2" in text)
