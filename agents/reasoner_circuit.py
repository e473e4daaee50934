"""A reasoner that is not asked while it is down.

Rules upheld here: the states stand in a table; a failure is `ReasonerUnavailable` alone, as an answer of no use comes
from a server that is up; while open nothing is sent, so nothing is spent; one question at a time tries whether it is up
again, and one that is cancelled, or that a limit or a journal of ours stops, says nothing about that. State is of one
process: a restart asks anew.

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
        probes = self._enter()
        try:
            answer = await self._reasoner.propose(request)
        except ReasonerUnavailable as error:
            if not isinstance(error, LimitReached):
                self._failed()
            elif probes:
                self._open()
            raise
        except ProposalInvalid:
            self._answered()
            raise
        except BaseException:  # a cancel, a journal that was not written: nothing is known of who is asked
            if probes:
                self._open()
            raise
        self._answered()
        return answer

    def _enter(self) -> bool:
        """Let a question through, or refuse it; tell whether it probes."""
        if self._state is State.CLOSED:
            return False
        if self._state is State.PROBING or self._clock() - self._opened_at_s < OPEN_S:
            raise ReasonerUnavailable(
                f"{self.name} failed {MAX_FAILURES} times in a row and is not asked for a while"
            )
        self._state = State.PROBING
        return True

    def _answered(self) -> None:
        self._state, self._failures = State.CLOSED, 0

    def _failed(self) -> None:
        self._failures += 1
        if self._state is not State.CLOSED or self._failures >= MAX_FAILURES:
            self._open()

    def _open(self) -> None:
        self._state, self._opened_at_s = State.OPEN, self._clock()
