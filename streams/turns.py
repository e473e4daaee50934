"""Turns of the event loop, shared: when many decisions could go on at once, they go on a few at a time.

A thousand answers may come in one turn of the event loop, and each is followed by milliseconds of judging, recording
and printing. All of them in that turn would keep heartbeats, timers and transactions waiting for seconds, in which more
answers come: the group would give the partitions away, and everything would be asked again.

Rules upheld here: who waits longest goes on first; while nobody waits and the turn is young, nothing is waited for. Not
here: work that never waits (`partition.py` cuts it into slices).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from jurat.agents.kernel import Use
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, ToolResult
from jurat.schemas.decision import InputRef
from jurat.streams.asking import Calls

SLICE_S: Final = 0.01
"""How long a turn may go on: a heartbeat and a transaction take some ten turns each."""

AT_ONCE: Final = 4
"""How many of those that wait go on in a turn: a decision's second half takes about half a millisecond."""


class Turns:
    """Lets as much go on in each turn of the event loop as it can bear."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ends_at = 0.0
        self._called = False

    async def mine(self) -> None:
        """Wait for a turn that has room."""
        loop = asyncio.get_running_loop()
        if not self._called:
            # The first one of this turn: the next turn begins when this call comes about.
            self._called = True
            self._ends_at = loop.time() + SLICE_S
            loop.call_soon(self._next)
        if not self._waiting and loop.time() < self._ends_at:
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        going = 0
        while self._waiting and going < AT_ONCE:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                going += 1
        self._called = bool(self._waiting)
        if self._called:
            asyncio.get_running_loop().call_soon(self._next)


class InTurns:
    """Puts questions to reasoners and tools through somebody else; what waited for an answer goes on in its turn.

    Args:
        calls: who puts them.
        turns: the worker's.
    """

    def __init__(self, calls: Calls, turns: Turns) -> None:
        self._calls = calls
        self._turns = turns

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,
        decision_id: str,
        attempt: int,
        ask: int,
    ) -> Proposal | ToolCall | None:
        """Ask the reasoner.

        Raises:
            ReasonerError: as the reasoner does.
        """
        async with self._in_turn():
            return await self._calls.propose(
                reasoner, request, where=where, decision_id=decision_id, attempt=attempt, ask=ask
            )

    async def use(self, use: Use, *, where: InputRef, decision_id: str, attempt: int, ask: int) -> ToolResult:
        """Use a tool."""
        async with self._in_turn():
            return await self._calls.use(use, where=where, decision_id=decision_id, attempt=attempt, ask=ask)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """What waits inside goes on in its turn."""
        waited: list[None] = []
        watch = asyncio.get_running_loop().call_soon(waited.append, None)
        try:
            yield
        except asyncio.CancelledError:
            waited.clear()  # nothing goes on
            raise
        finally:
            watch.cancel()
            if waited:
                await self._turns.mine()
