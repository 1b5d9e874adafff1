"""Questions about nodes beside the passes."""

import asyncio

import pytest

from ganger.api.observed import Condition, Node, NodeStatus
from ganger.app.inquiries import Inquiries
from ganger.app.memory import JobMemory
from ganger.plan.inquiry import HOLD_SECONDS, Answer, Question

KEY = ("team", "digits")
NOW = 7.0
FIRST, SECOND = Question(node="a", restart=1), Question(node="b", restart=2)


def node(ready):
    return Node(status=NodeStatus(conditions=(Condition(type="Ready", status=ready),)))


class Reader:
    """Answers when the test says so."""

    def __init__(self):
        self.asked = []
        self.answers: dict[str, asyncio.Future] = {}
        self.closed = False

    async def read(self, name):
        self.asked.append(name)
        return await self.answers.setdefault(name, asyncio.get_running_loop().create_future())

    def close(self):
        self.closed = True

    async def answer(self, name, found):
        self.answers[name].set_result(found)
        await settle()


async def settle():
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def woken():
    return []


@pytest.fixture
def inquiries(reader, woken):
    return Inquiries(reader, woken.append, lambda: NOW)


async def test_answer_wakes_the_job(inquiries, reader, woken):
    memory = JobMemory()
    inquiries.ask(KEY, FIRST, memory)
    await settle()
    before = (memory.answer, memory.asks(NOW), list(woken))
    await reader.answer("a", node("False"))

    assert (None, True, []) == before
    assert (Answer(question=FIRST, node=node("False")), False, [KEY]) == (memory.answer, memory.asks(NOW), woken)


async def test_job_waits_no_longer_where_no_answer_is_to_be_had(inquiries, reader, woken):
    memory = JobMemory()
    inquiries.ask(KEY, FIRST, memory)
    await settle()
    await reader.answer("a", None)

    assert (None, False, [KEY]) == (memory.answer, memory.asks(NOW), woken)


async def test_job_waits_for_an_answer_for_a_bounded_time(inquiries):
    memory = JobMemory()
    inquiries.ask(KEY, FIRST, memory)

    assert [True, True, False] == [memory.asks(NOW + wait) for wait in (0, 0.9 * HOLD_SECONDS, 1.1 * HOLD_SECONDS)]


async def test_reader_that_fails_leaves_nobody_waiting(inquiries, reader, woken):
    memory = JobMemory()
    inquiries.ask(KEY, FIRST, memory)
    await settle()
    reader.answers["a"].set_exception(RuntimeError("a fault of ours"))
    await settle()

    assert (None, False, [KEY]) == (memory.answer, memory.asks(NOW), woken)


async def test_question_is_asked_once(inquiries, reader):
    memory = JobMemory()
    for _ in range(3):
        inquiries.ask(KEY, FIRST, memory)
        await settle()
    await reader.answer("a", None)
    inquiries.ask(KEY, FIRST, memory)
    await settle()

    assert ["a"] == reader.asked


async def test_answer_to_a_question_that_a_later_failure_replaced_is_dropped(inquiries, reader, woken):
    memory = JobMemory()
    for question in (FIRST, SECOND):
        inquiries.ask(KEY, question, memory)
        await settle()
    await reader.answer("a", node("False"))
    too_late = (memory.answer, list(woken))
    await reader.answer("b", node("Unknown"))

    assert (None, []) == too_late
    assert Answer(question=SECOND, node=node("Unknown")) == memory.answer


async def test_process_that_leads_no_more_reads_no_more_and_asks_again_if_it_leads(inquiries, reader, woken):
    memory = JobMemory()
    inquiries.ask(KEY, FIRST, memory)
    await settle()
    inquiries.close()
    await settle()
    left = memory.asks(NOW)
    reader.answers.clear()
    inquiries.ask(KEY, FIRST, memory)
    await settle()

    assert (False, True, ["a", "a"]) == (left, reader.closed, reader.asked)
