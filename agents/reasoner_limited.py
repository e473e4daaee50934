"""A reasoner that is asked only while that stays within limits.

Rules upheld here: what a request may take at most is set aside before it is sent and settled when it is known what it
took; where the server does not say, the most counts; a request that was sent counts as one, whatever came of it. Over a
limit nothing is sent and `LimitReached` says when the next minute or day begins: whoever tries again waits for it if
that is soon, else the next reasoner is asked.

Not here: keeping what was spent (`jurat.streams.spending`), what a request takes at most (who sends it knows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from jurat.agents.model_limits import Limit
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, Spent, ToolCall
from jurat.agents.reasoner_spending import spent_by
from jurat.schemas.errors import ConfigurationError, ReasonerError


class Priced(Reasoner, Protocol):
    """A reasoner that sends at most one request for a question, and knows beforehand what it takes at most."""

    def at_most(self, request: ProposalRequest) -> Spent | None:
        """What asking takes at most; None where nothing would be sent.

        Raises:
            ProposalInvalid: this cannot be asked.
        """
        ...


class Limited:
    """Asks `reasoner` while that stays within limits.

    Args:
        reasoner: who is asked.
        limits: on what all workers of an agent spend together.
    """

    def __init__(self, reasoner: Priced, limits: Sequence[Limit]) -> None:
        self._reasoner, self._limits = reasoner, tuple(limits)

    @property
    def name(self) -> str:
        """The name of who is asked."""
        return self._reasoner.name

    @property
    def deterministic(self) -> bool:
        """As who is asked."""
        return self._reasoner.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask, if no limit is in the way.

        Raises:
            LimitReached: one is; nothing was sent.
        """
        most = self._reasoner.at_most(request)
        if most is None:
            return await self._reasoner.propose(request)
        settle = await request.purse.reserve(most, self._limits)
        try:
            answer = await self._reasoner.propose(request)
        except (ReasonerError, ConfigurationError) as error:  # a wrong key uses up nothing but requests
            settle(_taken(most, spent_by(error)))
            raise
        if answer is not None and answer.call is not None:
            settle(_taken(most, answer.call.spent))
        return answer


def _taken(most: Spent, said: Spent) -> Spent:
    """What counts as taken, by what the server said."""
    if said.calls and not said.input_tokens:
        return most  # no prompt has no token: it did not say
    cost = said.cost_micros if said.calls else 0
    return replace(said, calls=1, cost_micros=cost, currency=most.currency)
