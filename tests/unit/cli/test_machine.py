"""What a job without a cluster gets of this machine, and what it is told that it does not get."""

import socket

import pytest

from builders import job
from ganger.cli import machine

GPU = {"limits": {"nvidia.com/gpu": 2}}


def environment(job_, inherited, worker=0, gpus=()):
    return machine.environment(
        job_,
        1,
        worker,
        rendezvous_port=1234,
        metrics_port=9095,
        checkpoint_dir="/runs",
        data_dir="/sets",
        termination_log="/tmp/word",
        found_gpus=gpus,
        inherited=inherited,
    )


def test_the_environment_is_that_of_a_pod_on_this_machine():
    found = environment(job(env=[{"name": "A", "value": "b"}]), {"PATH": "/bin"}, worker=1)

    assert {
        "PATH": "/bin",
        "A": "b",
        "GANGER_RENDEZVOUS": "127.0.0.1:1234",
        "GANGER_ATTEMPT": "1",
        "GANGER_WORKER": "1",
        "GANGER_WORKERS": "2",
        "GANGER_TASK": "m:t",
        "GANGER_TERMINATION_LOG": "/tmp/word",
        "CUDA_VISIBLE_DEVICES": "",
    }.items() <= found.items()


def test_what_another_launcher_left_in_the_environment_is_not_inherited():
    left = {"RANK": "7", "WORLD_SIZE": "8", "GANGER_SCRIPT": "x", "PET_NNODES": "2", "TORCHELASTIC_RUN_ID": "x"}

    found = environment(job(), left | {"LD_PRELOAD": "mine.so", "OMP_NUM_THREADS": "3"})

    assert set() == set(left) & set(found)
    assert ("mine.so", "3") == (found["LD_PRELOAD"], found["OMP_NUM_THREADS"])


@pytest.mark.parametrize(
    "gpus, shares",
    [
        (["0", "1", "2", "3"], ["0,1", "2,3"]),
        (["GPU-a", "GPU-b", "GPU-c", "GPU-d", "GPU-e"], ["GPU-a,GPU-b", "GPU-c,GPU-d"]),
        (["0", "1", "2"], ["", ""]),
        ([], ["", ""]),
    ],
)
def test_each_worker_gets_its_own_gpus_or_none_does(gpus, shares):
    assert shares == [machine.visible_gpus(job(resources=GPU), worker, gpus) for worker in (0, 1)]


def test_a_job_that_asks_for_no_gpu_sees_none():
    assert "" == machine.visible_gpus(job(), 0, ["0"])


def test_gpus_are_counted_without_a_driver(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()

    assert ["0", "1"] == machine.gpus({}, tmp_path)
    assert ["3", "GPU-x"] == machine.gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-x"}, tmp_path)
    assert [] == machine.gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)


def test_what_has_no_meaning_here_is_told():
    asked = job(
        resources=GPU,
        nodeSelector={"gpu": "h100"},
        suspend=True,
        code={"configMap": {"name": "src"}},
        env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        envFrom=[{"secretRef": {"name": "s"}}],
    )

    found = " | ".join(machine.notes(asked, ["0"], {}))

    assert "these fields mean nothing: image, nodeSelector" in found
    assert "the job asks for 4 GPUs and this machine has 1: it trains on the CPU" in found
    assert "spec.code is not mounted at /code" in found
    assert "TOKEN comes from the cluster (spec.env): export it here" in found
    assert "spec.envFrom" in found
    assert "spec.suspend is true; without a cluster the job runs at once" in found
    assert "TOKEN" not in " ".join(machine.notes(asked, ["0"], {"TOKEN": "x"}))


def test_a_port_that_is_taken_is_not_given():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert port != machine.free_port(port)
    assert port == machine.free_port(port)
