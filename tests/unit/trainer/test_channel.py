"""The channel to the operator over real TLS: what is sent, when it is sent again, and that nothing ever raises."""

import json
import time

import pytest

from ganger.contract import REPORT_BYTES_MAX, REPORT_PHASES, REPORT_SECONDS
from ganger_trainer.channel import BACKOFF_MAX, INTERVAL_MAX, INTERVAL_MIN, Channel
from ganger_trainer.environment import Control
from operator_end import OperatorEnd, authority


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path).start()
    yield end
    end.stop()


class Source:
    """Something to report that a test may change."""

    def __init__(self):
        self.now = "Training"
        self.obeyed, self.orders, self.refusals = [], [], 0

    def phase(self):
        return self.now

    def report(self):
        return {"attempt": 0, "worker": 0, "phase": self.now}

    def order(self, answer):
        self.orders.append(answer)

    def refused(self):
        self.refusals += 1

    def obey(self, directives):
        self.obeyed.append(directives)


class Posts:
    """A channel, its source, its clock and what became of its reports."""

    def __init__(self, control):
        self.source, self.time, self.results = Source(), 0.0, []
        self.channel = Channel(control, self.source, self.results.append, lambda: self.time)

    def tick(self, at):
        self.time = at
        self.channel.tick()
        return self.results

    def waits(self):
        """Seconds until the next report."""
        return self.channel._due - self.time


def control(operator, **changes):
    values = {"url": operator.url, "token": operator.token, "authority": operator.authority} | changes
    return Control(**values)


@pytest.fixture
def posts(operator):
    return Posts(control(operator))


def test_a_report_goes_to_the_jobs_path_with_the_token_and_its_sequence_grows(posts, operator):
    for at in range(3):
        posts.tick(at)

    assert ["ok"] * 3 == posts.results
    assert {"/v1/jobs/uid-1/report"} == set(operator.paths)
    assert {"Bearer secret-1"} == set(operator.tokens)
    assert [1, 2, 3] == [report["sequence"] for report in operator.reports]
    assert 1 == operator.connections


def test_the_token_is_read_again_for_each_report(posts, operator):
    posts.tick(0)
    operator.token.write_text("secret-2\n")
    posts.tick(1)

    assert ["Bearer secret-1", "Bearer secret-2"] == operator.tokens


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (7.5, 7.5), (30, 30), (0, INTERVAL_MIN), (-1, INTERVAL_MIN), (1e9, INTERVAL_MAX), ("soon", REPORT_SECONDS),
        (None, REPORT_SECONDS), (True, REPORT_SECONDS),
    ],
)  # fmt: skip
def test_the_answer_says_when_to_report_again_within_bounds(posts, operator, said, expected):
    operator.answer = {"nextReportSeconds": said}

    posts.tick(0)

    assert expected == posts.waits()


def test_nothing_is_sent_before_its_time_but_a_new_phase_is_after_a_second(posts, operator):
    operator.answer = {"nextReportSeconds": 100}
    posts.tick(0)
    posts.source.now = "Checkpointing"
    posts.tick(0.9)
    assert 1 == len(operator.reports)

    posts.tick(1.0)
    posts.tick(50)
    posts.tick(101)

    assert ["Training", "Checkpointing", "Checkpointing"] == [report["phase"] for report in operator.reports]


def test_nothing_is_sent_while_there_is_no_phase(posts, operator):
    posts.source.now = None

    assert [] == posts.tick(0)
    assert 0 == operator.connections


def test_failures_back_off_to_a_minute_and_a_new_phase_does_not_hurry_them(tmp_path, operator, capsys):
    operator.stop()
    posts = Posts(control(operator))
    waits = []
    for _ in range(9):
        began = posts.channel._due if waits else 0.0
        posts.tick(began)
        waits.append(posts.waits())
        posts.source.now = REPORT_PHASES[len(waits) % 6]
        posts.tick(began + waits[-1] / 2)

    assert ["failed"] * 9 == posts.results
    for number, wait in enumerate(waits):
        least, most = max(1.0, 0.75 * min(BACKOFF_MAX, 2**number)), min(BACKOFF_MAX, 2**number)
        assert least - 1e-9 <= wait <= most + 1e-9, number  # a difference of two floats
    assert len({wait / min(BACKOFF_MAX, 2**number) for number, wait in enumerate(waits)}) > 1, "no jitter"
    assert 1 == capsys.readouterr().out.count("no report to 127.0.0.1")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_worker_that_is_not_welcome_comes_back_after_a_minute(posts, operator, status, capsys):
    operator.status = status

    assert ["refused"] == posts.tick(0)
    assert 0.75 * BACKOFF_MAX <= posts.waits() <= BACKOFF_MAX
    assert f"it answered {status}" in capsys.readouterr().out


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_other_refusals_are_tried_again_soon_on_a_new_connection(posts, operator, status):
    operator.status = status
    posts.tick(0)
    assert 1.0 == posts.waits()
    operator.status = 200
    posts.tick(1)

    assert ["refused", "ok"] == posts.results
    assert 2 == operator.connections, "the next leader is behind a new connection"


def test_a_connection_that_was_closed_while_idle_is_opened_again_at_once(posts, operator):
    operator.hang_up = True
    for at in range(3):
        posts.tick(at)

    assert ["ok"] * 3 == posts.results
    sequences = [report["sequence"] for report in operator.reports]
    assert sorted(set(sequences)) == sequences


def test_one_line_is_said_for_each_kind_of_trouble_and_hour(posts, operator, capsys):
    for at, status in ((0, 503), (100, 503), (200, 429), (3599, 503), (3700, 503)):
        operator.status = status
        posts.tick(at)

    said = capsys.readouterr().out.splitlines()
    assert ["503", "429", "503"] == [line.split("answered ")[1][:3] for line in said]


def test_an_operator_of_another_authority_is_told_nothing(tmp_path, operator):
    other, _ = authority(tmp_path, "other")

    assert ["failed"] == Posts(control(operator, authority=other)).tick(0)
    assert [] == operator.reports


def test_an_operator_under_another_name_is_told_nothing(operator):
    url = operator.url.replace("127.0.0.1", "localhost")

    assert ["failed"] == Posts(control(operator, url=url)).tick(0)
    assert [] == operator.reports


@pytest.mark.parametrize("missing", ["token", "authority"])
def test_a_file_that_is_missing_is_a_failure_and_no_more(tmp_path, operator, missing):
    assert ["failed"] == Posts(control(operator, **{missing: tmp_path / "nowhere"})).tick(0)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"<html>", b"\xff", b'{"nextReportSeconds": NaN}', b"x" * (REPORT_BYTES_MAX + 1)]
)
def test_an_answer_that_means_nothing_is_a_failure_and_no_more(posts, operator, raw):
    operator.raw = raw

    assert ["failed"] == posts.tick(0)
    assert [] == posts.source.obeyed


def test_directives_of_the_answer_are_handed_on(posts, operator):
    operator.directives = [{"id": "x", "kind": "Checkpoint"}]
    posts.tick(0)

    assert [[{"id": "x", "kind": "Checkpoint"}]] == posts.source.obeyed


def test_the_end_sends_one_last_report_and_returns(operator):
    posts = Posts(control(operator))
    posts.source.now = None  # nothing was reported before
    posts.channel.start()
    posts.source.now = "Stopping"
    posts.channel.close(20.0)

    assert ["Stopping"] == [report["phase"] for report in operator.reports][-1:]
    assert json.dumps(operator.reports[-1])
    assert "ok" == posts.results[-1]


def test_a_failure_is_reported_at_once_and_again_as_soon_as_it_was_answered(posts, operator):
    """The operator holds its answer back: a pause between two reports would delay the restart."""
    operator.answer = {"nextReportSeconds": 30.0, "round": 1, "rung": "Process"}
    posts.tick(0)
    posts.source.now = "Failed"

    posts.tick(0.3)
    assert 1 == len(operator.reports), "not before somebody hurries"
    posts.channel.start()
    posts.channel.hurry()
    deadline = time.monotonic() + 10
    while len(operator.reports) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert {1} == {answer["round"] for answer in posts.source.orders}
    posts.channel.close()


def test_whoever_waits_for_an_answer_is_told_that_none_will_come(posts, operator):
    operator.status = 403
    posts.tick(0)
    assert 1 == posts.source.refusals

    operator.status = 503
    times = [posts.time + 100 * number for number in range(1, 4)]
    for at in times[:1]:
        posts.tick(at)
    assert 1 == posts.source.refusals, "it may be a change of leader"
    for at in times[1:]:
        posts.tick(at)
    assert 2 <= posts.source.refusals
