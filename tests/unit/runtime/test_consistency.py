from datetime import UTC, datetime

import pytest

from ganger.api.observed import Metadata, Pod
from ganger.kube.resources import PODS, SERVICES
from ganger.runtime.cache import Cache
from ganger.runtime.consistency import Consistency

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def meta(name="a", version=5, **fields):
    return Metadata(name=name, namespace="ns", uid=f"uid-{name}", resource_version=str(version), **fields)


@pytest.fixture
def cache():
    cache = Cache()
    cache.advance(scope="", version=4)
    return cache


@pytest.fixture
def asked():
    return []


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def consistency(cache, asked, clock):
    return Consistency(
        {PODS: cache}, monotonic=lambda: clock[0], relist=lambda *what: asked.append(what), age_limit_seconds=10
    )


def test_a_key_that_wrote_nothing_is_ready(consistency):
    assert consistency.ready("k")


def test_a_key_waits_until_the_cache_has_its_write(consistency, cache):
    consistency.wrote("k", PODS, meta(version=5))
    assert not consistency.ready("k")
    assert consistency.ready("other")

    cache.advance(scope="", version=5)  # by a bookmark or by any other object

    assert consistency.ready("k")


def test_the_object_itself_is_proof_enough(consistency, cache):
    consistency.wrote("k", PODS, meta(version=5))

    cache.put(Pod(metadata=meta(version=5)))

    assert consistency.ready("k")


def test_only_the_last_write_of_an_object_counts_but_every_object_does(consistency, cache):
    consistency.wrote("k", PODS, meta("a", 5))
    consistency.wrote("k", PODS, meta("a", 6))
    consistency.wrote("k", PODS, meta("b", 7))
    cache.advance(scope="", version=6)
    assert not consistency.ready("k")

    cache.advance(scope="", version=7)

    assert consistency.ready("k")


@pytest.mark.parametrize("news", ["gone", "deleting", "replaced"])
def test_a_deleted_pod_is_not_seen_alive_in_the_next_pass(consistency, cache, news):
    pod = Pod(metadata=meta(version=3))
    cache.put(pod)
    consistency.deleted("k", PODS, pod.metadata)
    assert not consistency.ready("k")

    if news == "gone":
        cache.remove(pod.metadata)
    elif news == "deleting":
        cache.put(Pod(metadata=meta(version=9, deletion_timestamp=NOW)))
    else:
        cache.put(Pod(metadata=Metadata(name="a", namespace="ns", uid="another", resource_version="9")))

    assert consistency.ready("k")


def test_an_overdue_write_asks_for_a_list_once_each_limit(consistency, cache, asked, clock):
    consistency.wrote("k", PODS, meta(version=5))
    clock[0] = 10.1
    assert not consistency.ready("k")
    assert not consistency.ready("k")
    assert [(PODS, "ns")] == asked

    clock[0] = 21.0
    consistency.ready("k")
    cache.replace([], scope="", version=8)

    assert 2 == len(asked)
    assert consistency.ready("k")


def test_a_server_that_was_restored_voids_what_is_awaited(consistency, cache):
    consistency.wrote("k", PODS, meta(version=5))

    cache.replace([], scope="", version=2)

    assert consistency.ready("k")


def test_a_write_to_what_no_cache_holds_is_not_awaited(consistency):
    consistency.wrote("k", SERVICES, meta())

    assert consistency.ready("k")


def test_a_forgotten_key_is_ready(consistency):
    consistency.wrote("k", PODS, meta())

    consistency.forget("k")

    assert consistency.ready("k")
