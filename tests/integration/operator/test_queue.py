"""A job with the label of a queue where Kueue is not installed; where it is, see tests/integration/queues."""

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration


def test_a_job_in_a_queue_waits_and_says_that_kueue_is_not_served(operated):
    assert None is operated.api.get("/apis/kueue.x-k8s.io"), "another test installed Kueue before this one"
    metadata = {"name": "digits", "labels": {"kueue.x-k8s.io/queue-name": "team"}}
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata}
    operated.api.create(operated.jobs, body | {"spec": {"task": "m:t", "workers": 2}})
    wait_for(lambda: operated.condition("Admitted").get("reason") == "QueueNotServed", 15, "the condition")

    assert [] == operated.pod_names()
    assert "install Kueue 0.15 or later, or remove the label" in operated.status()["message"]
