"""Operators that divide the jobs among them: each job has one decider, whoever ends, joins or is of another count."""

import signal

import pytest

from apiclient import wait_for
from ganger.plan.shard import lease, shard
from integration.operator.conftest import free_port
from integration.operator.test_control_channel import Control

pytestmark = pytest.mark.integration
SHARDS = 4
JOBS = tuple(f"sweep-{number}" for number in range(12))


class Sharded:
    """A namespace with operators of a count, each under a name of its own."""

    def __init__(self, world):
        self.world = world

    def start(self, name, shards=SHARDS, **settings):
        operator = self.world.start_operator(name, GANGER_SHARDS=str(shards), **settings)
        wait_for(operator.is_ready, 20, f"{name} is ready")
        return operator

    def holders(self, shards=SHARDS):
        """By shard, the operator that leads it; "" for nobody."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.world.namespace}/leases"
        found = {
            each["metadata"]["name"]: each["spec"].get("holderIdentity") or "" for each in self.world.api.items(path)
        }
        return [found.get(lease(number), "").partition("_")[0] for number in range(shards)]

    def wait_spread(self, *wanted, shards=SHARDS):
        """Wait until each of these operators leads so many shards: (name, number)."""

        def spread():
            holders = self.holders(shards)
            return all(holders.count(name) == number for name, number in wanted)

        wait_for(spread, 30, f"shards spread as {wanted}")

    def submit(self, names):
        for name in names:
            self.world.submit(name, workers=1)

    def wait_pods(self, names):
        wanted = {f"{name}-0-0" for name in names}
        wait_for(lambda: wanted <= set(self.world.pod_names()), 20, "a pod of each job")

    def assert_one_pod_each(self, names):
        assert sorted(f"{name}-0-0" for name in names) == sorted(self.world.history.created())


def said(operator):
    """The shards that the operator says it leads."""
    lines = [line for line in operator.read("/metrics").splitlines() if line.startswith("ganger_operator_leader{")]
    return {int(line.partition('shard="')[2].partition('"')[0]) for line in lines if line.endswith(" 1.0")}


@pytest.fixture
def sharded(world):
    return Sharded(world)


def shown(operator):
    """The jobs that the operator shows in its metrics."""
    lines = [line for line in operator.read("/metrics").splitlines() if line.startswith("ganger_job_workers_wanted{")]
    return [line.partition('training_job="')[2].partition('"')[0] for line in lines]


def test_each_job_is_worked_on_and_shown_by_one_of_two(sharded):
    first = sharded.start("a")
    second = sharded.start("b")
    sharded.wait_spread(("a", 2), ("b", 2))
    sharded.submit(JOBS)
    sharded.wait_pods(JOBS)
    led = {number for number, holder in enumerate(sharded.holders()) if holder == "a"}
    of_first = {name for name in JOBS if shard(sharded.world.namespace, name, SHARDS) in led}

    sharded.assert_one_pod_each(JOBS)
    assert (led, set(range(SHARDS)) - led) == (said(first), said(second))
    wait_for(lambda: (set(shown(first)), set(shown(second))) == (of_first, set(JOBS) - of_first), 20, "each its own")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_jobs_of_one_that_ends_are_taken_over_without_a_second_pod(sharded, how):
    first = sharded.start("a")
    sharded.start("b")
    sharded.wait_spread(("a", 2), ("b", 2))
    sharded.submit(JOBS[:6])
    first.signal(how)
    sharded.submit(JOBS[6:])
    sharded.wait_pods(JOBS)
    sharded.wait_spread(("b", SHARDS))

    sharded.assert_one_pod_each(JOBS)
    sharded.start("c")
    sharded.wait_spread(("b", 2), ("c", 2))
    for name in JOBS:
        sharded.world.end(f"{name}-0-0", 0)
    for name in JOBS:
        sharded.world.wait_phase("Complete", name)


@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 1)])
def test_a_rolling_change_of_the_count_leaves_each_job_one_decider(sharded, old, new):
    before = [sharded.start("old-a", old), sharded.start("old-b", old)]
    sharded.submit(JOBS[:4])
    sharded.wait_pods(JOBS[:4])
    sharded.start("new-a", new)
    before[0].stop()
    sharded.submit(JOBS[4:8])
    sharded.wait_pods(JOBS[:8])
    sharded.start("new-b", new)
    before[1].stop()
    sharded.submit(JOBS[8:])
    sharded.wait_pods(JOBS)
    wait_for(lambda: all(holder.startswith("new-") for holder in sharded.holders(new)), 20, "the new count holds")

    sharded.assert_one_pod_each(JOBS)
    wait_for(lambda: sharded.holders(4)[new:] == [""] * (4 - new), 10, "no lease of the old count is held")


def test_a_report_to_the_wrong_operator_reaches_the_one_that_leads_the_job(sharded):
    control = Control(sharded.world)
    ports = {"a": control.port, "b": free_port()}
    for name, port in ports.items():
        operator = control.start(name, ip="127.0.0.1", port=port, GANGER_SHARDS="2")
        wait_for(operator.is_ready, 20, f"{name} is ready")
    sharded.wait_spread(("a", 1), ("b", 1), shards=2)
    sharded.world.submit("digits", workers=1)
    sharded.wait_pods(["digits"])
    sharded.world.run("digits-0-0")
    leader = sharded.holders(2)[shard(sharded.world.namespace, "digits", 2)]
    token = control.token("digits-0-0")
    (other,) = {"a", "b"} - {leader}
    wait_for(
        lambda: control.post(token, port=ports[other], sequence=1, step=7, totalSteps=40)[0] == 200,
        20,
        "the report is taken in",
    )
    wait_for(lambda: sharded.world.status().get("progress", {}).get("step") == 7, 20, "what was said is in the status")
    assert 409 == control.post(token, port=ports[leader], sequence=1)[0], "it was heard there"
