"""Every verb of the client, and each error by its class, against the real API server."""

import asyncio
import json
import ssl

import pytest

from ganger.kube.access import Access, FileToken
from ganger.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from ganger.kube.http import HttpCluster
from ganger.kube.resources import CLAIMS, LEASES, PODS, SERVICES, Resource

pytestmark = pytest.mark.integration
CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
QUOTAS = Resource(group="", version="v1", plural="resourcequotas", kind="ResourceQuota")
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name, **spec):
    container = {"name": "c", "image": "x"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]} | spec}


async def test_pages_show_one_snapshot(cluster, namespace):
    for name in "abcde":
        await cluster.create(CONFIG_MAPS, namespace, config(name))
    first = json.loads(await cluster.list(CONFIG_MAPS, namespace, limit=2))
    await cluster.create(CONFIG_MAPS, namespace, config("a-late"))
    names, versions, token = [], set(), ""
    while True:
        page = first if not names else json.loads(await cluster.list(CONFIG_MAPS, namespace, limit=2, continue_=token))
        names += [item["metadata"]["name"] for item in page["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]
        versions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if not token:
            break

    assert list("abcde") == names
    assert 1 == len(versions)


async def test_a_create_returns_the_identity_and_a_second_one_is_refused(cluster, namespace):
    written = await cluster.create(CONFIG_MAPS, namespace, config("a"))
    read = json.loads(await cluster.get(CONFIG_MAPS, namespace, "a"))["metadata"]

    assert (read["uid"], read["resourceVersion"]) == (written.uid, written.resource_version)
    with pytest.raises(AlreadyExists):
        await cluster.create(CONFIG_MAPS, namespace, config("a"))


async def test_an_unknown_field_is_invalid_and_named(cluster, namespace):
    with pytest.raises(Invalid, match="restartPolicyy"):
        await cluster.create(PODS, namespace, pod("a", restartPolicyy="Never"))


async def test_a_value_out_of_bounds_is_invalid_with_its_field(cluster, namespace):
    with pytest.raises(Invalid) as caught:
        await cluster.create(PODS, namespace, pod("a", restartPolicy="Sometimes"))

    assert "spec.restartPolicy" in [cause.field for cause in caught.value.causes]


async def test_an_apply_without_force_meets_the_other_manager_and_with_force_wins(cluster, namespace):
    await cluster.create(CONFIG_MAPS, namespace, config("a", colour="red"))
    await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"colour": "green"}})
    # The client has one manager for all its writes: the other one comes from outside.
    path = CONFIG_MAPS.path(namespace, "a")
    async with cluster._writes.patch(
        cluster._url + path,
        params={"fieldManager": "stranger"},
        data=b'{"data":{"colour":"blue"}}',
        headers=dict(await cluster.access.headers()) | {"Content-Type": "application/merge-patch+json"},
        **cluster._route(),
    ) as answer:
        assert 200 == answer.status

    with pytest.raises(Conflict) as caught:
        await cluster.apply(CONFIG_MAPS, namespace, "a", config("a", colour="red"), force=False)
    assert "stranger" in caught.value.message
    await cluster.apply(CONFIG_MAPS, namespace, "a", config("a", colour="red"))
    assert {"colour": "red"} == json.loads(await cluster.get(CONFIG_MAPS, namespace, "a"))["data"]


@pytest.mark.parametrize("verb", ["apply", "update", "patch"])
async def test_a_write_to_an_old_version_is_a_conflict(cluster, namespace, verb):
    first = await cluster.create(CONFIG_MAPS, namespace, config("a", n="1"))
    await cluster.patch(CONFIG_MAPS, namespace, "a", {"data": {"n": "2"}})
    old = config("a", n="3")
    old["metadata"]["resourceVersion"] = first.resource_version

    with pytest.raises(Conflict):
        await getattr(cluster, verb)(CONFIG_MAPS, namespace, "a", old)
    assert {"n": "2"} == json.loads(await cluster.get(CONFIG_MAPS, namespace, "a"))["data"]


async def test_a_deletion_of_another_uid_is_a_conflict_and_of_nothing_not_found(cluster, namespace):
    written = await cluster.create(CONFIG_MAPS, namespace, config("a"))
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "a", uid="another")
    await cluster.delete(CONFIG_MAPS, namespace, "a", uid=written.uid)
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAPS, namespace, "a", uid=written.uid)
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, namespace, "a")


async def test_a_status_is_patched_beside_the_spec(cluster, namespace):
    await cluster.create(PODS, namespace, pod("a"))
    await cluster.patch_status(PODS, namespace, "a", {"status": {"message": "said"}})

    assert "said" == json.loads(await cluster.get(PODS, namespace, "a"))["status"]["message"]


async def test_a_full_quota_is_told_from_other_refusals(cluster, namespace):
    hard = {"pods": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    await cluster.create(QUOTAS, namespace, quota)
    await cluster.patch_status(QUOTAS, namespace, "q", {"status": {"hard": hard, "used": {"pods": "0"}}})

    async def refused():
        try:
            written = await cluster.create(PODS, namespace, pod("a"))
        except Forbidden as error:
            return error
        await cluster.delete(PODS, namespace, "a", uid=written.uid, grace_seconds=0)
        return None

    async with asyncio.timeout(10):
        while (error := await refused()) is None:  # noqa: ASYNC110 - admission works from a cache of its own
            await asyncio.sleep(0.1)
    assert error.is_quota
    assert not error.is_namespace_terminating


async def test_a_terminating_namespace_is_told_from_other_refusals(cluster, namespace):
    held = config("held")
    held["metadata"]["finalizers"] = ["ganger.dev/test"]
    await cluster.create(CONFIG_MAPS, namespace, held)
    found = json.loads(await cluster.get(NAMESPACES, None, namespace))
    await cluster.delete(NAMESPACES, None, namespace, uid=found["metadata"]["uid"])

    with pytest.raises(Forbidden) as caught:
        await cluster.create(CONFIG_MAPS, namespace, config("late"))
    assert caught.value.is_namespace_terminating
    await cluster.patch(CONFIG_MAPS, namespace, "held", {"metadata": {"finalizers": []}})


async def test_a_token_that_was_renewed_in_its_file_is_used_after_one_refusal(control_plane, namespace, tmp_path):
    path = tmp_path / "token"
    path.write_text("expired")
    tls = ssl.create_default_context(cafile=str(control_plane.ca))
    async with HttpCluster(Access(url=control_plane.url, token=FileToken(path), tls=tls)) as cluster:
        with pytest.raises(Unauthorized):
            await cluster.list(PODS, namespace)
        path.write_text(control_plane.token_for("ganger"))

        assert b"PodList" in await cluster.list(PODS, namespace)


async def test_a_watch_is_accepted_then_tells_changes_then_ends(cluster, namespace):
    version = json.loads(await cluster.list(CONFIG_MAPS, namespace))["metadata"]["resourceVersion"]
    lines = cluster.watch(CONFIG_MAPS, namespace, resource_version=version, timeout_seconds=1)
    assert await anext(lines) == b""
    written = await cluster.create(CONFIG_MAPS, namespace, config("a"))
    events = [json.loads(line) async for line in lines]
    ours = next(event for event in events if event["object"]["metadata"].get("name") == "a")

    assert ("ADDED", written.resource_version) == (ours["type"], ours["object"]["metadata"]["resourceVersion"])


async def test_discovery_tells_what_is_served(cluster):
    assert {"leases"} <= (await cluster.discover("coordination.k8s.io"))["v1"]
    assert {"pods", "services"} <= (await cluster.discover(""))["v1"]
    assert await cluster.discover("nobody.example") == {}
    assert await cluster.version() >= (1, 31)


async def test_the_servers_clock_is_learnt_from_its_answers(cluster, namespace):
    for _ in range(5):
        await cluster.list(LEASES, namespace)

    assert abs(cluster.server_offset_seconds()) < 1.0


async def test_our_requests_are_known_by_their_name_and_manager(cluster, namespace, control_plane):
    await cluster.create(CLAIMS, namespace, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })  # fmt: skip
    fields = json.loads(await cluster.get(CLAIMS, namespace, "c"))["metadata"]["managedFields"]
    audit = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    agents = {entry["userAgent"] for entry in audit if entry["user"].get("username") == "ganger"}

    assert {"ganger"} == {field["manager"] for field in fields}
    assert all(agent.startswith("ganger/") for agent in agents)
    assert agents


async def test_hundred_creates_at_once_all_arrive(cluster, namespace):
    await asyncio.gather(*(cluster.create(CONFIG_MAPS, namespace, config(f"n-{n}")) for n in range(100)))
    page = json.loads(await cluster.list(CONFIG_MAPS, namespace, limit=0))

    assert 100 == sum(item["metadata"]["name"].startswith("n-") for item in page["items"])
    assert b"ServiceList" in await cluster.list(SERVICES, namespace)
