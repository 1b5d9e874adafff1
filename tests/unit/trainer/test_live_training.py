"""Live settings in one rank's whole life: taken in between steps, told, kept by checkpoints, resumed with."""

import sys
import types
from typing import Annotated, Any

import msgspec
import pytest

from ganger.contract import LIVE_CONFIG_BYTES_MAX
from ganger.plan import live as plan
from ganger_trainer import Live, TrainConfig, loop, worker
from ganger_trainer.board import Board
from ganger_trainer.dispatch import Dispatch
from ganger_trainer.environment import HELPER_SOCKET, NonFinitePolicy
from ganger_trainer.live import LiveSet, Value
from ganger_trainer.live_requests import LiveRequests
from ganger_trainer.pace import Pace
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Started
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import Listeners
from unit.trainer import kit

CONFIG = {"steps": 24, "batchSize": 8, "threads": 1, "lr": 0.01}
FIRST = 8  # asked for in step 5, agreed on after step 7: the meetings of quick steps are after 1, 3, 7, 15


class Noted(kit.Tiny):
    """Remembers what each step was trained with, and asks for `wishes[step]` in the middle of that step."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        decay: Annotated[float, Live(ge=0, le=1)] = 0.0

    def __init__(self, requests: LiveRequests, wishes: dict[int, str]) -> None:
        super().__init__(self.note)
        self.requests, self.wishes = requests, wishes
        self.rates: list[float] = []
        self.decays: list[float] = []
        self.hooked: list[float] = []

    def note(self, step: int) -> None:
        self.rates.append(self.made.param_groups[0]["lr"])
        self.decays.append(self.made.param_groups[0]["weight_decay"])
        if step in self.wishes:
            self.requests.ask(self.wishes[step])

    def optimizer(self, model: Any, config: Any) -> Any:
        self.made = super().optimizer(model, config)
        self.made.param_groups[0]["weight_decay"] = config.decay
        return self.made

    def scheduler(self, optimizer: Any, config: Any, total_steps: int) -> Any:
        return None

    def on_live(self, model: Any, optimizer: Any, config: Any) -> None:
        self.hooked.append(config.decay)
        optimizer.param_groups[0]["weight_decay"] = config.decay


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train in a directory; return the task and what the board has heard of live settings."""
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)
    monkeypatch.setenv(HELPER_SOCKET, str(tmp_path / "reports"))
    monkeypatch.setattr(Pace, "step_seconds", lambda self: 0.001)  # else a busy machine moves the meetings

    def run(wishes=None, *, attempt=0, live="{}", config=None, **policy):
        (tmp_path / "live").unlink(missing_ok=True)
        module.task = Noted(LiveRequests(str(tmp_path / "reports")), wishes or {})
        text = msgspec.json.encode(CONFIG | (config or {})).decode()
        spec = kit.worker(tmp_path / "job", attempt=attempt, config=text, **({"every_steps": 6} | policy))
        sender = kit.ToBoard()
        assert worker._train(msgspec.structs.replace(spec, live_json=live), sender)[0]
        return module.task, sender.board.live(1)

    return run


def test_a_wish_in_mid_run_is_used_by_the_first_step_after_the_meeting(train):
    task, told = train({5: '{"decay":0.5,"lr":0.002}'})

    assert [0.01] * (FIRST - 1) + [0.002] * (24 - FIRST + 1) == task.rates
    assert [0.0] * (FIRST - 1) + [0.5] * (24 - FIRST + 1) == task.decays
    assert [0.5] == task.hooked
    assert LiveSet(0, FIRST, [Value("decay", "0.5", FIRST), Value("lr", "0.002", FIRST)]) == told


@pytest.mark.parametrize("wishes, talks", [({}, 1), ({5: '{"lr":0.002}'}, 2)])
def test_only_a_wish_costs_a_collective_call_and_only_meetings_look_for_one(train, monkeypatch, wishes, talks):
    looks, texts = [], []
    look, share = LiveRequests.is_new, Ranks.text_from_first
    monkeypatch.setattr(LiveRequests, "is_new", lambda self: looks.append(1) or look(self))
    monkeypatch.setattr(Ranks, "text_from_first", lambda self, text: texts.append(text) or share(self, text))

    train(wishes)

    assert (4, talks) == (len(looks), len(texts)), "4 meetings, after steps 1, 3, 7 and 15; one text at the start"


def test_a_run_begins_with_what_its_pod_was_made_with(train):
    task, told = train(live='{"lr":0.002}')

    assert [0.002] * 24 == task.rates
    assert [] == task.hooked, "model and optimizer were made with it"
    assert [Value("lr", "0.002", 1)] == told.values


def test_no_wish_is_told_as_such(train):
    assert LiveSet(0, 1) == train()[1]


def test_a_wish_that_means_nothing_changes_nothing(train):
    task, told = train({5: "[1]"})

    assert ([0.01] * 24, LiveSet(0, 1)) == (task.rates, told)


@pytest.mark.parametrize(
    "live, config, rate, decay, values",
    [
        # what is asked for still, since the step that the checkpoint knows
        ('{"decay":0.5,"lr":0.002}', {}, 0.002, 0.5, [Value("decay", "0.5", FIRST), Value("lr", "0.002", FIRST)]),
        ('{"lr":0.004}', {}, 0.004, 0.0, [Value("lr", "0.004", 25)]),
        ("{}", {}, 0.01, 0.0, []),
        ("{}", {"lr": 0.03}, 0.03, 0.0, []),
        # refused: the value in force stays, as it would have without a restart
        ('{"decay":2,"lr":0}', {}, 0.002, 0.5, [Value("decay", "0.5", FIRST), Value("lr", "0.002", FIRST)]),
    ],
)
def test_a_run_that_resumes_trains_with_what_is_asked_for_then(train, live, config, rate, decay, values):
    train({5: '{"decay":0.5,"lr":0.002}'})

    task, told = train(attempt=1, live=live, config=config | {"steps": 30})

    assert ([rate] * 6, [decay] * 6) == (task.rates, task.decays)
    assert values == told.values
    assert 25 == told.step


def test_a_checkpoint_of_an_older_version_is_resumed_from(train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ganger_trainer.settings.Settings.state", lambda self: {})
        train()

    task, _ = train(attempt=1, live='{"lr":0.002}', config={"steps": 30})

    assert [0.002] * 6 == task.rates


def test_a_rollback_keeps_what_is_asked_for(train, monkeypatch, tmp_path):
    def bad(self, model, batch):
        loss = kit.Tiny.loss(self, model, batch)
        return loss * float("nan") if self.steps == 15 else loss

    monkeypatch.setattr(Noted, "loss", bad)
    monkeypatch.setattr(kit, "FAIL", NonFinitePolicy(action="Rollback"))
    made = kit.worker
    monkeypatch.setattr(kit, "worker", lambda *args, **more: made(*args, non_finite=kit.FAIL, **more))

    task, told = train({7: '{"lr":0.002}'})

    back = [rate for rate in task.rates if rate == 0.01]
    assert 7 <= len(back) < 15
    assert 0.002 == task.rates[-1]
    assert ["lr"] == [value.name for value in told.values]


def test_the_norm_that_gradients_are_clipped_to_can_change(train, monkeypatch):
    limits = []
    clip = loop._gradient_norm
    monkeypatch.setattr(loop, "_gradient_norm", lambda p, limit, *rest: limits.append(limit) or clip(p, limit, *rest))

    train({5: '{"clipNorm":0.5}'}, config={"clipNorm": 2.0})

    assert [2.0] * (FIRST - 1) + [0.5] * (24 - FIRST + 1) == limits


@pytest.fixture
def dispatch(tmp_path):
    """A worker's dispatch, its board, and the end that rank 0 looks at."""

    def make(**changes):
        spec = msgspec.structs.replace(kit.worker(tmp_path / "checkpoints"), **changes)
        board, requests = Board(), LiveRequests(str(tmp_path / "reports"))
        board.hear(Started(rank=0, pid=1))
        saves = SaveRequests(str(tmp_path / "reports"))
        return Dispatch(spec, board, saves, Listeners(), tmp_path, None, requests), board, requests

    return make


def test_an_answer_is_a_wish_only_where_it_says_something_new(dispatch):
    speaker, _, requests = dispatch(live_json='{"lr":0.1}')

    speaker.order({"live": {"lr": 0.1}})
    speaker.order({})
    speaker.order({"live": "lr"})
    assert None is requests.asked()
    speaker.order({"live": {"lr": 0.2, "alpha": 1}})
    assert '{"alpha":1,"lr":0.2}' == requests.take()
    speaker.order({"live": {"alpha": 1, "lr": 0.2}})
    assert not requests.is_new()
    speaker.order({"live": {"x": "y" * LIVE_CONFIG_BYTES_MAX}})
    assert not requests.is_new()
    speaker.order({"live": {}})
    assert "{}" == requests.take()


def test_a_script_is_asked_nothing(dispatch):
    speaker, _, requests = dispatch(task=None, script=("train.py",))

    speaker.order({"live": {"lr": 0.1}})

    assert None is requests.asked()


def test_a_report_says_what_all_local_ranks_agree_on(dispatch):
    speaker, board, _ = dispatch(processes=2)
    said = LiveSet(0, 31, [Value("lr", "0.1", 31)])

    def told():
        return plan.decode(msgspec.json.encode(speaker.report() | {"sequence": 1})).live

    board.hear(said)
    assert None is told()
    board.hear(msgspec.structs.replace(said, rank=1, step=30))
    assert None is told()
    board.hear(msgspec.structs.replace(said, rank=1))
    assert plan.LiveSettings(step=31, values=(plan.LiveValue(name="lr", value="0.1", step=31),)) == told()
    board.begin()
    assert None is told()
