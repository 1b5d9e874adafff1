"""The data of a job in its pods: who fetches, what a worker sees, and what a failed fetch does to the job."""

import json

import pytest

from builders import at, job, pod
from ganger import contract
from ganger.plan import data, pods
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.report import terminated
from ganger.plan.seen import Seen
from ganger.plan.site import Site
from ganger.plan.waiting import waiting

URL = "https://data.example.org/corpus.tar.gz"
DIGEST = "9" * 64


def of(name: str = "corpus", **fields):
    return {"name": name, "url": URL, "sha256": DIGEST} | fields


def init(job_, **fields):
    (found,) = pods.pod(job_, 0, 0, **fields)["spec"]["initContainers"]
    return found


def mounts(container) -> dict:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def test_a_job_without_a_url_has_no_container_that_fetches():
    claims = [
        {"name": "a", "claim": {"claimName": "sets", "path": "imagenet"}},
        {"name": "b", "image": {"reference": "r/d:1"}},
    ]
    manifest = pods.pod(job(data=claims), 0, 0)
    seen = mounts(manifest["spec"]["containers"][0])

    assert "initContainers" not in manifest["spec"]
    assert {"name": "ganger-data-a", "mountPath": "/data/a", "readOnly": True, "subPath": "imagenet"} == seen["/data/a"]
    assert {"name": "ganger-data-b", "mountPath": "/data/b", "readOnly": True} == seen["/data/b"]
    assert all("GANGER_DATA" != entry["name"] for entry in manifest["spec"]["containers"][0]["env"])


def test_what_is_fetched_is_mounted_where_it_will_be_and_cannot_be_written():
    a_job = job(data=[of()], dataCache={"claimName": "cache", "path": "sets"})
    spec = pods.pod(a_job, 0, 0)["spec"]
    key = data.key(a_job, a_job.spec.data[0])
    volume = {"name": "ganger-data", "persistentVolumeClaim": {"claimName": "cache"}}

    assert volume in spec["volumes"]
    place = {"name": "ganger-data", "mountPath": "/data/corpus", "readOnly": True, "subPath": f"sets/{key}/files"}
    assert place == mounts(spec["containers"][0])["/data/corpus"]
    assert {"name": "ganger-data", "mountPath": "/data-cache"} == mounts(init(a_job))["/data-cache"]
    assert {"name": "GANGER_DATA_CACHE", "value": "/data-cache/sets"} in init(a_job)["env"]
    assert {"name": "GANGER_DATA_DIR", "value": "/data"} in spec["containers"][0]["env"]


def test_secrets_are_files_of_the_container_that_fetches_and_of_no_other():
    a_job = job(data=[of(secretName="hush", caConfigMap="ca")], env=[{"name": "HTTPS_PROXY", "value": "http://p:1"}])
    spec = pods.pod(a_job, 0, 0)["spec"]
    found = init(a_job)
    (order,) = json.loads({entry["name"]: entry["value"] for entry in found["env"]}["GANGER_DATA_ORDERS"])

    assert {"/data-cache", "/data-access/corpus/secret", "/data-access/corpus/ca"} == set(mounts(found))
    assert "/data-access/corpus/secret" == order["secret"]
    assert "/data-access/corpus/ca/ca.crt" == order["authority"]
    assert set(contract.DATA_ORDER_KEYS) == set(order)
    assert not any("access" in mount["name"] for mount in spec["containers"][0]["volumeMounts"])
    assert {
        "GANGER_DATA_ORDERS",
        "GANGER_DATA_CACHE",
        "GANGER_DATA_HOLDER",
        "GANGER_TERMINATION_LOG",
        "HTTPS_PROXY",
    } == {entry["name"] for entry in found["env"]}
    assert spec["containers"][0]["securityContext"] == found["securityContext"]


def test_volumes_have_names_of_their_own_whatever_data_is_called():
    sources = [
        of("x", secretName="s"),
        of("x-secret"),
        of("x-secret-ca", claim={"claimName": "c"}, url=None, sha256=None),
    ]
    names = [volume["name"] for volume in pods.pod(job(data=sources), 0, 0)["spec"]["volumes"]]

    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for name in names)


def test_the_container_that_fetches_asks_for_what_the_worker_has_and_for_no_device():
    resources = {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": 8}}
    found = init(job(data=[of()], resources=resources))

    assert {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}} == found["resources"]


def test_with_a_digest_jobs_share_a_folder_and_without_one_each_has_its_own():
    def key(uid: str, **fields) -> str:
        a_job = job(uid=uid, data=[of(**fields)])
        return data.key(a_job, a_job.spec.data[0])

    assert key("a") == key("b")
    assert key("a", sha256=None) != key("b", sha256=None)
    assert key("a", name="other") == key("a")
    assert 4 == len({key("a"), key("a", unpack="None"), key("a", url=f"{URL}x"), key("a", sha256="8" * 64)})


def test_a_command_in_an_image_of_its_own_is_served_by_the_operators():
    site = Site(image="pytorch-cuda:v2.15")

    assert "pytorch-cuda:v2.15" == init(job(data=[of()], image="mine:1", task=None, command=["x"]), site=site)["image"]
    assert "mine:1" == init(job(data=[of()], image="mine:1"), site=site)["image"]


def test_a_probe_fetches_nothing_and_makes_no_folder():
    manifest = pods.probe(job(data=[of()], elastic={"minWorkers": 1, "maxWorkers": 4}), 0, 3)

    assert "initContainers" not in manifest["spec"]
    assert "/data/corpus" not in mounts(manifest["spec"]["containers"][0])


def fetching(job_, worker: int, state: dict, phase: str = "Pending"):
    """A pod whose container that fetches is in that state, and whose worker waits for it."""
    import msgspec

    from ganger.api.observed import ContainerStatus

    found = pod(job_, worker, phase=phase, waiting=("PodInitializing", ""))
    one = msgspec.convert({"name": contract.DATA_CONTAINER, "state": state}, ContainerStatus)
    return msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, init_container_statuses=(one,)))


def test_while_it_is_fetched_the_job_says_so():
    a_job = job(data=[of()])
    found = waiting(gang((fetching(a_job, 0, {"running": {}}), pod(a_job, 1)), 0, 2))

    assert "FetchingData" == found.reason
    assert "kubectl logs digits-0-0 -c ganger-data" in found.message


@pytest.mark.parametrize(
    ("code", "reason", "phase"),
    [(66, "DataRefused", "Failed"), (65, "DataDigest", "Failed"), (1, "DataUnreachable", "Restarting")],
)
def test_a_failed_fetch_is_a_failure_of_the_worker(code, reason, phase):
    a_job = job(data=[of()], failurePolicy={"maxRestarts": 3})
    said = {"outcome": "UserError" if code != 1 else "Failed", "reason": reason, "message": "the server says no"}
    end = {"terminated": {"exitCode": code, "reason": "Error", "message": json.dumps(said), "finishedAt": at(9)}}
    failed = fetching(a_job, 0, end, phase="Failed")

    decision = decide(a_job, Seen(pods=(failed, pod(a_job, 1))), at(10))

    assert code == terminated(failed).exit_code
    assert decision.status is not None
    assert (phase, reason) == (decision.status.phase, decision.status.restarts.last.reason)


def test_a_fetch_that_went_well_is_no_end_of_the_worker():
    a_job = job(data=[of()])

    assert terminated(fetching(a_job, 0, {"terminated": {"exitCode": 0}})) is None
