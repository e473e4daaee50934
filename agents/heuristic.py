"""The heuristic reasoner: scores the agent's candidates and explains itself by its strongest signals.

It is not reasoning and cannot read free text; every record it made names it. It needs no model, no key and no network.
"""

from __future__ import annotations

from jurat.agents.agent import Candidate
from jurat.agents.reasoner import Proposal, ProposalRequest

TOP_SIGNALS = 3
"""Signals named in a rationale: more than three is a list, not an explanation."""

FULL_MARGIN = 100
"""A lead of this many points over the next candidate counts as certain."""


class HeuristicReasoner:
    """Proposes the best-scored candidate that was not refused yet."""

    @property
    def name(self) -> str:
        """`heuristic`."""
        return "heuristic"

    @property
    def deterministic(self) -> bool:
        """True: the candidates' points say it all."""
        return True

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        """Choose the candidate with the most points; the declaration's order breaks ties."""
        refused = [judged.proposal.action for judged in request.refused]
        candidates = [c for c in request.agent.candidates(request.situation) if c.action not in refused]
        if not candidates:
            return None
        scores = [candidate.score for candidate in candidates]
        ranked = sorted(range(len(candidates)), key=lambda number: -scores[number])
        first, best = ranked[0], candidates[ranked[0]]
        margin = scores[first] - scores[ranked[1]] if len(ranked) > 1 else FULL_MARGIN
        return Proposal(
            action=best.action,
            rationale=_explain(best, scores[first]),
            confidence=50 + min(margin, FULL_MARGIN) * 50 // FULL_MARGIN,
            alternatives=tuple([candidates[number].action.action_name for number in ranked[1:]]),
        )


def _explain(candidate: Candidate, score: int) -> str:
    strongest = sorted(candidate.signals, key=lambda signal: -abs(signal.points))[:TOP_SIGNALS]
    named = ", ".join(f"{signal.name} {signal.points:+d}" for signal in strongest if signal.points)
    return f"{candidate.action.title}: {score} points ({named or 'no signal'})"
