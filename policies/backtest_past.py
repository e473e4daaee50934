"""What records say of past decisions, as a backtest judges them again.

Rules upheld here: a record of nothing that can be judged says why; an amount is taken only from where a request states
one, never guessed. Not here: reading records (`jurat.streams.past_decisions`), judging (`backtest.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from jurat.policies.backtest_report import Amount, Said
from jurat.policies.engine import attributes_of
from jurat.schemas.canonical import JsonObject


class Why(StrEnum):
    """Why a record was not judged."""

    UNREADABLE = "the record cannot be read"
    VEILED = "it is veiled, and not disclosed here: what policies were asked is not known"
    SKIPPED = "the agent does not decide such events: no policy was asked"
    REJECTED = "the input was rejected before any policy was asked"
    EXPIRED = "the input was too old to be decided: no policy was asked"
    UNJUDGED = "people refused it, or nobody answered in time: no policy was asked again"
    DUPLICATE = "the input had been decided before: no policy was asked again"
    MALFORMED = "the recorded policy input is malformed"
    UNFIT = "the request had no form that policies can see: every bundle denies it"
    NEW_CANNOT = "the new bundle has no words for it"
    OLD_CANNOT = "the old bundle has no words for it"
    NO_USAGE = "what would have been used of a budget cannot be told: it would be denied"
    NOT_ASKED = "people answered what would not have been asked: it would have ended before"
    OUT_OF_ORDER = "it stands before a record that was read already: windows need the order of the log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What a decision took of a budget, as its record says.

    Attributes:
        budget: the budget's name.
        by: the path of its key; None where it tells no keys apart.
        key: what stood there.
        of: the path of what is summed; None where actions are counted.
        window: how long the action counts.
        amount: what was taken.
    """

    budget: str
    by: str | None
    key: str | None
    of: str | None
    window: timedelta
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """What a record says of one decision.

    Attributes:
        decision_id: the decision's id.
        place: where the record stands, in words.
        time: when it was decided, in a form that sorts by time.
        agent: who decided.
        action: the action of the proposal that became the decision.
        digest: the digest of the bundle that judged it.
        said: what that bundle said.
        normalised: the input of which it said so.
        refused: how many other proposals were refused on the way to it.
        chain: the record's chain, and `seq` its place there: what comes later has a higher one.
        partition: the number of its input's partition; with the agent, whose windows it takes from.
        about: the decision that it decides again after people answered, else its own id.
        effective: whether it has an effect if it is allowed; a dry run has none, and takes nothing.
        took: what it took of budgets.
    """

    decision_id: str
    place: str
    time: str
    agent: str
    action: str
    digest: str
    said: Said
    normalised: JsonObject
    refused: int
    chain: str
    seq: int
    partition: int
    about: str
    effective: bool
    took: tuple[Took, ...]


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A record of nothing that can be judged again: why, more of it in words, and where the record stands."""

    why: Why
    detail: str
    place: str


def amount_of(normalised: JsonObject) -> Amount | None:
    """The amount that a request states: `amount_minor` and `currency` of its context, else of its resource.

    Args:
        normalised: a policy input. The context holds what would be done, the resource what it is done to.
    """
    for place in (normalised.get("context"), attributes_of(normalised)):
        if isinstance(place, dict):
            amount, currency = place.get("amount_minor"), place.get("currency")
            if type(amount) is int and isinstance(currency, str):
                return Amount(amount, currency)
    return None
