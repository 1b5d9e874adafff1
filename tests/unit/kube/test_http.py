import asyncio
import logging

import pytest

from ganger import __version__
from ganger.kube.access import Access, FileToken, NoToken
from ganger.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
)
from ganger.kube.http import HttpCluster
from ganger.kube.resources import LEASES, PODS, TRAINING_JOBS
from unit.kube.scripted import answering, cut, hang, page, pod, status

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}
PODS_PATH = "/api/v1/namespaces/ns/pods"


async def test_create_is_strict_and_returns_the_metadata(server, cluster):
    server.on(f"POST {PODS_PATH}", answering(201, pod("a", 7, owner="u1")))

    meta = await cluster.create(PODS, "ns", POD)

    assert ("uid-a", "7", "u1") == (meta.uid, meta.resource_version, meta.controller_uid)
    (request,) = server.requests
    assert {"fieldManager": "ganger", "fieldValidation": "Strict"} == request.query
    assert POD == request.json
    assert f"ganger/{__version__}" == request.headers["user-agent"]


async def test_apply_is_server_side_forced_and_strict(server, cluster):
    path = "/apis/ganger.dev/v1alpha1/namespaces/ns/trainingjobs/j/status"
    server.on(f"PATCH {path}", answering(200, pod("j", 9)))

    meta = await cluster.apply(TRAINING_JOBS, "ns", "j", b'{"status":{}}', subresource="status")

    assert "9" == meta.resource_version
    (request,) = server.requests
    assert {"fieldManager": "ganger", "fieldValidation": "Strict", "force": "true"} == request.query
    assert "application/apply-patch+yaml" == request.headers["content-type"]


async def test_patch_status_merges_into_the_subresource(server, cluster):
    server.on("PATCH", answering(200, pod("j", 9)))

    await cluster.patch_status(TRAINING_JOBS, "ns", "j", {"metadata": {"resourceVersion": "8"}, "status": {}})

    (request,) = server.requests
    assert "/apis/ganger.dev/v1alpha1/namespaces/ns/trainingjobs/j/status" == request.path
    assert "application/merge-patch+json" == request.headers["content-type"]


async def test_delete_carries_the_uid_as_precondition(server, cluster):
    server.on(f"DELETE {PODS_PATH}/a", answering(200, status(200, "")))

    await cluster.delete(PODS, "ns", "a", uid="u", grace_seconds=0)

    assert {"uid": "u"} == server.requests[0].json["preconditions"]
    assert server.requests[0].json["gracePeriodSeconds"] == 0


async def test_list_asks_without_a_resource_version_and_in_pages(server, cluster):
    server.on(f"GET {PODS_PATH}", answering(200, page(5)))

    await cluster.list(PODS, "ns", label_selector="a=b", limit=2, continue_="t")

    assert {"labelSelector": "a=b", "limit": "2", "continue": "t"} == server.requests[0].query


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
        (302, "", ApiError),
    ],
)
async def test_an_answer_becomes_the_error_of_its_meaning(server, cluster, code, reason, expected):
    server.on("POST", answering(code, status(code, reason, "because")))

    with pytest.raises(ApiError) as caught:
        await cluster.create(PODS, "ns", POD)

    assert type(caught.value) is expected
    assert (code, "because") == (caught.value.status, caught.value.message)


async def test_retry_after_is_kept_for_the_caller(server, cluster):
    server.on("POST", answering(429, status(429, "TooManyRequests"), ["Retry-After: 7"]))

    with pytest.raises(Throttled) as caught:
        await cluster.create(PODS, "ns", POD)

    assert caught.value.retry_after_seconds == 7.0


async def test_a_write_that_failed_is_not_sent_again(server, cluster):
    server.on("POST", answering(429, status(429, "TooManyRequests")))
    server.on("PATCH", cut)

    with pytest.raises(Throttled):
        await cluster.create(PODS, "ns", POD)
    with pytest.raises(Unreachable):
        await cluster.apply(PODS, "ns", "a", POD)

    assert len(server.requests) == 2


@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_a_write_on_a_kept_connection_that_was_closed_is_not_sent_again(server, cluster, verb):
    server.on("POST", answering(201, pod("a", 1)))
    server.on("PUT", cut)
    server.on("DELETE", cut)
    await cluster.create(PODS, "ns", POD)

    with pytest.raises(Unreachable):
        await (cluster.update(PODS, "ns", "a", POD) if verb == "update" else cluster.delete(PODS, "ns", "a", uid="u"))

    assert len(server.requests) == 2


async def test_a_page_of_html_leaves_nothing_but_its_size(server, cluster):
    server.on("POST", answering(502, b"<html>token=SECRET</html>"))

    with pytest.raises(ServerError) as caught:
        await cluster.create(PODS, "ns", POD)

    assert "SECRET" not in str(caught.value)
    assert "25 bytes" in str(caught.value)


async def test_an_html_page_with_status_200_is_a_server_error(server, cluster):
    server.on("POST", answering(200, b"<html>"))

    with pytest.raises(ServerError):
        await cluster.create(PODS, "ns", POD)


async def test_a_long_message_is_cut(server, cluster):
    server.on("POST", answering(422, status(422, "Invalid", "x" * 100_000)))

    with pytest.raises(Invalid) as caught:
        await cluster.create(PODS, "ns", POD)

    assert len(str(caught.value)) < 600


async def test_causes_name_the_fields_and_a_terminating_namespace(server, cluster):
    causes = [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]
    server.on("POST", answering(403, status(403, "Forbidden", "exceeded quota: q", causes=causes)))

    with pytest.raises(Forbidden) as caught:
        await cluster.create(PODS, "ns", POD)

    assert caught.value.is_namespace_terminating
    assert caught.value.is_quota
    assert "metadata.namespace" == caught.value.causes[0].field


async def test_a_server_that_hangs_is_unreachable_within_the_call_limit(server, cluster):
    server.on("GET", hang)
    started = asyncio.get_running_loop().time()

    with pytest.raises(Unreachable):
        await cluster.get(PODS, "ns", "a")

    assert asyncio.get_running_loop().time() - started < 0.6


async def test_a_server_that_is_down_is_unreachable(server, cluster):
    await server.stop()

    with pytest.raises(Unreachable):
        await cluster.get(PODS, "ns", "a")


async def test_the_token_file_is_read_again_after_a_minute(server, tmp_path):
    path, now = tmp_path / "token", [0.0]
    path.write_text("one\n")
    server.on("GET", answering(200, pod("a", 1)))
    token = FileToken(path, monotonic=lambda: now[0])
    async with HttpCluster(Access(url=server.url, token=token)) as cluster:
        await cluster.get(PODS, "ns", "a")
        path.write_text("two\n")
        await cluster.get(PODS, "ns", "a")
        now[0] = 60.0
        await cluster.get(PODS, "ns", "a")

    assert ["Bearer one", "Bearer one", "Bearer two"] == [r.headers["authorization"] for r in server.requests]


async def test_a_refused_token_is_read_again_at_once(server, tmp_path):
    path = tmp_path / "token"
    path.write_text("old")
    server.on("GET", answering(401, status(401, "Unauthorized")), answering(200, pod("a", 1)))
    async with HttpCluster(Access(url=server.url, token=FileToken(path))) as cluster:
        with pytest.raises(Unauthorized):
            await cluster.get(PODS, "ns", "a")
        path.write_text("new")
        await cluster.get(PODS, "ns", "a")

    assert "Bearer new" == server.requests[1].headers["authorization"]


async def test_a_token_file_that_vanishes_for_a_moment_costs_nothing(tmp_path):
    path, now = tmp_path / "token", [0.0]
    path.write_text("one")
    token = FileToken(path, monotonic=lambda: now[0])
    await token.header()
    path.unlink()
    now[0] = 61.0

    assert await token.header() == "Bearer one"


async def test_a_missing_token_file_is_an_api_error_that_names_it(server, tmp_path):
    async with HttpCluster(Access(url=server.url, token=FileToken(tmp_path / "none"))) as cluster:
        with pytest.raises(Unauthorized, match="none cannot be read"):
            await cluster.get(PODS, "ns", "a")


async def test_the_lease_has_a_connection_of_its_own(server):
    release = asyncio.Event()

    async def slow(request):
        await release.wait()
        await request.answer(200, pod("a", 1))

    server.on(f"GET {PODS_PATH}/a", slow)
    server.on(f"GET {LEASES.path('ns', 'l')}", answering(200, pod("l", 1)))
    async with HttpCluster(Access(url=server.url, token=NoToken()), pool=1) as cluster:
        waiting = [asyncio.create_task(cluster.get(PODS, "ns", "a")) for _ in range(3)]
        await asyncio.sleep(0.02)
        await asyncio.wait_for(cluster.get(LEASES, "ns", "l"), 0.5)
        release.set()
        await asyncio.gather(*waiting)

    assert server.seen(f"GET {LEASES.path('ns', 'l')}")[0].connection != server.seen(f"GET {PODS_PATH}/a")[0].connection


async def test_many_requests_are_in_flight_at_once(server):
    inside, most = [0], [0]

    async def slow(request):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        await asyncio.sleep(0.05)
        inside[0] -= 1
        await request.answer(200, pod("a", 1))

    server.on("GET", slow)
    async with HttpCluster(Access(url=server.url, token=NoToken())) as cluster:
        await asyncio.gather(*(cluster.get(PODS, "ns", "a") for _ in range(64)))

    assert most[0] == 64


async def test_discovery_tells_what_each_version_serves(server, cluster):
    server.on(
        "GET /apis/g.io", answering(200, {"versions": [{"groupVersion": "g.io/v1"}, {"groupVersion": "g.io/v2"}]})
    )
    server.on("GET /apis/g.io/v1", answering(200, {"resources": [{"name": "as"}, {"name": "as/status"}]}))
    server.on("GET /apis/g.io/v2", answering(200, {"resources": []}))

    assert {"v1": frozenset({"as"}), "v2": frozenset()} == await cluster.discover("g.io")
    assert {} == await cluster.discover("absent.io")


async def test_the_server_offset_follows_the_date_header(server, cluster):
    server.on("GET", answering(200, pod("a", 1), ["Date: Thu, 01 Jan 2099 00:00:00 GMT"]))
    assert cluster.server_offset_seconds() == 0.0

    await cluster.get(PODS, "ns", "a")

    assert cluster.server_offset_seconds() > 3600


async def test_calls_are_observed_with_their_result(server):
    seen = []
    server.on("GET", answering(200, pod("a", 1)), answering(404, status(404, "NotFound")))
    observe = lambda verb, plural, result, _: seen.append((verb, plural, result))  # noqa: E731
    async with HttpCluster(Access(url=server.url, token=NoToken()), observe=observe) as cluster:
        await cluster.get(PODS, "ns", "a")
        with pytest.raises(NotFound):
            await cluster.get(PODS, "ns", "b")

    assert [("get", "pods", "ok"), ("get", "pods", "not_found")] == seen


async def test_nothing_secret_is_logged(server, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text("canary-token")
    server.on("POST", answering(500, b"canary-body"))
    async with HttpCluster(Access(url=server.url, token=FileToken(tmp_path / "token"))) as cluster:
        with pytest.raises(ServerError):
            await cluster.create(PODS, "ns", POD)

    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("told", "expected"),
    [({"major": "1", "minor": "37"}, (1, 37)), ({"major": "1", "minor": "36+"}, (1, 36)), ({}, (0, 0))],
)
async def test_the_version_of_the_server_is_two_numbers(server, cluster, told, expected):
    server.on("GET /version", answering(200, told))

    assert expected == await cluster.version()


async def test_whoever_acts_as_another_says_so_with_every_request(server):
    server.on("GET", answering(200, page(5)))
    access = Access(url=server.url, token=NoToken(), act_as="ann", act_as_groups=("team", "ops"))
    async with HttpCluster(access) as cluster:
        await cluster.list(PODS, "ns")

    assert ("ann", "ops") == tuple(
        server.requests[0].headers[name] for name in ("impersonate-user", "impersonate-group")
    )  # the script keeps the last of several headers of one name


async def test_a_rehearsal_is_a_create_that_stores_nothing(server, cluster):
    server.on(f"POST {PODS_PATH}", answering(201, pod("a", 7)))

    body = await cluster.rehearse(PODS, "ns", POD)

    assert {"fieldManager": "ganger", "fieldValidation": "Strict", "dryRun": "All"} == server.requests[0].query
    assert b'"uid-a"' in body.replace(b" ", b"")


async def test_what_the_server_warns_of_is_handed_on(server):
    async def warning(request):
        headers = ['Warning: 299 - "old \\"thing\\" is deprecated", 299 - "and more"', 'Warning: 110 - "stale"']
        await request.answer(200, page(1), headers)

    server.on("GET", warning)
    told: list[str] = []
    async with HttpCluster(Access(url=server.url, token=NoToken()), warn=told.append) as cluster:
        await cluster.list(PODS, "ns")

    assert ['old "thing" is deprecated', "and more"] == told
