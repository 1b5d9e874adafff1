"""Every cause of trouble that `ganger status` knows by sight: one line of cause, one of remedy, from what clusters say.

The texts are those of Kubernetes 1.37 and containerd 2.4, as events and conditions carry them.
"""

import pytest

from builders import at, job, with_status
from ganger.api.observed import Condition
from ganger.api.status import Failure, Restarts, TrainingJobStatus
from ganger.cli import hint as hints
from ganger.cli.hint import hint
from ganger.cli.seen import Seen

WAITS = {
    "GPUs": (
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available.",
        "no node has enough free nvidia.com/gpu",
    ),
    "memory": ("0/1 nodes are available: 1 Insufficient memory.", "no node has enough free memory"),
    "quota": (
        'pods "digits-0-1" is forbidden: exceeded quota: team, requested: cpu=4, used: cpu=2, limited: cpu=4',
        "the namespace's ResourceQuota team has no room for the gang",
    ),
    "quota that demands": (
        'pods "digits-0-0" is forbidden: failed quota: team: must specify limits.memory for: trainer',
        "a quota of the namespace demands limits.memory",
    ),
    "pod security": (
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        "the namespace's Pod Security level refuses the pods",
    ),
    "claim that is missing": (
        '0/1 nodes are available: persistentvolumeclaim "data" not found.',
        "the claim data does not exist in this namespace",
    ),
    "claim that goes": (
        '0/1 nodes are available: persistentvolumeclaim "data" is being deleted.',
        "the claim data is being deleted",
    ),
    "unbound claim": (
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        "no volume was found for a claim of the job",
    ),
    "volume elsewhere": (
        "0/2 nodes are available: 2 node(s) had volume node affinity conflict.",
        "the checkpoint volume cannot be attached to the nodes of all workers",
    ),
    "taint": (
        "0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}.",
        "every fitting node has a taint that the job does not tolerate",
    ),
    "node selector": (
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        "no node has the labels of spec.nodeSelector or spec.affinity",
    ),
    "spread": (
        "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.",
        "no node satisfies spec.topologySpreadConstraints",
    ),
    "image with a lock": (
        "ErrImagePull: failed to pull and unpack image: pull access denied, authorization failed: 401 unauthorized",
        "the registry does not let the node pull the image",
    ),
    "image that is not there": (
        'ImagePullBackOff: Back-off pulling image "pytorch-cuda:v9": not found',
        "the image cannot be pulled",
    ),
    "image that must not be pulled": (
        'ErrImageNeverPull: Container image "x" is not present with pull policy of Never',
        "the image is not on the node and must not be pulled",
    ),
    "Secret": (
        'CreateContainerConfigError: secret "hf" not found',
        "the Secret hf does not exist in this namespace",
    ),
    "ConfigMap": (
        'FailedMount: MountVolume.SetUp failed for volume "code" : configmap "digits-code" not found',
        "the ConfigMap digits-code does not exist in this namespace",
    ),
    "key": ("couldn't find key token in Secret team/hf", "the Secret team/hf has no key token"),
    "service account": (
        'pods "x" is forbidden: error looking up service account team/trainer: serviceaccount "trainer" not found',
        "the service account trainer does not exist in this namespace",
    ),
    "priority class": (
        'pods "x" is forbidden: no PriorityClass with name batch was found',
        "the priority class batch does not exist",
    ),
    "profile": (
        "WaitingForProfile: profile gpu is not there",
        "the profile gpu does not exist",
    ),
    "profile that does not fit": (
        "ProfileInvalid: profile gpu of namespace team: spec.x",
        "the profile gpu and the job together make no job that can be",
    ),
    "claim of somebody else": (
        "VolumeConflict: claim digits-checkpoints belongs to something else",
        "a claim of the name that the job needs belongs to something else",
    ),
    "predecessor": (
        "WaitingForPreviousPods: pods of a deleted job are still there",
        "objects of a deleted job of the same name are still there",
    ),
    "command": (
        'StartError: exec: "pyhton": executable file not found in $PATH',
        "the image does not have the command of the job",
    ),
}
FAILS = {
    "memory": (Failure(reason="OOMKilled", exit_code=137), "a worker used more memory than its limit"),
    "GPU memory": (Failure(reason="GpuOutOfMemory", exit_code=1), "a rank needed more GPU memory than was free"),
    "NaN": (Failure(reason="NonFiniteLoss", exit_code=1), "the loss became NaN or infinite"),
    "config": (Failure(reason="ConfigInvalid", exit_code=78), "spec.config does not fit the task's own settings"),
    "exception": (Failure(reason="Exception", exit_code=1), "the training code raised an exception"),
}


def waiting(message):
    condition = Condition(type="Reconciling", status="True", reason="Test")
    return with_status(job(), TrainingJobStatus(conditions=(condition,), phase="Pending", message=message))


@pytest.mark.parametrize("message, cause", WAITS.values(), ids=WAITS)
def test_what_a_job_waits_for_is_told_with_a_remedy(message, cause):
    found = hint(Seen(job=waiting(message), now=at(60)))

    assert found is not None
    assert cause == found.cause
    assert found.fix
    assert "{" not in found.cause + found.fix


@pytest.mark.parametrize("failure, cause", FAILS.values(), ids=FAILS)
def test_what_a_job_died_of_is_told_with_a_remedy(failure, cause):
    condition = Condition(type="Failed", status="True", reason="MaxRestartsReached")
    status = TrainingJobStatus(conditions=(condition,), restarts=Restarts(last=failure))

    found = hint(Seen(job=with_status(job(), status), now=at(60)))

    assert (cause, True) == (found.cause, bool(found.fix))


def test_every_rule_is_met_by_a_text_of_the_table():
    met = {
        next(number for number, rule in enumerate(hints._WAITING) if rule.pattern.search(message))
        for message, _ in WAITS.values()
    }

    assert set(range(len(hints._WAITING))) == met
    assert 15 <= len(met)
