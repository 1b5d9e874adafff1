import asyncio
import random

import pytest

from ganger.runtime.backoff import delay_after
from ganger.runtime.queue import Queue, QueueClosed


async def drain(queue):
    """Take and finish everything that is due now."""
    found = []
    while len(queue):
        key = await queue.get()
        found.append(key)
        queue.done(key)
    return found


async def test_keys_come_out_in_the_order_they_came_in_and_once():
    queue = Queue()
    for key in "abcab":
        queue.add(key)

    assert ["a", "b", "c"] == await drain(queue)


async def test_a_key_added_while_it_is_processed_gets_exactly_one_more_pass():
    queue = Queue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0

    queue.done("a")

    assert ["a"] == await drain(queue)


async def test_two_workers_never_hold_one_key():
    queue, held, worst = Queue(), {}, [0]

    async def work():
        while True:
            key = await queue.get()
            held[key] = held.get(key, 0) + 1
            worst[0] = max(worst[0], held[key])
            await asyncio.sleep(0)
            held[key] -= 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for n in range(400):
        queue.add(n % 3)
        await asyncio.sleep(0)
    for worker in workers:
        worker.cancel()

    assert worst[0] == 1


async def test_the_earliest_of_several_delays_wins():
    queue, loop = Queue(), asyncio.get_running_loop()
    started = loop.time()
    queue.add("a", after=5.0)
    queue.add("a", after=0.02)
    queue.add("a", after=3.0)

    await queue.get()

    assert 0.015 < loop.time() - started < 0.5


async def test_an_add_at_once_beats_a_delay_and_cancels_it():
    queue = Queue()
    queue.add("a", after=0.02)
    queue.add("a")
    assert ["a"] == await drain(queue)

    await asyncio.sleep(0.04)

    assert len(queue) == 0


async def test_delayed_keys_come_in_the_order_of_their_times():
    queue = Queue()
    queue.add("late", after=0.03)
    queue.add("early", after=0.01)

    assert ["early", "late"] == [await queue.get(), await queue.get()]


async def test_a_delay_that_ends_while_its_key_is_processed_gives_another_pass():
    queue = Queue()
    queue.add("a")
    await queue.get()
    queue.add("a", after=0.01)
    await asyncio.sleep(0.03)
    assert len(queue) == 0

    queue.done("a")

    assert ["a"] == await drain(queue)


async def test_retries_double_from_5_ms_and_forget_starts_anew():
    queue = Queue(rng=random.Random(1))

    delays = [queue.retry("a") for _ in range(4)]
    assert queue.failures("a") == 4
    queue.forget("a")

    for delay, expected in zip(delays, (0.005, 0.01, 0.02, 0.04), strict=True):
        assert 0.8 * expected <= delay <= expected
    assert queue.retry("a") <= 0.005
    assert queue.failures("b") == 0


def test_a_delay_never_exceeds_its_cap():
    assert delay_after(10**6, base=0.005, cap=1000.0) == 1000.0


async def test_a_thousand_delays_of_one_key_leave_no_heap_behind():
    queue = Queue()
    for _ in range(1000):
        queue.add("a", after=3600.0)
        queue.add("a")
        await drain(queue)

    assert len(queue._delayed) < 200


async def test_a_closed_queue_ends_its_takers_and_takes_nothing():
    queue = Queue()
    taker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.close()
    queue.add("a")

    with pytest.raises(QueueClosed):
        await taker
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_a_taker_cancelled_at_its_wake_up_hands_the_key_on():
    queue = Queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.add("a")
    first.cancel()

    assert await asyncio.wait_for(second, 1) == "a"
