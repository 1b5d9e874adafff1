"""The pure parts: figures, sentences, hints, and what a terminal is protected from."""

from datetime import timedelta

import pytest

from builders import at, job, with_spec, with_status
from ganger.api.observed import Condition
from ganger.api.status import (
    CheckpointStatus,
    Failure,
    LiveValue,
    Progress,
    Resize,
    Resizes,
    Restarts,
    Rollbacks,
    TrainingJobStatus,
)  # fmt: skip
from ganger.cli import figures
from ganger.cli.hint import hint
from ganger.cli.main import behind_command
from ganger.cli.report import page
from ganger.cli.seen import Seen
from ganger.cli.sentence import sentence
from ganger.cli.terminal import escape, log_line
from unit.plan.queueing import queued


def status(*true: str, reason: str = "Test", because: str = "", **fields) -> TrainingJobStatus:
    conditions = tuple(Condition(type=type_, status="True", reason=reason, message=because) for type_ in true)
    return TrainingJobStatus(conditions=conditions, **fields)


@pytest.mark.parametrize(
    "seconds, text",
    [(-5, "0s"), (0, "0s"), (119, "119s"), (125, "2m5s"), (3600, "60m"), (11_000, "3h3m"), (200_000, "2d7h")],
)
def test_durations_read_as_kubectl_writes_them(seconds, text):
    assert text == figures.duration(seconds)


@pytest.mark.parametrize(
    "text, seconds",
    [("90", 90), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("", None), ("x", None), ("1.5h", None)],
)
def test_durations_are_read(text, seconds):
    assert seconds == figures.seconds_of(text)


@pytest.mark.parametrize("num_bytes, text", [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes_have_three_digits(num_bytes, text):
    assert text == figures.size(num_bytes)


@pytest.mark.parametrize(
    "said, expected",
    [
        (None, "digits waits: the operator has not looked at it yet (60s)"),
        (status("Complete", start_time=at(0), completion_time=at(130)), "digits is complete after 2m10s"),
        (
            status("Failed", reason="OOMKilled", because="too big"),
            "digits failed: OOMKilled: too big",
        ),
        (
            status("Running", progress=Progress(step=5, total_steps=10, percent="50%", loss="0.1", eta_time=at(180))),
            "digits is running: step 5 of 10 (50%), loss 0.1, done in about 2m",
        ),
        (status(phase="Restarting", message="attempt 0 ended"), "digits is restarting: attempt 0 ended (60s)"),
        (status("Suspended"), "digits is suspended"),
        (status("Suspended", reason="NotAdmitted", message="queue a: no room"), "digits waits: queue a: no room (60s)"),
    ],
)
def test_a_job_in_one_sentence(said, expected):
    assert expected == sentence(with_status(job(), said), at(60))


@pytest.mark.parametrize(
    "message, cause",
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "no node has enough free nvidia.com/gpu"),
        ("exceeded quota: team, requested: cpu=4", "the namespace's ResourceQuota team has no room for the gang"),
        ('persistentvolumeclaim "data" not found', "the claim data does not exist in this namespace"),
        ("3 node(s) had untolerated taint {x: y}", "every fitting node has a taint that the job does not tolerate"),
        ("ErrImagePull: 401 unauthorized", "the registry does not let the node pull the image"),
        ("all is well", None),
    ],
)
def test_a_cause_is_only_told_where_the_facts_name_it(message, cause):
    waiting = with_status(job(), status("Reconciling", phase="Pending", message=message))

    found = hint(Seen(job=waiting, now=at(60)))

    assert cause == (found.cause if found is not None else None)


@pytest.mark.parametrize(
    "failure, cause",
    [
        (Failure(reason="OOMKilled", exit_code=137), "a worker used more memory than its limit"),
        (Failure(reason="Error", exit_code=127), "the image does not have the command"),
        (Failure(reason="Error", exit_code=1), "the workers failed again and again"),
    ],
)
def test_a_failure_is_explained_by_its_reason_or_code(failure, cause):
    failed = with_status(job(), status("Failed", reason="MaxRestartsReached", restarts=Restarts(last=failure)))

    found = hint(Seen(job=failed, now=at(60)))

    assert found is not None
    assert cause == found.cause


def test_status_tells_the_size_of_an_elastic_gang_and_why_it_has_it():
    last = Resize(
        attempt=1, from_workers=4, to_workers=3, reason="Shrunk", message="1 of 4 found no place", time=at(60)
    )
    a_job = with_status(
        job(workers=4, elastic={"minWorkers": 2, "maxWorkers": 8}),
        TrainingJobStatus(attempt=1, gang_size=3, workers="3/4", resizes=Resizes(total=1, last=last)),
    )
    lines = page(Seen(job=a_job, now=at(120)))

    assert "Elastic     3 of 4 workers, 2 to 8 are allowed" in lines
    assert "            last: Shrunk 60s ago: 1 of 4 found no place" in lines
    assert not [line for line in page(Seen(job=job(), now=at(120))) if "Elastic" in line]


def test_silence_is_only_an_absent_operator_after_a_while():
    new = job()

    assert None is hint(Seen(job=new, now=at(5)))
    late = hint(Seen(job=new, now=at(0) + timedelta(minutes=1)))
    assert late is not None
    assert "no operator has looked at the job" == late.cause


def test_control_characters_are_shown_and_never_sent():
    assert "a\\x1b[2Jb\\x0ac\\x9b\\u202e\t" == escape("a\x1b[2Jb\nc\x9b\u202e\t")
    assert "done" == log_line("\x1b[1m 10%\r\x1b[0mdone\r")


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["-n", "team", "list"], ["list", "-n", "team"]),
        (["--context=c", "-n", "team", "logs", "-f", "x"], ["logs", "--context=c", "-n", "team", "-f", "x"]),
        (["list", "-n", "team"], ["list", "-n", "team"]),
        (["--no-color", "list"], ["--no-color", "list"]),
        (["-n"], ["-n"]),
    ],
)
def test_options_of_the_cluster_may_stand_before_the_command_as_with_kubectl(given, parsed):
    assert parsed == behind_command(given)


def test_the_page_tells_what_is_set_and_what_is_asked_for():
    held = tuple(LiveValue(name=name, value="0.1", applied_at_step=31) for name in ("a", "b", "c"))
    conditions = (Condition(type="LiveConfigRefused", status="True", reason="X", message="b=9: b must be <= 1"),)
    asked = job(liveConfig={"a": 0.1, "b": 9, "d": "x", "e": [1, 2]})

    lines = page(Seen(job=with_status(asked, TrainingJobStatus(live_config=held, conditions=conditions)), now=at(60)))

    first = next(number for number, line in enumerate(lines) if line.startswith("Settings"))
    assert [
        "a=0.1 from step 31 on",
        "b=0.1 from step 31 on; 9 is refused",
        "c=0.1 from step 31 on; to be taken back",
        'd as in spec.config; "x" is asked for',
        "e as in spec.config; [1,2] is asked for",
    ] == [line[12:] for line in lines[first : first + 5]]
    assert lines[first + 5].startswith("Workers")


def test_the_page_tells_the_newest_checkpoint_the_damaged_ones_and_the_rollbacks():
    point = CheckpointStatus(
        latest_step=450, latest_time=at(30), bytes=1536, verified=True, kept=3, quarantined=("step_400.corrupt",)
    )
    said = status("Running", checkpoint=point, rollbacks=Rollbacks(count=2, last_step=433, to_step=430, time=at(40)))
    kept = job(checkpoint={"volume": {"size": "1Gi"}}, failurePolicy={"nonFinite": "Rollback", "maxRollbacks": 5})
    text = "\n".join(page(Seen(job=with_status(kept, said), claim_name="digits", now=at(60))))

    assert "Checkpoint  step 450, 30s ago, 1.5 KiB, verified, 3 kept, claim digits (missing)" in text
    assert "damaged and never loaded: step_400.corrupt" in text
    assert "Rollbacks   2 (at most 5); last: a NaN or an infinity at step 433, back to step 430, 20s ago" in text


def test_a_job_that_waits_in_a_queue_is_not_told_to_resume():
    queued_ = with_status(queued(), status("Suspended", reason="NotAdmitted"))
    suspended = with_spec(queued_, suspend=True)

    assert "the queue team has not admitted the job yet" == hint(Seen(job=queued_, now=at(60))).cause
    assert "'ganger resume digits' lets it go on" == hint(Seen(job=suspended, now=at(60))).fix
