"""What goes wrong with simulated orders, who complains, and what both sides can show.

Rules upheld here: the cause is drawn first; who is right follows from it; evidence and words are drawn from
who is right and are sometimes misleading (a parcel is scanned at the wrong door, a liar has a photo).
Sellers' quality and customers' honesty make disputes likelier; neither settles one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Evidence, Party, Statement
from jurat.schemas.simulation import DisputeCause, DisputeOutcome
from jurat.streams.simulator_customers import Customer, Honesty
from jurat.streams.simulator_draws import Draws
from jurat.streams.simulator_words import HOSTILE_PER_MILLE, write_hostile, write_statement
from jurat.streams.simulator_world import Seller, euros

BUYER_IS_RIGHT = frozenset(
    (DisputeCause.PARCEL_LOST, DisputeCause.PARCEL_LATE, DisputeCause.SELLER_FAULT, DisputeCause.STOLEN_CARD)
)

_HOURS_PER_DAY = 24

_COMPLAINS_PER_MILLE = {
    DisputeCause.PARCEL_LOST: 850,
    DisputeCause.PARCEL_LATE: 100,
    DisputeCause.SELLER_FAULT: 420,
    DisputeCause.STOLEN_CARD: 500,
}
_FALSE_CLAIM_PER_MILLE = 120
_REMORSE_PER_MILLE = 8

_CATEGORIES = {
    DisputeCause.PARCEL_LOST: ((DisputeCategory.NOT_RECEIVED, 1),),
    DisputeCause.PARCEL_LATE: ((DisputeCategory.NOT_RECEIVED, 1),),
    DisputeCause.SELLER_FAULT: ((DisputeCategory.NOT_AS_DESCRIBED, 55), (DisputeCategory.DAMAGED, 45)),
    DisputeCause.STOLEN_CARD: ((DisputeCategory.UNAUTHORISED, 1),),
    DisputeCause.FALSE_CLAIM: (
        (DisputeCategory.NOT_RECEIVED, 45),
        (DisputeCategory.NOT_AS_DESCRIBED, 15),
        (DisputeCategory.DAMAGED, 20),
        (DisputeCategory.UNAUTHORISED, 20),
    ),
    DisputeCause.REMORSE: ((DisputeCategory.NOT_AS_DESCRIBED, 75), (DisputeCategory.DAMAGED, 25)),
}


class EvidenceRule(NamedTuple):
    """How likely a piece of evidence is, per mille, and for whom it speaks.

    Attributes:
        right_for_buyer: the buyer is right and it speaks for the buyer.
        right_for_seller: the buyer is right and it speaks for the seller.
        wrong_for_buyer: the seller is right and it speaks for the buyer.
        wrong_for_seller: the seller is right and it speaks for the seller.
    """

    kind: str
    party: Party
    right_for_buyer: int
    right_for_seller: int
    wrong_for_buyer: int
    wrong_for_seller: int


_EVIDENCE = {
    DisputeCategory.NOT_RECEIVED: (
        EvidenceRule("tracking_scan", Party.CARRIER, 620, 160, 90, 740),
        EvidenceRule("delivery_signature", Party.CARRIER, 0, 50, 0, 420),
        EvidenceRule("neighbour_statement", Party.BUYER, 340, 0, 150, 0),
        EvidenceRule("proof_of_postage", Party.SELLER, 0, 430, 0, 800),
    ),
    DisputeCategory.NOT_AS_DESCRIBED: (
        EvidenceRule("photo", Party.BUYER, 800, 0, 420, 0),
        EvidenceRule("listing_snapshot", Party.SELLER, 160, 260, 40, 650),
        EvidenceRule("chat_log", Party.SELLER, 120, 200, 60, 500),
        EvidenceRule("picking_record", Party.SELLER, 120, 120, 20, 480),
    ),
    DisputeCategory.DAMAGED: (
        EvidenceRule("photo", Party.BUYER, 850, 0, 480, 0),
        EvidenceRule("unopened_parcel_photo", Party.BUYER, 400, 0, 90, 0),
        EvidenceRule("damage_report", Party.CARRIER, 420, 80, 60, 360),
        EvidenceRule("packing_photo", Party.SELLER, 0, 300, 0, 680),
    ),
    DisputeCategory.UNAUTHORISED: (
        EvidenceRule("police_report", Party.BUYER, 520, 0, 90, 0),
        EvidenceRule("card_block_notice", Party.BUYER, 560, 0, 120, 0),
        EvidenceRule("device_match", Party.SELLER, 60, 120, 20, 660),
        EvidenceRule("login_record", Party.SELLER, 140, 160, 40, 560),
    ),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A dispute that will be opened.

    Attributes:
        opens_s: when, in seconds since the epoch.
        delivered_s: when the parcel had arrived by then, if it had.
    """

    order: OrderPlaced
    customer: Customer
    seller: Seller
    cause: DisputeCause
    category: DisputeCategory
    opens_s: int
    delivered_s: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a delivery ended: `arrived_s` is None for a lost parcel; `due_s` is when it was promised."""

    due_s: int
    left_s: int
    arrived_s: int | None


class Disputes:
    """Draws complaints, and what is said and shown in them.

    Args:
        seed: the simulation's seed.
        tag: what makes this run's ids its own.
    """

    def __init__(self, seed: int, tag: str) -> None:
        self._causes = Draws(seed, "disputes")
        self._refunds = Draws(seed, "fair-refunds")
        self._evidence = Draws(seed, "evidence")
        self._words = Draws(seed, "words")
        self._tag = tag
        self._count = 0

    def complain(
        self, order: OrderPlaced, *, customer: Customer, seller: Seller, delivery: Delivery
    ) -> Complaint | None:
        """Draw whether a paid order ends in a dispute, and why."""
        draws = self._causes
        cause = self._cause(customer, seller, delivery)
        if cause is None:
            return None
        category = draws.weighted(_CATEGORIES[cause])
        if delivery.arrived_s is None or cause is DisputeCause.PARCEL_LATE:
            # Before the parcel leaves, the shop would be asked, and not the marketplace.
            opens_s = max(delivery.due_s, delivery.left_s) + draws.between(18, 96) * 3600
        else:
            opens_s = delivery.arrived_s + 3600 + draws.wait(4 * _HOURS_PER_DAY * 3600)
        # Nobody misses a parcel that is on time: a late one is disputed while it is under way.
        arrived = delivery.arrived_s is not None and delivery.arrived_s <= opens_s
        delivered_s = delivery.arrived_s if arrived else None
        return Complaint(order, customer, seller, cause, category, opens_s, delivered_s)

    def _cause(self, customer: Customer, seller: Seller, delivery: Delivery) -> DisputeCause | None:
        draws = self._causes
        faulty = draws.happens(seller.fault_per_mille)
        lies = customer.honesty is Honesty.OPPORTUNIST and draws.happens(_FALSE_CLAIM_PER_MILLE)
        regrets = draws.happens(_REMORSE_PER_MILLE)
        if customer.honesty is Honesty.THIEF:
            happened = DisputeCause.STOLEN_CARD
        elif delivery.arrived_s is None:
            happened = DisputeCause.PARCEL_LOST
        elif lies:
            return DisputeCause.FALSE_CLAIM
        elif faulty:
            happened = DisputeCause.SELLER_FAULT
        elif regrets:
            return DisputeCause.REMORSE
        elif delivery.arrived_s > delivery.due_s + 24 * 3600:
            happened = DisputeCause.PARCEL_LATE
        else:
            return None
        return happened if draws.happens(_COMPLAINS_PER_MILLE[happened]) else None

    def open(self, complaint: Complaint) -> tuple[DisputeOpened, DisputeOutcome]:
        """Open a dispute: the event, and the truth about it."""
        self._count += 1
        dispute_id = f"d-{self._tag}-{self._count:05d}"
        buyer_right = complaint.cause in BUYER_IS_RIGHT
        amount_minor = complaint.order.total.amount_minor
        days = None
        if complaint.delivered_s is not None:
            days = (complaint.opens_s - complaint.delivered_s) // (_HOURS_PER_DAY * 3600)
        opened = DisputeOpened(
            dispute_id=dispute_id,
            order_id=complaint.order.order_id,
            customer_id=complaint.customer.customer_id,
            seller_id=complaint.seller.seller_id,
            amount=euros(amount_minor),
            category=complaint.category,
            statements=self._statements(complaint, days),
            evidence=self._show(complaint.category, right=Party.BUYER if buyer_right else Party.SELLER),
            days_since_delivery=days,
            seller_dispute_rate_percent=complaint.seller.dispute_rate_percent,
            buyer_prior_disputes=complaint.customer.disputes,
        )
        complaint.customer.disputes += 1
        outcome = DisputeOutcome(
            dispute_id=dispute_id,
            cause=complaint.cause,
            right=Party.BUYER if buyer_right else Party.SELLER,
            fair_refund_minor=self._fair_refund_minor(complaint.cause, amount_minor),
        )
        return opened, outcome

    def _fair_refund_minor(self, cause: DisputeCause, amount_minor: int) -> int:
        if cause not in BUYER_IS_RIGHT:
            return 0
        if cause is DisputeCause.PARCEL_LATE:
            return amount_minor * self._refunds.between(10, 30) // 100
        if cause is DisputeCause.SELLER_FAULT and self._refunds.happens(400):
            return amount_minor * self._refunds.between(20, 60) // 100
        return amount_minor

    def _show(self, category: DisputeCategory, *, right: Party) -> tuple[Evidence, ...]:
        shown: list[Evidence] = []
        for rule in _EVIDENCE[category]:
            for_buyer, for_seller = (
                (rule.right_for_buyer, rule.right_for_seller)
                if right is Party.BUYER
                else (rule.wrong_for_buyer, rule.wrong_for_seller)
            )
            drawn = self._evidence.below(1000)
            if drawn < for_buyer:
                shown.append(Evidence(party=rule.party, kind=rule.kind, supports=Party.BUYER))
            elif drawn < for_buyer + for_seller:
                shown.append(Evidence(party=rule.party, kind=rule.kind, supports=Party.SELLER))
        return tuple(shown)

    def _statements(self, complaint: Complaint, days: int | None) -> tuple[Statement, ...]:
        amount_minor = complaint.order.total.amount_minor
        facts = {
            "item": complaint.order.items[0].name,
            "days": str(days + 2 if days is not None else self._words.between(3, 8)),
            "amount": f"{amount_minor // 100}.{amount_minor % 100:02d} EUR",
            "order": complaint.order.order_id,
        }
        buyer_right = complaint.cause in BUYER_IS_RIGHT
        said = [
            Statement(
                party=party,
                text=write_statement(
                    self._words, party, complaint.category, in_the_right=in_the_right, facts=facts
                ),
            )
            for party, in_the_right in ((Party.BUYER, buyer_right), (Party.SELLER, not buyer_right))
        ]
        if self._words.happens(HOSTILE_PER_MILLE):
            party = self._words.pick((Party.BUYER, Party.BUYER, Party.SELLER))
            said.append(Statement(party=party, text=write_hostile(self._words, party, facts)))
        return tuple(said)
