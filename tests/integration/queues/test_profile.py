"""Jobs with a profile in the queues of a real Kueue: quota is asked for what a job will be, and for nothing before."""

import pytest

from apiclient import wait_for
from ganger.contract import ANNOTATION_PROFILE
from integration.queues.conftest import API

pytestmark = pytest.mark.integration


def profiles(queues):
    return f"/apis/ganger.dev/v1alpha1/namespaces/{queues.namespace}/trainingprofiles"


def make_profile(queues, cpu):
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": "shared"}}
    queues.api.create(profiles(queues), body | {"spec": {"resources": {"requests": {"cpu": cpu}}}})


def change_profile(queues, cpu):
    queues.api.merge(f"{profiles(queues)}/shared", {"spec": {"resources": {"requests": {"cpu": cpu}}}})


def submit(queues):
    queues.queue_job("digits", profile="shared", resources={})


def asked(queues):
    """How many CPUs the Workload asks for, for each worker."""
    (pod_set,) = queues.workload("digits")["spec"]["podSets"]
    return pod_set["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]


def of_pods(queues):
    """The same of the pods."""
    return {pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in queues.api.items(queues.pods)}


def suspend(queues, names=()):
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": True}})
    if names:
        queues.stop_pods(names)
    wait_for(lambda: queues.condition("Suspended", "digits").get("reason") == "SuspendRequested", 20, "suspended")
    wait_for(lambda: queues.workload("digits") is None, 20, "no Workload")


def test_a_job_asks_for_no_quota_before_its_profile_is_there_and_then_for_what_it_says(queues):
    submit(queues)
    wait_for(lambda: queues.condition("PodsReady", "digits").get("reason") == "WaitingForProfile", 20, "it waits")
    told = queues.condition("Admitted", "digits")
    before = queues.workload("digits")
    make_profile(queues, "500m")
    queues.finish(queues.train("digits"))

    assert (None, "WaitingForProfile") == (before, told["reason"])
    assert "500m" == asked(queues)
    mark = queues.workload("digits")["metadata"]["annotations"][ANNOTATION_PROFILE]
    assert {mark} == {pod["metadata"]["annotations"][ANNOTATION_PROFILE] for pod in queues.api.items(queues.pods)}
    queues.wait_told("digits", "Finished", "True", "Succeeded")


def test_a_job_that_waits_in_its_queue_is_admitted_with_what_it_has_asked_for(queues):
    make_profile(queues, "1")
    queues.queue_job("first")
    first = queues.train("first")
    submit(queues)
    queues.wait_held("digits", "WaitingForQuota")
    wait_for(lambda: queues.workload("digits"), 20, "quota is asked for")
    uid = queues.workload("digits")["metadata"]["uid"]
    change_profile(queues, "250m")
    queues.finish(first)
    queues.train("digits")

    assert ("1", {"1"}) == (asked(queues), of_pods(queues))
    assert uid == queues.workload("digits")["metadata"]["uid"]


def test_a_resume_reads_the_profile_anew_and_asks_for_the_new_quota(queues):
    make_profile(queues, "1")
    submit(queues)
    names = queues.train("digits")
    change_profile(queues, "250m")
    suspend(queues, names)
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": False}})
    queues.train("digits")

    assert ("250m", {"250m"}) == (asked(queues), of_pods(queues))
    assert 2 == queues.status("digits")["profile"]["generation"]


def test_a_resume_of_a_job_that_waited_reads_it_anew_too_and_finds_room(queues):
    """It never fitted into the queue; the profile is mended, and the job need not be made anew."""
    make_profile(queues, "8")
    submit(queues)
    queues.wait_held("digits", "WaitingForQuota")
    wait_for(lambda: queues.workload("digits"), 20, "quota is asked for")
    change_profile(queues, "1")
    suspend(queues)
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": False}})
    queues.finish(queues.train("digits"))

    assert "1" == asked(queues)


def test_a_resume_without_the_profile_gives_back_the_quota_and_waits(queues):
    make_profile(queues, "1")
    submit(queues)
    names = queues.train("digits")
    queues.api.delete(f"{profiles(queues)}/shared")
    suspend(queues, names)
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": False}})
    wait_for(lambda: queues.condition("PodsReady", "digits").get("reason") == "WaitingForProfile", 20, "it waits")

    assert [] == queues.api.items(f"{API}/namespaces/{queues.namespace}/workloads")
    assert [] == queues.pod_names()
    make_profile(queues, "500m")
    queues.train("digits")
    assert ("500m", {"500m"}) == (asked(queues), of_pods(queues))
