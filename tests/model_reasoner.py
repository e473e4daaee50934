"""A reasoner for tests that asks a model server over HTTP, and pays for every call.

It is not deterministic, so its calls belong in the journal. It sends each call's id as `Idempotency-Key`.
"""

from __future__ import annotations

import os

import httpx
from pydantic import ValidationError

from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.errors import ProposalInvalid, ReasonerUnavailable

WITHIN_S = 5.0


class ModelReasoner:
    """Asks the server at `url` for one action."""

    name = "test-model"
    deterministic = False

    def __init__(self, url: str, *, within_s: float = WITHIN_S) -> None:
        self._url = url
        # As many connections as there are calls: how many are in flight is the runtime's business.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._client = httpx.AsyncClient(timeout=within_s, limits=limits, trust_env=False)

    async def propose(self, request: ProposalRequest) -> Proposal:
        """Ask the model."""
        try:
            answer = await self._client.post(
                self._url,
                json={"about": request.situation.event.key(), "refused": len(request.refused)},
                headers={"Idempotency-Key": request.call_id, "X-Caller": str(os.getpid())},
            )
            answer.raise_for_status()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            raise ReasonerUnavailable(f"the model did not answer: {type(error).__name__}") from error
        return _proposal(request, answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _proposal(request: ProposalRequest, answer: httpx.Response) -> Proposal:
    try:
        said = answer.json()
        named = {action.action_name: action for action in request.agent.actions}
        action = named[said["action"]].model_validate(said["parameters"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ProposalInvalid(f"the model answered with no action of {request.agent.name}") from error
    return Proposal(action=action, rationale="the model says so", confidence=50)
