"""Whatever happens to a session, it has one live pod at most, its starts only grow, and it comes to rest."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import at
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from ganger.plan.sessionactivity import SessionReport
from sessions import IMAGE, pod, session

SITE = SessionSite(image=IMAGE)
SAID = {"outcome": "Ended", "message": "", "lastActivityTime": "2026-01-01T12:00:00Z"}
ENDS = {
    "idle": {"phase": "Succeeded", "exit_code": 0, "said": SAID | {"reason": "Idle"}},
    "expired": {"phase": "Succeeded", "exit_code": 0, "said": SAID | {"reason": "Expired"}},
    "stopped": {"phase": "Failed", "exit_code": 0, "said": SAID | {"reason": "Stopped"}},
    "evicted": {"phase": "Failed", "pod_reason": "Evicted"},
    "broken": {"phase": "Failed", "exit_code": 1, "said": "boom"},
    "garbled": {"phase": "Failed", "exit_code": 1, "said": '{"outcome": 3'},
}
NEWS = st.sampled_from(["ready", "vanish", "delete", "suspend", "resume", "ask", "wait", "crash", "use", "rest", *ENDS])
RESTING = ("Running", "Stopped", "Culled", "Expired", "Failed")


class World:
    """A cluster of one session, whose kubelet obeys the news."""

    def __init__(self) -> None:
        self.session = session()
        self.pods = {}
        self.now = 100.0
        self.made = []
        self.report = None  # of the newest pod
        self.crashes = False  # the operator dies after the first write of its next pass

    def live(self):
        return [name for name, found in self.pods.items() if found.status.phase not in ("Succeeded", "Failed")]

    def news(self, word):
        made, name = self.session, f"notes-dev-{self.session.status.start}"
        if word in ("suspend", "resume"):
            spec = msgspec.structs.replace(made.spec, suspend=word == "suspend")
            self.session = msgspec.structs.replace(made, spec=spec)
        elif word == "ask":
            text = at(self.now).isoformat()
            metadata = msgspec.structs.replace(made.metadata, annotations={"ganger.dev/start-requested-at": text})
            self.session = msgspec.structs.replace(made, metadata=metadata)
        elif word == "use":
            self.report = SessionReport(last_activity_time=at(self.now), idle_seconds=3600)
        elif word == "rest":
            self.now += 400.0  # more than a tenth of that
        elif word == "crash":
            self.crashes = True
        elif word == "vanish":
            self.pods.pop(name, None)
        elif name in self.live():
            kind = {"ready": {"ready": True}, "delete": {"leaving": True}, "wait": {}}.get(word) or ENDS.get(word, {})
            self.pods[name] = self.pod(**kind)

    def pod(self, **kind):
        return pod(self.session, **kind)

    def deleted(self, name):
        self.pods.pop(name)

    def seen(self):
        return SessionSeen(pods=tuple(self.pods.values()), report=self.report)

    def run(self):
        """Pass until nothing more is wanted; the kubelet ends what is deleted."""
        for _ in range(12):
            self.now += 1.0
            decision = decide_session(self.session, self.seen(), at(self.now), SITE)
            if not (decision.status or decision.deletions or decision.pod or decision.workload):
                return
            self.obey(decision)
        raise AssertionError(f"it does not come to rest: {self.session.status}")

    def obey(self, decision):
        """Carry it out; whether the operator lived."""
        old, crashes = self.session.status, self.crashes
        self.crashes = False
        if decision.status is not None:
            assert decision.status.start in (old.start, old.start + 1)
            assert decision.status.start == old.start or decision.pod is None, "a start is written before its pod"
            assert not old.ended or decision.status.ended or decision.status.start == old.start + 1
            self.session = msgspec.structs.replace(self.session, status=decision.status)
            if crashes:
                return False
        for metadata in decision.deletions:
            self.deleted(metadata.name)
            if crashes:
                return False
        if decision.pod is not None:
            name = decision.pod["metadata"]["name"]
            assert [] == self.live(), "a second pod beside a live one"
            assert not self.session.spec.suspend
            assert f"notes-dev-{self.session.status.start}" == name
            self.made.append(name)
            self.report = None
            self.pods[name] = self.pod(phase="Pending")
        return True


@settings(max_examples=300, deadline=None)
@given(st.lists(NEWS, max_size=25))
def test_a_session_comes_to_rest_with_one_pod_at_most(words):
    world = World()
    world.run()
    for word in words:
        world.now += 70.0
        world.news(word)
        world.run()
        leaving = any(found.metadata.deletion_timestamp for found in world.pods.values())
        status = world.session.status

        assert len(world.live()) <= 1
        assert leaving or status.phase in (*RESTING, "Starting"), status
        assert status.ended == (not world.live()) or leaving
        assert status.cull_time is None or (status.phase == "Running" and status.cull_time > status.last_activity_time)
        assert not world.session.spec.suspend or leaving or status.phase == "Stopped"
    assert len(world.made) == len(set(world.made)), "a name was used twice"
