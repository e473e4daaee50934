"""A reasoner that is not asked while it is down.

Rules upheld here: the states stand in a table; a failure is `ReasonerUnavailable` alone, as an answer of no use comes
from a server that is up; while open nothing is sent, so nothing is spent; one question at a time tries whether it is up
again, and one that is cancelled, or that a limit or a journal of ours stops, says nothing about that; nor does one that
was asked before it opened and ends later. State is of one process: a restart asks anew.

==========  ====================  =====================================================
state       what comes            then
==========  ====================  =====================================================
closed      an answer             closed, no failure counted
closed      a failure             closed; open after `MAX_FAILURES` in a row
closed      a cancel, a limit,    closed, as many failures counted as before
            another error
open        a question            refused; probing where `OPEN_S` have passed
probing     a question            refused, but for the one that probes
probing     an answer             closed
probing     a failure, a cancel,  open, from now
            a limit, another
            error
==========  ====================  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall
from jurat.schemas.errors import LimitReached, ProposalInvalid, ReasonerUnavailable

MAX_FAILURES: Final = 5
"""Failures in a row, each after its retries: fifteen requests that went wrong are no accident."""

OPEN_S: Final = 30.0
"""What a server takes to come back, and what a decision can wait for the next."""


class State(Enum):
    """Whether questions go through."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class CircuitBroken:
    """Asks `reasoner` while it answers.

    Args:
        reasoner: who is asked.
        clock: seconds that only go up.
    """

    def __init__(self, reasoner: Reasoner, *, clock: Callable[[], float]) -> None:
        self._reasoner, self._clock = reasoner, clock
        self._state, self._failures, self._opened_at_s = State.CLOSED, 0, 0.0
        self._turn = 0

    @property
    def name(self) -> str:
        """The name of who is asked."""
        return self._reasoner.name

    @property
    def deterministic(self) -> bool:
        """As who is asked."""
        return self._reasoner.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask, unless it is down.

        Raises:
            ReasonerUnavailable: it is, or it failed.
        """
        turn = self._enter()
        try:
            answer = await self._reasoner.propose(request)
        except LimitReached:
            self._told_nothing(turn)
            raise
        except ReasonerUnavailable:
            self._failed(turn)
            raise
        except ProposalInvalid:
            self._answered(turn)
            raise
        except BaseException:  # a cancel, a journal that was not written: nothing is known of who is asked
            self._told_nothing(turn)
            raise
        self._answered(turn)
        return answer

    def _enter(self) -> int:
        """Let a question through, or refuse it; what comes of it counts while its turn lasts."""
        if self._state is not State.CLOSED:
            if self._state is State.PROBING or self._clock() - self._opened_at_s < OPEN_S:
                raise ReasonerUnavailable(
                    f"{self.name} failed {MAX_FAILURES} times in a row and is not asked for a while"
                )
            self._state = State.PROBING
            self._turn += 1
        return self._turn

    def _answered(self, turn: int) -> None:
        if turn == self._turn:
            self._state, self._failures = State.CLOSED, 0

    def _failed(self, turn: int) -> None:
        if turn == self._turn:
            self._failures += 1
            if self._state is State.PROBING or self._failures >= MAX_FAILURES:
                self._open()

    def _told_nothing(self, turn: int) -> None:
        if turn == self._turn and self._state is State.PROBING:
            self._open()

    def _open(self) -> None:
        self._state, self._opened_at_s = State.OPEN, self._clock()
        self._turn += 1
