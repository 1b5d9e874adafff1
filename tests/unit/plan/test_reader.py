"""The pod that shows a job's files: its volumes and image, and nothing by which it would count as a worker."""

from builders import job
from ganger.contract import LABEL_JOB_UID
from ganger.plan.reader import reader

SPEC = {
    "image": "i:1",
    "resources": {"limits": {"nvidia.com/gpu": "8", "memory": "64Gi"}},
    "env": [{"name": "HF_TOKEN", "value": "secret"}],
    "volumes": [{"name": "data", "claim": {"claimName": "data"}}, {"name": "s", "secret": {"name": "s"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "s", "mountPath": "/s"}],
    "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10},
    "nodeSelector": {"disk": "ssd"},
}


def test_it_has_the_claims_of_the_job_for_reading_and_none_of_its_secrets_or_gpus():
    made = reader(job(**SPEC), "digits-files-abc", writes=False)
    container = made["spec"]["containers"][0]

    assert {"ganger-tmp", "ganger-shm", "ganger-checkpoints", "data"} == {
        one["name"] for one in made["spec"]["volumes"]
    }
    assert {"/checkpoints": True, "/data": True} == {
        one["mountPath"]: one.get("readOnly", False)
        for one in container["volumeMounts"]
        if one["name"] in ("ganger-checkpoints", "data")
    }
    assert ("i:1", ["sleep", "3600"]) == (container["image"], container["command"])
    assert not {"env", "envFrom", "args", "ports"} & set(container)
    assert "nvidia.com/gpu" not in str(made)
    assert {"disk": "ssd"} == made["spec"]["nodeSelector"]


def test_it_may_write_where_that_is_asked_for():
    mounts = reader(job(**SPEC), "x", writes=True)["spec"]["containers"][0]["volumeMounts"]

    assert not any(one.get("readOnly") for one in mounts)


def test_it_is_no_worker_and_goes_with_the_job():
    made = reader(job(**SPEC), "x", writes=False)

    assert LABEL_JOB_UID not in made["metadata"]["labels"]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (job(**SPEC).metadata.uid, None) == (owner["uid"], owner.get("controller"))
    assert 3600 == made["spec"]["activeDeadlineSeconds"]
    assert True is made["spec"]["securityContext"]["runAsNonRoot"]
    assert True is made["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
