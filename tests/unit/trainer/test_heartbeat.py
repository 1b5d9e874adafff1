"""A rank's page says where it is and what that took, whoever reads it and whatever the rank does."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ganger.contract import REPORT_STAGES
from ganger.plan import live
from ganger_trainer import heartbeat, pace
from ganger_trainer.heartbeat import AGREE, DATA, ENDED, EVALUATE, LOG, SAVE, Heartbeat, page, read


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(heartbeat, "perf_counter", clock)
    monkeypatch.setattr(pace, "perf_counter", clock)
    return clock


class Rank:
    """A rank in its loop, and what its supervisor reads of it."""

    def __init__(self, directory, clock, *, step=10, on_host=True):
        self.directory, self.clock = directory, clock
        self.beat = Heartbeat(page(directory, 3))
        self.beat.begin(step)
        self.pace = pace.Pace(5.0, self.beat, on_host=on_host)

    def step(self, data=0.0, forward=0.0, backward=0.0, update=0.0):
        self.clock.pass_(data)
        self.pace.fetched()
        self.clock.pass_(forward)
        self.pace.backward()
        self.clock.pass_(backward)
        self.pace.update()
        self.clock.pass_(update)
        self.pace.stepped(12, 24)

    @property
    def said(self):
        return read(self.directory, [3])[3]


def test_every_stage_of_a_step_is_seen_with_its_age(tmp_path, clock):
    rank = Rank(tmp_path, clock)
    seen = []
    for move in (lambda: None, rank.pace.fetched, rank.pace.backward, rank.pace.update):
        move()
        clock.pass_(0.5)
        seen.append((rank.said.step, rank.said.stage, rank.said.age_seconds))
    rank.pace.stepped(12, 24)

    assert [(10, "data", 0.5), (10, "forward", 0.5), (10, "backward", 0.5), (10, "update", 0.5)] == seen
    assert (11, 1, "data", 0.0) == (rank.said.step, rank.said.steps, rank.said.stage, rank.said.age_seconds)


@pytest.mark.parametrize(
    ("stage", "name"), [(LOG, "log"), (EVALUATE, "evaluate"), (SAVE, "checkpoint"), (AGREE, "agree")]
)
def test_what_lies_between_steps_is_seen_too(tmp_path, clock, stage, name):
    rank = Rank(tmp_path, clock)
    with rank.beat.during(stage):
        clock.pass_(2.0)
        inside = rank.said

    assert (name, 2.0, "data") == (inside.stage, inside.age_seconds, rank.said.stage)


def test_own_work_is_what_does_not_wait_for_other_ranks(tmp_path, clock):
    rank = Rank(tmp_path, clock)
    rank.step(data=1.0, forward=2.0, backward=100.0, update=4.0)
    rank.step(data=0.5, forward=0.25, backward=100.0, update=0.125)

    assert pytest.approx(7.875) == rank.said.busy_seconds


def test_on_an_accelerator_the_data_alone_is_known_to_be_own_work(tmp_path, clock):
    rank = Rank(tmp_path, clock, on_host=False)
    rank.step(data=1.0, forward=2.0, backward=100.0, update=4.0)

    assert pytest.approx(1.0) == rank.said.busy_seconds


def test_waiting_for_the_device_at_a_log_line_is_no_own_work(tmp_path, clock):
    rank = Rank(tmp_path, clock)
    rank.step(forward=1.0)
    with rank.beat.during(LOG):
        clock.pass_(50.0)  # the device, and with it the other ranks
        rank.pace.logged()
        clock.pass_(0.5)  # what is written of it
    rank.step(data=0.25)

    assert pytest.approx(1.75) == rank.said.busy_seconds


def test_what_took_longest_is_remembered_by_its_kind(tmp_path, clock):
    rank = Rank(tmp_path, clock)
    rank.step(forward=30.0)
    for seconds in (1.0, 3.0, 2.0):
        rank.step(backward=seconds)
    for stage, seconds in ((EVALUATE, 40.0), (EVALUATE, 20.0), (SAVE, 7.0)):
        with rank.beat.during(stage):
            clock.pass_(seconds)
    rank.pace.resumed()
    rank.step(backward=1.0)

    said = rank.said
    assert (30.0, 3.0, 40.0, 7.0) == (said.first, said.longest, said.evaluation, said.checkpoint)


def test_an_agreement_that_waits_counts_with_the_steps(tmp_path, clock):
    rank = Rank(tmp_path, clock)
    rank.step(forward=30.0)
    rank.beat.enter(AGREE)
    clock.pass_(9.0)
    rank.pace.resumed()

    assert (30.0, 9.0) == (rank.said.first, rank.said.longest)


def test_a_rank_is_starting_until_it_enters_its_loop_and_is_gone_after_it(tmp_path):
    beat = Heartbeat(page(tmp_path, 0))
    assert "starting" == read(tmp_path, [0])[0].stage

    beat.begin(0)
    assert DATA == beat.cells[heartbeat.STAGE]
    beat.enter(ENDED)
    assert {} == read(tmp_path, [0])


def test_a_script_beats_with_each_step_that_it_reports_and_ends_with_its_last(tmp_path, clock):
    beat = Heartbeat(page(tmp_path, 0))
    for step, seconds in ((100, 4.0), (200, 9.0), (300, 1.0)):
        beat.reported(step, 400)
        clock.pass_(seconds)
    said = read(tmp_path, [0])[0]
    assert ("script", 300, 2, 1.0, 9.0) == (said.stage, said.step, said.steps, said.age_seconds, said.longest)

    beat.reported(400, 400)
    assert {} == read(tmp_path, [0])


def test_who_has_no_page_or_a_broken_one_is_not_seen(tmp_path):
    page(tmp_path, 1).write_bytes(b"short")
    page(tmp_path, 2).write_bytes(bytes(8 * 9))

    assert {} == read(tmp_path, [0, 1, 2])


def test_without_a_directory_to_write_to_a_rank_beats_for_itself(tmp_path):
    beat = Heartbeat(page(tmp_path / "gone", 0))
    beat.begin(7)

    assert 7 == beat.cells[heartbeat.BASE]


def test_a_new_process_of_a_rank_has_a_page_of_its_own(tmp_path):
    old = Heartbeat(page(tmp_path, 0))
    new = Heartbeat(page(tmp_path, 0))
    new.begin(5)
    old.begin(99)  # it must not die of it either

    assert 5 == read(tmp_path, [0])[0].step
    assert ["heartbeat-0"] == [path.name for path in tmp_path.iterdir()]


BEATING = """
import sys, time
from pathlib import Path
from ganger_trainer.heartbeat import Heartbeat, page
beat = Heartbeat(page(Path(sys.argv[1]), 0))
beat.begin(0)
print("ready", flush=True)
while True:
    beat.enter(5)
    time.sleep(0.001)
"""


def test_a_process_that_is_stopped_is_seen_to_be_stopped_and_one_that_died_is_not_seen(tmp_path):
    environ = {"PYTHONPATH": ":".join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", BEATING, str(tmp_path)], env=environ, stdout=-1, text=True)
    try:
        assert "ready\n" == child.stdout.readline()
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        first = read(tmp_path, [0])[0]
        time.sleep(0.05)
        second = read(tmp_path, [0])[0]
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as until the agent has looked

    assert ("T", "T") == (first.state, second.state)
    assert second.age_seconds >= first.age_seconds + 0.05
    assert {} == read(tmp_path, [0])
    child.communicate()


def test_both_ends_know_the_same_stages():
    assert live.Stage.__args__ == REPORT_STAGES
    assert "backward" == REPORT_STAGES[heartbeat.BACKWARD]
    assert len(REPORT_STAGES) == ENDED
