"""What a reasoner answered, made sure of before anything else looks at it.

Rules upheld here: an answer is an object that somebody handed over, whatever its type says, and who made it may have
been talked into anything; what comes out is an action of the agent with the values of its own fields, of exactly their
types, made anew, so that what is judged is what is recorded and done; anything else is no proposal. Messages name types
and fields, never what they hold.

Not here: whether the action is allowed (the policies), and what becomes of no proposal (`kernel.py`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from jurat.agents.agent import Agent
from jurat.agents.reasoner import ModelCall, Proposal, Spent
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Count, Identifier, Model, Percent

M = TypeVar("M", bound=Model)

MAX_FAULTS: Final = 5
"""Faults named in one refusal, as for requests: enough to find what is wrong with a reasoner."""


def _unicode(text: str) -> str:
    text.encode()  # raises for what no event could carry
    return text


Unicode = Annotated[str, AfterValidator(_unicode)]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SpentForm(Model):
    """`Spent`, with bounds."""

    calls: Count
    input_tokens: Count
    output_tokens: Count
    cost_micros: Count | None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None

    @classmethod
    def of(cls, spent: Spent) -> SpentForm:
        """The form of what was spent.

        Raises:
            ValidationError: a value is out of its bounds.
        """
        return cls.model_validate(asdict(spent))

    @property
    def spent(self) -> Spent:
        """What was spent."""
        return Spent(**self.model_dump())


class ModelCallForm(Model):
    """`ModelCall`, with bounds; what is journalled of it."""

    model: Annotated[Identifier, AfterValidator(_unicode)]
    parameters_sha256: Sha256Hex
    prompt_sha256: Sha256Hex
    response_sha256: Sha256Hex
    spent: SpentForm

    @classmethod
    def of(cls, call: ModelCall | None) -> ModelCallForm | None:
        """The form of a call.

        Raises:
            ValidationError: a value is out of its bounds.
        """
        return None if call is None else cls.model_validate(asdict(call))

    @property
    def call(self) -> ModelCall:
        """The call."""
        told = self.model_dump()
        return ModelCall(**{**told, "spent": Spent(**told["spent"])})


class _Words(Model):
    """What a proposal says beside its action; how much of it is kept is for who records it."""

    rationale: Unicode
    confidence: Percent | None
    alternatives: tuple[Annotated[Identifier, AfterValidator(_unicode)], ...]
    reasoner: Annotated[str, Field(max_length=200), AfterValidator(_unicode)]


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
    words = _valid(
        _Words,
        {
            "rationale": given.rationale,
            "confidence": given.confidence,
            "alternatives": given.alternatives,
            "reasoner": given.reasoner,
        },
        action.action_name,
    )
    made = _valid(type(action), vars(action), action.action_name)
    return Proposal(
        made,
        words.rationale,
        words.confidence,
        words.alternatives,
        words.reasoner,
        checked_model_call(given.call),
        wasted=checked_spent(given.wasted),
    )


def checked_model_call(given: object) -> ModelCall | None:
    """Make sure of the model call behind an answer.

    Raises:
        ProposalInvalid: it is no call, or a value is out of its bounds.
    """
    if given is None:
        return None
    if type(given) is not ModelCall or type(given.spent) is not Spent:
        raise ProposalInvalid(f"got a model call of type {type(given).__name__}, expected a ModelCall")
    return _valid(ModelCallForm, asdict(given), "a model call").call


def checked_spent(given: object) -> Spent | None:
    """Make sure of what calls took.

    Raises:
        ProposalInvalid: it is no such thing, or a value is out of its bounds.
    """
    if given is None:
        return None
    if type(given) is not Spent:
        raise ProposalInvalid(f"got what calls took as a {type(given).__name__}, expected Spent")
    return _valid(SpentForm, asdict(given), "what calls took").spent


def _valid(model: type[M], fields: dict[str, Any], of: str) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])[:80]} is refused: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise ProposalInvalid(
            f"got a malformed proposal of {of} ({'; '.join(faults[:MAX_FAULTS])})"
        ) from error
