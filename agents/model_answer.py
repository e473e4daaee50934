"""Reading what a model server answered: a proposal or a wish for a tool, and what the call took.

Rules upheld here: nothing that a server sends is trusted, whatever schema it was asked to keep; what was used and which
bytes were got survive every failure, as `call` in the error's details; messages name what is wrong, never what the
answer holds. Whether an action is allowed is not looked at: the policies judge it, and their reasons help the model.

Not here: sending (`openai_client.py`), and what is asked (`model_prompt.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from jurat.agents.agent import Agent
from jurat.agents.proposals import checked_model_call
from jurat.agents.reasoner import ModelCall, Proposal, RawArguments, Spent, ToolCall
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, ProposalInvalid

T = TypeVar("T")

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost.

    Attributes:
        input_micros: millionths of `currency` for a million tokens of a prompt.
        output_micros: the same for a million tokens of an answer.
        currency: ISO 4217.
    """

    input_micros: int
    output_micros: int
    currency: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call sent, by its digests.

    Attributes:
        model: the model's name as it was asked for; stands in for the one that the server should have named.
        parameters_sha256: hex digest of the canonical JSON of everything sent beside the messages.
        prompt_sha256: hex digest of the canonical JSON of the messages.
        price: what its tokens cost; None where it is not known.
    """

    model: str
    parameters_sha256: str
    prompt_sha256: str
    price: Price | None = None


def read_answer(agent: Agent[Any], asked: Asked, body: bytes) -> Proposal | ToolCall:
    """Read the body of an answer that came with a status of 200.

    Raises:
        ProposalInvalid: it is no answer; `details["call"]` holds the call.
    """
    try:
        document = _object(orjson.loads(body), "the answer")
    except (ProposalInvalid, ValueError) as error:
        what = "an HTML page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes that are no JSON object"
        raise ProposalInvalid(
            f"got {what} with status 200, expected a chat completion; is OPENAI_BASE_URL the address that ends in /v1?",
            call=_call(asked, {}, body),
        ) from error
    call = _call(asked, document, body)
    try:
        return _read(agent, document, call)
    except ProposalInvalid as error:
        raise ProposalInvalid(str(error), call=call) from error


def _call(asked: Asked, document: dict[str, Any], body: bytes) -> ModelCall:
    """What stands behind an answer, as far as it says so; its numbers are those of a stranger."""
    usage = document.get("usage")
    tokens_in, tokens_out = (
        (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
        if isinstance(usage, dict)
        else (0, 0)
    )
    cost, price = None, asked.price
    if price is not None and tokens_in:  # no prompt has no token: else it did not say, and nothing is known
        cost = math.ceil((tokens_in * price.input_micros + tokens_out * price.output_micros) / MILLION)
        cost = min(cost, canonical.MAX_INTEGER)
    named = document.get("model")
    call = ModelCall(
        model=named if isinstance(named, str) and named else asked.model,
        parameters_sha256=asked.parameters_sha256,
        prompt_sha256=asked.prompt_sha256,
        response_sha256=hashlib.sha256(body).hexdigest(),
        spent=Spent(
            calls=1,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost_micros=cost,
            currency=price.currency if price and cost is not None else None,
        ),
    )
    try:
        checked_model_call(call)
    except ProposalInvalid:  # a name that no record could hold
        return ModelCall(
            model=asked.model,
            parameters_sha256=call.parameters_sha256,
            prompt_sha256=call.prompt_sha256,
            response_sha256=call.response_sha256,
            spent=call.spent,
        )
    return call


def _count(given: object) -> int:
    return given if type(given) is int and 0 <= given <= canonical.MAX_INTEGER else 0


def _read(agent: Agent[Any], document: dict[str, Any], call: ModelCall) -> Proposal | ToolCall:
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ProposalInvalid("got an answer without choices, expected one")
    choice = _object(choices[0], "a choice")
    message = _object(choice.get("message"), "a message")
    if message.get("refusal"):
        raise ProposalInvalid("got a refusal of the model, expected an action")
    match choice.get("finish_reason"):
        case "length":
            raise ProposalInvalid("got an answer that was cut at the bound of its tokens, expected all of it")
        case "content_filter":
            raise ProposalInvalid(
                "got an answer that the server's content filter withheld, expected an action"
            )
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise ProposalInvalid("got an answer without content, expected a JSON object")
    try:
        said = orjson.loads(content)
        json.loads(content, object_pairs_hook=_each_once)  # orjson takes the last one in silence
    except (ValueError, RecursionError) as error:
        raise ProposalInvalid(
            f"got {len(content)} characters that are no JSON, expected an object with each of its names once"
        ) from error
    return _chosen(agent, _object(said, "the content"), call)


def _chosen(agent: Agent[Any], said: dict[str, Any], call: ModelCall) -> Proposal | ToolCall:
    chosen = _object(said.get("action"), "`action`")
    if "tool" in chosen:
        name, arguments = (
            _typed(chosen["tool"], str, "`tool`"),
            _object(chosen.get("arguments"), "`arguments`"),
        )
        try:
            return ToolCall(name, RawArguments(given=arguments), call)
        except (CanonicalError, ValidationError) as error:
            raise ProposalInvalid("got a tool's arguments that have no canonical form") from error
    name = _typed(chosen.get("name"), str, "the action's `name`")
    action = next((one for one in agent.actions if one.action_name == name), None)
    if action is None:
        known = ", ".join(one.action_name for one in agent.actions)
        raise ProposalInvalid(f"got an action that {agent.name} does not have, expected one of: {known}")
    parameters = _object(chosen.get("parameters"), "`parameters`")
    try:
        made = action.model_validate_json(orjson.dumps(parameters))
    except (ValidationError, orjson.JSONEncodeError, CanonicalError) as error:
        faults = (
            error.errors(include_input=False, include_url=False) if isinstance(error, ValidationError) else []
        )
        where = ", ".join(".".join(map(str, fault["loc"]))[:80] for fault in faults[:5]) or "parameters"
        raise ProposalInvalid(f"got {name} with parameters that are refused: {where}") from error
    alternatives = said.get("alternatives")
    others = [one.action_name for one in agent.actions if one.action_name != name]
    return Proposal(
        action=made,
        rationale=_typed(said.get("rationale"), str, "`rationale`"),
        confidence=_percent(said.get("confidence")),
        alternatives=tuple(
            [other for other in others if isinstance(alternatives, list) and other in alternatives]
        ),
        call=call,
    )


def _percent(given: object) -> int:
    number = _typed(given, int, "`confidence`")
    if not 0 <= number <= 100:
        raise ProposalInvalid("got a confidence out of its bounds, expected 0 to 100")
    return number


def _each_once(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object that says one thing twice: what was read of it would depend on who reads it."""
    if len({name for name, _value in pairs}) < len(pairs):
        raise ValueError("a name twice in one object")


def _object(given: object, what: str) -> dict[str, Any]:
    return _typed(given, dict, what)


def _typed(given: object, kind: type[T], what: str) -> T:
    if type(given) is not kind:
        raise ProposalInvalid(f"got {what} of type {type(given).__name__}, expected {kind.__name__}")
    return given
