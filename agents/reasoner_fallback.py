"""A reasoner that asks the next where one fails: a model, a cheaper one, a rule of thumb.

Rules upheld here: who answered stands in the proposal; what the failed ones took goes with it; a wrong setting
(`ConfigurationError`) is not papered over. Not here: trying one again (`reasoner_retrying.py`).
"""

from __future__ import annotations

from dataclasses import replace

from jurat.agents.reasoner import ModelCall, Proposal, ProposalRequest, Reasoner, Spent, ToolCall
from jurat.agents.reasoner_spending import (
    NOTHING,
    call_of,
    nothing_proposed,
    spent_by,
    together,
    with_before,
    with_spent,
)
from jurat.schemas.errors import ConfigurationError, ReasonerError


class Fallback:
    """Asks each in turn until one answers.

    Args:
        reasoners: who is asked, the best first; at least one.

    Raises:
        ConfigurationError: there is none.
    """

    def __init__(self, *reasoners: Reasoner) -> None:
        if not reasoners:
            raise ConfigurationError("got no reasoner to fall back from, expected at least one")
        self._reasoners = reasoners

    @property
    def name(self) -> str:
        """The name of the first; a proposal of another names it."""
        return self._reasoners[0].name

    @property
    def deterministic(self) -> bool:
        """Whether all are: which one answers is for the network to say."""
        return all(one.deterministic for one in self._reasoners)

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask until somebody answers.

        Raises:
            ReasonerError: that of the last, with what all took as `spent`; `ProposalInvalid` where one has nothing to
                propose and calls before it took something.
        """
        before: Spent = NOTHING
        failed: ModelCall | None = None
        *_others, last = self._reasoners
        for one in self._reasoners:
            try:
                answer = await one.propose(request)
            except ReasonerError as error:
                before, failed = together(before, spent_by(error)), call_of(error) or failed
                if one is last:
                    raise with_spent(error, before) from error
                continue
            if answer is None:
                if (nothing := nothing_proposed(one.name, before, failed)) is not None:
                    raise nothing
                return None
            told = with_before(answer, before, failed)
            if isinstance(told, Proposal) and one is not self._reasoners[0]:
                return replace(told, reasoner=told.reasoner or one.name)
            return told
        return None
