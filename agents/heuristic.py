"""The heuristic reasoner: scores the agent's candidates and explains itself by its strongest signals.

A signal that serves a goal of the bundle's objectives counts as that goal weighs: its points as they are where all
goals weigh the same, twice as many where the goal weighs twice that. A goal that the objectives do not name weighs
nothing. A signal that serves no goal counts as is, and so does every signal where there are no objectives.

It is not reasoning and cannot read free text; every record it made names it. It needs no model, no key and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jurat.agents.agent import Candidate
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.policies.objectives import Objectives

TOP_SIGNALS = 3
"""Signals named in a rationale: more than three is a list, not an explanation."""

WHOLE = 100
"""The factor, in percent, of a goal that weighs as much as the average."""

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
        factors = _factors(request.objectives)
        scores = [sum(_weighed(candidate, factors)) for candidate in candidates]
        ranked = sorted(range(len(candidates)), key=lambda number: -scores[number])
        first, best = ranked[0], candidates[ranked[0]]
        margin = scores[first] - scores[ranked[1]] if len(ranked) > 1 else FULL_MARGIN
        return Proposal(
            action=best.action,
            rationale=_explain(best, _weighed(best, factors)),
            confidence=50 + min(margin, FULL_MARGIN) * 50 // FULL_MARGIN,
            alternatives=tuple([candidates[number].action.action_name for number in ranked[1:]]),
        )


def _factors(objectives: Objectives | None) -> Mapping[str, int] | None:
    """What a signal's points are multiplied by, in percent, for each goal; None where nothing says so."""
    if objectives is None:
        return None
    goals = len(objectives.weights)
    return {goal: weight * goals for goal, weight in objectives.weights.items()}


def _weighed(candidate: Candidate, factors: Mapping[str, int] | None) -> list[int]:
    """The points that each signal counts."""
    if factors is None:
        return [signal.points for signal in candidate.signals]
    return [
        signal.points * factors.get(signal.serves, 0) // WHOLE if signal.serves else signal.points
        for signal in candidate.signals
    ]


def _explain(candidate: Candidate, points: Sequence[int]) -> str:
    named = [signal.name for signal in candidate.signals]
    strongest = sorted(zip(named, points, strict=True), key=lambda one: -abs(one[1]))[:TOP_SIGNALS]
    told = ", ".join(f"{name} {counted:+d}" for name, counted in strongest if counted)
    return f"{candidate.action.title}: {sum(points)} points ({told or 'no signal'})"
