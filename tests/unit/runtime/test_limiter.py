import asyncio

import pytest

from ganger.runtime.limiter import Limiter


async def test_no_more_than_its_slots_are_ever_taken():
    limiter, most = Limiter(3), [0]

    async def write(key):
        async with limiter.slot(key):
            most[0] = max(most[0], limiter.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(write(n % 5) for n in range(50)))

    assert (3, 0) == (most[0], limiter.in_flight)


async def test_a_small_key_does_not_wait_for_all_of_a_big_one():
    limiter, order = Limiter(1), []

    async def write(key):
        async with limiter.slot(key):
            await asyncio.sleep(0)
            order.append(key)

    await asyncio.gather(*(write("big") for _ in range(100)), write("small"))

    assert order.index("small") <= 3


async def test_a_cancelled_writer_gives_its_turn_away():
    limiter = Limiter(1)

    async def write(key):
        async with limiter.slot(key):
            await asyncio.sleep(0.01)

    first, second, third = (asyncio.create_task(write(key)) for key in "abc")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait_for(asyncio.gather(first, third), 1)

    assert limiter.in_flight == 0


async def test_a_writer_cancelled_as_its_turn_comes_gives_it_away():
    limiter, hold = Limiter(1), asyncio.Event()

    async def write(key, until=None):
        async with limiter.slot(key):
            if until:
                await until.wait()

    first = asyncio.create_task(write("a", hold))
    await asyncio.sleep(0)
    second = asyncio.create_task(write("b"))
    await asyncio.sleep(0)
    hold.set()
    await first  # its end hands the slot to the second
    second.cancel()
    await asyncio.wait({second})

    await asyncio.wait_for(write("c"), 1)
    assert limiter.in_flight == 0


def test_a_limiter_without_slots_is_a_mistake():
    with pytest.raises(AssertionError):
        Limiter(0)
