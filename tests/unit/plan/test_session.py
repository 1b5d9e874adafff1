"""One pass over a session: its starts, its ends, and what it waits for."""

import msgspec
import pytest

from builders import at, job
from ganger.api.observed import Claim, Metadata, NetworkPolicy, OwnerReference
from ganger.plan.seen import Refusal
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from ganger.plan.sessionpod import edition
from sessions import IMAGE, KEY, pod, session

SITE = SessionSite(image=IMAGE)
IDLE = {"outcome": "Ended", "reason": "Idle", "message": "idle for 60 s", "lastActivityTime": "2026-01-01T12:00:30Z"}


def decide(made, *pods, seconds=100.0, site=SITE, **seen):
    return decide_session(made, SessionSeen(pods=pods, **seen), at(seconds), site)


def after(made, decision):
    """The session with what the decision writes."""
    return msgspec.structs.replace(made, status=decision.status)


def running(made=None, seconds=20.0):
    made = made if made is not None else session()
    return after(made, decide(made, pod(made, ready=True), seconds=seconds))


def ended(said, **spec):
    made = running(session(**spec))
    return after(made, decide(made, pod(made, phase="Succeeded", exit_code=0, said=said)))


def reason(status, type_="Ready"):
    return status.condition(type_).reason


def test_a_new_session_gets_its_token_and_its_pod_without_any_write_to_it():
    decision = decide(session())

    assert decision.token
    assert "notes-dev-0" == decision.pod["metadata"]["name"]
    assert (None, (), ()) == (decision.status, decision.shared, decision.deletions)


def test_a_session_without_jupyter_has_no_token():
    made = session(jupyter=False, ssh={"authorizedKeys": [KEY]})

    assert not decide(made).token
    assert "" == decide(made, pod(made)).status.secret_name


def test_claim_and_policy_are_made_before_the_pod_where_they_are_wanted():
    made = session(storage={"size": "1Gi"})
    isolating = SessionSite(image=IMAGE, isolates=True)
    kinds = [manifest["kind"] for manifest in decide(made, site=isolating).shared]
    own = Metadata(name="notes-dev", owner_references=(OwnerReference(uid="uid-s", controller=True),))

    assert ["PersistentVolumeClaim", "NetworkPolicy"] == kinds
    assert "ownerReferences" not in decide(made).shared[0]["metadata"]
    assert () == decide(session(), site=isolating, policy=NetworkPolicy(metadata=own)).shared


def test_a_session_goes_through_starting_to_running_with_one_write_each():
    made = session()
    starting = decide(made, pod(made, phase="Pending"), seconds=6)
    made = after(made, starting)

    assert ("Starting", "notes-dev-0", "notes-dev") == (made.status.phase, made.status.pod, made.status.secret_name)
    assert at(5) == made.status.start_time
    assert None is decide(made, pod(made, phase="Pending"), seconds=7).status
    decision = decide(made, pod(made, ready=True), seconds=20)
    made = after(made, decision)
    assert ("Running", ("True", "False")) == (made.status.phase, tuple(c.status for c in made.status.conditions))
    assert ["Running"] == [event.reason for event in decision.events]
    assert "ganger dev connect notes" == made.status.message
    assert None is decide(made, pod(made, ready=True), seconds=50_000).status


def test_a_change_of_the_spec_is_told_and_stops_nothing():
    made = running()
    old = pod(made, ready=True)
    changed = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, idle_seconds=60))
    decision = decide(changed, old)

    assert "the spec has changed since the start" in decision.status.message
    assert ("Running", ()) == (decision.status.phase, decision.deletions)
    assert edition(made) == edition(session(suspend=True))


@pytest.mark.parametrize(
    ("said", "phase", "why"), [(IDLE, "Culled", "Idle"), (IDLE | {"reason": "Expired"}, "Expired", "Expired")]
)
def test_a_session_that_ends_by_itself_says_why_and_its_pod_goes(said, phase, why):
    made = ended(said)

    assert (phase, why, at(100)) == (made.status.phase, reason(made.status, "Ended"), made.status.end_time)
    assert (at(30), "idle for 60 s") == (made.status.last_activity_time, made.status.message)
    decision = decide(made, pod(made, phase="Succeeded", exit_code=0, said=said))
    assert (None, ["notes-dev-0"]) == (decision.status, [meta.name for meta in decision.deletions])
    assert decide(made) == type(decision)()


@pytest.mark.parametrize(
    ("wish", "restarts"),
    [("2026-01-01T12:02:00Z", True), ("2026-01-01T12:01:00Z", False), ("2026-01-01T12:02:00", False), ("now", False)],
)
def test_an_ended_session_starts_again_when_it_is_asked_to_since(wish, restarts):
    made = ended(IDLE)
    metadata = msgspec.structs.replace(made.metadata, annotations={"ganger.dev/start-requested-at": wish})
    decision = decide(msgspec.structs.replace(made, metadata=metadata))

    assert restarts == (decision.status is not None)
    if restarts:
        assert (1, "Pending", None) == (decision.status.start, decision.status.phase, decision.status.start_time)
        assert None is decision.pod
        assert "notes-dev-1" == decide(after(made, decision)).pod["metadata"]["name"]


def test_nothing_is_made_for_a_session_that_is_being_deleted():
    for made in (session(), running()):
        metadata = msgspec.structs.replace(made.metadata, deletion_timestamp=at(50))
        decision = decide(msgspec.structs.replace(made, metadata=metadata))
        assert decision == type(decision)()


def test_a_suspended_session_stops_and_goes_on_from_there():
    made = running()
    suspended = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, suspend=True))
    stopping = decide(suspended, pod(made, ready=True))

    assert ("Stopping", ["notes-dev-0"]) == (stopping.status.phase, [meta.name for meta in stopping.deletions])
    stopping = decide(after(suspended, stopping), pod(made, ready=True, leaving=True))
    assert (None, ()) == (stopping.status, stopping.deletions)
    stopped = after(suspended, decide(suspended))
    assert ("Stopped", "Suspended") == (stopped.status.phase, reason(stopped.status, "Ended"))
    assert None is decide(stopped).status
    resumed = decide(msgspec.structs.replace(stopped, spec=made.spec))
    assert (1, "Pending") == (resumed.status.start, resumed.status.phase)


def test_a_culled_session_that_is_stopped_as_well_starts_when_it_is_not():
    made = ended(IDLE)
    suspended = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, suspend=True))
    stopped = after(suspended, decide(suspended))

    assert ("Stopped", at(100)) == (stopped.status.phase, stopped.status.end_time)
    assert 1 == decide(msgspec.structs.replace(stopped, spec=made.spec)).status.start


@pytest.mark.parametrize(
    "hit",
    [
        {"phase": "Failed", "exit_code": 0, "said": IDLE | {"reason": "Stopped"}},
        {"phase": "Failed", "exit_code": 137, "pod_reason": "Evicted"},
        {"phase": "Failed", "target": "PreemptionByScheduler"},
        {"phase": "Failed", "exit_code": 137, "leaving": True},
    ],
)
def test_another_pod_takes_the_place_of_one_that_was_lost(hit):
    made = running()
    decision = decide(made, pod(made, **hit))

    assert (1, "Pending", "") == (decision.status.start, decision.status.phase, decision.status.pod)
    assert (at(5), None) == (decision.status.start_time, decision.status.end_time)
    assert [("Restarted", True)] == [(event.reason, event.warning) for event in decision.events]
    made = after(made, decision)
    assert "notes-dev-1" == decide(made, pod(made, start=0, **hit)).pod["metadata"]["name"]


def test_a_pod_that_is_gone_is_asked_for_before_another_one_takes_its_place():
    decision = decide(running(), seconds=200)

    assert ("notes-dev-0", 1, ()) == (decision.lost, decision.status.start, decision.status.short_runs)


def test_a_pod_that_only_the_write_of_the_status_did_not_reach_is_no_lost_one():
    assert None is decide(session()).status


def test_three_short_runs_within_an_hour_fail_the_session():
    made = session()
    for seconds in (10, 40, 70):
        made = after(made, decide(made, pod(made, phase="Pending"), seconds=seconds - 1))
        made = after(made, decide(made, seconds=seconds))

    assert ("Failed", 2, "LostTooOften") == (made.status.phase, made.status.start, reason(made.status, "Ended"))
    assert (at(10), at(40), at(70)) == made.status.short_runs


def test_short_runs_of_hours_ago_are_forgotten():
    made = session()
    for seconds in (10, 40, 4000, 8000):
        made = after(made, decide(made, pod(made, phase="Pending"), seconds=seconds - 1))
        made = after(made, decide(made, seconds=seconds))

    assert ("Pending", 4, (at(8000),)) == (made.status.phase, made.status.start, made.status.short_runs)


@pytest.mark.parametrize(("seconds", "counted"), [(30, 1), (500, 0)])
def test_of_a_pod_that_is_deleted_it_counts_how_long_it_ran_until_then(seconds, counted):
    made = running()
    made = after(made, decide(made, pod(made, leaving=True), seconds=seconds))
    assert "Stopping" == made.status.phase

    gone = decide(made, seconds=seconds + 300)
    assert (1, counted) == (gone.status.start, len(gone.status.short_runs))


@pytest.mark.parametrize(
    ("end", "why", "words"),
    [
        ({"said": "/usr/bin/python: No module named ganger_session", "exit_code": 1}, "ImageWithoutSession", "FROM"),
        ({"exit_code": 128, "reason": "StartError", "said": "exec: python: not found"}, "ImageWithoutSession", "FROM"),
        ({"exit_code": 137, "reason": "OOMKilled"}, "OOMKilled", "limits.memory"),
        ({"exit_code": 3, "said": "boom"}, "Error", "code 3: boom"),
        ({"pod_reason": "OutOfcpu"}, "PodRejected", "OutOfcpu"),
        ({"exit_code": 1, "said": {"reason": "ServerFailed", "message": "it died"}}, "ServerFailed", "it died"),
        ({"exit_code": 1, "said": {"reason": "no reason!", "message": "it died"}}, "Error", "it died"),
        ({"exit_code": 0, "said": IDLE | {"lastActivityTime": "2026-01-01T12:00:00"}}, "Error", "code 0"),
    ],
)
def test_every_other_end_fails_the_session_with_a_remedy_and_keeps_its_pod(end, why, words):
    made = running()
    over = pod(made, phase="Failed", **end)
    decision = decide(made, over)

    assert ("Failed", why) == (decision.status.phase, reason(decision.status, "Ended"))
    assert words in decision.status.message
    assert () == decide(after(made, decision), over).deletions


def test_a_supervisor_that_hangs_is_ended_by_the_deadline_of_its_pod():
    made = running()
    decision = decide(made, pod(made, phase="Failed", pod_reason="DeadlineExceeded"))

    assert "Expired" == decision.status.phase
    assert 86_400 + 120 == decide(session()).pod["spec"]["activeDeadlineSeconds"]


def test_an_eviction_gives_no_more_time():
    made = running(session(maxSeconds=1000))
    made = after(made, decide(made, pod(made, phase="Failed", pod_reason="Evicted")))
    env = {one["name"]: one.get("value") for one in decide(made, seconds=605).pod["spec"]["containers"][0]["env"]}

    assert "400" == env["GANGER_SESSION_MAX_SECONDS"]
    assert ("Expired", None) == (decide(made, seconds=1005).status.phase, decide(made, seconds=1005).pod)


@pytest.mark.parametrize(
    ("made", "seen", "why", "words"),
    [
        (session(fromJob="digits"), {"trouble": ("WaitingForJob", "no job")}, "WaitingForJob", "no job"),
        (session(), {"squatter": "notes-dev-0"}, "WaitingForPreviousPod", "notes-dev-0"),
        (session(), {"refusal": Refusal(reason="QuotaExceeded", message="exceeded")}, "QuotaExceeded", "exceeded"),
        (
            session(storage={"size": "1Gi"}),
            {"claim": Claim(metadata=Metadata(name="notes-workspace"))},
            "VolumeConflict",
            "spec.storage.claimName",
        ),
        (
            session(fromJob="digits", volumeMounts=[{"name": "data", "mountPath": "/data"}]),
            {"source": job()},
            "SpecInvalid",
            "together with job digits",
        ),
    ],
)
def test_what_is_in_the_way_is_said_and_nothing_is_made(made, seen, why, words):
    decision = decide(made, **seen)

    assert ("Pending", why) == (decision.status.phase, reason(decision.status))
    assert words in decision.status.message
    assert (None, False, ()) == (decision.pod, decision.token, decision.shared)
    assert None is decide(after(made, decision), **seen).status


def test_a_pod_of_an_earlier_start_that_still_runs_is_deleted_and_waited_for():
    made = session(status={"start": 1})
    decision = decide(made, pod(made, start=0))

    assert (None, ["notes-dev-0"]) == (decision.pod, [meta.name for meta in decision.deletions])
    assert "WaitingForPreviousPod" == reason(decision.status)


def test_a_fork_takes_over_what_it_does_not_say_itself():
    source = job(image="mine:1", resources={"limits": {"nvidia.com/gpu": 1}}, nodeSelector={"gpu": "h100"})
    made = session(fromJob="digits", resources={"requests": {"cpu": "1"}})
    spec = decide(made, source=source).pod["spec"]
    (container,) = spec["containers"]

    assert ("mine:1", {"requests": {"cpu": "1"}}) == (container["image"], container["resources"])
    assert {"gpu": "h100"} == spec["nodeSelector"]
    assert "affinity" not in spec


def test_a_fork_has_the_data_of_its_job():
    cached = {"data": [{"name": "set", "url": "https://example.com/a"}], "dataCache": {"claimName": "shared"}}
    spec = decide(session(fromJob="digits"), source=job(**cached)).pod["spec"]
    (container,), (fetching,) = spec["containers"], spec["initContainers"]

    assert "/data" == next(one["value"] for one in container["env"] if one["name"] == "GANGER_DATA_DIR")
    assert [True] == [one["readOnly"] for one in container["volumeMounts"] if one["mountPath"] == "/data/set"]
    assert (container["image"], "ganger-data") == (fetching["image"], fetching["name"])
    assert "notes-dev-0" == next(one["value"] for one in fetching["env"] if one["name"] == "GANGER_DATA_HOLDER")


def test_nothing_of_a_gang_reaches_a_session():
    source = job(command=["train"], task=None, liveConfig={}, checkpoint={"volume": {"size": "1Gi"}, "everySteps": 1})
    (container,) = decide(session(fromJob="digits"), source=source).pod["spec"]["containers"]
    names = {one["name"] for one in container["env"]}

    assert {"GANGER_JOB", "GANGER_CONFIG", "GANGER_CHECKPOINT_DIR"} <= names
    assert set() == {
        name for name in names if name.startswith(("PET_", "GANGER_CONTROL", "GANGER_RENDEZVOUS", "GANGER_WORKER"))
    }
