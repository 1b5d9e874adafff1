"""What is made for a session, as files: a diff of them is what the cluster will see from now on.

`GANGER_GOLDEN=write` rewrites them.
"""

import os
from pathlib import Path

import msgspec
import pytest

from builders import job
from ganger.api.crd import as_yaml
from ganger.plan import sessionpod, sessionqueue
from ganger.plan.quota import Priority
from ganger.plan.site import NOWHERE, Site
from sessions import IMAGE, KEY, session

HIGH = Priority(group="kueue.x-k8s.io", kind="WorkloadPriorityClass", name="high", value=1000)
FOLDER = Path(__file__).parent
JOB = job(
    image=None,
    config={"lr": 0.1},
    workers=4,
    resources={"requests": {"cpu": "4"}, "limits": {"memory": "16Gi", "nvidia.com/gpu": 1}},
    env=[{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "LEVEL", "value": "1"}],
    envFrom=[{"secretRef": {"name": "tokens"}}],
    code={"configMap": {"name": "digits-code"}},
    volumes=[{"name": "data", "claim": {"claimName": "datasets", "readOnly": True}}],
    volumeMounts=[{"name": "data", "mountPath": "/data"}],
    nodeSelector={"gpu": "h100"},
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
    serviceAccountName="trainer",
    imagePullSecrets=[{"name": "registry"}],
    topologySpreadConstraints=[{"maxSkew": 1}],
    terminationGracePeriodSeconds=600,
    checkpoint={"volume": {"claimName": "shared", "path": "runs/digits"}, "everySteps": 10},
)
SITE = Site(control_url="https://ganger-control.ganger-system.svc:9443", authority="PEM\n")
CASES = {
    "alone": (session(), None),
    "everything": (
        session(
            image="registry.local/dev:1",
            ssh={"authorizedKeys": [KEY]},
            idleSeconds=0,
            maxSeconds=7200,
            storage={"size": "20Gi", "storageClassName": "fast"},
            resources={"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
            env=[{"name": "HOME", "value": "/tmp"}],
            status={"start": 3},
        ),
        None,
    ),
    "fork": (
        session(
            fromJob="digits",
            ssh={"authorizedKeys": [KEY]},
            storage={"claimName": "home", "path": "ann"},
            env=[{"name": "LEVEL", "value": "2"}, {"name": "MINE", "value": "3"}],
            priorityClassName="interactive",
        ),
        JOB,
    ),
    "reporting": (session(ssh={"authorizedKeys": [KEY]}), None),
    "doorless": (session(fromJob="digits", jupyter=False, checkpointAccess="ReadWrite"), JOB),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_for_a_session_is_what_was_agreed_on(name):
    made, source = CASES[name]
    channel = SITE if name == "reporting" else NOWHERE
    objects = [
        sessionpod.claim(made),
        sessionpod.network_policy(made),
        sessionpod.pod(made, source, IMAGE, channel=channel),
    ]
    check(name, *(each for each in objects if each is not None))


def test_what_is_asked_of_kueue_for_a_session_is_what_was_agreed_on():
    made, _ = CASES["fork"]
    labels = {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "high"}
    job = msgspec.structs.replace(JOB, metadata=msgspec.structs.replace(JOB.metadata, labels=labels))

    check("workload", sessionqueue.manifest(made, job, IMAGE, HIGH))


def check(name, *objects):
    """Compare the manifests with those of the file."""
    text = "---\n".join(as_yaml(each) for each in objects)
    path = FOLDER / f"{name}.yaml"
    if os.environ.get("GANGER_GOLDEN") == "write":
        path.write_text(text, "utf-8")

    assert path.read_text("utf-8") == text, "it changed: run `make golden` and review the diff"
