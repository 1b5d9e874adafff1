"""Dev sessions in the queues of a real Kueue: waiting, flavors, preemption, deactivation, quota that is given back."""

import pytest

from apiclient import wait_for
from integration.operator.test_elastic import place
from integration.operator.test_session import Desk
from integration.queues.conftest import LABEL

pytestmark = pytest.mark.integration
ALL = {"requests": {"cpu": "2"}}  # of the queue's quota


class QueuedDesk(Desk):
    """Sessions in the queue `team`."""

    def queue(self, name="notes", **spec):
        return self.make(name, {LABEL: "team"}, **({"resources": ALL} | spec))

    def work(self, start=0):
        """Wait for the pod of a start, put it on a node and run it."""
        name = f"notes-dev-{start}"
        wait_for(lambda: name in self.world.pod_names(), 20, f"pod {name}, not {self.status()}")
        place(self.world, name)
        self.run(name)
        self.wait_phase("Running")

    def wait_held(self, reason, name="notes"):
        """Wait until the session is not admitted for a reason; return the sentence."""

        def held():
            found = next((one for one in self.status(name).get("conditions", []) if one["type"] == "Admitted"), {})
            return found.get("status") == "False" and found["reason"] == reason and found["message"]

        return wait_for(held, 20, f"{name} waits: {reason}, not {self.status(name)}")


@pytest.fixture
def desk(queues):
    return QueuedDesk(queues)


def test_a_session_waits_for_the_quota_of_a_job_and_gives_it_back_when_it_is_culled(desk):
    queues = desk.world
    queues.queue_job("digits")
    names = queues.train("digits")
    desk.queue()
    wait_for(lambda: "insufficient unused quota" in desk.status().get("message", ""), 20, "Kueue's sentence")
    waiting = desk.status()["phase"], queues.pod_names()
    queues.finish(names)
    desk.work()
    queues.wait_told("notes", "PodsReady", "True", "Started")
    pod = desk.api.get(f"{queues.pods}/notes-dev-0")
    asked = queues.workload("notes")["spec"]["podSets"][0]
    queues.queue_job("next")
    wait_for(lambda: "insufficient unused quota" in queues.condition("Admitted", "next").get("message", ""), 20)
    desk.end()
    desk.wait_phase("Culled")
    queues.finish(queues.train("next"))
    wait_for(lambda: queues.workload("notes") is None, 20, "no Workload of a session at rest")
    told = [message for phase, message in desk.written() if phase == "Pending"]

    assert ("Pending", names) == waiting
    assert ("session", 1) == (asked["name"], asked["count"])
    assert {"pool": "spot"} == pod["spec"]["nodeSelector"]
    assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
    assert LABEL not in pod["metadata"]["labels"]
    assert all(message.startswith("queue team: ") for message in told), told
    assert len(told) == len(set(told)), "a sentence was written twice"


def test_a_job_of_higher_priority_preempts_a_session_that_stops_in_order_and_waits_again(desk):
    queues = desk.world
    desk.queue(storage={"size": "1Gi"})
    desk.work()
    queues.queue_job("high", {"kueue.x-k8s.io/priority-class": f"{queues.namespace}-high"})
    queues.wait_told("notes", "Evicted", "True", "Preempted")
    desk.wait_held("Evicted")
    wait_for(lambda: "deletionTimestamp" in desk.api.get(f"{queues.pods}/notes-dev-0")["metadata"], 20, "its pod stops")
    stopping = desk.status()["phase"], queues.told("notes", "QuotaReserved"), queues.pod_names()
    queues.stop_pods(["notes-dev-0"])
    high = queues.train("high")
    released = queues.told("notes", "QuotaReserved")[0], queues.told("notes", "Requeued")
    desk.wait_held("WaitingForQuota")
    queues.finish(high)
    desk.work(start=1)
    claim = desk.api.get(f"/api/v1/namespaces/{queues.namespace}/persistentvolumeclaims/notes-workspace")

    assert ("Stopping", ("True", "QuotaReserved"), ["notes-dev-0"]) == stopping
    assert ("False", ("True", "Preempted")) == released
    assert (1, None) == (desk.status()["start"], desk.status().get("endTime"))
    assert [] == desk.status().get("shortRuns", [])
    assert claim


def test_a_deactivated_workload_stops_its_session_until_it_is_active_again(desk):
    queues = desk.world
    desk.queue()
    desk.work()
    queues.activate("notes", False)
    queues.wait_told("notes", "Evicted", "True", "Deactivated")
    queues.stop_pods(["notes-dev-0"])
    wait_for(lambda: queues.told("notes", "QuotaReserved")[0] == "False", 20, "the quota is given back")
    held = desk.wait_held("Deactivated")
    queues.activate("notes", True)
    desk.work(start=1)

    assert "set its spec.active to true" in held


def test_a_stopped_session_gives_its_quota_back_once_its_pod_is_gone_and_a_started_one_asks_anew(desk):
    queues = desk.world
    desk.queue()
    desk.work()
    before = queues.workload("notes")["metadata"]["uid"]
    desk.queue("second")
    desk.wait_held("WaitingForQuota", "second")
    desk.change({"spec": {"suspend": True}})
    desk.wait_phase("Stopping")
    held = queues.told("notes", "QuotaReserved")
    queues.stop_pods(["notes-dev-0"])
    desk.run("second-dev-0")
    desk.wait_phase("Stopped")
    desk.change({"spec": {"suspend": False}})
    desk.wait_held("WaitingForQuota")
    desk.api.delete(f"{desk.path}/second")
    desk.work(start=1)

    assert ("True", "QuotaReserved") == held
    assert before != queues.workload("notes")["metadata"]["uid"]


def test_a_fork_waits_in_the_queue_of_its_job_and_one_that_is_deleted_there_leaves_nothing(desk):
    queues = desk.world
    queues.queue_job("digits", workers=1, resources=ALL)
    queues.train("digits", workers=1)
    desk.make(fromJob="digits")
    desk.wait_held("WaitingForQuota")
    asked = wait_for(lambda: queues.workload("notes"), 20, "its Workload")["spec"]
    desk.api.delete(f"{desk.path}/notes")
    wait_for(lambda: queues.workload("notes") is None, 60, "the Workload goes with its session")
    desk.make("beside", {LABEL: ""}, fromJob="digits")
    desk.run("beside-dev-0")
    desk.wait_phase("Running", "beside")

    assert ("team", ALL["requests"]) == (
        asked["queueName"],
        asked["podSets"][0]["template"]["spec"]["containers"][0]["resources"]["requests"],
    )
    assert ["beside-dev-0", "digits-0-0"] == queues.pod_names()


def test_the_next_operator_finds_the_session_admitted_and_leaves_it_alone(desk):
    queues = desk.world
    desk.queue()
    desk.work()
    queues.wait_told("notes", "PodsReady", "True", "Started")
    queues.operators[0].stop()
    queues.start_operator("operator-b")
    wait_for(lambda: queues.leader().startswith("operator-b"), 20, "the next leader")
    desk.end()
    desk.wait_phase("Culled")

    assert 0 == desk.status().get("start", 0)
