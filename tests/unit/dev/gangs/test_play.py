"""When a run is given up: it never waits for what does not come."""

from types import SimpleNamespace

import pytest

from ganger_dev.gangs import play
from ganger_dev.gangs import scale as sizes
from ganger_dev.gangs.facts import JobFact
from ganger_dev.gangs.recorder import LostEventsError
from ganger_dev.gangs.scale import SMALL


class Recorder:
    """A record at a time that the test sets, in which nothing happens by itself."""

    def __init__(self):
        self.now, self.jobs, self.pods, self.lost = 0.0, {}, {}, False

    def check(self):
        if self.lost:
            raise LostEventsError("pods: too old")

    def complete(self, name):
        self.jobs[name] = JobFact(version=1, at=self.now, name=name, gang=name, phase="Complete")


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def said():
    return []


@pytest.fixture
def world():
    return SimpleNamespace(ended=list)


@pytest.fixture
def look(world, recorder, said):
    run = play._Run(world, SMALL, sizes.expected(SMALL), None, recorder, said.append)

    def at(seconds):
        recorder.now = seconds
        run._check()

    return at


def test_a_run_that_goes_on_is_looked_at_in_silence_but_for_a_line_now_and_then(look, recorder, said):
    for second in range(0, 60, 5):
        recorder.complete(f"batch-{second}")
        look(float(second))
    assert ["  15 s: 4 of 24 gangs Complete, 0 workers on nodes"] == said[:1]
    assert 3 == len(said)


def test_a_run_in_which_no_further_gang_is_complete_ends(look, recorder):
    recorder.complete("batch-0")
    look(20.0)
    look(20.0 + SMALL.still_seconds)
    with pytest.raises(play._StoppedError, match="no further gang was Complete for 40 s: 1 are"):
        look(20.1 + SMALL.still_seconds)


def test_a_run_that_takes_too_long_ends_although_it_goes_on(look, recorder):
    for second in range(0, int(SMALL.limit_seconds) + 1, 5):
        recorder.complete(f"batch-{second}")
        look(float(second))
    recorder.complete("batch-99")
    with pytest.raises(play._StoppedError, match="of 24 gangs are Complete, and no more time is given"):
        look(SMALL.limit_seconds + 1)


def test_a_program_that_ends_ends_the_run_at_once_with_its_last_words(look, world):
    world.ended = lambda: ["operator: no such CA"]
    with pytest.raises(play._StoppedError, match="a program ended: operator: no such CA"):
        look(1.0)


def test_lost_events_end_the_run(look, recorder):
    recorder.lost = True
    with pytest.raises(LostEventsError):
        look(1.0)
