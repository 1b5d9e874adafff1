"""The order of the writes of a pass, and what becomes of each refusal: over real HTTP to a server that obeys."""

import pytest
from msgspec.structs import replace

from builders import job, pod, with_spec
from ganger.api.status import TrainingJobStatus
from ganger.app.caches import Caches
from ganger.app.duplicates import Duplicates
from ganger.app.execute import Executor
from ganger.app.memory import JobMemory
from ganger.kube.access import Access, NoToken
from ganger.kube.errors import Conflict, NotFound, ServerError
from ganger.kube.http import HttpCluster
from ganger.plan import networkpolicy, pods, service, volumes
from ganger.plan.seen import Decision, Deletion, Event
from ganger.runtime.consistency import Consistency
from ganger.runtime.limiter import Limiter
from unit.kube.scripted import answering, scripted, status
from unit.kube.scripted import pod as reply

PODS = "/api/v1/namespaces/team/pods"
STATUS = "/apis/ganger.dev/v1alpha1/namespaces/team/trainingjobs/digits/status"
SHORT = {
    STATUS: "status",
    PODS: "pods",
    "/api/v1/namespaces/team/services": "services",
    "/api/v1/namespaces/team/persistentvolumeclaims": "claims",
    "/apis/networking.k8s.io/v1/namespaces/team/networkpolicies": "policies",
    "/apis/ganger.dev/v1alpha1/namespaces/team/trainingjobs/digits": "job",
}
NEW = job(workers=3, checkpoint={"everySteps": 10, "volume": {"size": "1Gi"}})
JOB = replace(NEW, metadata=replace(NEW.metadata, resource_version="8"))
NEWS = TrainingJobStatus(phase="Starting", attempt=1)
SAID = (Event(reason="Restarting", message="m", warning=True), Event(reason="Resumed", message="n"))
MANIFESTS = tuple(pods.pod(JOB, 0, worker) for worker in range(3))
SHARED = (service.service(JOB), volumes.claim(JOB), networkpolicy.network_policy(JOB))
ROOTS = ("/api/v1", "/apis/networking.k8s.io/v1")


class Harness:
    """An executor, the server that it writes to, and a clock that stands still."""

    def __init__(self, server, cluster, slots=32):
        self.server = server
        self.now = 100.0
        self.led_since = 7
        self.memory = JobMemory()
        self.events = []  # (reason, type, requests that had been answered before it)
        self.caches = Caches()
        self.consistency = Consistency(
            self.caches.by_resource, monotonic=lambda: self.now, relist=lambda resource, namespace: None
        )
        self.doubles = []
        duplicates = Duplicates(lambda: self.led_since, self.doubles.append)
        self.executor = Executor(cluster, self.consistency, Limiter(slots), self, lambda: self.now, duplicates)

    def record(self, resource, regarding, type_, reason, note):
        self.events.append((reason, type_, len(self.server.requests)))

    async def execute(self, on=JOB, **decision):
        await self.executor.execute(on, Decision(**decision), self.memory)

    @property
    def writes(self):
        """Every request, in order: `create pods`, `patch status` ..."""
        verbs = {"POST": "create", "PATCH": "apply", "DELETE": "delete", "GET": "get"}
        found = []
        for request in self.server.requests:
            collection = SHORT.get(request.path) or SHORT[request.path.rpartition("/")[0]]
            found.append(f"{verbs[request.method]} {collection}")
        return found


@pytest.fixture
async def server():
    async with scripted() as server:
        server.on("PATCH", answering(200, reply("digits", 9)))
        server.on("POST", answering(201, reply("x", 9)))
        server.on("DELETE", answering(200, reply("x", 9)))
        yield server


@pytest.fixture
async def cluster(server):
    async with HttpCluster(Access(url=server.url, token=NoToken())) as cluster:
        yield cluster


@pytest.fixture
def harness(server, cluster):
    return Harness(server, cluster)


def refuse(server, code, reason, message="", *, times=None, **details):
    """The server refuses creates of pods: all of them, or so many and then no more."""
    refusal = answering(code, status(code, reason, message, **details))
    server.on(f"POST {PODS}", *([refusal] * (times or 1)), *([answering(201, reply("x", 9))] if times else []))


async def test_an_urgent_status_is_written_before_everything_else(harness):
    doomed = Deletion(metadata=pod(JOB, 0).metadata)
    await harness.execute(status=NEWS, deletions=(doomed,), shared=SHARED, pods=MANIFESTS, delete_job=True)
    first, second, *shared_and_pods, last = harness.writes

    assert ["apply status", "delete pods", "delete job"] == [first, second, last]
    assert {"create services", "create claims", "create policies"} == set(shared_and_pods[:3])
    assert ["create pods"] * 3 == shared_and_pods[3:]


async def test_a_status_write_is_a_compare_and_swap_on_this_very_job(harness):
    await harness.execute(status=NEWS)
    (request,) = harness.server.requests

    assert ("uid-1", "8") == (request.json["metadata"]["uid"], request.json["metadata"]["resourceVersion"])
    assert {"phase": "Starting", "attempt": 1} == request.json["status"]


async def test_a_status_that_may_wait_is_written_when_its_time_has_come_and_after_the_pods(harness):
    await harness.execute(status=NEWS, status_delay_seconds=2.0, pods=MANIFESTS[:1])
    harness.now += 1.9
    await harness.execute(status=NEWS, status_delay_seconds=2.0)
    assert ["create pods"] == harness.writes
    harness.now += 0.2
    await harness.execute(status=NEWS, status_delay_seconds=2.0, pods=MANIFESTS[:1])

    assert ["create pods", "create pods", "apply status"] == harness.writes


async def test_a_status_that_is_news_no_more_is_not_written_later(harness):
    await harness.execute(status=NEWS, status_delay_seconds=2.0)
    assert harness.memory.wake_seconds(harness.now) == 2.0
    await harness.execute()
    harness.now += 60.0
    await harness.execute(status=NEWS, status_delay_seconds=2.0)

    assert [] == harness.writes


async def test_in_a_burst_of_jobs_a_status_waits_longer_for_company(harness):
    others = [replace(JOB, metadata=replace(JOB.metadata, name=f"job-{n}")) for n in range(200)]
    waits = Decision(status=NEWS, status_delay_seconds=2.0)
    await harness.execute(status=NEWS, status_delay_seconds=2.0)
    for other in others:
        await harness.executor.execute(other, waits, JobMemory())
    harness.now += 9.0
    await harness.execute(status=NEWS, status_delay_seconds=2.0)
    assert [] == harness.writes
    for other in others:
        harness.executor.forget(other.key)
    await harness.execute(status=NEWS, status_delay_seconds=2.0)

    assert ["apply status"] == harness.writes


async def test_a_written_status_starts_the_next_delay_anew(harness):
    await harness.execute(status=NEWS, status_delay_seconds=2.0)
    await harness.execute(status=NEWS)
    harness.now += 3.0
    await harness.execute(status=NEWS, status_delay_seconds=2.0)

    assert ["apply status"] == harness.writes


async def test_events_are_said_after_the_status_that_they_speak_of(harness):
    await harness.execute(status=NEWS, events=SAID, pods=MANIFESTS)

    assert [("Restarting", "Warning", 1), ("Resumed", "Normal", 1)] == harness.events


async def test_a_status_that_waits_keeps_its_events(harness):
    await harness.execute(status=NEWS, status_delay_seconds=2.0, events=SAID)
    assert [] == harness.events
    harness.now += 2.0
    await harness.execute(status=NEWS, status_delay_seconds=2.0, events=SAID)

    assert 2 == len(harness.events)


@pytest.mark.parametrize(
    ("code", "reason", "error"), [(409, "Conflict", Conflict), (500, "InternalError", ServerError)]
)
async def test_a_status_write_that_fails_ends_the_pass_without_events(server, harness, code, reason, error):
    server.on(f"PATCH {STATUS}", answering(code, status(code, reason)))

    with pytest.raises(error):
        await harness.execute(status=NEWS, events=SAID, shared=SHARED, pods=MANIFESTS)

    assert ["apply status"] == harness.writes
    assert [] == harness.events


@pytest.mark.parametrize(
    "decision",
    [
        {"status": NEWS},
        {"pods": MANIFESTS[:1]},
        {"shared": SHARED[:1]},
        {"shared": SHARED[1:]},
        {"deletions": (Deletion(metadata=pod(JOB, 0).metadata),)},
        {"delete_job": True},
    ],
)
async def test_a_job_is_not_decided_again_before_the_caches_show_the_writes(harness, decision):
    harness.caches.pods.put(pod(JOB, 0))
    harness.caches.jobs.put(JOB)
    assert harness.consistency.ready(JOB.key)
    await harness.execute(**decision)

    assert not harness.consistency.ready(JOB.key)


async def test_a_deletion_names_the_uid_and_the_grace(harness):
    doomed = pod(JOB, 1).metadata
    await harness.execute(deletions=(Deletion(metadata=doomed, grace_seconds=5),))
    (request,) = harness.server.requests

    assert f"{PODS}/digits-0-1" == request.path
    assert (doomed.uid, 5) == (request.json["preconditions"]["uid"], request.json["gracePeriodSeconds"])


@pytest.mark.parametrize(("code", "reason"), [(404, "NotFound"), (409, "Conflict")])
async def test_a_pod_that_is_gone_already_is_a_deletion_done(server, harness, code, reason):
    server.on(f"DELETE {PODS}/digits-0-0", answering(code, status(code, reason)))
    await harness.execute(deletions=(Deletion(metadata=pod(JOB, 0).metadata),), pods=MANIFESTS[:1])

    assert ["delete pods", "create pods"] == harness.writes


async def test_a_job_that_is_gone_already_is_a_deletion_done(server, harness):
    server.on(
        "DELETE /apis/ganger.dev/v1alpha1/namespaces/team/trainingjobs/digits", answering(404, status(404, "NotFound"))
    )
    await harness.execute(delete_job=True)

    assert ["delete job"] == harness.writes


async def test_an_error_is_raised_after_all_calls_of_its_step_and_stops_the_next(server, harness):
    server.on(f"DELETE {PODS}/digits-0-0", answering(500, status(500, "InternalError")))
    doomed = tuple(Deletion(metadata=pod(JOB, worker).metadata) for worker in range(3))

    with pytest.raises(ServerError):
        await harness.execute(deletions=doomed, pods=MANIFESTS)

    assert ["delete pods"] * 3 == harness.writes


# --- what the server refuses ---


@pytest.mark.parametrize(
    ("expected", "permanent", "code", "reason", "details"),
    [
        ("QuotaExceeded", False, 403, "Forbidden", {}),
        ("NamespaceTerminating", False, 403, "Forbidden", {"causes": [{"reason": "NamespaceTerminating"}]}),
        ("PodForbidden", False, 403, "Forbidden", {}),
        ("PodInvalid", True, 422, "Invalid", {}),
    ],
)
async def test_a_refused_pod_is_remembered_by_its_cause(server, harness, expected, permanent, code, reason, details):
    message = "exceeded quota: q, requested: pods=1" if expected == "QuotaExceeded" else "no such luck"
    refuse(server, code, reason, message, **details)
    await harness.execute(pods=MANIFESTS)
    refusal = harness.memory.refusal(harness.now)

    assert (expected, message, permanent) == (refusal.reason, refusal.message, refusal.permanent)


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("services", "ServiceForbidden"),
        ("persistentvolumeclaims", "PersistentVolumeClaimForbidden"),
        ("networkpolicies", "NetworkPolicyForbidden"),
    ],
)
async def test_what_the_workers_share_is_refused_for_all_of_them(server, harness, plural, expected):
    for root in ROOTS:
        server.on(f"POST {root}/namespaces/team/{plural}", answering(403, status(403, "Forbidden", "not here")))
    await harness.execute(shared=SHARED, pods=MANIFESTS)
    refusal = harness.memory.refusal(harness.now)

    assert (expected, "not here", False) == (refusal.reason, refusal.message, refusal.permanent)
    assert "create pods" not in harness.writes


async def test_refusals_in_a_row_are_remembered_longer_and_longer_until_a_gang_gets_in(server, harness):
    refusal = answering(403, status(403, "Forbidden", "exceeded quota: q"))
    server.on(f"POST {PODS}", refusal, refusal, answering(201, reply("x", 9)), refusal)
    seconds = []
    for _ in range(4):
        await harness.execute(pods=MANIFESTS[:1])
        seconds.append(harness.memory.wake_seconds(harness.now))
        harness.now += 60.0

    assert [10.0, 20.0, None, 10.0] == seconds


async def test_one_refusal_spares_the_server_the_rest_of_the_gang(server, cluster):
    harness, large = Harness(server, cluster, slots=2), with_spec(JOB, workers=50)
    refuse(server, 403, "Forbidden", "exceeded quota: q")
    await harness.execute(pods=tuple(pods.pod(large, 0, worker) for worker in range(50)))

    assert len(harness.writes) <= 2


async def test_a_pod_that_was_created_before_is_taken_for_our_own(server, harness):
    refuse(server, 409, "AlreadyExists")
    server.on(f"GET {PODS}/digits-0-0", answering(200, reply("digits-0-0", 7, owner=JOB.metadata.uid)))
    await harness.execute(pods=MANIFESTS[:1])

    assert () == harness.memory.squatters(harness.now)
    assert harness.memory.refusal(harness.now) is None
    assert not harness.consistency.ready(JOB.key)


async def test_a_pod_of_another_owner_is_a_squatter_and_the_others_are_created(server, harness):
    refuse(server, 409, "AlreadyExists", times=1)
    server.on("GET", answering(200, reply("digits-0-0", 7, owner="uid-of-the-job-before")))
    await harness.execute(pods=MANIFESTS)

    assert ("digits-0-0",) == harness.memory.squatters(harness.now)
    assert 3 == harness.writes.count("create pods")
    assert not any(write.startswith("delete") for write in harness.writes)


async def test_a_pod_that_was_there_and_is_gone_is_left_to_the_next_pass(server, harness):
    refuse(server, 409, "AlreadyExists", times=1)

    with pytest.raises(NotFound):
        await harness.execute(pods=MANIFESTS[:1])


async def test_a_service_of_ours_that_is_there_already_is_left_to_the_next_pass(server, harness):
    server.on("POST /api/v1/namespaces/team/services", answering(409, status(409, "AlreadyExists")))
    found = reply("digits-gang", 7)
    found["metadata"]["labels"] = {"ganger.dev/job": "digits"}
    server.on("GET", answering(200, found))
    await harness.execute(shared=SHARED[:1], pods=MANIFESTS[:1])

    assert ["create services", "get services", "create pods"] == harness.writes


@pytest.mark.parametrize(
    ("manifest", "collection"),
    list(zip(SHARED, ("services", "persistentvolumeclaims", "networkpolicies"), strict=True)),
)
async def test_what_is_shared_and_of_a_stranger_is_remembered_and_no_pod_is_created(
    server, harness, manifest, collection
):
    for root in ROOTS:
        server.on(f"POST {root}/namespaces/team/{collection}", answering(409, status(409, "AlreadyExists")))
    server.on("GET", answering(200, reply(manifest["metadata"]["name"], 7)))
    await harness.execute(status=NEWS, status_delay_seconds=2.0, shared=SHARED, pods=MANIFESTS)

    assert "create pods" not in harness.writes
    assert manifest["metadata"]["name"] == harness.memory.stranger(manifest["kind"], harness.now).name
    assert 2.0 == harness.memory.wake_seconds(harness.now)


async def test_job_whose_news_does_not_come_is_listed_after_five_conflicts_in_a_row(server):
    async with HttpCluster(Access(url=server.url, token=NoToken())) as cluster:
        harness = Harness(server, cluster)
        asked = []
        harness.consistency._relist = lambda resource, namespace: asked.append((resource.plural, namespace))
        server.scripts["PATCH"] = [answering(409, status(409, "Conflict"))]
        for _ in range(5):
            assert [] == asked
            with pytest.raises(Conflict):
                await harness.execute(status=NEWS)

        assert [("trainingjobs", "team")] == asked
        server.scripts["PATCH"] = [answering(200, reply("digits", 9))]
        await harness.execute(status=NEWS)
        assert 0 == harness.memory.conflicts
