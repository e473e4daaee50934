"""The seam between the kernel and whoever proposes: a rule of thumb, a language model, the event itself.

A reasoner is asked for one proposal at a time. What it answers is judged by the policies; a refused proposal comes
back with the reasons in the next request. A reasoner never sees policies' internals, keys or Kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from jurat.agents.action_space import DecisionSpace
from jurat.agents.agent import Action, Agent, Situation
from jurat.policies.request import Judgement
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Model


def unexplored() -> DecisionSpace:
    """Stand for the space of a request that nobody gave one.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError("got a request without an action space, expected one: pass `space` to `decide`")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a reasoner proposes.

    Attributes:
        action: the action with its parameters.
        rationale: why, in words for the people who read decisions.
        confidence: 0 to 100; None where the reasoner makes no such claim.
        alternatives: names of the actions that it considered and did not choose.
    """

    action: Action
    rationale: str
    confidence: int | None = None
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedProposal:
    """A proposal and what the policies said of it."""

    proposal: Proposal
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """What a reasoner is asked: the situation, and what was refused before in this decision.

    Attributes:
        agent: the agent that decides.
        situation: everything that the decision may depend on.
        refused: what was proposed before and refused, with the reasons.
        call_id: the same each time this is asked for the same input, attempt and question: send it where a service
            takes an idempotency key. Empty for deterministic reasoners.
        space: works out what the policies leave to propose, when first called, and keeps it for this decision. It
            follows from the situation and the policies, so it is no part of the request's digest.
    """

    agent: Agent[Any]
    situation: Situation[Any]
    refused: tuple[JudgedProposal, ...] = ()
    call_id: str = ""
    space: Callable[[], DecisionSpace] = field(default=unexplored, compare=False, repr=False)


class Reasoner(Protocol):
    """Proposes one action for a situation."""

    @property
    def name(self) -> str:
        """The name that goes into every record, for example `heuristic`."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether the same request always gets the same proposal; goes into every record."""
        ...

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        """Propose an action, or None when nothing (more) can be proposed.

        Raises:
            InputRejected: the event asks for something malformed; it can never be decided.
            ReasonerUnavailable: try again later.
            ProposalInvalid: the reasoner answered with something that is no action of this agent.
        """
        ...


def request_digest(request: ProposalRequest) -> str:
    """Name what a reasoner is asked, by the lower-case hex SHA-256 of its canonical JSON.

    The moment of the decision and the call's id are left out: they differ each time. So is the action space, which
    follows from the rest and the policies: to digest it would be to work it out for reasoners that never look.

    Raises:
        CanonicalError: a document or the state has no canonical form.
    """
    situation = request.situation
    return canonical.digest(
        {
            "actions": sorted(action.action_name for action in request.agent.actions),
            "agent": request.agent.name,
            "documents": [
                [view, key, _dumped(situation.documents[view, key])]
                for view, key in sorted(situation.documents)
            ],
            "event": [situation.event.event_type(), _dumped(situation.event)],
            "occurred_at": situation.occurred_at.isoformat() if situation.occurred_at else None,
            "refused": [
                {
                    "action": judged.proposal.action.action_name,
                    "parameters": _dumped(judged.proposal.action),
                    "policies": judged.judgement.policies,
                    "reasons": judged.judgement.reasons,
                    "verdict": judged.judgement.verdict.value,
                }
                for judged in request.refused
            ],
            "state": _dumped(situation.state),
        }
    )


def _dumped(model: Model | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json")
