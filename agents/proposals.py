"""What a reasoner answered, made sure of before anything else looks at it.

Rules upheld here: an answer is an object that somebody handed over, whatever its type says, and who made it may have
been talked into anything; what comes out is an action of the agent with the values of its own fields, of exactly their
types, made anew, so that what is judged is what is recorded and done; anything else is no proposal. Messages name types
and fields, never what they hold.

Not here: whether the action is allowed (the policies), and what becomes of no proposal (`kernel.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, ValidationError

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Proposal
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Model, Percent

MAX_FAULTS: Final = 5
"""Faults named in one refusal, as for requests: enough to find what is wrong with a reasoner."""


def _unicode(text: str) -> str:
    text.encode()  # raises for what no event could carry
    return text


class _Words(Model):
    """What a proposal says beside its action; how much of the rationale is kept is for who records it."""

    rationale: Annotated[str, AfterValidator(_unicode)]
    confidence: Percent | None
    alternatives: tuple[str, ...]


def checked(agent: Agent[Any], given: object) -> Proposal:
    """Make sure of an answer.

    Args:
        agent: who decides.
        given: what the reasoner answered, if it answered.

    Returns:
        The proposal, made anew.

    Raises:
        ProposalInvalid: it is none of this agent's, or not well-formed.
    """
    if not isinstance(given, Proposal):
        raise ProposalInvalid(f"got a {type(given).__name__}, expected a Proposal, or None for no proposal")
    action = given.action
    if type(action) not in agent.actions:
        raise ProposalInvalid(
            f"got a proposal of type {type(action).__name__}, expected an action of {agent.name}"
        )
    try:
        words = _Words(
            rationale=given.rationale, confidence=given.confidence, alternatives=given.alternatives
        )
        made = type(action).model_validate(vars(action))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])[:80]} is refused: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise ProposalInvalid(
            f"got a malformed proposal of {action.action_name} ({'; '.join(faults[:MAX_FAULTS])})"
        ) from error
    return Proposal(made, words.rationale, words.confidence, words.alternatives)
