"""Whatever happens to a session in a queue: it has no pod without quota, and gives none back that a pod still uses."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ganger.api.queueing import Workload
from ganger.plan.quota import Priority, Quota
from ganger.plan.session import SessionSeen
from property.plan.test_sessions import ENDS, RESTING, World
from sessions import session
from unit.plan.queueing import flavor

CONDITION = {"reason": "Because", "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z", "status": "True"}
TRUE = [CONDITION | {"type": type_} for type_ in ("QuotaReserved", "Admitted")]
ADMISSION = {"clusterQueue": "gpus", "podSetAssignments": [{"name": "session", "flavors": {"cpu": "spot"}}]}
KUEUE = ("admit", "preempt", "deactivate", "activate", "remove", "silence", "hear")
NEWS = st.sampled_from(["ready", "vanish", "suspend", "resume", "ask", "crash", "stop", *KUEUE, *ENDS])


class QueuedWorld(World):
    """A session in a queue whose Kueue and kubelet do what the news says; a deleted pod takes its time."""

    def __init__(self):
        super().__init__()
        self.session = session(labels={"kueue.x-k8s.io/queue-name": "team"})
        self.workload = None  # as it is stored
        self.heard = True

    def news(self, word):
        found = self.workload
        conditions = {one["type"]: one for one in found["status"].get("conditions", [])} if found else {}
        active = bool(found) and found["spec"].get("active", True)
        reserved = conditions.get("QuotaReserved", {}).get("status") == "True"
        if word in ("silence", "hear"):
            self.heard = word == "hear"
        elif word == "stop":
            for name in self.leaving():
                del self.pods[name]
        elif word == "remove":
            self.workload = None
        elif found and word == "admit" and active and not reserved:
            self.workload = found | {"status": {"conditions": TRUE, "admission": ADMISSION}}
        elif found and word in ("deactivate", "activate"):
            found["spec"]["active"] = word == "activate"
        if found and reserved and word in ("preempt", "deactivate"):
            reason = {"preempt": "Preempted", "deactivate": "Deactivated"}[word]
            conditions["Evicted"] = CONDITION | {"type": "Evicted", "reason": reason}
            found["status"]["conditions"] = list(conditions.values())
        elif word not in KUEUE:
            super().news(word)

    def leaving(self):
        return [name for name in self.live() if self.pods[name].metadata.deletion_timestamp is not None]

    def holds_quota(self):
        return self.workload is not None and self.workload["status"].get("admission") is not None

    def pod(self, **kind):
        found = super().pod(**kind)
        annotations = found.metadata.annotations | {"kueue.x-k8s.io/workload": "w"}
        labels = found.metadata.labels | {"kueue.x-k8s.io/local-queue-name": "team"}
        metadata = msgspec.structs.replace(found.metadata, annotations=annotations, labels=labels)
        return msgspec.structs.replace(found, metadata=metadata)

    def deleted(self, name):
        if name in self.live():
            self.pods[name] = self.pod(start=int(name.rsplit("-", 1)[1]), leaving=True)
        else:
            super().deleted(name)

    def seen(self):
        stored = msgspec.convert(self.workload, Workload, strict=False) if self.workload else None
        state = "Served" if self.heard else "Unknown"
        quota = Quota(state=state, workload=stored, priority=Priority(), flavors={"spot": flavor()})
        return SessionSeen(pods=tuple(self.pods.values()), quota=quota)

    def obey(self, decision):
        if decision.pod is not None:
            assert (True, True) == (self.heard, self.holds_quota()), "a pod without quota"
        if not super().obey(decision) or decision.workload is None:
            return
        change, held = decision.workload, self.holds_quota()
        if change.verb == "create":
            self.workload = change.body | {"status": {}}
        elif change.verb == "delete":
            self.workload = None
        elif change.verb == "status":
            self.workload["status"] |= change.body["status"]
        else:
            raise AssertionError(f"nothing of the spec has changed: {change}")
        assert not held or self.holds_quota() or not self.live(), "quota that a pod still uses is given back"


@settings(max_examples=200, deadline=None)
@given(st.lists(NEWS, max_size=30))
def test_a_session_has_quota_before_its_pod_and_after_it(words):
    world = QueuedWorld()
    world.run()
    for word in words:
        world.now += 70.0
        world.news(word)
        world.run()
        status, may_run = world.session.status, world.holds_quota() and world.heard

        assert len(world.live()) <= 1
        assert world.leaving() or status.phase in (*RESTING, "Starting") or not may_run, status
        assert not (status.ended and world.heard and world.workload and not world.live()), (
            "it asks for what it needs not"
        )
    assert len(world.made) == len(set(world.made)), "a name was used twice"


def test_the_walks_reach_what_they_are_about():
    world = QueuedWorld()
    for word in (
        "admit",
        "ready",
        "preempt",
        "stop",
        "admit",
        "ready",
        "deactivate",
        "stop",
        "activate",
        "admit",
        "idle",
    ):
        world.run()
        world.news(word)
    world.run()

    assert ["notes-dev-0", "notes-dev-1", "notes-dev-2"] == world.made
    assert ("Culled", None) == (world.session.status.phase, world.workload)
    assert () == world.session.status.short_runs, "an eviction by Kueue counts as a short run"
