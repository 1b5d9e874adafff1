"""The screens of `ganger watch` as text, at fixed widths.

`GANGER_GOLDEN=write` rewrites the files: the diff in review is the change of behaviour.
"""

import io
import os
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from builders import at, job, pod, with_status
from ganger.api.observed import Condition, Metadata
from ganger.api.status import (
    CheckpointStatus,
    Failure,
    Goodput,
    GoodputSeconds,
    NamedNumber,
    Progress,
    Restarts,
    TrainingJobStatus,
)
from ganger.cli import fleetscreen, jobscreen
from ganger.cli.seen import Event, Involved
from ganger.cli.view import View

WIDTHS = (60, 80, 120, 200)
NOW = at(4000)
RUNNING = (Condition(type="Running", status="True", reason="AllWorkersRun", last_transition_time=at(600)),)
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 100}
FAILURE = Failure(
    attempt=0,
    reason="OOMKilled",
    rank=3,
    pod="digits-0-1",
    node="node-2",
    exit_code=137,
    message="CUDA out of memory",
    time=at(2500),
    last_lines=("  File train.py, line 7", "RuntimeError: \x1b[31mout of memory\x1b[0m \x1b]0;x\x07"),
)
SECONDS = GoodputSeconds(
    scheduling=120, image=240, starting=60, restoring=20, productive=3000, checkpointing=200, lost=300, restarting=60
)


def progress(step: int) -> Progress:
    return Progress(
        step=step,
        total_steps=1000,
        percent=f"{step // 10}%",
        epoch=3,
        loss=f"{2.5 / (1 + step / 50):.4g}",
        metrics=(NamedNumber(name="accuracy", value=0.91234), NamedNumber(name="f1", value=0.5)),
        samples_per_second=1000.0 + step,
        eta_time=at(4720),
        eta_earliest_time=at(4660),
        eta_latest_time=at(4840),
        updated_time=at(3900 + step / 10),
    )


def running(step: int) -> TrainingJobStatus:
    return TrainingJobStatus(
        phase="Running",
        attempt=1,
        workers="2/2",
        ready_workers=2,
        conditions=RUNNING,
        progress=progress(step),
        checkpoint=CheckpointStatus(latest_step=600, latest_time=at(3940), verified=True, bytes=12_900_000, kept=3),
        restarts=Restarts(counted=1, total=1, last=FAILURE),
        goodput=Goodput(ratio=0.75, seconds=SECONDS, lost_steps=80, accounted_time=at(4000)),
    )


def trained() -> View:
    view = View()
    here = job(checkpoint=CHECKPOINT)
    for step in range(20, 661, 20):
        view.take(with_status(here, running(step)))
    view.pods = {one.metadata.name: one for one in (pod(here, 0, attempt=1), pod(here, 1, attempt=1))}
    view.events = {
        "a": Event(involved_object=Involved(uid="uid-1"), reason="Running", message="all run", last_timestamp=at(2600)),
        "b": Event(
            involved_object=Involved(uid="uid-1"),
            type="Warning",
            reason="Restarting",
            message="worker 1 ended with OOMKilled\nattempt 1 starts",
            last_timestamp=at(2510),
        ),
        "old": Event(involved_object=Involved(uid="uid-0"), reason="Complete", message="of a predecessor"),
    }
    return view


def waiting() -> View:
    view = View()
    here = job(workers=3)
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    unschedulable = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]
    conditions = (Condition(type="PodsReady", status="False", reason="Unschedulable"),)
    status = TrainingJobStatus(phase="Pending", workers="0/3", message="no node fits", conditions=conditions)
    view.take(with_status(here, status))
    view.pods = {"p": pod(here, 2, phase="Pending", conditions=unschedulable)}
    return view


def fleet():
    complete = TrainingJobStatus(
        phase="Complete",
        workers="2/2",
        conditions=(Condition(type="Complete", status="True"),),
        completion_time=at(3000),
        progress=progress(1000),
        goodput=Goodput(ratio=0.9),
    )
    jobs = [
        with_status(job(name="aaa-finished"), complete),
        with_status(job(name="digits"), running(660)),
        with_status(job(name="a-model-with-quite-a-long-name-of-its-own"), TrainingJobStatus(phase="Starting")),
        job(name="new"),
    ]
    newer = Metadata(name="newer", namespace="team")
    return {one.metadata.name: one for one in jobs} | {"newer": newer}


def drawn(picture, width: int) -> str:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(picture)
    text = console.export_text()
    assert [] == [line for line in text.splitlines() if len(line) > width]
    return text


def check(name: str, text: str) -> None:
    path = Path(__file__).parent / name
    if os.environ.get("GANGER_GOLDEN") == "write":
        path.write_text(text)
    assert path.exists(), f"{name} is missing: make golden"
    assert path.read_text() == text, f"{name} differs: make golden rewrites it"


@pytest.mark.parametrize("height", [1, 3, 10, 60])
@pytest.mark.parametrize("width", [1, 13, 24, 47, 131])
def test_no_size_is_overrun(width, height):
    pages = (
        jobscreen.page(trained(), NOW, width, height),
        jobscreen.page(waiting(), NOW, width, height),
        fleetscreen.page(fleet(), NOW, width, height, where="team"),
        fleetscreen.page({}, NOW, width, height, where=""),
    )

    for picture in pages:
        assert len(drawn(picture, width).splitlines()) <= height


def test_the_page_about_the_command_shows_the_screen_as_it_is():
    screen = (Path(__file__).parent / "watch-running-80.txt").read_text()

    assert screen in (Path(__file__).parents[3] / "docs" / "cli.md").read_text(), "copy the golden screen into it"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_job_that_trains(width):
    check(f"watch-running-{width}.txt", drawn(jobscreen.page(trained(), NOW, width, 40), width))


@pytest.mark.parametrize("width", [60, 120])
def test_a_job_that_waits(width):
    check(f"watch-waiting-{width}.txt", drawn(jobscreen.page(waiting(), at(90), width, 40), width))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_fleet(width):
    check(f"watch-fleet-{width}.txt", drawn(fleetscreen.page(fleet(), NOW, width, 40, where="team"), width))


def test_a_fleet_of_all_namespaces_in_a_terminal_that_is_too_low():
    found = fleet()
    elsewhere = msgspec.structs.replace(found["digits"].metadata, namespace="vision", name="far")
    found["far"] = msgspec.structs.replace(found["digits"], metadata=elsewhere)

    check("watch-fleet-low.txt", drawn(fleetscreen.page(found, NOW, 120, 5, where=""), 120))
