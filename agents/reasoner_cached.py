"""A reasoner that gives the answer again which it gave to the same question a short while ago.

Rules upheld here: the same question is the same agent, event, documents, state, memory, objectives, refusals and tools
(`request_digest`), and the same form of the answer, which holds what the policies leave: other policies are another
question. The moment is no part of it, so answers are kept for `MAX_AGE_S` alone. A model would not always say the same;
who caches it takes one of its answers for all. So it is for questions that really repeat, such as a simulation that is
run again; a worker's events hardly ever do, and no setting puts one here. What an answer took is told once. It is kept
in memory; failures, and "nothing", are not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from jurat.agents.model_prompt import answer_schema
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, request_digest
from jurat.agents.reasoner_spending import NOTHING
from jurat.schemas import canonical

MAX_ANSWERS: Final = 1_000
"""Answers kept, those asked for longest ago leave first: some 2 MB."""

MAX_AGE_S: Final = 300.0
"""How long an answer is kept: prompts say what time it is, and what follows from that changes by the hour."""


class Cached:
    """Asks `reasoner` what it was not asked before.

    Args:
        reasoner: who is asked.
        clock: seconds that only go up.
    """

    def __init__(self, reasoner: Reasoner, *, clock: Callable[[], float]) -> None:
        self._reasoner, self._clock = reasoner, clock
        self._known: OrderedDict[str, tuple[float, Proposal | ToolCall]] = OrderedDict()

    @property
    def name(self) -> str:
        """The name of who is asked."""
        return self._reasoner.name

    @property
    def deterministic(self) -> bool:
        """As who is asked: what is kept is soon forgotten."""
        return self._reasoner.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Answer as before, or ask.

        Raises:
            ReasonerError: that of who is asked.
        """
        asked = canonical.digest({"form": answer_schema(request), "request": request_digest(request)})
        at, known = self._known.get(asked, (0.0, None))
        if known is not None and self._clock() - at < MAX_AGE_S:
            self._known.move_to_end(asked)
            call = None if known.call is None else replace(known.call, spent=NOTHING)
            return replace(known, call=call, wasted=None)
        answer = await self._reasoner.propose(request)
        if answer is not None:
            self._known[asked] = self._clock(), answer
            self._known.move_to_end(asked)
            if len(self._known) > MAX_ANSWERS:
                self._known.popitem(last=False)
        return answer
