import pytest
from msgspec.structs import replace

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.api.conditions import upsert
from ganger.api.observed import Condition, Metadata, Node, NodeStatus
from ganger.api.status import TrainingJobStatus
from ganger.app import reconcile
from ganger.app.caches import Caches
from ganger.app.reconcile import Reconciler
from ganger.kube.errors import Conflict, Forbidden
from ganger.plan.decide import decide
from ganger.plan.inquiry import HOLD_SECONDS, Answer, Question
from ganger.plan.live import LiveReport
from ganger.plan.seen import Decision, Refusal, Seen
from ganger.runtime.cache import Undecodable

KEY = ("team", "digits")
WRONG = [{"format": "onnx"}]  # of a job without checkpoints


class World:
    """A reconciler with all its surroundings; what it would execute is kept."""

    def __init__(self):
        self.caches = Caches()
        self.executed = []
        self.said = []
        self.forgotten = []
        self.error = None
        self.seconds = 100.0
        self.reconciler = Reconciler(self.caches, self, self, self, "default-image:v1", self.forgotten.append)

    def now(self):
        return at(60)

    def monotonic(self):
        return self.seconds

    async def doubts(self, job_, decision, caches):
        return False

    async def execute(self, job_, decision, memory):
        self.executed.append((job_, decision, memory))
        if self.error:
            raise self.error

    def record(self, resource, regarding, type_, reason, note):
        self.said.append((regarding.name, type_, reason, note))

    async def sync(self, job_):
        self.caches.jobs.put(job_)
        return await self.reconciler.sync(KEY)

    @property
    def decision(self) -> Decision:
        return self.executed[-1][1]

    @property
    def memory(self):
        return self.executed[-1][2]


@pytest.fixture
def world():
    return World()


async def test_a_new_job_gets_its_pods(world):
    await world.sync(job())

    assert ["digits-0-0", "digits-0-1"] == [manifest["metadata"]["name"] for manifest in world.decision.pods]


async def test_a_job_without_an_image_gets_that_of_the_operator(world):
    await world.sync(job(image=None))

    assert {"default-image:v1"} == {m["spec"]["containers"][0]["image"] for m in world.decision.pods}


async def test_what_the_caches_hold_decides(world):
    for found in running_gang(job()):
        world.caches.pods.put(found)
    await world.sync(job())

    assert () == world.decision.pods
    assert ("Running", "2/2") == (world.decision.status.phase, world.decision.status.workers)


async def test_a_rule_that_is_broken_ends_in_a_condition_that_names_the_field_and_creates_nothing(world):
    await world.sync(job(export=WRONG))
    (failed,) = [condition for condition in world.decision.status.conditions if condition.type == "Failed"]

    assert ("True", "Unsupported") == (failed.status, failed.reason)
    assert "spec.export" in failed.message
    assert () == world.decision.pods == world.decision.shared


async def test_an_object_that_was_stored_before_a_rule_existed_meets_the_rule_here(world):
    await world.sync(job(task=None))
    (failed,) = [condition for condition in world.decision.status.conditions if condition.type == "Failed"]

    assert "task" in failed.message


async def test_what_is_wrong_with_live_settings_stops_no_job(world):
    await world.sync(job(liveConfig={"learning rate": 1}))

    assert 2 == len(world.decision.pods)


async def test_the_spec_is_checked_once_for_each_generation(world, monkeypatch):
    checked = []
    monkeypatch.setattr(reconcile, "check", lambda job_: checked.append(job_.metadata.generation) or [])
    for job_ in (job(), job(), with_spec(job(), workers=3), with_spec(job(), workers=3)):
        await world.sync(job_)

    assert [1, 2] == checked


async def test_the_check_of_a_same_named_predecessor_is_not_used(world):
    await world.sync(job(export=WRONG, uid="uid-before"))
    await world.sync(job())

    assert 2 == len(world.decision.pods)


async def test_a_job_that_is_gone_is_forgotten(world):
    await world.sync(job())
    world.memory.refused(Refusal(reason="QuotaExceeded", message="m"), world.seconds)
    before = world.memory
    world.caches.jobs.remove(job().metadata)

    assert await world.reconciler.sync(KEY) is None
    assert [KEY] == world.forgotten
    await world.sync(job())
    assert before is not world.memory


async def test_notes_are_kept_between_passes_and_end_with_the_uid(world):
    await world.sync(job())
    first = world.memory
    await world.sync(job())
    assert first is world.memory
    await world.sync(job(uid="uid-2"))

    assert first is not world.memory


async def test_a_fresh_refusal_holds_the_gang_back_and_its_end_calls_for_a_pass(world):
    await world.sync(job())
    world.memory.refused(Refusal(reason="QuotaExceeded", message="exceeded quota: q"), world.seconds)
    after = await world.sync(job())
    assert () == world.decision.pods
    assert 10.0 == after
    world.seconds += 10.0
    await world.sync(job())

    assert 2 == len(world.decision.pods)


async def test_squatters_that_a_pass_met_hold_the_gang_back(world):
    await world.sync(job())
    world.memory.met(("digits-0-1",), world.seconds)
    await world.sync(job())

    assert () == world.decision.pods
    assert "digits-0-1" in world.decision.status.message


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("Service", "digits-gang", "WaitingForPreviousService"),
        ("PersistentVolumeClaim", "digits-checkpoints", "VolumeConflict"),
        ("NetworkPolicy", "digits-gang", "WaitingForPreviousPolicy"),
    ],
)
async def test_a_stranger_that_a_pass_met_is_said_in_a_condition(world, kind, name, reason):
    saving = job(checkpoint={"everySteps": 10, "volume": {"size": "1Gi"}})
    await world.sync(saving)
    world.memory.met_stranger(kind, Metadata(name=name, namespace="team", uid="uid-of-a-stranger"), world.seconds)
    await world.sync(saving)
    (ready,) = [condition for condition in world.decision.status.conditions if condition.type == "PodsReady"]

    assert reason == ready.reason
    assert name in ready.message
    assert () == world.decision.pods


async def test_the_nearest_of_all_times_calls_for_the_next_pass(world):
    deadline = job(activeDeadlineSeconds=90)
    for found in running_gang(deadline):
        world.caches.pods.put(found)
    started = with_status(deadline, TrainingJobStatus(start_time=at(0)))
    assert 30.0 == await world.sync(started)
    world.memory.status_due = world.seconds + 2.0

    assert 2.0 == await world.sync(started)


async def test_a_job_that_wants_nothing_is_not_looked_at_again(world):
    done = with_status(job(cleanPodPolicy="None"), TrainingJobStatus(phase="Pending"))
    for worker in range(2):
        world.caches.pods.put(pod(done, worker, exit_code=0))
    await world.sync(done)
    finished = with_status(done, world.decision.status)

    assert await world.sync(finished) is None
    assert world.decision.empty


async def test_an_error_of_the_writes_reaches_the_runtime(world):
    world.error = Conflict(409, "Conflict", "m")

    with pytest.raises(Conflict):
        await world.sync(job())


@pytest.mark.parametrize(
    ("error", "told", "untold"),
    [
        (Forbidden(403, "Forbidden", "cannot create pods"), "cannot create pods", "log"),
        (KeyError("an inner matter"), "KeyError", "inner"),
    ],
)
async def test_passes_that_fail_are_told_to_whoever_looks_at_the_job(world, error, told, untold):
    world.caches.jobs.put(job())
    await world.reconciler.report(KEY, error, 3)
    ((name, type_, reason, note),) = world.said

    assert ("digits", "Warning", "ReconcileError") == (name, type_, reason)
    assert told in note
    assert untold not in note


async def test_passes_over_a_job_that_is_gone_are_told_to_nobody(world):
    await world.reconciler.report(KEY, KeyError(), 1)

    assert [] == world.said


async def test_a_job_that_this_version_cannot_read_is_left_alone_and_told_so(world):
    world.caches.jobs.put(Undecodable(job().metadata, "Expected `int`, got `str` - at `$.spec.workers`"))

    assert await world.reconciler.sync(KEY) is None
    assert [] == world.executed
    ((name, type_, reason, note),) = world.said
    assert ("digits", "Warning", "UnsupportedSpec") == (name, type_, reason)
    assert "$.spec.workers" in note


async def test_a_job_of_another_controller_is_left_alone(world):
    await world.sync(job(managedBy="example.com/other"))

    assert world.decision.empty


async def test_a_job_that_is_being_deleted_is_left_alone(world):
    present = job()
    await world.sync(replace(present, metadata=replace(present.metadata, deletion_timestamp=at(1))))

    assert world.decision.empty


def reported(world, job_):
    """A report of worker 0 is in the operator's memory."""
    report = LiveReport(attempt=0, worker=0, sequence=1, phase="Training", step=7, total_steps=40)
    world.reconciler._reports.take(KEY, job_.metadata.uid, "pod-0-0", report, at(50), 50.0)


async def test_what_workers_say_reaches_the_decision(world):
    for found in running_gang(job()):
        world.caches.pods.put(found)
    reported(world, job())
    await world.sync(job())

    assert 7 == world.decision.status.progress.step


@pytest.mark.parametrize(("end", "left"), [("Complete", 0), ("Failed", 0), ("Suspended", 0), ("Running", 1)])
async def test_workers_that_are_gone_do_not_count_for_how_often_the_others_report(world, end, left):
    conditions = upsert((), end, True, "R", "", now=at(1), generation=1)
    over = with_status(job(suspend=end == "Suspended"), TrainingJobStatus(conditions=conditions))
    reported(world, over)
    await world.sync(over)

    assert left == world.reconciler._reports.num_workers


async def test_workers_of_a_job_that_is_being_suspended_still_report(world):
    conditions = upsert((), "Suspended", True, "R", "", now=at(1), generation=1)
    over = with_status(job(suspend=True), TrainingJobStatus(conditions=conditions))
    world.caches.pods.put(pod(over, 0))
    reported(world, over)
    await world.sync(over)

    assert 1 == world.reconciler._reports.num_workers


class Asked:
    """Takes questions, and notes how many decisions were carried out before each."""

    def __init__(self, world):
        self.world = world
        self.questions = []

    def ask(self, key, question, memory):
        self.questions.append((key, question, len(self.world.executed)))


async def test_the_node_of_a_failure_is_asked_for_before_the_restart_is_written_and_the_pass_waits_for_nothing(world):
    asked = Asked(world)
    world.reconciler = Reconciler(
        world.caches, world, world, world, "default-image:v1", world.forgotten.append, inquiries=asked
    )
    a_job = job()
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    for found in (pod(a_job, 0), pod(a_job, 1, exit_code=139)):
        world.caches.pods.put(found)
    await world.sync(a_job)

    assert [(KEY, Question(node="node-1", restart=1), 0)] == asked.questions
    assert ("Restarting", 1) == (world.decision.status.phase, world.decision.status.attempt)


async def test_a_leader_that_finds_a_job_between_two_attempts_asks_before_it_decides_and_holds_the_pods(world):
    class Slow(Asked):
        def ask(self, key, question, memory):
            super().ask(key, question, memory)
            if memory.question != question:
                memory.ask(question, world.seconds)

    asked = Slow(world)
    world.reconciler = Reconciler(
        world.caches, world, world, world, "default-image:v1", world.forgotten.append, inquiries=asked
    )
    a_job = job()
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    failed = (pod(a_job, 0, exit_code=1), pod(a_job, 1, exit_code=139))
    a_job = with_status(a_job, decide(a_job, Seen(pods=failed), at(12)).status)
    wait = await world.sync(a_job)
    held = world.decision.pods
    world.seconds += 1.1 * HOLD_SECONDS
    await world.sync(a_job)

    assert ((), HOLD_SECONDS, 2) == (held, wait, len(world.decision.pods))


async def test_an_answer_in_memory_decides(world):
    a_job = job()
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    failed = (pod(a_job, 0, exit_code=1), pod(a_job, 1, exit_code=139))
    a_job = with_status(a_job, decide(a_job, Seen(pods=failed), at(12)).status)
    await world.sync(a_job)
    sick = Node(status=NodeStatus(conditions=(Condition(type="Ready", status="False"),)))
    question = Question(node=a_job.status.restarts.last.node, restart=1)
    world.memory.answer = Answer(question=question, node=sick)
    await world.sync(a_job)

    assert ("Ready=False",) == world.decision.status.restarts.last.node_conditions


async def test_a_job_that_changed_while_its_quota_was_read_is_left_to_the_next_pass(world):
    class Slow:
        async def seen(self, job_):
            world.caches.jobs.put(with_spec(job(), suspend=True))

    reconciler = Reconciler(world.caches, world, world, world, "image:v1", lambda key: None, queues=Slow())
    world.caches.jobs.put(job())

    assert None is await reconciler.sync(KEY)
    assert [] == world.executed
