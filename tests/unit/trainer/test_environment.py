"""The environment contract as the trainer reads it: what the operator writes, and what people write by hand."""

import json
from pathlib import Path

import pytest

from builders import job
from ganger import contract
from ganger.contract import ExitCode
from ganger.plan.environment import worker_environment
from ganger_trainer import UserError
from ganger_trainer.environment import CheckpointPolicy, read

LEAST = {"GANGER_TASK": "m:t"}


def complaint(**environ):
    with pytest.raises(UserError) as raised:
        read(LEAST | environ)
    assert ("EnvironmentInvalid", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)
    return str(raised.value)


def test_a_task_alone_is_enough():
    worker = read(LEAST)

    assert (0, 1, 1, "127.0.0.1", None, "{}") == (
        worker.worker, worker.workers, worker.processes, worker.rendezvous_host, worker.checkpoint_dir,
        worker.config_json,
    )  # fmt: skip
    assert CheckpointPolicy() == worker.checkpoint


def test_a_gang_that_may_grow_is_told_how_far():
    least = LEAST | {"GANGER_WORKERS": "2", "GANGER_PROCESSES_PER_WORKER": "3", "GANGER_RENDEZVOUS": "digits-0:29400"}

    assert (6, 6) == ((worker := read(least)).world_size, worker.world_size_max)
    assert (6, 24) == ((worker := read(least | {"GANGER_WORKERS_MAX": "8"})).world_size, worker.world_size_max)
    assert "GANGER_WORKERS_MAX is '1', allowed: a whole number 2 .." in complaint(GANGER_WORKERS_MAX="1", **least)


def test_what_the_operator_writes_is_what_the_trainer_reads():
    filled = job(
        name="digits",
        config={"epochs": 2},
        workers=3,
        processesPerWorker=2,
        checkpoint={
            "volume": {"size": "1Gi"}, "everySteps": 100, "keep": {"last": 4, "best": 2, "every": 1000},
            "resume": "Required", "onNoValidCheckpoint": "Restart",
        },
    )  # fmt: skip

    worker = read(
        worker_environment(filled, 5, 2, rendezvous_host="digits-0.digits", checkpoint_dir="/checkpoints/digits")
    )

    assert ("digits", "uid-1", "team", 5, 2, 3, 2, 6) == (
        worker.job, worker.job_uid, worker.namespace, worker.attempt, worker.worker, worker.workers, worker.processes,
        worker.world_size,
    )  # fmt: skip
    assert ("digits-0.digits", contract.RENDEZVOUS_PORT) == (worker.rendezvous_host, worker.rendezvous_port)
    assert {"epochs": 2} == json.loads(worker.config_json)
    assert (Path("/checkpoints/digits"), contract.METRICS_PORT) == (worker.checkpoint_dir, worker.metrics_port)
    assert Path(contract.TERMINATION_LOG) == worker.termination_log
    assert CheckpointPolicy(
        every_steps=100, keep_last=4, keep_best=2, keep_every=1000, resume="Required", on_no_valid_checkpoint="Restart"
    ) == worker.checkpoint  # fmt: skip


def test_a_script_comes_with_its_arguments():
    worker = read({"GANGER_SCRIPT": '["train.py", "--lr=0.1"]'})

    assert (None, ("train.py", "--lr=0.1")) == (worker.task, worker.script)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GANGER_WORKERS": "two"}, "GANGER_WORKERS is 'two', allowed: a whole number 1"),
        ({"GANGER_WORKERS": "0"}, "GANGER_WORKERS is '0', allowed: a whole number 1"),
        ({"GANGER_WORKERS": "2"}, "GANGER_RENDEZVOUS is '', allowed: host:port of worker 0"),
        ({"GANGER_WORKER": "1"}, "GANGER_WORKER is '1', allowed: 0 .. 0 (GANGER_WORKERS is 1)"),
        ({"GANGER_RENDEZVOUS": "host"}, "GANGER_RENDEZVOUS is 'host', allowed: host:port, for example"),
        ({"GANGER_RENDEZVOUS": "host:99999"}, "GANGER_RENDEZVOUS is 'host:99999'"),
        ({"GANGER_SCRIPT": '["x.py"]'}, "exactly one of GANGER_TASK (module:name) and GANGER_SCRIPT"),
        ({"GANGER_TASK": ""}, "neither is set"),
        ({"GANGER_TASK": "", "GANGER_SCRIPT": "train.py"}, "GANGER_SCRIPT is 'train.py', allowed: a JSON list"),
        ({"GANGER_CHECKPOINT": '{"keepLast": 0}'}, "everySteps, everySeconds, keepLast"),
        (
            {"GANGER_CHECKPOINT": '{"resume": "Maybe"}'},
            "Invalid enum value 'Maybe' - at `resume`, allowed: Auto, Never, Required",
        ),
        ({"GANGER_CHECKPOINT": '{"everySteps": 1, "everySeconds": 1}'}, "everySteps or everySeconds, not both"),
        ({"GANGER_NON_FINITE": "Ignore"}, "GANGER_NON_FINITE is 'Ignore', allowed: Fail, Rollback"),
        ({"GANGER_METRICS_PORT": "70000"}, "GANGER_METRICS_PORT is '70000', allowed: a whole number 0 .. 65535"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(environ, words):
    assert words in complaint(**environ)


def test_all_mistakes_are_told_at_once():
    message = complaint(GANGER_WORKERS="x", GANGER_ATTEMPT="-1", GANGER_METRICS_PORT="http")

    assert all(name in message for name in ("GANGER_WORKERS", "GANGER_ATTEMPT", "GANGER_METRICS_PORT"))


def test_the_checkpoint_keys_are_those_of_the_contract():
    assert list(contract.CHECKPOINT_KEYS) == [
        field if "_" not in field else field.split("_")[0] + "".join(part.title() for part in field.split("_")[1:])
        for field in CheckpointPolicy.__struct_fields__
    ]


def test_without_a_url_nobody_wants_reports():
    assert read(LEAST).control is None


def test_reports_go_to_a_url_with_the_files_of_the_mount_unless_others_are_named():
    control = read(LEAST | {"GANGER_CONTROL_URL": "https://ganger-control.ganger.svc:9443/v1/jobs/uid-1/"}).control

    assert "https://ganger-control.ganger.svc:9443/v1/jobs/uid-1" == control.url
    assert (Path("/var/run/ganger/token"), Path("/var/run/ganger/ca.crt")) == (control.token, control.authority)
    named = {"GANGER_CONTROL_URL": "https://x:1/v1", "GANGER_CONTROL_TOKEN": "/t", "GANGER_CONTROL_CA": "/c"}
    assert (Path("/t"), Path("/c")) == (read(LEAST | named).control.token, read(LEAST | named).control.authority)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost:80", "[::1]:80"])
def test_this_machine_alone_may_be_told_without_tls(host):
    assert f"http://{host}/v1" == read(LEAST | {"GANGER_CONTROL_URL": f"http://{host}/v1"}).control.url


@pytest.mark.parametrize(
    "url",
    [
        "http://ganger-control.ganger.svc:9443/v1", "http://127.0.0.1.example.org/", "ftp://127.0.0.1/", "https://",
        "x", "https://x:port/", "https://x:99999/", "https://x/?a=b", "https://[::1/",
    ],
)  # fmt: skip
def test_any_other_url_is_refused(url):
    assert f"GANGER_CONTROL_URL is {url!r}, allowed: https://host:port/path" in complaint(GANGER_CONTROL_URL=url)
