"""Caches that are behind, or that missed what happened (F17 to F22)."""

import signal

import pytest

from apiclient import wait_for
from integration.faults.plan import Rule

pytestmark = pytest.mark.integration
STATUS = "trainingjobs/status"
FINALIZER = {"metadata": {"finalizers": ["test.ganger.dev/held"]}}


def kill(operator):
    """SIGKILL, and wait until it is gone: what happens now, nobody sees."""
    operator.signal(signal.SIGKILL)
    operator.process.wait()


def restarts(world):
    """The counters of restarts."""
    return {key: world.status().get("restarts", {}).get(key, 0) for key in ("total", "counted")}


def test_f17_pods_that_the_cache_does_not_show_are_not_made_again(world):
    """The operator waits for its own writes: exactly two creates, however often the job wants a pass meanwhile."""
    proxy = world.proxy(Rule(fault="hold", verb="watch", resource="pods", event="ADDED", until="shown"))
    world.behind(proxy)
    world.submit()
    wait_for(lambda: world.gang() == world.pod_names())
    for n in range(20):
        world.api.merge(f"{world.jobs}/digits", {"metadata": {"annotations": {"n": str(n)}}})
    wait_for(lambda: len(proxy.seen("watch", "trainingjobs")) >= 1)
    proxy.mark("shown")
    world.finish()

    assert 2 == len(proxy.seen("create", "pods"))
    assert world.gang() == sorted(world.creations())


def test_f18_restart_that_the_cache_does_not_show_is_not_counted_twice(world):
    """The news of the new attempt is held back; another failed pod of the old one asks for passes meanwhile."""
    proxy = world.proxy()
    world.behind(proxy)
    world.running_job()
    proxy.end_watches("trainingjobs")
    proxy.add(Rule(fault="hold", verb="watch", resource="trainingjobs", event="MODIFIED", until="shown"))
    wait_for(lambda: len(proxy.seen("watch", "trainingjobs")) >= 2)
    world.end("digits-0-1", 1)
    wait_for(lambda: world.status().get("attempt") == 1)
    world.end("digits-0-0", 1)
    wait_for(lambda: len(proxy.seen("patch", STATUS)) >= 1)
    proxy.mark("shown")
    world.finish(attempt=1)

    assert {"total": 1, "counted": 1} == restarts(world)


def test_f19_restart_onto_lists_of_the_past(world):
    """An operator that starts on old lists meets the present at its first write: nothing newer is deleted or undone."""
    proxy = world.proxy()
    first = world.behind(proxy)
    world.running_job()
    proxy.end_watches("pods")
    # A second operator's lists of now are what it will be shown later.
    standby = world.behind(proxy, "operator-b")
    wait_for(standby.is_ready, 20)
    proxy.mark("past")
    world.end("digits-0-1", 1)
    wait_for(lambda: set(world.gang(attempt=1)) <= set(world.pod_names()))
    world.run(*world.gang(attempt=1))
    wait_for(lambda: world.status()["attempt"] == 1 and world.status()["phase"] == "Running")
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in world.api.items(world.pods)}
    kill(first)
    kill(standby)
    proxy.add(
        *(
            Rule(fault="serve_old", verb=verb, resource=kind, frozen="past", until="present")
            for verb in ("list", "watch")
            for kind in ("trainingjobs", "pods", "services", "persistentvolumeclaims")
        )
    )
    before = len(proxy.requests)
    world.start_operator("operator-c", KUBECONFIG=str(proxy.kubeconfig))
    wait_for(lambda: world.leader().startswith("operator-c"), 20)
    wait_for(lambda: [s for s in proxy.requests[before:] if s.verb == "list" and s.fault == "serve_old"])
    wait_for(lambda: len([s for s in proxy.requests[before:] if s.verb == "patch" and s.resource == "leases"]) >= 3)
    proxy.mark("present")
    world.finish(attempt=1)

    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in world.api.items(world.pods)}
    assert {name: uids[name] for name in world.gang(attempt=1)}.items() <= after.items()
    assert {"total": 1, "counted": 1} == restarts(world)


def test_standby_that_sees_no_pods_of_a_running_gang_asks_before_it_restarts_it(world):
    """Its watch of pods has fallen silent: what it lacks is there, so it lists instead of stopping a healthy gang."""
    first = world.behind(world.proxy())
    silent = world.proxy(Rule(fault="hold", verb="watch", resource="pods", until="never", times=1))
    second = world.behind(silent, "operator-b")
    wait_for(second.is_ready, 20, "a standby that is ready")
    world.running_job()
    kill(first)
    wait_for(lambda: world.leader().startswith("operator-b"), 20, "the standby leads")
    wait_for(lambda: world.metric(second, "ganger_operator_stale_caches_total", resource="pods") == 1.0)
    world.finish()

    assert world.gang() == sorted(world.creations())
    assert {"total": 0, "counted": 0} == restarts(world)


def test_f20_pod_that_failed_and_was_deleted_unseen_is_a_disruption(world):
    """What is not seen cannot be counted: the gang restarts, and the limit of restarts is not touched."""
    operator = world.behind(world.proxy())
    world.running_job()
    kill(operator)
    world.end("digits-0-1", 1)
    world.api.delete(f"{world.pods}/digits-0-1", gracePeriodSeconds=0)
    world.behind(world.proxy(), "operator-c")
    world.finish(attempt=1)

    assert {"total": 1, "counted": 0} == restarts(world)


def test_f21_suspended_and_resumed_unseen_touches_no_pod(world):
    operator = world.behind(world.proxy())
    world.running_job()
    uids = sorted(pod["metadata"]["uid"] for pod in world.api.items(world.pods))
    kill(operator)
    for suspend in (True, False):
        world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": suspend}})
    proxy = world.proxy()
    world.behind(proxy, "operator-c")
    world.submit("proof", workers=1)
    wait_for(lambda: "proof-0-0" in world.pod_names())
    assert uids == sorted(
        p["metadata"]["uid"] for p in world.api.items(world.pods) if "digits" in p["metadata"]["name"]
    )
    assert [] == [seen for seen in proxy.seen("*", "pods") if seen.verb == "delete"]
    world.finish()

    assert {"total": 0, "counted": 0} == restarts(world)


def test_f22_job_of_the_same_name_waits_for_the_pods_of_the_old_one(world):
    """Its condition names them; they are neither adopted nor deleted, and the new gang starts once they are gone."""
    world.behind(world.proxy())
    world.running_job()
    for name in world.gang():
        world.api.merge(f"{world.pods}/{name}", FINALIZER)
    world.api.delete(f"{world.jobs}/digits", propagationPolicy="Background")
    wait_for(lambda: world.job() is None)
    wait_for(lambda: all("deletionTimestamp" in p["metadata"] for p in world.api.items(world.pods)))
    old = sorted(pod["metadata"]["uid"] for pod in world.api.items(world.pods))
    world.submit()
    wait_for(lambda: world.condition("PodsReady").get("reason") == "WaitingForPreviousPods")
    message = world.condition("PodsReady")["message"]
    assert old == sorted(pod["metadata"]["uid"] for pod in world.api.items(world.pods))
    for name in world.gang():
        world.api.merge(f"{world.pods}/{name}", {"metadata": {"finalizers": None}})
    world.finish()

    assert all(name in message for name in world.gang())
    assert set(old).isdisjoint(pod["metadata"]["uid"] for pod in world.api.items(world.pods))
