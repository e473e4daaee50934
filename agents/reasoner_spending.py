"""What calls took that came to nothing, carried on to the answer or the error that stands in the end.

Rules upheld here: nothing that was paid for is dropped on the way through wrappers; amounts of two currencies are not
added: then no cost is known; a sum ends at what can be written. Not here: what a call took (`model_answer.py`),
counting it (`jurat.streams`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from jurat.agents.proposals import checked_model_call, checked_spent
from jurat.agents.reasoner import ModelCall, Proposal, Spent, ToolCall
from jurat.schemas import canonical
from jurat.schemas.errors import JuratError, ProposalInvalid

E = TypeVar("E", bound=JuratError)


def together(first: Spent, second: Spent) -> Spent:
    """What both took."""
    if not first.calls or not second.calls:
        priced = first if first.calls else second
        cost, currency = priced.cost_micros, priced.currency
    else:
        same = first.currency == second.currency
        known = first.cost_micros is not None and second.cost_micros is not None and same
        cost = (first.cost_micros or 0) + (second.cost_micros or 0) if known else None
        currency = first.currency if known else None
    return Spent(
        calls=first.calls + second.calls,
        input_tokens=min(first.input_tokens + second.input_tokens, canonical.MAX_INTEGER),
        output_tokens=min(first.output_tokens + second.output_tokens, canonical.MAX_INTEGER),
        cost_micros=None if cost is None else min(cost, canonical.MAX_INTEGER),
        currency=currency,
    )


NOTHING = Spent(calls=0, input_tokens=0, output_tokens=0)


def call_of(error: JuratError) -> ModelCall | None:
    """The call whose answer was of no use, where there was an answer."""
    call = error.details.get("call")
    return call if isinstance(call, ModelCall) else None


def call_behind(answer: object) -> ModelCall | None:
    """The call behind an answer, made sure of; None where there is none, or what stands there is no call."""
    if not isinstance(answer, Proposal | ToolCall):
        return None
    try:
        return checked_model_call(answer.call)
    except ProposalInvalid:
        return None


def wasted_before(answer: object) -> Spent:
    """What calls took that got no answer, as the answer says that came instead; nothing where it says nonsense."""
    if not isinstance(answer, Proposal | ToolCall):
        return NOTHING
    try:
        return checked_spent(answer.wasted) or NOTHING
    except ProposalInvalid:
        return NOTHING


def spent_by(error: JuratError, answer: object = None) -> Spent:
    """What a failure took, as its details say, or the calls of the answer that was refused with it."""
    call, spent = call_of(error) or call_behind(answer), error.details.get("spent")
    took = call.spent if call is not None else spent if isinstance(spent, Spent) else NOTHING
    return together(took, wasted_before(answer))


def with_spent(error: E, spent: Spent) -> E:
    """The same failure, with what was taken until then."""
    details = {key: value for key, value in error.details.items() if key != "call"}
    same = type(error)(str(error), **{**details, "spent": spent})
    same.__cause__ = error
    return same


def nothing_proposed(who: str, before: Spent, failed: ModelCall | None) -> ProposalInvalid | None:
    """The error that says what calls took after which nothing is proposed; None where they took nothing."""
    if not before.calls:
        return None
    paid = {"spent": before} if failed is None else {"call": replace(failed, spent=before)}
    return ProposalInvalid(f"{who} has nothing to propose, and who was asked before it failed", **paid)


def with_before(
    answer: Proposal | ToolCall, before: Spent, failed: ModelCall | None = None
) -> Proposal | ToolCall:
    """An answer that says what calls before it took.

    Its own call holds it; `failed` stands in where no model gave the answer; without either it is wasted.
    """
    call = call_behind(answer)
    if call is not None:
        return replace(answer, call=replace(call, spent=together(before, call.spent)))
    if answer.call is not None or not before.calls:
        return answer  # what stands there is no call: whoever checks the answer says so
    if failed is None:
        return replace(answer, wasted=together(wasted_before(answer), before))
    return replace(answer, call=replace(failed, spent=before))
