"""A reasoner whose answer stands where it is sure, and gives way to a dearer one where it is not.

Rules upheld here: sure is a proposal with at least so much confidence; what is no proposal of that kind, or a failure,
goes on to the dearer one; where that fails, an unsure proposal is better than none. The heuristic reasoner's confidence
is 50 for a tie and 100 for a wide margin; a model's is what it says of itself. What both took goes with the answer.

Not here: failures alone (`reasoner_fallback.py`).
"""

from __future__ import annotations

from dataclasses import replace

from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall
from jurat.agents.reasoner_spending import (
    NOTHING,
    call_of,
    nothing_proposed,
    spent_by,
    together,
    wasted_before,
    with_before,
    with_spent,
)
from jurat.schemas.errors import ReasonerError


class Tiered:
    """Asks `cheap` first, and `dear` where that is not sure.

    Args:
        cheap: who is asked first.
        least: the confidence, 0 to 100, with which its proposal stands.
        dear: who is asked otherwise.
    """

    def __init__(self, cheap: Reasoner, *, least: int, dear: Reasoner) -> None:
        self._cheap, self._least, self._dear = cheap, least, dear

    @property
    def name(self) -> str:
        """The name of the dear one; a proposal of the cheap one names that."""
        return self._dear.name

    @property
    def deterministic(self) -> bool:
        """Whether both are: who answers follows from what the cheap one says."""
        return self._cheap.deterministic and self._dear.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Ask, and ask further where the answer is not sure.

        Raises:
            ReasonerError: that of the dear one, with what both took as `spent`, where the cheap one proposed nothing;
                `ProposalInvalid` where the cheap one failed and the dear one has nothing to propose.
        """
        first: Proposal | None = None
        before, failed = NOTHING, None
        try:
            answer = await self._cheap.propose(request)
        except ReasonerError as error:
            before, failed = spent_by(error), call_of(error)
        else:
            if isinstance(answer, ToolCall):
                return answer
            if answer is not None:
                first = replace(answer, reasoner=answer.reasoner or self._cheap.name)
                if (answer.confidence or 0) >= self._least:
                    return first
                before, failed = (answer.call.spent, answer.call) if answer.call else (NOTHING, None)
                before = together(before, wasted_before(answer))
        try:
            further = await self._dear.propose(request)
        except ReasonerError as error:
            if first is None:
                raise with_spent(error, together(before, spent_by(error))) from error
            return with_before(first, spent_by(error), call_of(error))
        if further is None:
            if first is None and (nothing := nothing_proposed(self._dear.name, before, failed)) is not None:
                raise nothing
            return first
        return with_before(further, before, failed)
