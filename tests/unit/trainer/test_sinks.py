"""TensorBoard files and MLflow runs: read back with their own libraries, over a restart, and with everything broken."""

import builtins
import sys
import threading
import types
from pathlib import Path

import msgspec
import pytest

from ganger.contract import ExitCode
from ganger_trainer import TrainConfig, UserError, sinks, worker
from ganger_trainer.checkpoint import layout
from ganger_trainer.config import MlflowConfig
from ganger_trainer.sinks import Sinks
from unit.trainer import kit

pytest.importorskip("tensorboard")
pytest.importorskip("mlflow")


class Memory:
    """A sink that remembers, and that raises what `trouble` returns."""

    name = "memory"

    def __init__(self, trouble=lambda item: None):
        self.items, self.trouble = [], trouble

    def _take(self, item):
        self.items.append(item)
        if error := self.trouble(item):
            raise error

    def write(self, point):
        self._take((point.step, point.values))

    def close(self, outcome):
        self._take(outcome)


def test_points_come_in_order_and_the_end_last():
    memory = Memory()
    both = Sinks([memory])
    for step in range(5):
        both.write(step, {"a": step})
    both.close("Preempted")

    assert [(step, {"a": step}) for step in range(5)] + ["Preempted"] == memory.items


def test_a_sink_that_fails_is_told_once_and_takes_nothing_from_the_other(capsys):
    broken, whole = Memory(lambda item: OSError("disk full\nsecond line")), Memory()
    both = Sinks([broken, whole])
    for step in range(5):
        both.write(step, {"a": 1.0})
    both.close("Done")

    assert 6 == len(whole.items) == len(broken.items)
    assert "warning: memory: OSError: disk full; training goes on, this is not said again\n" == capsys.readouterr().err


def test_a_password_in_an_address_is_not_printed(capsys):
    one = Sinks([Memory(lambda item: OSError("no answer from https://me:secret@host/api"))])
    one.write(1, {"a": 1.0})
    one.close("Done")

    assert "warning: memory: OSError: no answer from https://host/api; training" in capsys.readouterr().err


def test_a_sink_that_recovers_goes_on():
    memory = Memory(lambda item: OSError("away") if item[0] == 1 else None)
    one = Sinks([memory])
    for step in (1, 2):
        one.write(step, {"a": 1.0})
    one.close("Done")

    assert [(1, {"a": 1.0}), (2, {"a": 1.0}), "Done"] == memory.items


def test_a_sink_that_hangs_holds_nobody_up(capsys, monkeypatch):
    monkeypatch.setattr(sinks, "POINTS_MAX", 3)
    monkeypatch.setattr(sinks, "CLOSE_FAILED_SECONDS", 0.01)
    release = threading.Event()
    one = Sinks([Memory(lambda item: release.wait() and None)])

    for step in range(10):
        one.write(step, {"a": 1.0})
    one.close("Failed")

    release.set()
    assert "warning: memory: 3 points wait to be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "library"),
    [({"tensorboard": True}, "tensorboard"), ({"mlflow": MlflowConfig(tracking_uri="file:x")}, "mlflow")],
)
def test_a_library_that_is_not_there_is_told_at_the_start_with_the_extra(wanted, library, monkeypatch):
    monkeypatch.setattr(sinks.util, "find_spec", lambda name: None)

    sinks.require(TrainConfig())
    with pytest.raises(UserError, match=rf"pip install 'ganger\[{library}\]'") as raised:
        sinks.require(TrainConfig(**wanted))

    assert ("LibraryMissing", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)


def test_a_library_that_is_broken_is_told_and_training_does_without(monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def broken(name, *arguments):
        if name == "torch.utils.tensorboard":
            raise ImportError("libfoo.so: no such file")
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "ganger_trainer.sinks.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)

    opened = sinks.open_sinks(TrainConfig(tensorboard=True), kit.worker(tmp_path), resumed_from=None)

    opened.close("Done")
    assert "warning: tensorboard: ImportError: libfoo.so" in capsys.readouterr().err


def test_nothing_is_imported_unless_it_is_asked_for(tmp_path, monkeypatch):
    for name in ("ganger_trainer.sinks.tensorboard", "ganger_trainer.sinks.mlflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    sinks.open_sinks(TrainConfig(), kit.worker(tmp_path), resumed_from=None)

    assert not {"ganger_trainer.sinks.tensorboard", "ganger_trainer.sinks.mlflow"} & set(sys.modules)


@pytest.mark.parametrize(
    ("wanted", "checkpoints", "expected"),
    [
        (True, "/checkpoints/digits", "/checkpoints/digits/tensorboard"),
        (True, None, "tensorboard"),
        ("logs", "/c", "logs"),
    ],
)
def test_event_files_lie_beside_the_checkpoints_unless_told_otherwise(wanted, checkpoints, expected):
    where = kit.worker(Path(checkpoints) if checkpoints else None)

    assert Path(expected) == sinks.directory(TrainConfig(tensorboard=wanted), where)


# --- through the trainer ---


class Measured(kit.Tiny):
    """The tiny task with a metric of the batch, an evaluation, and an end at step `fails_at`."""

    def __init__(self, fails_at=None):
        super().__init__(self._fail)
        self.fails_at = fails_at

    def _fail(self, step):
        if step == self.fails_at:
            raise ZeroDivisionError

    def metrics(self, model, batch):
        return {"size": len(batch[0])}

    def evaluate(self, model, config):
        return {"accu/racy %": 0.5}


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train `Measured` for 12 steps with a line at each, a checkpoint at every 5th and an evaluation at every 6th."""
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # what the server would be
    monkeypatch.setattr(sinks, "CLOSE_FAILED_SECONDS", 60.0)  # so that a busy machine does not cut it short
    monkeypatch.setattr(sinks, "CLOSE_SECONDS", 60.0)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    def run(*, attempt=0, fails_at=None, uid="uid-1", **config):
        module.task = Measured(fails_at)
        whole = {"steps": 12, "batchSize": 8, "threads": 1, "logEverySeconds": 1e-9, "evaluateEverySteps": 6} | config
        spec = kit.worker(
            tmp_path / "job", attempt=attempt, config=msgspec.json.encode(whole).decode(), every_steps=5, keep_last=9
        )
        worker._train(msgspec.structs.replace(spec, job_uid=uid), kit.ToBoard())

    return run


def scalars(directory):
    """Steps and values by tag, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_back_what_was_logged(train, tmp_path):
    train(tensorboard=True)

    found = scalars(tmp_path / "job" / "tensorboard")
    assert {
        "train/loss", "train/learning_rate", "train/gradient_norm", "train/samples_per_second", "train/size",
        "evaluation/accu/racy %",
    } == set(found)  # fmt: skip
    assert list(range(1, 13)) == [step for step, _ in found["train/loss"]]
    assert [(6, 0.5), (12, 0.5)] == found["evaluation/accu/racy %"]
    assert [5, 10, 12] == kit.steps_in(tmp_path / "job"), "event files are nothing to the checkpoints"
    assert ((), ()) == (layout.look(tmp_path / "job").corrupt, layout.look(tmp_path / "job").leaving)


def test_after_a_restart_tensorboard_shows_each_step_once(train, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tensorboard=True, fails_at=9)
    before = scalars(tmp_path / "job" / "tensorboard")["train/loss"]
    assert [1, 2, 3, 4, 5, 6, 7, 8] == [step for step, _ in before]

    train(tensorboard=True, attempt=1)

    after = scalars(tmp_path / "job" / "tensorboard")["train/loss"]
    assert list(range(1, 13)) == [step for step, _ in after]
    assert before == after[:8], "the same bits before and after"


def runs(uri, experiment="digits"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_mlflow_has_one_run_of_the_job_that_goes_on_after_a_restart(train, tmp_path):
    uri = f"file:{tmp_path / 'mlruns'}"
    mlflow = {"trackingUri": uri}
    with pytest.raises(ZeroDivisionError):
        train(mlflow=mlflow, fails_at=9)
    _, found = runs(uri)
    assert ["FAILED"] == [run.info.status for run in found]

    train(mlflow=mlflow, attempt=1)

    client, found = runs(uri)
    assert ["FINISHED"] == [run.info.status for run in found]
    (run,) = found
    assert "digits" == run.info.run_name
    assert {"ganger.job_uid": "uid-1", "ganger.namespace": "team"}.items() <= run.data.tags.items()
    assert ("8", "12") == (run.data.params["batchSize"], run.data.params["steps"])
    assert not {"mlflow", "tensorboard", "microBatch"} & set(run.data.params)
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert [*range(1, 9), *range(6, 13)] == steps
    assert 0.5 == run.data.metrics["evaluation/accu/racy _"]


@pytest.mark.parametrize(("uids", "expected"), [(("uid-1", "uid-1"), 1), (("uid-1", "uid-2"), 2)])
def test_a_run_belongs_to_one_job_and_not_to_its_namesake(train, tmp_path, uids, expected):
    uri = f"file:{tmp_path / 'mlruns'}"
    for attempt, uid in enumerate(uids):
        train(mlflow={"trackingUri": uri, "experiment": "mine"}, uid=uid, steps=12 + attempt)

    assert expected == len(runs(uri, "mine")[1])


def test_jobs_without_a_cluster_share_a_uid_and_only_a_resumed_one_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'mlruns'}"
    spec = msgspec.structs.replace(kit.worker(tmp_path), job_uid=sinks.LOCAL_UID)

    for resumed, expected in ((None, 1), (None, 2), (5, 2)):
        one = sinks.open_sinks(TrainConfig(mlflow=MlflowConfig(tracking_uri=uri)), spec, resumed_from=resumed)
        one.write(6, {"train/loss": 1.0})
        one.close("Done")
        assert expected == len(runs(uri)[1])


def test_a_tracking_server_that_refuses_costs_one_line(train, tmp_path, capsys):
    (tmp_path / "mlruns").write_text("not a directory")

    train(mlflow={"trackingUri": f"file:{tmp_path / 'mlruns'}"})

    said = capsys.readouterr().err.splitlines()
    assert 1 == len([line for line in said if line.startswith("warning: mlflow: ")]), said
    assert [5, 10, 12] == kit.steps_in(tmp_path / "job")


def test_a_directory_that_cannot_be_written_costs_one_line(train, tmp_path, capsys):
    (tmp_path / "file").write_text("not a directory")

    train(tensorboard=str(tmp_path / "file"))

    said = capsys.readouterr().err.splitlines()
    assert 1 == len([line for line in said if line.startswith("warning: tensorboard: ")]), said
    assert [5, 10, 12] == kit.steps_in(tmp_path / "job")


def test_a_point_keeps_its_own_copy_of_the_values():
    memory, values = Memory(), {"a": 1.0}
    one = Sinks([memory])
    one.write(1, values)
    values["a"] = 2.0
    one.close("Done")

    assert (1, {"a": 1.0}) == memory.items[0]
