"""The reasoner that proposes exactly what the event asks for: judgement without judgement calls."""

from __future__ import annotations

from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.errors import ConfigurationError


class RequestedReasoner:
    """Proposes the requested action once; a refusal is final."""

    @property
    def name(self) -> str:
        """`requested`."""
        return "requested"

    @property
    def deterministic(self) -> bool:
        """True: the event says it all."""
        return True

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        """Propose what the event asks for.

        Raises:
            ConfigurationError: the agent's events do not ask for actions.
            InputRejected: the event asks for something malformed.
        """
        if request.agent.requested is None:
            raise ConfigurationError(
                f"agent {request.agent.name} cannot use the reasoner `requested`: its events do not ask for actions;"
                " use `heuristic`"
            )
        if request.refused:
            return None
        action = request.agent.requested(request.situation)
        return Proposal(action=action, rationale=f"{action.title}, as requested")
