"""The trust scorer: a synthesis of what a seller did, from 0 to 100, with the evidence that it rests on.

Rules upheld here: it scores what a seller did, never who they are: nothing of their person is in the event; a score
names its evidence, and evidence counts only where the activity bears it; few orders say little, so that a score stays
near the middle until there are some; how far a score may move, and which scores a person has to see, stands in
`policies/market/trust.cedar`. Not here: what becomes of a score (who subscribes holds payouts, or does not).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

from pydantic import Field

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import SellerActivityReported
from jurat.schemas.model import Count, Identifier, Model, Percent

ALL: Final = 100
PRIOR: Final = 60
"""The score of a seller of whom nothing is known: most sellers are honest."""

PRIOR_ORDERS: Final = 25
"""As many orders as that count for the prior: twenty-five of one's own weigh as much as it does."""

STEP: Final = 15
"""The move that the policies leave to the agent within a day; a farther one is offered too, for people to approve."""

MOST_ALARM: Final = 60
"""Points that chargebacks raise at most, one a thousandth of the orders: at six in a hundred the alarm is as loud as it
gets."""

SETTLED: Final = 3
"""Points by which a score may be off before it is worth moving."""


class EvidenceKind(StrEnum):
    """What a score may rest on."""

    CHARGEBACKS = "chargebacks"
    DISPUTES_LOST = "disputes_lost"
    CANCELLATIONS = "cancellations"
    LATE_DISPATCH = "late_dispatch"
    REVIEWS = "reviews"
    CLEAN_RECORD = "clean_record"
    VERIFIED_IDENTITY = "verified_identity"
    YEARS_ACTIVE = "years_active"


BORNE: Final[Mapping[EvidenceKind, Callable[[SellerActivityReported], bool]]] = MappingProxyType(
    {
        EvidenceKind.CHARGEBACKS: lambda seen: seen.chargebacks > 0,
        EvidenceKind.DISPUTES_LOST: lambda seen: seen.disputes_lost > 0,
        EvidenceKind.CANCELLATIONS: lambda seen: seen.cancelled > 0,
        EvidenceKind.LATE_DISPATCH: lambda seen: seen.late > 0,
        EvidenceKind.REVIEWS: lambda seen: seen.reviews > 0,
        EvidenceKind.CLEAN_RECORD: lambda seen: (
            seen.orders > 0 and not (seen.disputes_lost or seen.chargebacks)
        ),
        EvidenceKind.VERIFIED_IDENTITY: lambda seen: seen.identity_verified,
        EvidenceKind.YEARS_ACTIVE: lambda seen: seen.days_active >= 365,
    }
)
"""When the activity bears a kind of evidence."""


class ScoredSeller(Entity):
    """The seller as policies see them: what they did, in numbers."""

    entity_type: ClassVar[str] = "Seller"

    seller_id: Identifier
    orders: Count
    disputes_lost: Count
    chargebacks: Count
    days_active: Count
    identity_verified: bool
    scored: bool
    score: Percent


class SetFacts(Facts):
    """The proposed score, how far it moves, and how its evidence stands."""

    score: Percent
    move: Count
    evidence: Count
    evidence_not_borne: Count


class SellerFacts(Facts):
    """All that matters is the seller."""


class SetTrust(Action):
    """Set the seller's score."""

    action_name: ClassVar[str] = "set_trust"
    title: ClassVar[str] = "Set the seller's trust score"
    resource: ClassVar[type[Entity]] = ScoredSeller
    facts: ClassVar[type[Facts]] = SetFacts

    score: Percent
    evidence: Annotated[tuple[EvidenceKind, ...], Field(max_length=len(EvidenceKind))]


class KeepTrust(Action):
    """Leave the score as it is."""

    action_name: ClassVar[str] = "keep_trust"
    title: ClassVar[str] = "Leave the seller's trust score as it is"
    resource: ClassVar[type[Entity]] = ScoredSeller
    facts: ClassVar[type[Facts]] = SellerFacts


class AskForReview(Action):
    """Have a person look at the seller; the score stays."""

    action_name: ClassVar[str] = "ask_for_review"
    title: ClassVar[str] = "Have a person look at the seller"
    resource: ClassVar[type[Entity]] = ScoredSeller
    facts: ClassVar[type[Facts]] = SellerFacts


class SellerTrust(Model):
    """The scorer's state for one seller."""

    score: Percent
    evidence: tuple[EvidenceKind, ...] = ()


def judged(situation: Situation[SellerActivityReported], action: Action) -> Judged:
    """State the facts by which policies judge a score."""
    if isinstance(action, SetTrust):
        borne = [BORNE[kind](situation.event) for kind in dict.fromkeys(action.evidence)]
        facts = SetFacts(
            score=action.score,
            move=abs(action.score - score_of(situation)),
            evidence=len(borne),
            evidence_not_borne=borne.count(False),
        )
        return Judged(_seller(situation), facts)
    if isinstance(action, KeepTrust | AskForReview):
        return Judged(_seller(situation), SellerFacts())
    raise ConfigurationError(f"trust-scorer got the action {type(action).__name__}, expected one of its own")


def candidates(situation: Situation[SellerActivityReported]) -> tuple[Candidate, ...]:
    """Score the synthesis, a step towards it, leaving the score, and a review."""
    seen, now = situation.event, score_of(situation)
    aim = synthesis(seen)
    evidence = tuple(kind for kind, borne in BORNE.items() if borne(seen))
    off = abs(aim - now)
    step = max(now - STEP, min(now + STEP, aim))
    doubt = Signal("few orders to go by", -max(0, PRIOR_ORDERS - seen.orders), "fairness")
    found = [
        Candidate(
            KeepTrust(),
            (Signal("the score fits", 20 - 4 * off, "accuracy"), Signal("nothing is upset", 5, "stability")),
        ),
        Candidate(
            AskForReview(),
            (
                Signal(
                    "chargebacks", min(MOST_ALARM, 1_000 * seen.chargebacks // max(1, seen.orders)), "safety"
                ),
                Signal("far from what was thought", off - 2 * STEP, "accuracy"),
                Signal("costs a person's time", -30, "stability"),
            ),
        ),
    ]
    for score in dict.fromkeys((aim, step)):
        left = abs(aim - score)
        found.append(
            Candidate(
                SetTrust(score=score, evidence=evidence),
                (
                    Signal("closer to what the seller did", 2 * (off - left) - 2 * SETTLED, "accuracy"),
                    Signal("buyers are safer", 10 if score < now else 0, "safety"),
                    Signal("moves far at once", -8 * max(0, abs(score - now) - STEP), "stability"),
                    doubt,
                ),
            )
        )
    return tuple(found)


def synthesis(seen: SellerActivityReported) -> int:
    """What the activity says, drawn to the prior where there is little of it.

    A chargeback undoes what ten orders earned, a lost dispute what four did, a cancelled order one, a late one a third.

    Returns:
        0 to 100.
    """
    tenths = 100 * seen.chargebacks + 40 * seen.disputes_lost + 10 * seen.cancelled + 3 * seen.late
    conduct = max(0, ALL * seen.orders - ALL * tenths // 10) // max(1, seen.orders)
    reviewed = min(seen.reviews, seen.orders)
    said = (conduct * (2 * seen.orders - reviewed) + seen.rating * reviewed) // max(1, 2 * seen.orders)
    earned = said + (3 if seen.identity_verified else -5) + min(5, seen.days_active // 365)
    score = (earned * seen.orders + PRIOR * PRIOR_ORDERS) // (seen.orders + PRIOR_ORDERS)
    return max(0, min(ALL, score))


def score_of(situation: Situation[SellerActivityReported]) -> int:
    """The seller's score before this event."""
    return situation.state.score if isinstance(situation.state, SellerTrust) else PRIOR


def effect(situation: Situation[SellerActivityReported], action: Action) -> Model:
    """Remember the score and what it rests on."""
    if isinstance(action, SetTrust):
        return SellerTrust(score=action.score, evidence=tuple(dict.fromkeys(action.evidence)))
    return situation.state if isinstance(situation.state, SellerTrust) else SellerTrust(score=PRIOR)


def _seller(situation: Situation[SellerActivityReported]) -> ScoredSeller:
    seen = situation.event
    return ScoredSeller(
        id=seen.seller_id,
        seller_id=seen.seller_id,
        orders=seen.orders,
        disputes_lost=seen.disputes_lost,
        chargebacks=seen.chargebacks,
        days_active=seen.days_active,
        identity_verified=seen.identity_verified,
        scored=situation.state is not None,
        score=score_of(situation),
    )


TRUST_SCORER: Agent[SellerActivityReported] = Agent(
    name="trust-scorer",
    listens={"marketplace.sellers": (SellerActivityReported,)},
    subject=lambda seen: seen.seller_id,
    actions=(SetTrust, KeepTrust, AskForReview),
    bundle="market",
    judged=judged,
    candidates=candidates,
    state_model=SellerTrust,
    effect=effect,
    fallback=lambda _situation: AskForReview(),
)
