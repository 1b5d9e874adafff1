"""What a reader may rely on: the loop is one screen, nothing pickles, the supervisor starts without torch."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ganger_trainer
from builders import job
from ganger.plan.environment import worker_environment
from ganger_trainer import config, environment, loop, task
from ganger_trainer.examples import quadratic

SOURCES = sorted(Path(ganger_trainer.__file__).parent.rglob("*.py"))
JOBS = Path(ganger_trainer.__file__).parents[1]
EXAMPLES = sorted((JOBS / "examples").glob("*/job.yaml"))


def test_the_loop_is_one_screen():
    lines = inspect.getsource(loop.train).splitlines()

    assert len(lines) <= 80
    assert max(map(len, lines)) <= 120


def test_the_loop_reads_forward_loss_backward_update():
    text = inspect.getsource(loop.train)
    words = ["feed.at(", "task.loss(module", ".backward()", "optimizer.step()", "scheduler.step()", "zero_grad("]

    assert sorted(words, key=text.index) == words


def test_nothing_in_the_trainer_pickles():
    forbidden = re.compile(
        r"\bimport (pickle|cloudpickle|dill|shelve|marshal)\b|\bfrom (pickle|cloudpickle|dill|shelve|marshal)\b|"
        r"torch\.(load|save)\(|np\.load\(|allow_pickle=True|broadcast_object_list|all_gather_object|gather_object"
    )
    found = [
        f"{path.name}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]

    assert [] == found
    assert len(SOURCES) > 40


def test_modules_stay_small_and_say_what_they_are_for():
    for path in SOURCES:
        text = path.read_text()
        assert len(text.splitlines()) <= 260, path
        assert ast.get_docstring(ast.parse(text)), path


def test_the_supervisor_does_not_import_torch():
    code = "import sys, ganger_trainer.supervisor; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert (
        0
        == subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
    )


TASKS = [path for path in EXAMPLES if "task" in yaml.safe_load(path.read_text())["spec"]]


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.parent.name)
def test_each_example_is_a_manifest_whose_task_and_config_are_accepted(path):
    manifest = yaml.safe_load(path.read_text())
    filled = job(name=manifest["metadata"]["name"], **manifest["spec"])

    worker = environment.read(worker_environment(filled, 0, 0, rendezvous_host="x", checkpoint_dir="/checkpoints"))
    found = task.load(worker.task)
    read = config.decode(worker.config_json, task.config_class(found))

    assert manifest["spec"]["config"]["batchSize"] == read.batch_size
    assert path.with_name("README.md").is_file()


def test_there_are_four_examples_of_tasks_one_of_a_script_and_one_that_fetches():
    tasks = ["chargpt", "digits", "fashion_mnist", "quadratic"]

    assert tasks == [path.parent.name for path in TASKS]
    assert sorted([*tasks, "huggingface", "prefetch"]) == [path.parent.name for path in EXAMPLES]


def test_the_script_of_hugging_faces_example_knows_nothing_of_ganger():
    text = (JOBS / "examples" / "huggingface" / "train.py").read_text()
    code = ast.unparse(ast.parse(text)).replace(ast.get_docstring(ast.parse(text)), "")

    assert "ganger" not in code.lower()
    assert "callback" not in code.lower()


def test_quadratic_finds_the_gradients_of_the_chain_rule():
    assert {"x": 5.0, "w": 10.0, "b": 5.0} == quadratic.gradients()
