"""How often the boost of a gang is written over any history of training, saving and late passes."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ganger.plan import boost
from ganger.plan.gang import gang
from unit.plan.test_boost import KUEUE, at, live, running_gang, told, training

MOST = 6


@dataclass
class History:
    """A gang of two that trains a step each second; one write each is noted."""

    now: int = 100
    lost: int = 0
    most: int = MOST
    found: object = None
    times: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    @property
    def held(self) -> int:
        return int(self.found.metadata.annotations.get(KUEUE, "0"))

    def train(self, seconds):
        self.now, self.lost = self.now + seconds, self.lost + seconds

    def look(self, a_job):
        said = live(self.lost, step=10**6)
        notes = boost.kept(a_job, gang(running_gang(a_job), 0, 2), self.found, said, self.most, at(self.now))
        if not notes:
            return
        kept = {key: value for key, value in (self.found.metadata.annotations | notes).items() if value is not None}
        metadata = msgspec.structs.replace(self.found.metadata, annotations=kept)
        self.found = msgspec.structs.replace(self.found, metadata=metadata)
        self.times.append(self.now)
        self.values.append(self.held)


PARTS = st.tuples(st.integers(1, 900), st.booleans())


@settings(deadline=None)
@given(st.lists(PARTS, max_size=60))
def test_writes_lie_apart_each_is_of_another_level_and_the_last_one_is_true(parts):
    a_job = training()
    history = History(found=told(a_job))
    for seconds, saves in parts:
        history.train(seconds)
        history.lost = 0 if saves else history.lost
        history.look(a_job)
    history.now += 30
    history.look(a_job)

    assert all(later - earlier >= boost.WRITE_SECONDS for earlier, later in pairwise(history.times))
    assert all(one != other for one, other in pairwise([0, *history.values]))
    assert all(0 <= value <= MOST for value in history.values)
    assert history.held == boost.level(2 * history.lost, history.held, MOST)


@settings(deadline=None)
@given(gpus=st.integers(1, 4096), pace=st.integers(5, 20), seconds=st.integers(60, 1800))
def test_between_two_checkpoints_it_is_written_as_often_as_their_distance_doubles(gpus, pace, seconds):
    a_job = training(resources={"limits": {"nvidia.com/gpu": gpus}})
    history = History(found=told(a_job), most=boost.BOOST_MAX)
    for _ in range(3):
        for _ in range(0, seconds, pace):
            history.train(pace)
            history.look(a_job)
        history.lost = 0

    # The bound of docs/adr/0023-victims.md, whatever the size of the gang.
    assert len(history.times) <= 3 * (2 + math.ceil(math.log2(max(1.0, (seconds + pace) / boost.WRITE_SECONDS))))
