"""Plain scripts under the supervisor: torchrun's semantics, and the helper of five lines."""

import json

import pytest

from ganger.contract import ExitCode

from .conftest import SOURCES

pytestmark = pytest.mark.integration

TRAIN = """
import sys, time
import torch.distributed as dist
import ganger_trainer

ganger_trainer.should_stop()
dist.init_process_group("gloo")
print("arguments", sys.argv[1:], "rank", dist.get_rank(), "of", dist.get_world_size(), flush=True)
for step in range(1, 10000):
    ganger_trainer.report(step=step, loss=1.0 / step, total_steps=10000, accuracy=0.5)
    if ganger_trainer.should_stop() or "--short" in sys.argv and step == 20:
        (ganger_trainer.checkpoint_dir() / f"rank{dist.get_rank()}").write_text(str(step))
        break
    time.sleep(0.01)
"""


def script(gangs, text, *arguments, workers=1):
    gang = gangs(workers=workers, task=None)
    (gang.directory / "train.py").write_text(text)
    gang.environ = {"GANGER_SCRIPT": json.dumps(["train.py", *arguments])}
    return gang


def test_script_runs_on_all_ranks_with_its_arguments_and_reports_progress(gangs):
    gang = script(gangs, TRAIN, "--short", workers=2)

    ending = gang.run()

    assert [0, 0] == ending.codes
    assert "arguments ['--short'] rank 1 of 2" in ending.logs[1]
    assert (20, 10000) == (ending.messages[0]["step"], ending.messages[0]["totalSteps"])
    assert {"accuracy": 0.5} == ending.messages[0]["metrics"]


def test_a_script_starts_with_a_running_collector_that_passes_over_what_was_imported(gangs):
    told = "import gc\nprint('enabled', gc.isenabled(), 'frozen', gc.get_freeze_count() > 100_000)\n"

    assert "enabled True frozen True" in script(gangs, told).run().logs[0]


def test_script_that_asks_should_stop_saves_and_is_preempted(gangs):
    gang = script(gangs, TRAIN)
    gang.start().wait_for("arguments")

    gang.signal(0)
    ending = gang.end()

    assert [ExitCode.PREEMPTED] == ending.codes
    assert (gang.directory / "checkpoints" / "rank0").exists()


def test_script_that_ignores_sigterm_semantics_is_preempted_too(gangs):
    gang = script(gangs, "import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    gang.start().wait_for("begun")

    gang.signal(0)

    assert [ExitCode.PREEMPTED] == gang.end(20).codes


def test_exception_in_a_script_is_told_with_its_line(gangs):
    ending = script(gangs, "x = 1\nraise ValueError('bad luck')\n").run()

    assert [ExitCode.RETRYABLE] == ending.codes
    assert "ValueError: bad luck" == ending.messages[0]["message"]
    assert "train.py" in ending.messages[0]["traceback"]


def test_exit_code_of_a_script_reaches_the_operator(gangs):
    ending = script(gangs, "import sys\nsys.exit(78)\n").run()

    assert [ExitCode.BAD_CONFIG] == ending.codes


def test_missing_script_is_the_users_fault(gangs):
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["nowhere.py"]'})

    ending = gang.run()

    assert [ExitCode.USER_INPUT_MISSING] == ending.codes
    assert "nowhere.py" in ending.messages[0]["message"]


def test_a_script_that_comes_with_spec_code_is_found_where_pythonpath_says(gangs):
    text = "import beside, sys; print('ran', sys.argv, beside.__name__)"
    gang = script(gangs, "raise SystemExit('the one in the working directory goes first')")
    code = gang.directory / "code"
    code.mkdir()
    (code / "mine.py").write_text(text)
    (code / "beside.py").touch()
    gang.environ = {
        "GANGER_SCRIPT": '["mine.py", "--lr"]',
        "PYTHONPATH": ":".join([*map(str, SOURCES), str(code)]),
    }

    ending = gang.run()

    assert [0] == ending.codes, ending.logs
    assert f"ran ['{code}/mine.py', '--lr'] beside" in ending.logs[0]


def test_any_command_runs_as_it_is(gangs):
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["/bin/sh", "-c", "echo rank $RANK; exit 3"]'})

    ending = gang.run()

    assert [3] == ending.codes
    assert "rank 0" in ending.logs[0]


def test_program_that_is_not_python_is_told_of_sigterm_and_may_save(gangs):
    shell = "trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": json.dumps(["/bin/sh", "-c", shell])})
    gang.start().wait_for("begun")

    gang.signal(0)
    ending = gang.end(20)

    assert [ExitCode.PREEMPTED] == ending.codes
    assert "saved" in ending.logs[0]


def test_module_run_with_dash_m_asks_should_stop_like_a_script(gangs):
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["-m", "train", "--long"]'})
    (gang.directory / "train.py").write_text(TRAIN)
    gang.start().wait_for("arguments ['--long']")

    gang.signal(0)
    ending = gang.end(20)

    assert [ExitCode.PREEMPTED] == ending.codes
    assert (gang.directory / "checkpoints" / "rank0").exists()


def test_missing_program_is_the_users_fault(gangs):
    ending = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["nosuchprogram", "x"]'}).run()

    assert [ExitCode.USER_INPUT_MISSING] == ending.codes
    assert "nosuchprogram" in ending.messages[0]["message"]
    assert "Traceback" not in ending.logs[0]


def test_script_with_a_handler_of_its_own_is_not_taken_for_done(gangs):
    text = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('begun', flush=True)\n"
    )
    gang = script(gangs, text + "time.sleep(60)\n")
    gang.start().wait_for("begun")

    gang.signal(0)

    assert [ExitCode.PREEMPTED] == gang.end(20).codes
