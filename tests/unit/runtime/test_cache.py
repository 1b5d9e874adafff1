import logging

from ganger.api.observed import Metadata, OwnerReference, Pod
from ganger.runtime.cache import Cache, Undecodable


def pod(name, version, *, uid="", owner="", namespace="ns"):
    owners = (OwnerReference(uid=owner, controller=True),) if owner else ()
    meta = Metadata(
        name=name, namespace=namespace, uid=uid or f"uid-{name}", resource_version=str(version), owner_references=owners
    )
    return Pod(metadata=meta)


def recorded(cache):
    news = []
    cache.on_change(lambda old, new: news.append((label(old), label(new))))
    return news


def label(obj):
    return None if obj is None else f"{obj.metadata.name}@{obj.metadata.resource_version}"


def test_a_list_tells_only_what_changed():
    cache = Cache()
    cache.replace([pod("a", 1), pod("b", 2), pod("c", 3)], scope="", version=3)
    news = recorded(cache)

    cache.replace([pod("a", 1), pod("b", 5), pod("d", 6)], scope="", version=9)

    assert [("b@2", "b@5"), (None, "d@6"), ("c@3", None)] == news
    assert {"a", "b", "d"} == {obj.metadata.name for obj in cache.all()}


def test_another_uid_under_the_same_name_counts_as_deleted_and_added():
    cache = Cache()
    cache.put(pod("a", 1, uid="u1", owner="o1"))
    news = recorded(cache)

    cache.put(pod("a", 2, uid="u2", owner="o2"))

    assert [("a@1", None), (None, "a@2")] == news
    assert () == cache.by_owner("o1")
    assert 1 == len(cache.by_owner("o2"))


def test_objects_are_found_by_the_uid_of_their_controller():
    cache = Cache()
    cache.put(pod("a", 1, owner="o"))
    cache.put(pod("b", 2, owner="o"))
    cache.put(pod("c", 3))
    cache.put(pod("a", 4))  # orphaned

    assert ["b"] == [obj.metadata.name for obj in cache.by_owner("o")]


def test_a_reflector_of_one_namespace_leaves_the_others_alone():
    cache = Cache()
    cache.replace([pod("a", 1, namespace="x")], scope="x", version=10)
    cache.replace([pod("a", 2, namespace="y")], scope="y", version=20)

    cache.replace([], scope="x", version=30)

    assert ["y"] == [obj.metadata.namespace for obj in cache.all()]
    assert (30, 20, 0) == (cache.resource_version("x"), cache.resource_version("y"), cache.resource_version("z"))


def test_a_cache_of_all_namespaces_knows_the_version_of_each():
    cache = Cache()
    cache.advance(scope="", version=7)

    assert 7 == cache.resource_version("any")


def test_a_version_that_goes_back_opens_an_epoch():
    cache = Cache()
    cache.advance(scope="", version=7)
    cache.advance(scope="", version=7)
    assert 0 == cache.epoch("ns")

    cache.advance(scope="", version=3)

    assert (1, 3) == (cache.epoch("ns"), cache.resource_version("ns"))


def test_an_undecodable_object_is_kept_apart_and_may_become_readable():
    cache = Cache()
    meta = Metadata(name="a", namespace="ns", uid="u", resource_version="1")
    cache.put(Undecodable(meta, "why"))
    assert None is cache.get("ns", "a")
    assert "why" == cache.undecodable("ns", "a").error
    assert 1 == len(cache)

    cache.put(pod("a", 2, uid="u"))

    assert None is cache.undecodable("ns", "a")
    assert "2" == cache.get("ns", "a").metadata.resource_version


def test_an_undecodable_object_that_is_not_listed_any_more_is_gone():
    cache = Cache()
    cache.put(Undecodable(Metadata(name="a", namespace="ns", uid="u", resource_version="1"), "why"))
    news = recorded(cache)

    cache.replace([], scope="ns", version=2)

    assert ([("a@1", None)], 0) == (news, len(cache))


def test_a_resync_tells_every_object_as_unchanged():
    cache = Cache()
    cache.put(pod("a", 1))
    news = recorded(cache)

    cache.resync(scope="")

    assert [("a@1", "a@1")] == news


def test_the_news_that_an_unknown_object_is_gone_is_none():
    cache = Cache()
    news = recorded(cache)

    cache.remove(pod("a", 1).metadata)

    assert [] == news


def test_a_handler_that_fails_costs_the_others_nothing(caplog):
    cache = Cache()
    cache.on_change(lambda old, new: 1 / 0)
    news = recorded(cache)

    with caplog.at_level(logging.ERROR):
        cache.put(pod("a", 1))

    assert [(None, "a@1")] == news
    assert "a cache handler failed" in caplog.text
