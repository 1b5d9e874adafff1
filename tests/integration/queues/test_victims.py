"""Whom a real Kueue evicts of two equal gangs, with boosts for unsaved work and without."""

import time

import pytest

from apiclient import wait_for
from integration.operator.test_control_channel import Control
from integration.queues.conftest import API

pytestmark = pytest.mark.integration
KUEUE, MARK = "kueue.x-k8s.io/priority-boost", "ganger.dev/priority-boost"
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 100}


class Team:
    """A queue for two gangs of two, and an operator that the workers report to."""

    def __init__(self, queues, boost):
        self.queues, self.control = queues, Control(queues)
        queues.history.follow(self.path)
        queues.make_queue(4)
        self.control.start(GANGER_PRIORITY_BOOST=boost)
        wait_for(queues.leader, 20, "a leader")
        self.names = {}

    @property
    def path(self):
        return f"{API}/namespaces/{self.queues.namespace}/workloads"

    def train(self, name):
        """A gang that runs, as Kueue knows, in a later second than the one before."""
        time.sleep(1.1)
        self.queues.queue_job(name, checkpoint=CHECKPOINT)
        self.names[name] = self.queues.train(name)
        self.queues.wait_told(name, "PodsReady", "True", "Started")

    def say(self, name, *, step, saved):
        """Worker 0 reports: of so many steps of a second each it has saved these."""
        told = {"step": step, "totalSteps": 9999, "checkpoint": {"step": saved}, "seconds": {"productive": step}}
        token = self.control.token(self.names[name][0], job=name)
        assert 200 == self.control.post(token, job=name, **told)[0]
        wait_for(lambda: self.queues.status(name).get("progress", {}).get("step") == step, 20, "the step is told")

    def preempt(self, name):
        """A job of higher priority that needs the place of one gang."""
        self.queues.queue_job(name, {"kueue.x-k8s.io/priority-class": f"{self.queues.namespace}-high"})

    def boost(self, name):
        return self.notes(self.queues.workload(name)).get(KUEUE)

    @staticmethod
    def notes(workload):
        return {key: value for key, value in workload["metadata"]["annotations"].items() if key in (KUEUE, MARK)}

    def evicted(self):
        return [name for name in self.names if self.queues.told(name, "Evicted") == ("True", "Preempted")]


def test_of_two_equal_gangs_the_one_that_has_just_saved_is_evicted(unled):
    team = Team(unled, "10")
    team.train("saved")
    team.train("unsaved")
    team.say("saved", step=1000, saved=1000)
    team.say("unsaved", step=1000, saved=100)
    wait_for(lambda: team.boost("unsaved") == "3", 20, "900 seconds of two workers are level 3")
    team.preempt("urgent")
    evicted = wait_for(team.evicted, 20, "a victim")
    unled.stop_pods(team.names["saved"])
    unled.train("urgent")

    assert (["saved"], None) == (evicted, team.boost("saved"))
    assert ["saved"] == team.evicted()
    assert ("Running", "3") == (unled.status("unsaved")["phase"], team.boost("unsaved"))


def test_a_gang_is_queued_again_without_the_boost_that_it_had(unled):
    team = Team(unled, "10")
    team.train("first")
    team.train("second")
    for name in ("first", "second"):
        team.say(name, step=5000, saved=0)
        wait_for(lambda name=name: team.boost(name) == "6", 20, "10,000 seconds are level 6")
    team.preempt("urgent")
    evicted = wait_for(team.evicted, 20, "a victim")
    wait_for(lambda: team.boost("second") is None, 20, "the boost is gone while the gang stops")
    stopping = unled.told("second", "QuotaReserved")
    unled.stop_pods(team.names["second"])
    unled.finish(unled.train("urgent"))
    again = unled.train("second")
    queued = [
        team.notes(obj)
        for _, obj in unled.history.events
        if obj["kind"] == "Workload" and "second" in obj["metadata"]["name"] and not _reserved(obj)
    ]

    assert (["second"], ("True", "QuotaReserved")) == (evicted, stopping)
    assert team.names["second"] == again
    assert [{}] == [one for index, one in enumerate(queued) if one not in queued[:index]]
    assert "6" == team.boost("first")


def test_somebody_elses_boost_decides_and_stays(unled):
    team = Team(unled, "10")
    team.train("foreign")
    team.train("ours")
    path = f"{team.path}/{unled.workload('foreign')['metadata']['name']}"
    unled.api.merge(path, {"metadata": {"annotations": {KUEUE: "-5"}}})
    team.say("foreign", step=5000, saved=0)
    team.say("ours", step=1000, saved=1000)
    team.preempt("urgent")
    evicted = wait_for(team.evicted, 20, "a victim")
    unled.stop_pods(team.names["foreign"])
    unled.train("urgent")

    assert ["foreign"] == evicted
    assert {KUEUE: "-5"} == team.notes(unled.workload("foreign"))


def test_turned_off_no_boost_is_ever_written_and_the_newest_gang_is_evicted(unled):
    team = Team(unled, "0")
    team.train("saved")
    team.train("unsaved")
    team.say("saved", step=1000, saved=1000)
    team.say("unsaved", step=5000, saved=0)
    team.preempt("urgent")
    evicted = wait_for(team.evicted, 20, "a victim")
    unled.stop_pods(team.names["unsaved"])
    unled.train("urgent")
    seen = [obj for _, obj in unled.history.events if obj["kind"] == "Workload"]

    assert ["unsaved"] == evicted
    assert {"saved", "unsaved", "urgent"} == {obj["metadata"]["labels"]["ganger.dev/job"] for obj in seen}
    assert [] == [obj for obj in seen if team.notes(obj)]


def _reserved(workload):
    conditions = workload.get("status", {}).get("conditions", [])
    return any((one["type"], one["status"]) == ("QuotaReserved", "True") for one in conditions)
