import asyncio
import io
import json
import logging

import pytest

from ganger.kube import access
from ganger.kube.access import Access, FileToken
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS
from ganger.observe import logs
from unit.kube.scripted import answering, page, scripted

SECRET = "eyJhbGciOi-very-secret"


@pytest.fixture
def stream():
    """Everything that the process logs at DEBUG, as the operator would write it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def one(stream):
    (line,) = lines(stream)
    return line


def test_a_line_has_time_level_logger_and_message(stream):
    logging.getLogger("ganger.x").warning("%d of %d", 1, 2)
    line = one(stream)

    assert ("warning", "ganger.x", "1 of 2") == (line["level"], line["logger"], line["msg"])
    assert line["time"].endswith("Z")
    assert len("2026-01-01T00:00:00.000Z") == len(line["time"])


def test_a_message_of_several_lines_is_one_line(stream):
    logging.getLogger("x").info("one\ntwo\u2028three\r\n")

    assert 1 == stream.getvalue().count("\n")
    assert "one\ntwo\u2028three\r\n" == json.loads(stream.getvalue())["msg"]


def test_a_traceback_is_inside_its_line_and_ends_with_the_cause(stream):
    try:
        raise ValueError("no\nsuch thing")
    except ValueError:
        logging.getLogger("x").exception("failed")
    line = one(stream)

    assert "Traceback" in line["error"]
    assert line["error"].endswith("no\nsuch thing")


def test_a_huge_traceback_keeps_its_end(stream):
    try:
        raise ValueError("x" * 9000 + "the end")
    except ValueError:
        logging.getLogger("x").exception("y" * 9000)
    line = one(stream)

    assert logs.MESSAGE_CHARS_MAX == len(line["error"]) == len(line["msg"])
    assert line["error"].endswith("the end")


async def test_every_line_of_a_task_carries_what_it_is_about(stream):
    async def work():
        logging.getLogger("x").info("inside", extra={"pod": "digits-0-0"})

    with logs.about(job="digits", attempt=1):
        await asyncio.create_task(work())
    logging.getLogger("x").info("outside")
    inside, outside = lines(stream)

    assert ("digits", 1, "digits-0-0") == (inside["job"], inside["attempt"], inside["pod"])
    assert "job" not in outside


def test_inner_subjects_add_to_outer_ones(stream):
    with logs.about(job="digits"), logs.about(attempt=2):
        logging.getLogger("x").info("both")
    line = one(stream)

    assert ("digits", 2) == (line["job"], line["attempt"])


def test_a_field_never_takes_the_place_of_what_every_line_has(stream):
    with logs.about(level="none", logger="none"):
        logging.getLogger("x").info("m", extra={"time": "never"})
    line = one(stream)

    assert ("info", "x") == (line["level"], line["logger"])
    assert "never" != line["time"]


class Mute:
    def __str__(self):
        raise RuntimeError("I have no words")

    __repr__ = object.__repr__


@pytest.mark.parametrize("strange", ["\udcff", {"deep": Mute()}, Mute()])
def test_what_json_cannot_hold_is_written_as_text(stream, strange):
    logging.getLogger("x").info("m", extra={"strange": strange})
    line = one(stream)

    assert "m" == line["msg"]
    assert isinstance(line["strange"], str)


def test_an_object_is_written_as_its_text(stream):
    logging.getLogger("x").info("m", extra={"error_class": ValueError("because")})

    assert "because" == one(stream)["error_class"]


def test_a_message_whose_arguments_do_not_fit_is_still_one_line():
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%d jobs", ("many",), None)

    assert "%d jobs" in json.loads(logs.JsonLines().format(record))["msg"]


async def test_no_token_is_logged_by_a_request_at_debug(stream, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    async with scripted() as server:
        server.on("GET", answering(200, page(1)))
        async with HttpCluster(Access(url=server.url, token=FileToken(tmp_path / "token"))) as cluster:
            await cluster.list(PODS)
        assert f"Bearer {SECRET}" == server.requests[0].headers["authorization"]
    logging.getLogger("ganger").debug("the stream takes debug lines")

    assert "debug lines" in stream.getvalue()
    assert SECRET not in stream.getvalue()


async def test_no_token_of_a_kubeconfig_is_logged_at_debug(stream, tmp_path):
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    found = await access.find(str(tmp_path / "config"))

    assert f"Bearer {SECRET}" == await found.token.header()
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("name", ["kubernetes.aio.client.rest", "aiohttp.client", "asyncio"])
def test_debug_lines_of_the_libraries_are_not_written(stream, name):
    logging.getLogger(name).debug("Authorization: Bearer %s", SECRET)

    assert "" == stream.getvalue()


def test_text_form_is_for_people(capsys):
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info", form="text", stream=stream)
    logging.getLogger("x").info("hello")
    root.handlers[:] = before
    root.setLevel(level)

    assert stream.getvalue().endswith(" INFO hello\n")


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("LOUD")
