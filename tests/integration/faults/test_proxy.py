"""The proxy itself: without a plan it is transparent, and each fault is what its name says."""

import http.client
import json
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from apiclient import PODS, ApiClient, wait_for
from integration.faults.plan import FAULTS, Plan, Rule, load
from integration.faults.proxy import describe

pytestmark = pytest.mark.integration
CUT = (http.client.RemoteDisconnected, http.client.IncompleteRead, OSError)


def through(world, proxy):
    """A client that goes through the proxy."""
    return ApiClient(proxy.url, world.control_plane.ca, world.control_plane.token_for("admin"))


def pod(name):
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }


def watch(client, path, lines, found):
    """Collect so many lines of a watch in a thread."""
    version = client.call("GET", path)["metadata"]["resourceVersion"]

    def read():
        with client.open("GET", f"{path}?watch=1&resourceVersion={version}", timeout=20) as reply:
            for _ in range(lines):
                line = reply.readline()
                if not line:
                    return
                found.append(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_pass_through_gives_the_same_answers_and_events_as_the_server(world):
    proxy = world.proxy()
    client = through(world, proxy)
    direct_events, events = [], []
    threads = [watch(world.api, world.pods, 3, direct_events), watch(client, world.pods, 3, events)]
    wait_for(lambda: proxy.seen("watch", "pods"))
    created = client.create(world.pods, pod("a"))
    client.merge(f"{world.pods}/a", {"metadata": {"labels": {"x": "y"}}})
    assert world.api.get(f"{world.pods}/a") == client.get(f"{world.pods}/a")
    assert world.api.call("GET", f"{world.pods}?limit=1") == client.call("GET", f"{world.pods}?limit=1")
    assert client.get(f"{world.pods}/b") is None
    with pytest.raises(urllib.error.HTTPError) as conflict:
        client.create(world.pods, pod("a"))
    assert 409 == conflict.value.code
    assert "AlreadyExists" == json.loads(conflict.value.read())["reason"]
    client.delete(f"{world.pods}/a", gracePeriodSeconds=0)
    for thread in threads:
        thread.join(10)

    assert created["metadata"]["name"] == "a"
    assert 3 == len(events)
    assert direct_events == events
    assert ["watch", "create", "patch"] == [
        s.verb for s in proxy.seen(resource="pods") if s.verb not in ("list", "get")
    ][:3]


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (Rule(fault="status", code=409), 409),
        (Rule(fault="status", code=429, retry_after=7), 429),
        (Rule(fault="html_502"), 502),
    ],
    ids=lambda value: getattr(value, "fault", value),
)
def test_answers_in_place_of_the_servers_reach_the_client_alone(world, rule, status):
    client = through(world, world.proxy(rule))
    with pytest.raises(urllib.error.HTTPError) as error:
        client.create(world.pods, pod("a"))
    assert status == error.value.code
    assert rule.retry_after == (
        int(error.value.headers["Retry-After"]) if "Retry-After" in error.value.headers else None
    )
    assert world.api.get(f"{world.pods}/a") is None


@pytest.mark.parametrize(("fault", "is_made"), [("drop_connection", False), ("answer_lost", True)])
def test_lost_connection_is_lost_before_or_after_the_server_acted(world, fault, is_made):
    client = through(world, world.proxy(Rule(fault=fault)))
    with pytest.raises(CUT):
        client.create(world.pods, pod("a"))
    assert is_made == (world.api.get(f"{world.pods}/a") is not None)


def test_slow_answers_come_whole(world):
    client = through(world, world.proxy(Rule(fault="slow_body", seconds=0.4), Rule(fault="delay", seconds=0.4)))
    started = time.monotonic()
    assert "PodList" == client.call("GET", world.pods)["kind"]
    assert time.monotonic() - started > 0.35


def test_half_open_says_nothing(world):
    client = through(world, world.proxy(Rule(fault="half_open")))
    with pytest.raises(OSError, match="timed out"):
        client.call("GET", world.pods, timeout=0.5)


def test_list_of_a_mark_is_served_again_until_another_mark(world):
    proxy = world.proxy()
    client = through(world, proxy)
    assert [] == client.items(world.pods)
    proxy.mark("then")
    proxy.add(Rule(fault="serve_old", frozen="then", until="now"))
    world.api.create(world.pods, pod("a"))
    assert [] == client.items(world.pods)
    proxy.mark("now")
    wait_for(lambda: len(client.items(world.pods)) == 1)


@pytest.mark.parametrize(
    ("rule", "types"),
    [
        (Rule(fault="dup_event", verb="watch"), ["ADDED", "ADDED"]),
        (Rule(fault="unknown_event", verb="watch"), ["NEWS", "ADDED"]),
        (Rule(fault="error_event", verb="watch", code=410), ["ERROR"]),
        (Rule(fault="bookmark_only", verb="watch"), []),
        (Rule(fault="close", verb="watch", seconds=0.2), ["ADDED"]),
        (Rule(fault="torn_line", verb="watch"), [None]),
        (Rule(fault="half_open", verb="watch", lines=1), ["ADDED"]),
        (Rule(fault="empty_body", verb="watch"), []),
    ],
    ids=lambda value: value.fault if isinstance(value, Rule) else "",
)
def test_faults_of_a_watch(world, rule, types):
    client = through(world, world.proxy(rule))
    found = []
    thread = watch(client, world.pods, 2, found)
    time.sleep(0.1)
    world.api.create(world.pods, pod("a"))
    thread.join(1.0)
    assert types == [_type(line) for line in found][: max(len(types), 1)]


def _type(line):
    try:
        return json.loads(line)["type"]
    except ValueError:
        return None


def test_held_lines_come_at_the_mark_and_in_order(world):
    proxy = world.proxy(Rule(fault="hold", verb="watch", event="ADDED", name="b", until="mark"))
    found = []

    def added():
        events = [json.loads(line) for line in list(found)]
        return [event["object"]["metadata"]["name"] for event in events if event["type"] == "ADDED"]

    thread = watch(through(world, proxy), world.pods, 6, found)  # the scheduler adds lines of its own
    wait_for(lambda: proxy.seen("watch"))
    for name in ("a", "b", "c"):
        world.api.create(world.pods, pod(name))
    wait_for(added)
    thread.join(0.3)
    assert ["a"] == added()
    proxy.mark("mark")
    wait_for(lambda: added() == ["a", "b", "c"])


def test_plan_of_a_seed_is_the_same_every_time(tmp_path):
    plan = Plan([Rule(fault="status", code=503, share=0.3, resource="pods", skip=2, times=20)], seed=5)
    (tmp_path / "plan.yaml").write_text(plan.to_yaml())
    again = load(tmp_path / "plan.yaml")
    first, second = ([bool(p.choose("get", "pods", "x")) for _ in range(100)] for p in (plan, again))
    assert first == second
    assert 20 == sum(first)


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "plans").glob("*.yaml")), ids=lambda path: path.stem)
def test_kept_plans_are_plans(path):
    assert all(rule.fault in FAULTS for rule in load(path).rules)


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", PODS.format(namespace="n"), {}, ("list", "pods", "")),
        ("GET", "/api/v1/pods", {"watch": "true"}, ("watch", "pods", "")),
        ("GET", "/api/v1/namespaces/n", {}, ("get", "namespaces", "n")),
        ("PATCH", "/apis/g/v1/namespaces/n/trainingjobs/j/status", {}, ("patch", "trainingjobs/status", "j")),
        ("POST", PODS.format(namespace="n"), {}, ("create", "pods", "")),
    ],
)
def test_request_is_described_as_the_api_server_would(method, path, query, expected):
    assert expected == describe(method, path, query)
