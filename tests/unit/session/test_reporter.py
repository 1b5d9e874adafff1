"""What a session tells the operator over real TLS, and that whatever goes wrong costs it nothing."""

import pytest

from ganger_session.reporter import BACKOFF_MAX, INTERVAL_MAX, INTERVAL_MIN, Reporter
from operator_end import OperatorEnd, authority


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path, answer={"nextReportSeconds": 40.0}).start()
    yield end
    end.stop()


@pytest.fixture
def reporter(operator, tmp_path):
    url = f"https://127.0.0.1:{operator.port}/v1/sessions/uid-s/report"
    return Reporter(url, operator.token, operator.authority, lambda: 100.9, 3600)


def test_it_tells_when_something_was_last_done_and_comes_again_when_it_is_told_to(operator, reporter):
    assert 40.0 == reporter.report()

    assert [{"lastActivityTime": "1970-01-01T00:01:40Z", "idleSeconds": 3600}] == operator.reports
    assert (["Bearer secret-1"], ["/v1/sessions/uid-s/report"]) == (operator.tokens, operator.paths)


def test_a_token_that_the_kubelet_renewed_is_used(operator, reporter):
    reporter.report()
    operator.token.write_text("secret-2\n")
    reporter.report()

    assert ["Bearer secret-1", "Bearer secret-2"] == operator.tokens


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(0, INTERVAL_MIN), (1e9, INTERVAL_MAX), ("soon", 30.0), (True, 30.0), (None, 30.0)],
)
def test_an_answer_asks_for_no_more_than_is_sensible(operator, reporter, answer, seconds):
    operator.answer = {"nextReportSeconds": answer}

    assert seconds == reporter.report()


def test_whatever_goes_wrong_is_said_once_and_tried_again_less_and_less_often(operator, reporter, capsys):
    operator.status = 503
    waits = [reporter.report() for _ in range(12)]

    assert all(0.75 * min(2.0**count, BACKOFF_MAX) <= wait for count, wait in enumerate(waits, 1))
    assert BACKOFF_MAX >= max(waits)
    assert 1 == capsys.readouterr().out.count("no report to the operator: 127.0.0.1 answered 503; the session goes on")
    operator.status = 200
    assert 40.0 == reporter.report()
    operator.status = 403
    assert 2.0 >= reporter.report()


@pytest.mark.parametrize("raw", [b"", b"no", b"[]", b"1"])
def test_an_answer_that_means_nothing_raises_nothing(operator, reporter, raw):
    operator.raw = raw

    assert 0 < reporter.report() <= 30.0


def test_an_operator_of_another_authority_is_told_nothing(operator, reporter, tmp_path):
    other, _ = authority(tmp_path, "other")
    other.replace(operator.authority)
    reporter.report()

    assert [] == operator.reports


def test_a_pod_without_token_or_authority_goes_on(tmp_path, capsys):
    url = "https://127.0.0.1:1/v1/sessions/uid-s/report"
    Reporter(url, tmp_path / "token", tmp_path / "ca.crt", lambda: 0.0, 60).report()

    assert "no report to the operator" in capsys.readouterr().out
