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
from jurat.agents.model_limits import NoPurse, Purse
from jurat.policies.objectives import Objectives
from jurat.policies.request import Judgement
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import FreeJson, Model


def unexplored() -> DecisionSpace:
    """Stand for the space of a request that nobody gave one.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError("got a request without an action space, expected one: pass `space` to `decide`")


def kept_nowhere(_text: bytes) -> None:
    """Keep a text for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What calls of a model took.

    Attributes:
        calls: requests that the server answered or may have answered.
        input_tokens: as the server counted them.
        output_tokens: as the server counted them.
        cost_micros: millionths of `currency`; None where no price is known.
        currency: ISO 4217; None where no price is known.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    cost_micros: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What stands behind an answer that a model gave, for the record.

    Attributes:
        model: the model's name, as the server gave it.
        parameters_sha256: hex digest of the canonical JSON of everything sent beside the messages.
        prompt_sha256: hex digest of the canonical JSON of the messages.
        response_sha256: hex digest of the response's body.
        spent: what it took, calls that failed before it included.
    """

    model: str
    parameters_sha256: str
    prompt_sha256: str
    response_sha256: str
    spent: Spent


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a reasoner proposes.

    Attributes:
        action: the action with its parameters.
        rationale: why, in words for the people who read decisions.
        confidence: 0 to 100; None where the reasoner makes no such claim.
        alternatives: names of the actions that it considered and did not choose.
        reasoner: who made it, where the reasoner that was asked passed the question on; empty where it did not.
        call: the model call behind it; None where no model was asked.
        fallback: why the agent's own action stands in for the reasoner's; empty where a reasoner made it.
        wasted: what calls took that got no answer, before somebody proposed this who made no call; None for nothing.
    """

    action: Action
    rationale: str
    confidence: int | None = None
    alternatives: tuple[str, ...] = ()
    reasoner: str = ""
    call: ModelCall | None = None
    fallback: str = ""
    wasted: Spent | None = None


class RawArguments(Model):
    """A tool's arguments as somebody gave them, whom the kernel checks: a model's JSON, say."""

    given: FreeJson


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A reasoner's wish to use a tool of its agent before it proposes.

    What is no tool of the agent, or has other arguments, comes back as a failed result.

    Attributes:
        tool: the tool's name.
        arguments: an instance of the tool's arguments, or `RawArguments`.
        call: the model call behind it; None where no model was asked.
        wasted: as for a `Proposal`.
    """

    tool: str
    arguments: Model
    call: ModelCall | None = None
    wasted: Spent | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered; exactly one of `result` and `failed` is given."""

    tool: str
    arguments: Model
    result: Model | None = None
    failed: str | None = None


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
        objectives: what the bundle says that this agent should aim for; None where it says nothing.
        tools: what the tools answered that were used before in this decision, in order.
        space: works out what the policies leave to propose, when first called, and keeps it for this decision. It
            follows from the situation and the policies, so it is no part of the request's digest.
        purse: keeps what calls of models take, for reasoners with limits.
        keep: takes the texts whose digests a `ModelCall` names, the messages and the body; where they are evidence they
            are kept, else nothing is done with them.
    """

    agent: Agent[Any]
    situation: Situation[Any]
    refused: tuple[JudgedProposal, ...] = ()
    call_id: str = ""
    objectives: Objectives | None = None
    tools: tuple[ToolResult, ...] = ()
    space: Callable[[], DecisionSpace] = field(default=unexplored, compare=False, repr=False)
    purse: Purse = field(default_factory=NoPurse, compare=False, repr=False)
    keep: Callable[[bytes], None] = field(default=kept_nowhere, compare=False, repr=False)


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

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        """Propose an action, wish for a tool before that, or None when nothing (more) can be proposed.

        A wish is answered in the `tools` of the next request. Where `MAX_TOOL_CALLS` stand there, another wish counts
        as no answer.

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
    # Only where the agent remembers: what was asked for other agents, by an earlier release too, keeps its name.
    memory = {} if request.agent.remembers is None else {"memory": _dumped(situation.memory)}
    return canonical.digest(
        {
            **memory,
            "actions": sorted(action.action_name for action in request.agent.actions),
            "agent": request.agent.name,
            "documents": [
                [view, key, _dumped(situation.documents[view, key])]
                for view, key in sorted(situation.documents)
            ],
            "event": [situation.event.event_type(), _dumped(situation.event)],
            "objectives": _aimed(request.objectives),
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
            "tools": [
                {
                    "arguments": _dumped(used.arguments),
                    "failed": used.failed,
                    "result": _dumped(used.result),
                    "tool": used.tool,
                }
                for used in request.tools
            ],
        }
    )


def _aimed(objectives: Objectives | None) -> dict[str, Any] | None:
    return None if objectives is None else {"aim": objectives.aim, "weights": dict(objectives.weights)}


def _dumped(model: Model | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json")
