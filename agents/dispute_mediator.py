"""The dispute mediator: settles a dispute between buyer and seller, or asks for what is missing.

Rules upheld here: what the parties wrote is never read, neither by signals nor by policies, so nothing that
it says can matter; who may be paid what stands in `policies/shop/disputes.cedar`; a dispute is settled at
most once, which the agent's own state proves. The buyer's profile weighs in signals only. Not here: moving
the money, offers that both sides must accept.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation
from jurat.agents.shop_views import CUSTOMERS, profile_of, standing_of
from jurat.policies.request import Entity, Facts
from jurat.schemas.commerce import CustomerProfile
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Party
from jurat.schemas.model import Count, Identifier, MinorUnits, Model, Percent

DELIVERY_KINDS = frozenset(
    {"tracking_scan", "delivery_scan", "delivery_signature", "delivery_photo", "proof_of_delivery"}
)
"""Kinds of evidence that speak about the delivery itself, whoever hands them in."""

MAX_SETTLED = 200
"""Settled disputes remembered per buyer: far above the number at which policies call a person to refund."""

EVIDENCE_POINTS = 15
"""Points of one piece of evidence; three count at most, as the fourth photo shows what the third did."""

MAX_PIECES = 3

RETURN_DAYS = 30
"""A buyer who waits longer than this after the delivery has less of a case."""

RIGHT, SPEED = "right_side", "speed"
"""The goals of the bundle's objectives that signals serve; none is about cost."""

CATEGORY_POINTS = MappingProxyType(
    {
        DisputeCategory.NOT_RECEIVED: (30, 0, 10),
        DisputeCategory.NOT_AS_DESCRIBED: (15, 30, 10),
        DisputeCategory.DAMAGED: (20, 25, 5),
        DisputeCategory.UNAUTHORISED: (20, -40, 5),
    }
)
"""Points for a full refund, a partial refund and a release, before anything is known."""


class DisputedOrder(Entity):
    """The dispute as policies see it: numbers and kinds, no text."""

    entity_type: ClassVar[str] = "Dispute"

    order_id: Identifier
    customer_id: Identifier
    seller_id: Identifier
    amount_minor: MinorUnits
    currency: str
    category: str
    delivered: bool
    days_since_delivery: Count
    evidence_for_buyer: Count
    evidence_for_seller: Count
    delivery_evidence: Count
    seller_dispute_rate_percent: Percent
    buyer_prior_disputes: Count
    settled: bool


class RefundFacts(Facts):
    """What the buyer would get, and how sure the reasoner is of that."""

    amount_minor: MinorUnits
    currency: str
    confidence: Percent = 100


class ReleaseFacts(Facts):
    """Besides the dispute itself, how sure the reasoner is."""

    confidence: Percent = 100


class EvidenceFacts(Facts):
    """Who is asked, and how much they have handed in already."""

    from_party: str
    pieces_from_party: Count


class RefundBuyer(Action):
    """Give the buyer the disputed amount back."""

    action_name: ClassVar[str] = "refund_buyer"
    title: ClassVar[str] = "Refund the buyer in full"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = RefundFacts

    amount_minor: MinorUnits
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class PartialRefund(Action):
    """Give the buyer a part back; the seller keeps the rest."""

    action_name: ClassVar[str] = "partial_refund"
    title: ClassVar[str] = "Refund the buyer in part"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = RefundFacts

    amount_minor: MinorUnits
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class ReleaseToSeller(Action):
    """Give the seller the disputed amount."""

    action_name: ClassVar[str] = "release_to_seller"
    title: ClassVar[str] = "Release the money to the seller"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = ReleaseFacts


class RequestEvidence(Action):
    """Ask a party for evidence; nobody is paid yet."""

    action_name: ClassVar[str] = "request_evidence"
    title: ClassVar[str] = "Ask a party for evidence"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = EvidenceFacts

    from_party: Party


class BuyerDesk(Model):
    """The mediator's state for one buyer: which of their disputes it has settled, the latest last."""

    settled: Annotated[tuple[Identifier, ...], Field(max_length=MAX_SETTLED)] = ()


def judged(situation: Situation[DisputeOpened], action: Action) -> Judged:
    """State the facts by which policies judge a settlement."""
    dispute = situation.event
    if isinstance(action, RefundBuyer | PartialRefund):
        return Judged(
            _dispute(situation), RefundFacts(amount_minor=action.amount_minor, currency=action.currency)
        )
    if isinstance(action, ReleaseToSeller):
        return Judged(_dispute(situation), ReleaseFacts())
    if isinstance(action, RequestEvidence):
        pieces = sum(piece.party is action.from_party for piece in dispute.evidence)
        return Judged(
            _dispute(situation), EvidenceFacts(from_party=action.from_party.value, pieces_from_party=pieces)
        )
    raise ConfigurationError(
        f"dispute-mediator got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[DisputeOpened]) -> tuple[Candidate, ...]:
    """Score a full refund, half of it, the release, and asking either side."""
    dispute = situation.event
    amount = dispute.amount
    category = dispute.category
    full, part, release = CATEGORY_POINTS[category]
    balance = _balance(dispute, profile_of(situation, dispute.customer_id))
    close = 20 - min(40, abs(sum(signal.points for signal in balance)) // 2)
    against = tuple(Signal(signal.name, -signal.points, signal.serves) for signal in balance)
    found = [
        Candidate(
            RefundBuyer(amount_minor=amount.amount_minor, currency=amount.currency),
            (Signal(category.value, full, RIGHT), *balance),
        ),
        Candidate(ReleaseToSeller(), (Signal(category.value, release, RIGHT), *against)),
    ]
    if half := amount.amount_minor // 2:
        found.append(
            Candidate(
                PartialRefund(amount_minor=half, currency=amount.currency),
                (Signal(category.value, part, RIGHT), Signal("evenly matched", close, RIGHT)),
            )
        )
    found += [
        Candidate(
            RequestEvidence(from_party=party),
            (
                Signal("one more round", -5, SPEED),
                Signal(
                    f"{party.value} has shown little",
                    25 - EVIDENCE_POINTS * _pieces_from(dispute, party),
                    RIGHT,
                ),
                Signal("evenly matched", close // 2, RIGHT),
            ),
        )
        for party in (Party.SELLER, Party.BUYER)
    ]
    return tuple(found)


def effect(situation: Situation[DisputeOpened], action: Action) -> Model:
    """Remember a settled dispute; asking for evidence settles nothing."""
    desk = _desk(situation)
    if isinstance(action, RequestEvidence):
        return desk
    others = tuple(name for name in desk.settled if name != situation.event.dispute_id)
    return BuyerDesk(settled=(*others, situation.event.dispute_id)[-MAX_SETTLED:])


def fallback(situation: Situation[DisputeOpened]) -> Action:
    """Ask the side that has shown less, the seller first: nobody is paid on a guess."""
    dispute = situation.event
    seller, buyer = _pieces_from(dispute, Party.SELLER), _pieces_from(dispute, Party.BUYER)
    return RequestEvidence(from_party=Party.BUYER if buyer < seller else Party.SELLER)


def _balance(dispute: DisputeOpened, profile: CustomerProfile | None) -> tuple[Signal, ...]:
    """Weigh the two sides: positive points speak for the buyer."""
    missing = dispute.category is DisputeCategory.NOT_RECEIVED
    late = dispute.days_since_delivery is not None and dispute.days_since_delivery > RETURN_DAYS
    return (
        Signal("evidence for the buyer", EVIDENCE_POINTS * _pieces_for(dispute, Party.BUYER), RIGHT),
        Signal("evidence for the seller", -EVIDENCE_POINTS * _pieces_for(dispute, Party.SELLER), RIGHT),
        Signal("delivery is shown", -20 if missing and _delivery_evidence(dispute) else 0, RIGHT),
        Signal("seller's dispute rate", min(30, dispute.seller_dispute_rate_percent), RIGHT),
        Signal("buyer's earlier disputes", -10 * min(5, dispute.buyer_prior_disputes), RIGHT),
        Signal("long after the delivery", -15 if late else 0, RIGHT),
        Signal("buyer's standing", standing_of(profile) // 2, RIGHT),
    )


def _pieces_for(dispute: DisputeOpened, party: Party) -> int:
    return min(MAX_PIECES, sum(piece.supports is party for piece in dispute.evidence))


def _pieces_from(dispute: DisputeOpened, party: Party) -> int:
    return min(MAX_PIECES, sum(piece.party is party for piece in dispute.evidence))


def _delivery_evidence(dispute: DisputeOpened) -> int:
    return sum(
        piece.supports is Party.SELLER and (piece.party is Party.CARRIER or piece.kind in DELIVERY_KINDS)
        for piece in dispute.evidence
    )


def _desk(situation: Situation[DisputeOpened]) -> BuyerDesk:
    return situation.state if isinstance(situation.state, BuyerDesk) else BuyerDesk()


def _dispute(situation: Situation[DisputeOpened]) -> DisputedOrder:
    dispute = situation.event
    return DisputedOrder(
        id=dispute.dispute_id,
        order_id=dispute.order_id,
        customer_id=dispute.customer_id,
        seller_id=dispute.seller_id,
        amount_minor=dispute.amount.amount_minor,
        currency=dispute.amount.currency,
        category=dispute.category.value,
        delivered=dispute.days_since_delivery is not None,
        days_since_delivery=dispute.days_since_delivery or 0,
        evidence_for_buyer=sum(piece.supports is Party.BUYER for piece in dispute.evidence),
        evidence_for_seller=sum(piece.supports is Party.SELLER for piece in dispute.evidence),
        delivery_evidence=_delivery_evidence(dispute),
        seller_dispute_rate_percent=dispute.seller_dispute_rate_percent,
        buyer_prior_disputes=dispute.buyer_prior_disputes,
        settled=dispute.dispute_id in _desk(situation).settled,
    )


DISPUTE_MEDIATOR: Agent[DisputeOpened] = Agent(
    name="dispute-mediator",
    listens={"marketplace.disputes": (DisputeOpened,)},
    subject=lambda dispute: dispute.dispute_id,
    actions=(RefundBuyer, PartialRefund, ReleaseToSeller, RequestEvidence),
    bundle="shop",
    judged=judged,
    candidates=candidates,
    views=(CUSTOMERS,),
    reads=lambda dispute: (Lookup(CUSTOMERS.name, dispute.customer_id),),
    state_model=BuyerDesk,
    effect=effect,
    fallback=fallback,
)
