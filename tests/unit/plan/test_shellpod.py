"""The pod for a shell of a manifest: what a worker has, and nothing by which it would count as one."""

from builders import job
from ganger.contract import LABEL_JOB_UID
from ganger.plan import pods
from ganger.plan.shellpod import pod

SPEC = {
    "image": "i:1",
    "config": {"lr": 0.1},
    "resources": {"limits": {"nvidia.com/gpu": "8", "memory": "64Gi"}},
    "env": [{"name": "HF_HOME", "value": "/data"}],
    "envFrom": [{"secretRef": {"name": "s"}}],
    "volumes": [{"name": "data", "claim": {"claimName": "data"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data/mine"}],
    "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10},
    "code": {"configMap": {"name": "code"}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}


def made(has_checkpoints=True, **spec):
    return pod(job(**SPEC | spec), "digits-shell-abc", seconds=60, has_checkpoints=has_checkpoints, fetcher="f:1")


def test_image_mounts_resources_and_placement_are_those_of_a_worker():
    shell, worker = made()["spec"], pods.pod(job(**SPEC), 0, 0)["spec"]
    ours, theirs = shell["containers"][0], worker["containers"][0]

    for field in ("image", "resources", "envFrom", "securityContext"):
        assert theirs[field] == ours[field]
    assert [one["mountPath"] for one in theirs["volumeMounts"]] == [one["mountPath"] for one in ours["volumeMounts"]]
    for field in ("volumes", "nodeSelector", "securityContext", "affinity", "automountServiceAccountToken"):
        assert worker[field] == shell[field]
    assert [{"key": "gpu", "operator": "Exists"}] == shell["tolerations"]
    env = {one["name"]: one["value"] for one in ours["env"]}
    assert ("/data", "/code", '{"lr":0.1}', "/checkpoints") == (
        env["HF_HOME"], env["PYTHONPATH"], env["GANGER_CONFIG"], env["GANGER_CHECKPOINT_DIR"],
    )  # fmt: skip


def test_it_is_no_worker_and_ends_by_itself():
    shell = made()

    assert {"ganger.dev/shell-of", "app.kubernetes.io/managed-by"} == set(shell["metadata"]["labels"])
    assert LABEL_JOB_UID not in str(shell)
    assert "ownerReferences" not in shell["metadata"]
    assert (60, ["sleep", "60"]) == (shell["spec"]["activeDeadlineSeconds"], shell["spec"]["containers"][0]["command"])
    assert "GANGER_RENDEZVOUS" not in str(shell)


def test_checkpoints_are_read_where_they_are_and_a_folder_where_they_are_not():
    def checkpoints(shell):
        (volume,) = [one for one in shell["spec"]["volumes"] if one["name"] == "ganger-checkpoints"]
        (mount,) = [one for one in shell["spec"]["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
        return volume, mount.get("readOnly", False)

    claim = {"name": "ganger-checkpoints", "persistentVolumeClaim": {"claimName": "digits-checkpoints"}}
    assert (claim, True) == checkpoints(made())
    assert ({"name": "ganger-checkpoints", "emptyDir": {}}, False) == checkpoints(made(has_checkpoints=False))


def test_data_with_a_digest_is_found_in_the_cache_and_other_data_is_the_pods_own():
    def cache(**source):
        shell = made(data=[{"name": "set", "url": "https://x.example/a"} | source], dataCache={"claimName": "cache"})
        (volume,) = [one for one in shell["spec"]["volumes"] if one["name"] == "ganger-data"]
        assert ["fetch"] == [one["args"][2].rpartition(".")[2] for one in shell["spec"]["initContainers"]]
        return volume

    assert {"claimName": "cache"} == cache(sha256="ab" * 32)["persistentVolumeClaim"]
    assert {} == cache()["emptyDir"]


def test_of_a_job_with_an_image_of_any_kind_data_is_fetched_by_ours():
    shell = made(task=None, command=["train"], data=[{"name": "set", "url": "https://x.example/a"}])

    assert ("f:1", "i:1") == (shell["spec"]["initContainers"][0]["image"], shell["spec"]["containers"][0]["image"])
