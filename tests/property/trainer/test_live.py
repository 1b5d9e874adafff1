"""Whatever is asked for, in whatever order: what is in force is within its bounds, told, and the same on all ranks."""

from typing import Annotated

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ganger.contract import LIVE_REFUSALS_MAX
from ganger.plan.live import LiveSettings
from ganger_trainer import Live, TrainConfig
from ganger_trainer.config import check
from ganger_trainer.live import settle


class Config(TrainConfig, frozen=True, kw_only=True):
    alpha: Annotated[float, Live(ge=0, le=1)] = 0.5
    fixed: int = 1


BASE = Config(lr=0.01)
numbers = st.one_of(st.integers(-3, 3), st.floats(-2, 2), st.floats(allow_nan=False, allow_infinity=False))
values = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=300), st.lists(numbers, max_size=3))
names = st.one_of(st.sampled_from(["lr", "alpha", "clipNorm", "fixed", "batchSize"]), st.text(max_size=80))
wishes = st.lists(st.dictionaries(names, values, max_size=7), min_size=1, max_size=5)


def history(asked):
    """What is in force after each wish."""
    found, before = [], ()
    for number, wanted in enumerate(asked):
        found.append(settle(BASE, wanted, before, number + 1))
        before = found[-1].values
    return found


@given(wishes)
def test_what_is_in_force_is_sound_and_was_asked_for(asked):
    for number, found in enumerate(history(asked)):
        told = {value.name: msgspec.json.decode(value.value) for value in found.values}
        assert [] == check(found.config)
        assert 0 <= found.config.alpha <= 1
        assert (BASE.fixed, BASE.batch_size) == (found.config.fixed, found.config.batch_size)
        assert told.keys() <= asked[number].keys()
        assert told.get("lr", BASE.lr) == found.config.lr
        assert all(0 < value.step <= number + 1 for value in found.values)
        refused = {refusal.name for refusal in found.refused}
        unheard = [name for name, value in asked[number].items() if name not in told or told[name] != value]
        assert len(refused) == min(LIVE_REFUSALS_MAX, len(unheard)) or len({name[:64] for name in unheard}) < len(
            unheard
        )


@given(wishes)
def test_the_same_wish_again_changes_nothing(asked):
    last = history(asked)[-1]

    assert last == settle(BASE, asked[-1], last.values, 99)


@given(wishes)
def test_the_operator_reads_whatever_a_worker_tells(asked):
    last = history(asked)[-1]
    said = msgspec.json.encode({"step": 1, "values": last.values, "refused": last.refused})

    assert len(last.values) == len(msgspec.json.decode(said, type=LiveSettings).values)
