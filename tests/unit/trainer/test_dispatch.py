"""What a report says, in the operator's own reading of it, and what a worker does with the answer."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from ganger.contract import REPORT_BYTES_MAX, REPORT_CAUSES, REPORT_RANKS_MAX
from ganger.plan import live
from ganger_trainer import heartbeat, helper, stacks
from ganger_trainer.board import Board
from ganger_trainer.dispatch import DONE_MAX, NAME_CHARACTERS_MAX, Dispatch
from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.heartbeat import Beat, Heartbeat, page
from ganger_trainer.reports import Entered, Listening, Progress, Quarantined, RolledBack, Saved, Started, Training
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import PROCESSES_MAX, Listeners
from unit.trainer import kit

STARTED = Started(rank=0, pid=1)
PROGRESS = Progress(
    rank=0, step=40, total_steps=100, epoch=2, loss=0.25, learning_rate=0.001, samples_per_second=320.0,
    metrics={"accuracy": 0.9},
)  # fmt: skip


class Worker:
    """One worker's dispatch with a board that has heard `reports`."""

    def __init__(self, directory, *reports, **changes):
        self.spec = msgspec.structs.replace(kit.worker(directory / "checkpoints"), **changes)
        self.board, self.listeners = Board(), Listeners()
        self.socket = str(directory / "reports")
        self.requests = SaveRequests(self.socket)
        self.dispatch = Dispatch(self.spec, self.board, SaveRequests(self.socket), self.listeners, directory)
        for report in reports:
            self.board.hear(report)

    def read(self):
        """The report as the operator reads it."""
        return live.decode(msgspec.json.encode(self.dispatch.report() | {"sequence": 1}))


@pytest.fixture
def worker(tmp_path):
    return lambda *reports, **changes: Worker(tmp_path, *reports, **changes)


def test_a_report_says_what_the_contract_lists(worker):
    saved = Saved(step=30, seconds=0.1, bytes=7, kept=1, saved_at="2026-01-01T00:00:00Z")
    said = worker(
        STARTED, Training(rank=0, total_steps=100, resumed_from=20), PROGRESS, saved,
        Saved(step=35, seconds=1, reason="EIO"), attempt=3,
    ).read()  # fmt: skip

    assert ("Training", 3, 0, 40, 100, 2, 0.25) == (
        said.phase, said.attempt, said.worker, said.step, said.total_steps, said.epoch, said.loss,
    )  # fmt: skip
    assert (0.001, 320.0, {"accuracy": 0.9}) == (said.learning_rate, said.samples_per_second, said.metrics)
    assert (30, 7, 20, 1) == (
        said.checkpoint.step,
        said.checkpoint.bytes,
        said.resumed_from_step,
        said.checkpoint_failures,
    )
    assert REPORT_CAUSES == said.seconds.__struct_fields__


def test_a_stop_is_as_long_as_its_worst_moment(worker, monkeypatch):
    beat = Beat(
        step=9, steps=9, stage="data", age_seconds=0.0, busy_seconds=1.0, first=30.0, longest=2.0, evaluation=5.0,
        checkpoint=0.5, state="S",
    )  # fmt: skip
    monkeypatch.setattr(heartbeat, "read", lambda _directory, _ranks: {0: beat})
    before = worker(STARTED).read()
    saves = [
        Saved(step=step, seconds=seconds, saved_at="2026-01-01T00:00:00Z")
        for step, seconds in ((1, 90.0), *((n, 3.0) for n in range(2, 10)))
    ]
    failed = Saved(step=20, seconds=60.0, reason="ENOSPC")

    # an agreement, the longest step, an evaluation, the save in flight, the copy, the last save, the exit
    assert 0.25 + 2.0 + 5.0 + 3.0 + 0.5 + 3.0 + 1.0 == worker(STARTED, *saves, failed).read().grace_seconds_needed
    assert before.grace_seconds_needed is None


def test_a_report_tells_of_damaged_checkpoints_rollbacks_and_saves_that_fail_in_a_row(worker):
    full = Saved(step=35, seconds=1, reason="ENOSPC", message="No space left on device")
    here = worker(STARTED, Quarantined(names=["step_20.corrupt"]), RolledBack(count=2, step=33, to_step=30), full, full)
    said = here.read()

    assert ("step_20.corrupt",) == said.quarantined
    assert (2, 33, 30) == (said.rollbacks.count, said.rollbacks.step, said.rollbacks.to_step)
    trouble = said.checkpoint_trouble
    assert (2, "ENOSPC", "No space left on device") == (trouble.in_a_row, trouble.reason, trouble.message)

    here.board.hear(Saved(step=40, seconds=1, saved_at="2026-01-01T00:00:00Z"))
    assert here.read().checkpoint_trouble is None
    assert 2 == here.read().checkpoint_failures


def test_nothing_is_reported_before_all_processes_were_forked(worker):
    two = worker(STARTED, processes=2)
    assert two.dispatch.phase() is None

    two.board.hear(Started(rank=1, pid=2))
    assert "Starting" == two.dispatch.phase()


def test_a_script_that_says_nothing_reports_its_phase_alone(worker):
    silent = worker(STARTED, task=None, script=("train.py",))

    assert {"attempt": 0, "worker": 0, "phase": "Starting"} == silent.dispatch.report()
    silent.board.hear(PROGRESS)
    assert "seconds" in silent.dispatch.report()


def test_any_report_fits_and_is_accepted_whatever_a_script_says(worker, tmp_path):
    names = {f"{number:02}" + "n" * 62: 1e300 for number in range(40)} | {"x" * (NAME_CHARACTERS_MAX + 1): 1.0, "": 2.0}
    full = worker(
        STARTED,
        PROGRESS,
        Progress(rank=0, step=2**53 - 1, samples_per_second=float("inf"), metrics=names),
        processes=100,
    )
    for rank in range(100):
        Heartbeat(page(tmp_path, rank)).reported(2**53 - 1, None)
    full.dispatch.obey([{"id": f"{number:064}", "kind": "DumpStacks"} for number in range(DONE_MAX)])

    body = msgspec.json.encode(full.dispatch.report() | {"sequence": 2**53 - 1})

    assert len(body) < REPORT_BYTES_MAX
    said = live.decode(body)
    assert said.samples_per_second is None
    assert REPORT_RANKS_MAX == len(said.ranks)


def checkpoint(name="c1"):
    return [{"id": name, "kind": "Checkpoint"}]


def test_a_directive_is_carried_out_once_and_acknowledged_from_then_on(worker):
    one = worker()
    one.dispatch.obey(checkpoint())
    one.dispatch.obey(checkpoint())
    assert (True, False) == (one.requests.take(), one.requests.take())
    assert ("c1",) == one.read().done

    one.dispatch.obey(checkpoint("c2"))
    assert one.requests.take()
    assert ("c1", "c2") == one.read().done


def test_what_is_not_known_is_passed_over_and_not_acknowledged(worker):
    one = worker()
    for directives in (
        None, "Checkpoint", {"id": "x"}, [None], [{"id": "x"}], [{"id": "x", "kind": "Reboot"}],
        [{"kind": "Checkpoint"}], [{"id": 7, "kind": "Checkpoint"}], [{"id": "", "kind": "Checkpoint"}],
        [{"id": "x" * 65, "kind": "Checkpoint"}],
    ):  # fmt: skip
        one.dispatch.obey(directives)

    assert () == one.read().done
    assert not one.requests.take()


def test_acknowledgements_are_bounded(worker):
    one = worker()
    for number in range(3 * DONE_MAX):
        one.dispatch.obey(checkpoint(str(number)))

    assert tuple(str(number) for number in range(2 * DONE_MAX, 3 * DONE_MAX)) == one.read().done


def test_of_a_tasks_gang_only_the_pod_of_rank_0_saves_and_all_acknowledge(worker):
    second = worker(worker=1, workers=2)
    second.dispatch.obey(checkpoint())

    assert not second.requests.take()
    assert ("c1",) == second.read().done


def test_every_pod_of_a_script_is_asked(worker):
    second = worker(worker=1, workers=2, task=None, script=("train.py",))
    second.dispatch.obey(checkpoint())

    assert second.requests.take()


def test_a_job_without_checkpoints_says_what_to_set(worker, capsys):
    one = worker(checkpoint_dir=None)
    one.dispatch.obey(checkpoint())

    assert not one.requests.take()
    assert "set spec.checkpoint" in capsys.readouterr().out


def test_should_save_is_true_once_for_each_request(worker, monkeypatch):
    one = worker(task=None, script=("train.py",))
    monkeypatch.setenv(HELPER_SOCKET, one.socket)
    monkeypatch.setattr(helper, "_requests", None)
    monkeypatch.setattr(helper, "_sender", (os.getpid(), None))
    assert not helper.should_save()

    one.dispatch.obey(checkpoint())
    assert [True, False] == [helper.should_save(), helper.should_save()]
    one.dispatch.obey(checkpoint("c2"))
    assert [True, False] == [helper.should_save(), helper.should_save()]


def test_outside_of_ganger_nobody_asks_to_save(monkeypatch):
    monkeypatch.delenv(HELPER_SOCKET, raising=False)
    monkeypatch.setattr(helper, "_requests", None)
    monkeypatch.setattr(helper, "_sender", None)

    assert not helper.should_save()


LISTENING = """
import sys, threading
from ganger_trainer import stacks
def wait_for_a_word():
    sys.stdin.read()
stacks.listen(0)
threading.Thread(target=wait_for_a_word).start()
print("ready", flush=True)
"""
DEAF = "import sys; print('ready', flush=True); sys.stdin.read()"


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def process():
    started = []

    def start(text, **more):
        environ = {"PYTHONPATH": ":".join(sys.path)} | more
        one = subprocess.Popen([sys.executable, "-c", text], env=environ, stdin=-1, stdout=-1, stderr=-1, text=True)
        started.append(one)
        assert "ready\n" == one.stdout.readline()
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def test_a_process_that_listens_shows_all_its_threads_and_goes_on(worker, process, capfd):
    child, one = process(LISTENING), worker()
    one.listeners.hear(Listening(rank=0, pid=child.pid))
    one.dispatch.obey([{"id": "s", "kind": "DumpStacks"}])
    _, said = child.communicate("")

    assert 0 == child.returncode
    assert "wait_for_a_word" in said
    assert f"stacks of rank 0 (process {child.pid}):" in capfd.readouterr().err
    assert ("s",) == one.read().done


def test_stacks_go_to_the_log_and_to_a_file_of_the_attempt(worker, process, capfd, tmp_path):
    old, young = (tmp_path / "checkpoints" / "stacks" / f"attempt-{number}-worker-0-rank-0.txt" for number in (2, 3))
    old.parent.mkdir(parents=True)
    for path in (old, young):
        path.write_text("earlier")
    child = process(LISTENING, **{HELPER_SOCKET: str(tmp_path / "reports")})
    one = worker(attempt=7)
    one.listeners.hear(Listening(rank=0, pid=child.pid, file=str(tmp_path / f"stacks-{child.pid}")))
    kept = old.parent / "attempt-7-worker-0-rank-0.txt"
    for name in ("s1", "s2"):  # the newest replaces what was there
        one.dispatch.obey([{"id": name, "kind": "DumpStacks"}])
        wait_until(lambda: kept.exists() and "wait_for_a_word" in kept.read_text())
    _, said = child.communicate("")

    assert "" == said
    assert 2 == capfd.readouterr().err.count("in wait_for_a_word")
    assert 1 == kept.read_text().count("in wait_for_a_word")
    assert f"rank 0, process {child.pid}" == kept.read_text().splitlines()[0]
    assert [young.name, kept.name] == sorted(path.name for path in old.parent.iterdir())


def test_of_a_stopped_process_it_is_said_that_it_cannot_show_its_stacks(worker, process, capfd, tmp_path):
    child, one = process(LISTENING, **{HELPER_SOCKET: str(tmp_path / "reports")}), worker()
    one.listeners.hear(Listening(rank=0, pid=child.pid, file=str(tmp_path / f"stacks-{child.pid}")))
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    one.dispatch.obey([{"id": "s", "kind": "DumpStacks"}])
    child.send_signal(signal.SIGCONT)

    said = "the process is stopped (state T) and cannot show its stacks\n"
    assert said in capfd.readouterr().err
    kept = tmp_path / "checkpoints" / "stacks" / "attempt-0-worker-0-rank-0.txt"
    wait_until(lambda: kept.exists() and said in kept.read_text())


def test_a_process_without_a_handler_is_left_alone_even_if_it_said_it_listens(worker, process, capsys):
    child, one = process(DEAF), worker()
    one.listeners.hear(Listening(rank=0, pid=child.pid))
    one.dispatch.obey([{"id": "s", "kind": "DumpStacks"}])
    child.communicate("")

    assert 0 == child.returncode
    assert "no process of this worker can show them" in capsys.readouterr().out


def test_processes_that_are_gone_make_room_for_others(process):
    listeners, gone = Listeners(), [subprocess.Popen(["sleep", "60"]) for _ in range(PROCESSES_MAX)]
    for one in gone:
        listeners.hear(Listening(rank=0, pid=one.pid))
    for one in gone:
        one.kill()
        one.wait()
    child = process(LISTENING)
    listeners.hear(Listening(rank=0, pid=child.pid))

    assert ["they are on its standard error\n"] == [stack.text for stack in listeners.dump()]


def test_listening_leaves_a_handler_that_ends_nothing():
    before = signal.getsignal(signal.SIGUSR2)
    try:
        assert Listening(rank=3, pid=os.getpid()) == stacks.listen(3)
        os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        import faulthandler

        faulthandler.unregister(signal.SIGUSR2)
    assert before == signal.getsignal(signal.SIGUSR2)


def test_phases_of_a_report_are_those_of_the_ranks(worker):
    one = worker(STARTED, Entered(rank=0, phase="Restoring"))

    assert "Restoring" == one.read().phase
