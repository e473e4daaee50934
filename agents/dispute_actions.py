"""What the dispute mediator may do, and the facts that policies judge it by: numbers and kinds, no text."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jurat.agents.agent import Action
from jurat.policies.request import Entity, Facts
from jurat.schemas.marketplace import Party
from jurat.schemas.model import Count, Identifier, MinorUnits, Percent

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


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


class OfferFacts(Facts):
    """What the buyer would get if both accept, the number of this offer, and the buyer's other disputes in talks."""

    amount_minor: MinorUnits
    currency: str
    round: Count
    other_offers: Count


class AgreedFacts(Facts):
    """What the buyer would get, what was offered, and who has accepted that."""

    amount_minor: MinorUnits
    currency: str
    offered_minor: MinorUnits
    buyer_accepts: bool
    seller_accepts: bool


class AnswerFacts(Facts):
    """Besides the dispute itself, whether anything was offered that an answer can be to."""

    offer_stands: bool


class RefundBuyer(Action):
    """Give the buyer the disputed amount back."""

    action_name: ClassVar[str] = "refund_buyer"
    title: ClassVar[str] = "Refund the buyer in full"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = RefundFacts

    amount_minor: MinorUnits
    currency: Currency


class PartialRefund(Action):
    """Give the buyer a part back; the seller keeps the rest."""

    action_name: ClassVar[str] = "partial_refund"
    title: ClassVar[str] = "Refund the buyer in part"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = RefundFacts

    amount_minor: MinorUnits
    currency: Currency


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


class OfferSettlement(Action):
    """Offer both sides a settlement: the buyer gets this much if both accept; nobody is paid yet."""

    action_name: ClassVar[str] = "offer_settlement"
    title: ClassVar[str] = "Offer both sides a settlement"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = OfferFacts

    amount_minor: MinorUnits
    currency: Currency


class SettleAsAgreed(Action):
    """Pay what both sides have accepted."""

    action_name: ClassVar[str] = "settle_as_agreed"
    title: ClassVar[str] = "Settle as both sides have agreed"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = AgreedFacts

    amount_minor: MinorUnits
    currency: Currency


class NoteAnswer(Action):
    """Take note of an answer and go on waiting; nobody is paid."""

    action_name: ClassVar[str] = "note_answer"
    title: ClassVar[str] = "Take note of an answer and wait for the other side"
    resource: ClassVar[type[Entity]] = DisputedOrder
    facts: ClassVar[type[Facts]] = AnswerFacts
