"""When a thousand answers come at once, the event loop goes on turning, and who waited longest goes on first."""

from __future__ import annotations

import asyncio
import time

from jurat.streams.turns import AT_ONCE, SLICE_S, Turns

WORK_S = 0.002


async def test_one_that_comes_alone_waits_for_nothing() -> None:
    turns = Turns()
    coroutine = turns.mine()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


async def test_many_go_on_in_order_and_the_loop_turns_in_between() -> None:
    turns, order, most = Turns(), [], 0
    answered = asyncio.Event()

    async def decision(number: int) -> None:
        await answered.wait()
        await turns.mine()
        time.sleep(WORK_S)  # noqa: ASYNC251 - it is work
        order.append(number)

    tasks = [asyncio.create_task(decision(number)) for number in range(200)]
    await asyncio.sleep(0)
    answered.set()
    while len(order) < len(tasks):
        before = len(order)
        await asyncio.sleep(0)
        most = max(most, len(order) - before)
    await asyncio.gather(*tasks)
    assert order == sorted(order)
    # Those that fit into a turn's slice, and those that waited.
    assert most <= SLICE_S / WORK_S + AT_ONCE + 1


async def test_one_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    turns = Turns()
    first = asyncio.create_task(_after(turns, SLICE_S * 2))
    waiting = [asyncio.create_task(_after(turns, 0.0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(first, *waiting[1:])
    assert waiting[0].cancelled()


async def _after(turns: Turns, work_s: float) -> None:
    await turns.mine()
    time.sleep(work_s)  # noqa: ASYNC251 - it is work
