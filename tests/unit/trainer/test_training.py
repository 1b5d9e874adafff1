"""One rank's whole life in this process: checkpoints, resume, SIGTERM, NaN, agreement of two ranks."""

import hashlib
import itertools
import os
import signal
import sys
import threading
import types

import msgspec
import pytest

from ganger_trainer import signals, worker
from ganger_trainer.agreement import Agreement, Wish
from ganger_trainer.checkpoint import layout
from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.failures import FencedError, UserError
from ganger_trainer.save_requests import SaveRequests
from unit.trainer import kit
from unit.trainer.kit import shard_of, steps_in

CONFIG = {"steps": 24, "batchSize": 8, "threads": 1}


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train the tiny task in a directory; return (done, board)."""
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)

    def run(name="job", *, task=None, attempt=0, config=None, **policy):
        module.task = task or kit.Tiny()
        spec = kit.worker(
            tmp_path / name, attempt=attempt, config=msgspec.json.encode(CONFIG | (config or {})).decode(),
            **({"every_steps": 5, "keep_last": 9} | policy),
        )  # fmt: skip
        sender = kit.ToBoard()
        done, _ = worker._train(spec, sender)
        return done, sender.board

    return run


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class BoomError(Exception):
    pass


def at(step, action):
    return lambda now: action() if now == step else None


def boom():
    raise BoomError


@pytest.mark.parametrize("crash_at", [1, 6, 12, 24])
def test_a_crashed_attempt_resumes_to_the_same_bytes_as_an_uninterrupted_run(train, tmp_path, crash_at):
    train("whole")
    with pytest.raises(BoomError):
        train("broken", task=kit.Tiny(at(crash_at, boom)))

    done, board = train("broken", attempt=1)

    assert done
    resumed = board.training()[0].resumed_from
    assert ((crash_at - 1) // 5 * 5 or None) == resumed
    for step in (20, 24):
        assert digest(shard_of(tmp_path / "whole", step)) == digest(shard_of(tmp_path / "broken", step))


def test_sigterm_finishes_the_step_commits_it_and_resumes_to_the_same_bytes(train, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_requested", False)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    signals.install()
    try:
        train("whole", every_steps=1000)
        done, board = train("stopped", task=kit.Tiny(at(7, lambda: os.kill(os.getpid(), 15))), every_steps=1000)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])

    step = board.progress_by_rank()[0].step
    assert not done
    assert 7 <= step < 24
    assert [step] == steps_in(tmp_path / "stopped")
    monkeypatch.setattr(signals, "_requested", False)
    done, board = train("stopped", attempt=1, every_steps=1000)
    assert done
    assert step == board.training()[0].resumed_from
    assert digest(shard_of(tmp_path / "whole", 24)) == digest(shard_of(tmp_path / "stopped", 24))


def test_a_nan_loss_ends_the_attempt_and_the_checkpoint_before_it_stays(train, tmp_path):
    class Nan(kit.Tiny):
        def loss(self, model, batch):
            loss = super().loss(model, batch)
            return loss * float("nan") if self.steps == 12 else loss

    with pytest.raises(UserError, match=r"at step 1[0-9] a loss, a gradient or a parameter is a NaN") as raised:
        train(task=Nan())

    assert "NonFiniteLoss" == raised.value.reason
    assert [5, 10] == steps_in(tmp_path / "job")


def test_a_stale_attempt_trains_nothing(train, tmp_path):
    train(attempt=2)
    kept = {path.name for path in (tmp_path / "job").iterdir()}
    task = kit.Tiny()

    with pytest.raises(FencedError):
        train(task=task, attempt=1)

    assert 0 == task.steps
    assert kept == {path.name for path in (tmp_path / "job").iterdir()}


def test_a_finished_job_that_is_started_again_trains_nothing_more(train):
    train()
    task = kit.Tiny()

    done, board = train(task=task, attempt=1)

    assert done
    assert 0 == task.steps
    assert 24 == board.training()[0].resumed_from


def test_resume_never_begins_at_0_and_old_checkpoints_go_with_the_first_new_one(train, tmp_path):
    train(config={"steps": 11})
    task = kit.Tiny()

    train(task=task, attempt=1, config={"steps": 7}, resume="Never")

    assert 7 == task.steps
    assert [5, 7] == steps_in(tmp_path / "job")
    assert () == layout.look(tmp_path / "job").leaving


def test_a_checkpoint_of_another_model_is_refused_with_names(train):
    train()

    class Wider(kit.Tiny):
        def model(self, config):
            import torch

            return torch.nn.Linear(4, 1)

    with pytest.raises(UserError, match="weight is missing in the checkpoint") as raised:
        train(task=Wider(), attempt=1)
    assert "CheckpointMismatch" == raised.value.reason


def test_keep_best_compares_what_evaluate_measures(train, tmp_path):
    losses = iter([0.5, 0.1, 0.9, 0.8, 0.7])

    class Measured(kit.Tiny):
        def evaluate(self, model, config):
            return {"loss": next(losses)}

    train(task=Measured(), config={"evaluateEverySteps": 5}, keep_last=1, keep_best=1)

    assert [10, 24] == steps_in(tmp_path / "job")


def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch(train):
    losses = []
    for micro in (8, 3, 1):

        class Exact(kit.Tiny):
            def model(self, config):
                import torch

                return torch.nn.Linear(4, 1)

            def loss(self, model, batch):
                from torch.nn import functional

                return functional.mse_loss(model(batch[0]), batch[1])

            def evaluate(self, model, config):
                return {"loss": self.loss(model, self.data(config))}

        _, board = train(f"micro-{micro}", task=Exact(), config={"microBatch": micro})
        losses.append(board.metrics()["loss"])

    assert losses == [pytest.approx(losses[0], rel=1e-5)] * 3


def test_a_request_is_served_at_the_next_agreed_step_and_training_is_the_same(train, tmp_path, monkeypatch):
    monkeypatch.setenv(HELPER_SOCKET, str(tmp_path / "reports"))
    requests = SaveRequests(str(tmp_path / "reports"))
    train("whole", every_steps=1000)
    train("asked", task=kit.Tiny(at(4, requests.ask)), every_steps=1000)

    first, last = steps_in(tmp_path / "asked")
    assert 24 == last
    assert 4 <= first <= 7, "meetings are held after steps 1, 3 and 7"
    assert digest(shard_of(tmp_path / "whole", 24)) == digest(shard_of(tmp_path / "asked", 24))


def test_a_request_and_the_policy_that_meet_at_one_step_save_once(train, tmp_path, monkeypatch):
    monkeypatch.setenv(HELPER_SOCKET, str(tmp_path / "reports"))
    requests = SaveRequests(str(tmp_path / "reports"))

    _, board = train(task=kit.Tiny(at(2, requests.ask)), every_steps=3)

    assert [3, 6, 9, 12, 15, 18, 21, 24] == steps_in(tmp_path / "job")
    assert 0 == board.checkpoint()[1], "no save was refused because its checkpoint was there already"


def test_a_ranks_phases_tell_of_restoring_saving_and_evaluating(train, monkeypatch):
    class Measured(kit.Tiny):
        def evaluate(self, model, config):
            return {"loss": 0.5}

    phases = []
    monkeypatch.setattr(kit.ToBoard, "send", lambda self, report, *, surely=False: (
        self.board.hear(report), phases.append(self.board.phase())
    ))  # fmt: skip
    train(task=Measured(), config={"steps": 6, "evaluateEverySteps": 100}, every_steps=5)
    first = [phase for phase, _ in itertools.groupby(phases)]
    phases.clear()
    train(task=Measured(), config={"steps": 8, "evaluateEverySteps": 100}, every_steps=5, attempt=1)
    second = [phase for phase, _ in itertools.groupby(phases)]

    saved = ["Training", "Checkpointing", "Training", "Evaluating", "Training", "Checkpointing", "Training"]
    assert ["Starting", *saved] == first
    assert ["Restoring", "Training", "Evaluating", "Training", "Checkpointing", "Training"] == second


class Pair:
    """Two ranks as threads of this process, that meet at a barrier instead of in a collective."""

    def __init__(self):
        self.barrier = threading.Barrier(2)
        self.said = {}

    def rank(self, number):
        pair = self

        class Rank:
            is_first = number == 0

            def maximum(self, values):
                pair.said[number] = values
                pair.barrier.wait(5)
                both = [max(pair_of) for pair_of in zip(*pair.said.values(), strict=True)]
                pair.barrier.wait(5)
                return both

        return Rank()


@pytest.mark.parametrize("asked", [{0: 7}, {1: 7}, {0: 9, 1: 3}])
def test_ranks_stop_after_the_same_step_whichever_was_asked(asked):
    pair, stopped = Pair(), {}

    def loop(number):
        agreement = Agreement(pair.rank(number), step=0)
        for step in range(1, 1000):
            if step == agreement.next_step:
                stop = step >= asked.get(number, 10**9)
                if agreement.meet(step, Wish(stop=stop), step_seconds=0.01).stop:
                    stopped[number] = step
                    return

    threads = [threading.Thread(target=loop, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert 2 == len(stopped)
    assert stopped[0] == stopped[1]
    assert min(asked.values()) <= stopped[0] <= min(asked.values()) + 25


def test_meetings_are_a_quarter_of_a_second_apart_at_any_pace_and_begin_close():
    agreement, meetings, step = Agreement(kit.ALONE, step=0), [], 0
    while step < 5000:
        step = agreement.next_step
        meetings.append(step)
        agreement.meet(step, Wish(), step_seconds=0.001)

    gaps = [later - earlier for earlier, later in itertools.pairwise(meetings)]
    assert [1, 3, 7, 15] == meetings[:4]
    assert 250 == max(gaps)


def test_only_rank_0_decides_that_a_checkpoint_is_due_or_that_settings_change():
    pair, decided = Pair(), {}

    def meet(number, asks):
        found = Agreement(pair.rank(number), step=0).meet(1, Wish(save=asks, change=asks), step_seconds=0.1)
        decided[number] = found.save, found.change

    for first, second, expected in ((True, False, True), (False, True, False)):
        threads = [threading.Thread(target=meet, args=pair_of) for pair_of in ((0, first), (1, second))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert {0: (expected, expected), 1: (expected, expected)} == decided
