"""The seam between the kernel and whoever proposes: a rule of thumb, a language model, the event itself.

A reasoner is asked for one proposal at a time. What it answers is judged by the policies; a refused proposal comes
back with the reasons in the next request. A reasoner never sees policies' internals, keys or Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from jurat.agents.agent import Action, Agent, Situation
from jurat.policies.request import Judgement


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
    """What a reasoner is asked: the situation, and what was refused before in this decision."""

    agent: Agent[Any]
    situation: Situation[Any]
    refused: tuple[JudgedProposal, ...] = ()


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
