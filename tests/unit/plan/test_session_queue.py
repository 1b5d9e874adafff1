"""A session in a queue of Kueue: what is asked, what holds it, and when its quota is given back."""

import msgspec
import pytest

from builders import at, job
from ganger.plan import sessionqueue
from ganger.plan.quota import NOT_SERVED, Priority, Quota
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from sessions import IMAGE, session
from sessions import pod as plain_pod
from unit.plan.queueing import flavor, served
from unit.plan.queueing import workload as stored

SITE = SessionSite(image=IMAGE)
LABEL, CLASS = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
MARK = {"kueue.x-k8s.io/workload": "devsession-notes-1"}
HIGH = Priority(group="kueue.x-k8s.io", kind="WorkloadPriorityClass", name="high", value=1000)


def queued(labels=None, **spec):
    """A session in the queue `team`."""
    return session(labels={LABEL: "team"} | (labels or {}), **spec)


def workload(made, *true, source=None, **more):
    """Its Workload as Kueue shows it."""
    return stored(None, *true, manifest=sessionqueue.manifest(made, source, IMAGE, Priority()), **more)


def pod(made, **words):
    """A pod that was made with quota."""
    found = plain_pod(made, **words)
    labels = found.metadata.labels | {"kueue.x-k8s.io/local-queue-name": "team"}
    metadata = msgspec.structs.replace(found.metadata, annotations=found.metadata.annotations | MARK, labels=labels)
    return msgspec.structs.replace(found, metadata=metadata)


def decide(made, quota, *pods, seconds=100.0, **seen):
    return decide_session(made, SessionSeen(pods=pods, quota=quota, **seen), at(seconds), SITE)


def after(made, decision):
    """The session with what the decision writes."""
    return made if decision.status is None else msgspec.structs.replace(made, status=decision.status)


def admission(made):
    """Status and reason of its condition Admitted."""
    found = made.status.condition("Admitted")
    return (found.status, found.reason) if found is not None else None


def running(made=None):
    """A session that was admitted and runs."""
    made = made if made is not None else queued()
    return after(made, decide(made, served(workload(made, admitted=True)), pod(made, ready=True), seconds=20))


def labelled(made, **labels):
    """The session with these labels of Kueue and no other."""
    found = {f"kueue.x-k8s.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels=found))


def suspended(made):
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, suspend=True))


def in_queue(**spec):
    """A job in the queue `gpus` with a priority."""
    made = job(**spec)
    labels = {LABEL: "gpus", CLASS: "job-class"}
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels=labels))


def test_a_session_in_a_queue_asks_for_its_one_pod_and_waits_without_it():
    made = queued(resources={"requests": {"cpu": "3"}})
    decision = decide(made, served())
    (pod_set,) = decision.workload.body["spec"]["podSets"]

    assert ("create", None, False) == (decision.workload.verb, decision.pod, decision.token)
    assert ("session", 1) == (pod_set["name"], pod_set["count"])
    assert {"cpu": "3"} == pod_set["template"]["spec"]["containers"][0]["resources"]["requests"]
    made = after(made, decision)
    assert ("Pending", "queue team: quota is asked for") == (made.status.phase, made.status.message)
    assert ("False", "WaitingForQuota") == admission(made)


def test_a_sentence_of_kueue_is_told_once():
    made = queued()
    waiting = workload(made, conditions={"QuotaReserved": ("False", "Pending", "insufficient unused quota")})
    made = after(made, decide(made, served(waiting)))

    assert "queue team: insufficient unused quota" == made.status.message
    assert (None, None, None) == (lambda d: (d.status, d.workload, d.pod))(decide(made, served(waiting)))


def test_an_admitted_session_starts_with_the_labels_of_its_flavor_without_a_write_more():
    made = queued(nodeSelector={"disk": "fast"})
    decision = decide(made, served(workload(made, admitted=True)))
    metadata = decision.pod["metadata"]

    assert (None, None) == (decision.status, decision.workload)
    assert {"pool": "spot", "disk": "fast"} == decision.pod["spec"]["nodeSelector"]
    assert ("session", "team") == tuple(
        metadata["labels"][f"kueue.x-k8s.io/{key}"] for key in ("podset", "local-queue-name")
    )
    assert LABEL not in metadata["labels"]
    assert "kueue.x-k8s.io/workload" in metadata["annotations"]
    starting = after(made, decide(made, served(workload(made, admitted=True)), pod(made, phase="Pending")))
    assert ("Starting", ("True", "Admitted")) == (starting.status.phase, admission(starting))


def test_kueue_is_told_when_the_session_is_ready_and_when_it_is_no_more():
    made = running()
    found = decide(made, served(workload(made, admitted=True)), pod(made, ready=True)).workload
    told = served(workload(made, admitted=True, conditions={"PodsReady": ("True", "Started", "")}))
    lost = after(made, decide(made, told, pod(made, phase="Failed", pod_reason="Evicted")))

    assert "PodsReady" in {one["type"] for one in found.body["status"]["conditions"]}
    assert None is decide(made, told, pod(made, ready=True)).workload
    assert ("Pending", 1, ("True", "Admitted")) == (lost.status.phase, lost.status.start, admission(lost))
    again = decide(lost, told, pod(made, phase="Failed", pod_reason="Evicted"))
    assert "WaitForRecovery" in {one["reason"] for one in again.workload.body["status"]["conditions"]}
    assert "notes-dev-1" == again.pod["metadata"]["name"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"evicted": "Preempted"}, "Evicted"),
        ({"active": False}, "Deactivated"),
        ({"conditions": {"Finished": ("True", "Succeeded", "")}}, "WorkloadFinished"),
    ],
)
def test_who_loses_its_quota_stops_in_order_and_keeps_it_until_its_pod_is_gone(more, why):
    made = running()
    quota = served(workload(made, admitted=True, **more))
    decision = decide(made, quota, pod(made, ready=True))

    assert (["notes-dev-0"], None) == ([meta.name for meta in decision.deletions], decision.workload)
    assert [why] == [event.reason for event in decision.events]
    made = after(made, decision)
    assert ("Stopping", ("False", why)) == (made.status.phase, admission(made))
    leaving = decide(made, quota, pod(made, ready=True, leaving=True))
    assert (None, (), None) == (leaving.status, leaving.deletions, leaving.workload)


def test_an_evicted_session_gives_its_quota_back_and_waits_again_with_its_life():
    made = running()
    quota = served(workload(made, admitted=True, evicted="Preempted"))
    made = after(made, decide(made, quota, pod(made, ready=True)))
    decision = decide(made, quota, pod(made, leaving=True, exit_code=137, phase="Failed"))
    made = after(made, decision)

    assert ("status", None) == (decision.workload.verb, decision.workload.body["status"]["admission"])
    assert ("Pending", 1, ()) == (made.status.phase, made.status.start, made.status.short_runs)
    assert decision.events[0].message.endswith("it waits in its queue for another one")
    assert (None, "status") == (lambda d: (d.status, d.workload.verb))(
        decide(made, quota)
    )  # the next pass says nothing new
    assert at(5) == made.status.start_time
    waiting = decide(made, served(workload(made)))
    assert ("Pending", None, None) == (waiting.status.phase, waiting.pod, waiting.workload)
    assert 86_400 - 95 == waiting.requeue_after_seconds
    assert "notes-dev-1" == decide(made, served(workload(made, admitted=True))).pod["metadata"]["name"]


def test_a_pod_that_only_the_cache_lacks_gives_no_quota_back():
    made = running()
    quota = served(workload(made, admitted=True, evicted="Preempted"))
    made = after(made, decide(made, quota, pod(made, ready=True)))
    decision = decide(made, quota)

    assert ("notes-dev-0", None) == (decision.lost, decision.workload)
    assert "status" == decide(after(made, decision), quota).workload.verb


def test_a_session_at_rest_takes_its_workload_back_when_its_pod_is_gone():
    made = suspended(running())
    quota = served(workload(made, admitted=True))
    stopping = decide(made, quota, pod(made, ready=True))
    stopped = decide(after(made, stopping), quota)

    assert ("Stopping", None) == (stopping.status.phase, stopping.workload)
    assert ("Stopped", "delete", "wl-1") == (stopped.status.phase, stopped.workload.verb, stopped.workload.target.uid)
    made = after(made, stopped)
    assert ("False", "Ended") == admission(made)
    assert None is decide(made, served()).workload


@pytest.mark.parametrize(("reason", "phase"), [("Idle", "Culled"), ("Expired", "Expired"), ("", "Failed")])
def test_a_session_that_ends_by_itself_asks_for_nothing_any_more(reason, phase):
    made = running()
    said = {"outcome": "Ended" if reason else "", "reason": reason, "message": ""}
    over = pod(made, phase="Failed", exit_code=1, said=said)
    quota = served(workload(made, admitted=True))
    made = after(made, decide(made, quota, over))

    assert phase == made.status.phase
    assert "delete" == decide(made, quota, over).workload.verb
    metadata = msgspec.structs.replace(
        made.metadata, annotations={"ganger.dev/start-requested-at": "2999-01-01T00:00:00Z"}
    )
    asked = msgspec.structs.replace(made, metadata=metadata)
    again = after(asked, decide(asked, served()))
    assert "create" == decide(again, served(), over).workload.verb


def test_what_else_is_in_the_way_asks_for_no_quota_and_gives_back_what_there_is():
    made = queued(fromJob="digits")
    trouble = {"trouble": ("WaitingForJob", "there is no job")}
    decision = decide(made, served(), **trouble)

    assert ("Pending", None, None) == (decision.status.phase, decision.workload, decision.pod)
    assert ("False", "WaitingForJob") == admission(after(made, decision))
    assert "delete" == decide(made, served(workload(made, admitted=True)), **trouble).workload.verb
    assert None is decide(made, served(workload(made, admitted=True)), pod(made), **trouble).workload


def test_a_fork_is_in_the_queue_and_of_the_class_of_its_job_unless_it_says_otherwise():
    source = in_queue(resources={"limits": {"nvidia.com/gpu": 8}})
    fork = session(fromJob="digits")
    found = sessionqueue.manifest(fork, source, IMAGE, Priority())

    def place(made):
        whole = sessionqueue.whole(made, source, IMAGE)
        return whole.metadata.labels.get(LABEL), whole.metadata.labels.get(CLASS)

    assert "gpus" == found["spec"]["queueName"]
    assert {"nvidia.com/gpu": 8} == found["spec"]["podSets"][0]["template"]["spec"]["containers"][0]["resources"][
        "limits"
    ]
    assert ("gpus", "job-class") == place(fork)
    assert ("small", "job-class") == place(session(fromJob="digits", labels={LABEL: "small"}))
    assert ("gpus", "mine") == place(session(fromJob="digits", labels={CLASS: "mine"}))
    assert ("gpus", None) == place(session(fromJob="digits", priorityClassName="interactive"))
    alone = session(fromJob="digits", labels={LABEL: ""})
    assert "notes-dev-0" == decide(alone, None, source=source).pod["metadata"]["name"]


def test_what_changes_while_a_session_waits_is_asked_for_anew_and_what_counts_nothing_is_not():
    source = in_queue()
    made = session(fromJob="digits")
    asked = workload(made, source=source)
    larger = in_queue(resources={"requests": {"cpu": "9"}})
    longer = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, max_seconds=60))

    assert "delete" == decide(made, served(asked), source=larger).workload.verb
    assert "SpecChanged" == decide(made, served(asked), source=larger).status.condition("Ready").reason
    assert "delete" == decide(labelled(made, queue_name="other"), served(asked), source=source).workload.verb
    assert None is decide(longer, served(asked), source=source).workload
    assert "patch" == decide(made, served(asked, priority=HIGH), source=source).workload.verb


def test_a_workload_that_is_on_its_way_out_starts_no_pod():
    made = queued()
    found = workload(made, admitted=True)
    leaving = msgspec.structs.replace(found.metadata, deletion_timestamp=at(9))
    decision = decide(made, served(msgspec.structs.replace(found, metadata=leaving)))

    assert (None, None) == (decision.pod, decision.workload)
    assert "queue team: quota is asked for anew" == decision.status.message


def test_a_workload_that_somebody_deletes_stops_the_session_and_is_made_anew():
    made = running()
    stopping = decide(made, served(), pod(made, ready=True))

    assert ("Stopping", None, 1) == (stopping.status.phase, stopping.workload, len(stopping.deletions))
    again = decide(after(made, stopping), served(), pod(made, phase="Failed", exit_code=137, leaving=True))
    assert "create" == again.workload.verb


def test_a_session_that_was_made_without_a_queue_runs_to_its_end_beside_it():
    made = session()
    made = after(made, decide(made, None, plain_pod(made, ready=True)))
    decision = decide(labelled(made, queue_name="team"), served(), plain_pod(made, ready=True))

    assert (None, (), None) == (decision.status, decision.deletions, decision.workload)


def test_a_session_that_has_left_its_queue_keeps_its_quota_until_its_pod_ends():
    made = labelled(running())
    quota = served(workload(queued(), admitted=True, conditions={"PodsReady": ("True", "Started", "")}))

    assert None is decide(made, quota, pod(made, ready=True)).workload
    assert (
        "delete"
        == decide(after(made, decide(made, quota, pod(made, exit_code=0, phase="Failed"))), quota).workload.verb
    )


@pytest.mark.parametrize("quota", [Quota(), Quota(state="Absent"), None])
def test_silence_of_kueue_stops_no_session_and_starts_none(quota):
    made = running()
    decision = decide(made, quota, pod(made, ready=True))

    assert (None, (), None) == (decision.status, decision.deletions, decision.workload)
    assert None is decide(queued(), quota).pod


def test_where_kueue_is_not_served_the_session_says_so():
    decision = decide(queued(), Quota(state="Absent"))

    assert ("QueueNotServed", NOT_SERVED) == (decision.status.condition("Admitted").reason, decision.status.message)


def test_what_contradicts_the_admission_fails_the_session_with_a_remedy():
    made = queued(nodeSelector={"pool": "reserved"})
    decision = decide(made, served(workload(made, admitted=True)))

    assert ("Failed", "AdmissionConflict") == (decision.status.phase, decision.status.condition("Ended").reason)
    assert "the pods have reserved, the admission wants spot" in decision.status.message


def test_a_flavor_that_cannot_be_read_is_waited_for():
    made = queued()
    trouble = ("ResourceFlavorNotFound", "there is no ResourceFlavor spot")
    decision = decide(made, served(workload(made, admitted=True), flavors={}, trouble=trouble))

    assert (None, "there is no ResourceFlavor spot", 30.0) == (
        decision.pod,
        decision.status.message,
        decision.requeue_after_seconds,
    )
    assert decide(made, served(workload(made, admitted=True), flavors={"spot": flavor()})).pod is not None
