"""A reasoner that asks again: the one owner of retries.

Rules upheld here: only what may pass (`ReasonerUnavailable`) is tried again, and an answer of no use is not; waits
double and are spread, so that a thousand callers do not come back in one moment; a server that names a time is not
asked before it, and one that names a long time not at all; what failed calls took goes with what comes of it, an answer
of no use too.

Not here: a clock, which is not needed; what becomes of a decision without an answer (`kernel.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall
from jurat.agents.reasoner_spending import NOTHING, call_of, spent_by, together, with_before
from jurat.schemas.errors import ProposalInvalid, ReasonerUnavailable

MAX_TRIES: Final = 3
"""What helps against a busy server mostly helps at the second try; the next event of the key waits meanwhile."""

FIRST_WAIT_S: Final = 0.5
MAX_WAIT_S: Final = 20.0
"""Longer than that the decision rather goes to its fallback."""


class Retrying:
    """Asks `reasoner` up to `MAX_TRIES` times.

    Args:
        reasoner: who is asked.
        sleep: waits for so many seconds.
        draw: a number of [0, 1), anew each time.
    """

    def __init__(
        self, reasoner: Reasoner, *, sleep: Callable[[float], Awaitable[None]], draw: Callable[[], float]
    ) -> None:
        self._reasoner, self._sleep, self._draw = reasoner, sleep, draw

    @property
    def name(self) -> str:
        """The name of who is asked."""
        return self._reasoner.name

    @property
    def deterministic(self) -> bool:
        """As who is asked."""
        return self._reasoner.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask until there is an answer, or enough was tried.

        Raises:
            ReasonerUnavailable: the last failure, with what all tries took as `spent`.
            ProposalInvalid: an answer of no use, with what the tries before took added to its own.
        """
        before, tried = NOTHING, 0
        while True:
            tried += 1
            try:
                answer = await self._reasoner.propose(request)
            except ReasonerUnavailable as error:
                before = together(before, spent_by(error))
                told = error.details.get("retry_after_s")
                told_s = told if isinstance(told, int) else 0
                if tried >= MAX_TRIES or told_s > MAX_WAIT_S:
                    details = {**error.details, "spent": before}
                    # Of its own class: a limit of ours is no failure of who is asked.
                    raise type(error)(f"{error}; tried {tried} times", **details) from error
                await self._sleep(told_s + self._spread_s(tried))
            except ProposalInvalid as error:
                if not before.calls:
                    raise
                call, spent = call_of(error), together(before, spent_by(error))
                paid = {"call": replace(call, spent=spent)} if call else {"spent": spent}
                raise ProposalInvalid(str(error), **{**error.details, **paid}) from error
            else:
                return answer if answer is None else with_before(answer, before)

    def _spread_s(self, tried: int) -> float:
        backoff: float = FIRST_WAIT_S * 2 ** (tried - 1) * (0.5 + self._draw() / 2)
        return backoff
