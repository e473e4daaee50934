"""When a thousand answers come at once, the event loop goes on turning, and who waited longest goes on first."""

from __future__ import annotations

import asyncio
import time

import pytest

from jurat.streams.turns import AT_ONCE, SLICE_S, InTurns, Turns

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


class Answering:
    """Answers after so many turns of the event loop."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    async def propose(self, *_asked: object, **_where: object) -> str:
        return await self._answer("a proposal")

    async def use(self, *_asked: object, **_where: object) -> str:
        return await self._answer("a result")

    async def _answer(self, said: str) -> str:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        return said


class Watched(Turns):
    """Counts who took a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    async def mine(self) -> None:
        self.taken += 1
        await super().mine()


WHERE = {"where": None, "decision_id": "dec_1", "attempt": 0, "ask": 0}


@pytest.mark.parametrize(("turns", "taken"), [(0, 0), (3, 2)])
async def test_an_answer_that_was_waited_for_goes_on_in_its_turn(turns: int, taken: int) -> None:
    watched = Watched()
    calls = InTurns(Answering(turns), watched)  # type: ignore[arg-type]
    assert await calls.propose(None, None, **WHERE) == "a proposal"  # type: ignore[arg-type]
    assert await calls.use(None, **WHERE) == "a result"  # type: ignore[arg-type]
    assert watched.taken == taken


async def test_what_is_cancelled_takes_no_turn() -> None:
    watched = Watched()
    calls = InTurns(Answering(1_000), watched)  # type: ignore[arg-type]
    using = asyncio.create_task(calls.use(None, **WHERE))  # type: ignore[arg-type]
    for _ in range(5):
        await asyncio.sleep(0)
    using.cancel()
    await asyncio.gather(using, return_exceptions=True)
    assert (using.cancelled(), watched.taken) == (True, 0)


async def _after(turns: Turns, work_s: float) -> None:
    await turns.mine()
    time.sleep(work_s)  # noqa: ASYNC251 - it is work
