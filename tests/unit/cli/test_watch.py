"""`ganger watch` with a fake cluster: lines where there is no terminal, exit codes, and when a screen is drawn."""

import asyncio
import sys

import pytest

from builders import at, job
from ganger.cli import plain, screen
from ganger.cli.terminal import Terminal
from ganger.kube.errors import Forbidden

PROGRESS = {"step": 50, "totalSteps": 200, "loss": "0.5", "samplesPerSecond": 1234.5, "etaTime": at(180).isoformat()}
REFUSAL = {"metadata": {"name": "x"}, "code": 403, "reason": "Forbidden", "message": "not for you"}
KEYS = [
    "phase",
    "workers",
    "attempt",
    "step",
    "steps",
    "loss",
    "samples_per_second",
    "eta",
    "checkpoint_step",
    "checkpoint_time",
    "restarts",
    "goodput",
    "message",
]


def later(ganger, *changes):
    """Play the changes one after another, each when the watch has had time to see the one before."""

    async def scenario():
        for change in changes:
            await asyncio.sleep(0.03)
            change()

    ganger.scenario = scenario


def test_a_job_is_told_line_by_line_until_it_ends(ganger):
    ganger.job(phase="Pending", message="no node")
    event = {"involvedObject": {"kind": "TrainingJob", "name": "digits"}, "reason": "Running", "message": "all run"}
    later(
        ganger,
        lambda: ganger.pod(0),
        lambda: ganger.cluster.put("events", {"metadata": {"name": "digits.1"}} | event),
        lambda: ganger.job(Running="Test", phase="Running", workers="2/2", progress=PROGRESS, goodput={"ratio": 0.75}),
        lambda: ganger.job(Running="Test", phase="Running", workers="2/2", progress=PROGRESS, goodput={"ratio": 0.751}),
        lambda: ganger.job(Complete="Test", phase="Complete", workers="2/2"),
    )

    said = ganger("watch", "digits")

    assert 0 == said.code, said.err
    assert [
        (
            "2026-01-01T12:01:00Z team/digits job phase=Pending workers=0/2 attempt=0 step=- steps=- loss=-"
            ' samples_per_second=- eta=- checkpoint_step=- checkpoint_time=- restarts=0 goodput=- message="no node"'
        ),
        "2026-01-01T12:01:00Z team/digits worker worker=0 attempt=0 state=Running node=- pod=digits-0-0",
        '2026-01-01T12:01:00Z team/digits event type=Normal reason=Running message="all run"',
        (
            "2026-01-01T12:01:00Z team/digits job phase=Running workers=2/2 attempt=0 step=50 steps=200 loss=0.5"
            " samples_per_second=1234.5 eta=2026-01-01T12:03:00Z checkpoint_step=- checkpoint_time=- restarts=0"
            " goodput=75% message=-"
        ),
        (
            "2026-01-01T12:01:00Z team/digits job phase=Complete workers=2/2 attempt=0 step=- steps=- loss=-"
            " samples_per_second=- eta=- checkpoint_step=- checkpoint_time=- restarts=0 goodput=- message=-"
        ),
    ] == said.out.splitlines()
    assert "digits is complete\n" == said.err


def test_a_failure_is_told_with_its_last_lines_and_nothing_that_a_terminal_obeys(ganger):
    last = {"attempt": 2, "reason": "Error", "exitCode": 1, "rank": 3, "pod": "p", "lastLines": ["a \x1b]0;x\x07", "b"]}
    ganger.job(Failed="MaxRestartsReached", phase="Failed", attempt=2, restarts={"total": 2, "last": last})

    said = ganger("watch", "digits", "--plain")

    assert 1 == said.code
    assert [
        "failure attempt=2 reason=Error exit_code=1 rank=3 pod=p node=- message=-",
        r'failure-line attempt=2 text="a \\x1b]0;x\\x07"',
        "failure-line attempt=2 text=b",
    ] == [line.split(" ", 2)[2] for line in said.out.splitlines()[1:]]
    assert "\x1b" not in said.out + said.err
    assert "digits failed: MaxRestartsReached\n" == said.err


def test_every_line_of_a_job_has_the_same_keys(ganger):
    ganger.job(Complete="Test", message='a "quoted" \\ word')

    line = ganger("watch", "digits").out.splitlines()[0]

    assert KEYS == [pair.partition("=")[0] for pair in line.partition(" job ")[2].split(" ")][: len(KEYS)]
    assert r'message="a \"quoted\" \\ word"' in line


def test_a_fleet_is_told_by_what_changes_comes_and_goes(ganger):
    ganger.job("a")
    ganger.job("new", spec={"workers": "many"})

    def changes():
        ganger.job("b", Running="Test", phase="Running")
        ganger.cluster.take("trainingjobs", "a")
        # The watch of a fleet has no end of its own.
        ganger.cluster.changes.append(("trainingjobs", "ERROR", REFUSAL))

    later(ganger, changes)

    said = ganger("watch")

    assert 5 == said.code
    assert [
        ["team/a", "job", "phase=Pending"],
        ["team/new", "job", "phase=?"],
        ["team/b", "job", "phase=Running"],
        ["team/a", "deleted"],
    ] == [line.split()[1:4] for line in said.out.splitlines()]


def test_a_job_that_is_not_there_or_is_deleted_is_told(ganger):
    assert 3 == ganger("watch", "nothing").code
    ganger.job()
    later(ganger, lambda: ganger.cluster.take("trainingjobs", "digits"))

    said = ganger("watch", "digits")

    assert (3, "error: job digits was deleted") == (said.code, said.problem[0])


def test_events_that_may_not_be_read_are_left_out(ganger, monkeypatch):
    ganger.job(phase="Pending")
    later(ganger, lambda: ganger.job(Complete="Test", phase="Complete"))
    listed = ganger.cluster.list

    async def refuse(resource, *arguments, **options):
        if resource.plural == "events":
            raise Forbidden(403, "Forbidden", "events are not for you")
        return await listed(resource, *arguments, **options)

    monkeypatch.setattr(ganger.cluster, "list", refuse)

    assert 0 == ganger("watch", "digits").code


def test_choosing_among_jobs_and_naming_one_do_not_go_together(ganger):
    said = ganger("watch", "digits", "-A")

    assert (2, "error: -A and -l choose among all jobs: leave JOB out") == (said.code, said.problem[0])


@pytest.mark.parametrize(
    "is_terminal, encoding, term, expected",
    [
        (True, "utf-8", "xterm", True),
        (False, "utf-8", "xterm", False),
        (True, "utf-8", "dumb", False),
        (True, "ascii", "xterm", False),
        (True, None, "xterm", False),
    ],
)
def test_a_picture_needs_a_terminal_that_can_show_it(is_terminal, encoding, term, expected):
    class Out:
        def isatty(self):
            return is_terminal

    out = Out()
    out.encoding = encoding

    assert expected is Terminal(environ={"TERM": term}, out=out).is_screen


def test_a_screen_without_its_library_is_told_with_the_extra_that_has_it(ganger, monkeypatch):
    ganger.job()
    monkeypatch.setattr(Terminal, "is_screen", True)
    monkeypatch.setitem(sys.modules, "rich", None)

    said = ganger("watch", "digits")

    assert (2, "  fix: pip install 'ganger[cli]'") == (said.code, said.problem[2])


async def test_a_source_that_fails_at_once_draws_nothing():
    drawings = []

    async def fails():
        raise ValueError("no such job")

    with pytest.raises(ValueError, match="no such job"):
        await screen.drawn(fails(), lambda: drawings.append(1), asyncio.Event())
    assert [] == drawings


async def test_between_two_drawings_is_a_pause_whatever_the_news(monkeypatch):
    news, opened, drawings, pauses = asyncio.Event(), asyncio.Event(), [], []
    turn = asyncio.sleep

    async def pause(seconds):
        pauses.append(seconds)
        await opened.wait()

    monkeypatch.setattr(asyncio, "sleep", pause)

    async def source():
        for _ in range(100):
            news.set()
            await turn(0)
        before = list(drawings)
        opened.set()
        return before

    assert [1] == await screen.drawn(source(), lambda: drawings.append(1), news)
    assert [screen.BETWEEN_SECONDS] == pauses
    assert screen.BETWEEN_SECONDS >= 0.25


async def test_news_are_drawn_together_and_a_tick_draws_without_news(monkeypatch):
    monkeypatch.setattr(screen, "BETWEEN_SECONDS", 0.02)
    monkeypatch.setattr(screen, "TICK_SECONDS", 0.04)
    news, state, drawings = asyncio.Event(), [0], []
    ticked = asyncio.Event()

    def draw():
        drawings.append(state[0])
        if drawings.count(3) > 1:
            ticked.set()

    async def source():
        for number in (1, 2, 3):  # all within one turn: one drawing
            state[0] = number
            news.set()
        await ticked.wait()
        return "ended"

    assert "ended" == await screen.drawn(source(), draw, news)
    assert {3} == set(drawings)


def test_what_was_said_and_is_gone_is_said_again_when_it_comes_back(ganger):
    said = plain.Lines()
    found = {"digits": job()}

    assert 1 == len(said.fleet(found, at(0)))
    assert [] == said.fleet(found, at(1))
    assert ["2026-01-01T12:00:02Z team/digits deleted"] == said.fleet({}, at(2))
    assert [] == said.fleet({}, at(3))
    assert 1 == len(said.fleet(found, at(4)))
