"""Finding the user's task, and saying what is wrong with it."""

import sys
import types
from pathlib import Path

import pytest
import torch

from ganger.contract import ExitCode
from ganger_trainer import TrainConfig, UserError, task, worker
from ganger_trainer.feed import size
from ganger_trainer.reports import Sender
from unit.trainer import kit


@pytest.fixture
def module(monkeypatch):
    """A module of the user's, importable as kit_task."""
    made = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", made)
    return made


def complaint(name):
    with pytest.raises(UserError) as raised:
        task.load(name)
    assert ExitCode.BAD_CONFIG == raised.value.exit_code
    return raised.value.reason, str(raised.value)


def test_an_object_a_class_and_a_function_are_all_tasks(module):
    module.task, module.Tiny, module.make = kit.Tiny(), kit.Tiny, lambda: kit.Tiny()
    module.holder = types.SimpleNamespace(task=kit.Tiny())

    for name in ("task", "Tiny", "make", "holder.task"):
        assert isinstance(task.load(f"kit_task:{name}"), kit.Tiny)


@pytest.mark.parametrize("name", ["kit_task", "kit_task:", ":task", ""])
def test_a_name_without_a_colon_is_refused_with_an_example(name):
    assert ("TaskInvalid", f"task {name!r} must be module:name, for example my_package.tasks:task") == complaint(name)


@pytest.mark.parametrize("name", ["no_such_module:task", "no_such_package.tasks:task", "ganger_trainer.nothing:task"])
def test_a_missing_module_is_named_with_a_remedy(name):
    reason, message = complaint(name)

    assert "TaskNotFound" == reason
    assert f"there is no module {name.split(':')[0].split('.tasks')[0]!r}" in message
    assert "PYTHONPATH" in message


def test_a_missing_import_inside_the_users_module_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / "has_missing_import.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        task.load("has_missing_import:task")


def test_a_missing_attribute_is_told_with_what_the_module_has(module):
    module.taks, module._hidden = kit.Tiny(), 1

    assert ("TaskNotFound", "task 'kit_task:task': module kit_task has no 'task'; it has taks") == complaint(
        "kit_task:task"
    )


def test_something_else_than_a_task_is_told_what_it_lacks(module):
    module.task = types.SimpleNamespace(model=len, data=len)

    assert ("TaskInvalid", "task 'kit_task:task' is a SimpleNamespace without loss(), optimizer()") == complaint(
        "kit_task:task"
    )


def test_a_config_of_another_kind_is_refused(module):
    module.task = kit.Tiny()
    module.task.Config = dict

    reason, message = complaint("kit_task:task")

    assert "TaskInvalid" == reason
    assert "must be a subclass of ganger_trainer.TrainConfig" in message


def trained(module, text='{"steps": 2, "threads": 1}', **methods):
    module.task = kit.Tiny()
    for name, method in methods.items():
        setattr(module.task, name, method)
    return worker._train(kit.worker(config=text), Sender(None))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"model": lambda config: None}, "model() returned a NoneType: return a torch.nn.Module"),
        ({"optimizer": lambda model, config: [model]}, "optimizer() returned a list: return a torch.optim.Optimizer"),
        ({"loss": lambda model, batch: None}, "loss() returned a NoneType: return a scalar tensor"),
        ({"loss": lambda model, batch: 1.0}, "loss() returned a float: return a scalar tensor"),
        ({"loss": lambda model, batch: torch.ones(3)}, "loss() returned a Tensor of shape (3,): return a scalar"),
        ({"evaluate": lambda model, config: 0.9}, "evaluate() and metrics() return a dict of name to number, not 0.9"),
        ({"evaluate": lambda model, config: {"a": "b"}}, "not {'a': 'b'}"),
    ],
)
def test_a_method_that_returns_the_wrong_thing_is_named(module, method, words):
    with pytest.raises(UserError) as raised:
        trained(module, **method)

    assert words in str(raised.value)
    assert "TaskInvalid" == raised.value.reason


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (None, ExitCode.USER_DATA, "data() returned a NoneType: return tensors of equal length"),
        ((torch.ones(3), torch.ones(4)), ExitCode.USER_DATA, "tensors of different lengths, [3, 4]"),
        (torch.ones(0, 4), ExitCode.USER_DATA, "the data set has 0 samples for 1 processes"),
    ],
)
def test_data_that_cannot_be_trained_on_is_the_users_fault(module, data, code, words):
    with pytest.raises(UserError) as raised:
        trained(module, data=lambda config: data)

    assert words in str(raised.value)
    assert code == raised.value.exit_code


def test_a_missing_file_is_named_and_not_retried(module):
    with pytest.raises(UserError, match=r"data\(\) could not read /no/where.bin") as raised:
        trained(module, data=lambda config: Path("/no/where.bin").read_bytes())

    assert ("DataMissing", ExitCode.USER_INPUT_MISSING) == (raised.value.reason, raised.value.exit_code)


def test_data_sets_of_all_three_shapes_have_a_size():
    class Windows:
        def __len__(self):
            return 9

        def batch(self, indices_B):  # noqa: N803
            return indices_B

    assert 5 == size((torch.ones(5, 2), torch.ones(5)))
    assert 3 == size([1, 2, 3])
    assert 9 == size(Windows())


def test_the_default_config_serves_a_task_without_one(module):
    module.task = kit.Tiny()

    assert TrainConfig is task.config_class(task.load("kit_task:task"))
