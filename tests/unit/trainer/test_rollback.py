"""NaN and infinity: seen wherever they arise, never in a checkpoint, and left behind with the data they came from."""

import sys
import threading
import types

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from apiclient import wait_for
from ganger.contract import ExitCode
from ganger_trainer import worker
from ganger_trainer.batches import Order, Skips
from ganger_trainer.checkpoint import layout, loader, manifest
from ganger_trainer.environment import NonFinitePolicy
from ganger_trainer.failures import TrainerError, UserError
from ganger_trainer.soundness import NonFiniteError, Soundness
from unit.trainer import kit
from unit.trainer.kit import shard_of, steps_in

BAD = {"NaN": float("nan"), "infinity": float("inf")}
BACK = NonFinitePolicy(action="Rollback", max_rollbacks=2)


class Recorded(kit.Tiny):
    """Notes which samples each step saw. A batch in `poison`, or all if `cursed`, spoil loss or only gradient."""

    def __init__(self, poison=(), value=float("nan"), gradient_only=False):
        super().__init__()
        self.poison, self.value, self.gradient_only = poison, value, gradient_only
        self.cursed = False
        self.seen = []

    def data(self, config):
        x_NF, y_N1 = super().data(config)  # noqa: N806
        return torch.arange(len(x_NF)), x_NF, y_N1

    def loss(self, model, batch):
        ids = batch[0].tolist()
        self.seen.append(ids)
        loss = super().loss(model, batch[1:])
        if not (self.cursed or ids in self.poison):
            return loss
        if self.gradient_only:
            weight = next(model.parameters())
            return loss + (weight.flatten()[0] - weight.flatten()[0].detach()).abs().sqrt()  # 0, its slope is not
        return loss * self.value


@pytest.fixture
def train(tmp_path, monkeypatch):
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)

    def run(task, *, name="job", attempt=0, policy=BACK, steps=24, **checkpoint):
        module.task = task
        config = msgspec.json.encode({"steps": steps, "batchSize": 8, "threads": 1, "logEverySeconds": 1000})
        options = {"every_steps": 5, "keep_last": 9} | checkpoint
        spec = kit.worker(tmp_path / name, attempt=attempt, config=config.decode(), non_finite=policy, **options)
        sender = kit.ToBoard()
        worker._train(spec, sender)
        return sender.board

    return run


def batch(position):
    return Order(size=37, batch_size=8, seed=0, world_size=1).share(position, 0).indices_B.tolist()


def finite(directory, step):
    model = {name: value for name, value in load_file(shard_of(directory, step)).items() if name.startswith("model/")}
    return all(bool(torch.isfinite(value).all()) for value in model.values())


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize("gradient_only", [False, True], ids=["loss", "gradient"])
@pytest.mark.parametrize("at", range(1, 25, 3))
def test_whatever_step_goes_bad_the_job_fails_and_no_checkpoint_holds_it(train, tmp_path, at, gradient_only, value):
    task = Recorded(gradient_only=gradient_only, value=value)
    task.at = lambda step: setattr(task, "cursed", step == at)

    with pytest.raises(UserError) as raised:
        train(task, policy=NonFinitePolicy())

    assert ("NonFiniteLoss", ExitCode.USER_DATA) == (raised.value.reason, raised.value.exit_code)
    assert all(step < at and finite(tmp_path / "job", step) for step in steps_in(tmp_path / "job"))
    assert (at - 1) // 5 * 5 == max(steps_in(tmp_path / "job"), default=0)


def test_a_rollback_goes_to_the_last_checkpoint_and_trains_on_the_data_after_the_bad_window(train, capsys):
    task = Recorded(poison=[batch(11)])

    board = train(task)

    rolled = board.rollbacks()
    assert (1, 10) == (rolled.count, rolled.to_step)
    window = rolled.step - 10
    assert 2 <= window <= 5, "it is seen at the next meeting or save"
    first = [batch(position) for position in range(10 + window)]
    after = [batch(10 + window + position) for position in range(14)]
    assert first + after == task.seen
    samples = sum(len(one) for one in first[10:])
    assert f"step {rolled.step}: a NaN or an infinity; back to the checkpoint of step 10" in capsys.readouterr().out
    assert 24 == board.progress_by_rank()[0].step
    assert samples == Order(size=37, batch_size=8, seed=0, world_size=1).samples(10, window)


def test_a_resume_after_a_rollback_skips_the_same_window(train, tmp_path):
    whole, broken = Recorded(poison=[batch(11)]), Recorded(poison=[batch(11)])
    train(whole, name="whole")
    stop = {"at": 24}

    def crash(step):
        if step == stop["at"]:
            raise KeyboardInterrupt

    broken.at = crash
    with pytest.raises(KeyboardInterrupt):
        train(broken, name="broken")
    resumed = Recorded(poison=[batch(11)])
    board = train(resumed, name="broken", attempt=1)

    assert board.rollbacks() is None, "the window is known, so nothing goes bad again"
    assert whole.seen[-len(resumed.seen) :] == resumed.seen
    assert shard_of(tmp_path / "whole", 24).read_bytes() == shard_of(tmp_path / "broken", 24).read_bytes()
    saved = loader.Loaded(manifest.read(tmp_path / "whole" / "step_24"), tmp_path / "whole" / "step_24", 0)
    skips = msgspec.convert(saved.parts["data"], Skips)
    assert 1 == skips.rollbacks == len(skips.windows)


def test_a_job_goes_back_so_often_and_no_more(train, tmp_path):
    task = Recorded()
    task.at = lambda step: setattr(task, "cursed", step > 7)

    with pytest.raises(UserError, match=r"2 rollbacks are spent \(failurePolicy.maxRollbacks\)") as raised:
        train(task)

    assert "NonFiniteLoss" == raised.value.reason
    assert [5] == steps_in(tmp_path / "job")


def test_without_a_checkpoint_to_go_back_to_it_fails_and_says_so(train):
    with pytest.raises(UserError, match="there is no checkpoint to go back to"):
        train(Recorded(poison=[batch(2)]))


def test_a_rollback_passes_over_a_damaged_checkpoint(train, tmp_path):
    task = Recorded(poison=[batch(11)])

    def damage(step):
        if step == 12:
            wait_for(lambda: 10 in steps_in(tmp_path / "job"), 10, "checkpoint 10")
            kit.flip(shard_of(tmp_path / "job", 10))

    task.at = damage
    board = train(task)

    assert 5 == board.rollbacks().to_step
    assert ("step_10.corrupt",) == layout.look(tmp_path / "job").corrupt


def test_infinities_that_a_model_keeps_on_purpose_may_be_saved(train, tmp_path):
    class Masked(Recorded):
        def model(self, config):
            model = super().model(config)
            model.register_buffer("mask", torch.full((4, 4), float("-inf")))
            return model

    train(Masked(), steps=6)

    assert [5, 6] == steps_in(tmp_path / "job")


def test_finite_parameters_whose_norm_overflows_are_no_alarm():
    model = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(model.weight, 3e38)

    Soundness(model, kit.ALONE).check(7)

    torch.nn.init.constant_(model.bias, float("inf"))
    with pytest.raises(NonFiniteError, match="at step 7"):
        Soundness(model, kit.ALONE).check(7)


class Gang:
    """Ranks as threads of this process that gather at a barrier."""

    def __init__(self, size):
        self.size, self.barrier, self.values = size, threading.Barrier(size), {}

    def rank(self, number):
        gang = self

        class Rank:
            rank, world_size, device = number, gang.size, torch.device("cpu")

            def gather(self, values):
                gang.values[number] = list(values)
                gang.barrier.wait(5)
                everyone = [gang.values[rank] for rank in range(gang.size)]
                gang.barrier.wait(5)
                return everyone

        return Rank()


def compared(models):
    """What each rank is told when parameters are compared: "" or exit code, reason and message."""
    gang, told = Gang(len(models)), {}

    def one(number):
        try:
            Soundness(models[number], gang.rank(number), compare_every=1).compare(30)
            told[number] = ""
        except TrainerError as error:
            told[number] = f"{error.exit_code} {error.reason}: {error}"

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return [told[number] for number in range(len(models))]


def replicas(count, kind=torch.float32):
    models = []
    for _ in range(count):
        torch.manual_seed(0)
        models.append(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).to(kind))
    return models


def flip(parameter, position, bit):
    size = parameter.element_size()
    view = parameter.detach().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[size]).flatten()
    mask = 1 << bit if bit < 8 * size - 1 else -(1 << bit)
    view[position] = view[position] ^ mask


def test_equal_replicas_are_told_nothing():
    assert ["", "", ""] == compared(replicas(3))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_any_one_bit_that_flips_on_one_rank_names_the_rank_and_the_parameter(kind):
    for bit in range(torch.tensor([], dtype=kind).element_size() * 8):
        models = replicas(3, kind)
        flip(models[1][1].weight, 5, bit)

        told = compared(models)

        assert told[1].startswith(
            "1 ReplicaDivergence: at step 30 the ranks no longer hold the same parameter 1.weight:"
        )
        assert "rank 1 differs from the 2 others" in told[1]
        assert [True, True] == [told[rank].startswith("1 PeerLost: ") for rank in (0, 2)]


def test_of_two_ranks_that_differ_nobody_can_tell_which_is_wrong():
    models = replicas(2)
    flip(models[0][0].bias, 0, 3)

    told = compared(models)

    assert [True, True] == [one.startswith("1 ReplicaDivergence: ") for one in told]
    assert "which of the 2 ranks is wrong cannot be told" in told[0]


def test_two_changes_that_cancel_in_one_sum_of_all_parameters_are_seen():
    models = replicas(3)
    models[2][0].bias.data.view(torch.int32)[0] += 1
    models[2][1].bias.data.view(torch.int32)[0] -= 1

    assert "parameter 0.bias and 1 more" in compared(models)[2]
