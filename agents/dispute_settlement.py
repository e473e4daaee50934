"""Talks about a settlement: offer, answer, next offer, agreement, silence.

Rules upheld here: an offer lies between nothing and the disputed amount; each answer moves the next offer towards who
gave it, and where both sides have named an amount it lies between them; three offers are made at most; what both have
accepted is paid and nothing else; when the talks end without that, the dispute is decided on its evidence, and an offer
that one side accepted speaks for itself. Not here: the state (`dispute_desk.py`), what is allowed (the policies).
"""

from __future__ import annotations

from typing import Final

from jurat.agents.agent import Candidate, Signal
from jurat.agents.dispute_actions import NoteAnswer, OfferSettlement, PartialRefund, SettleAsAgreed
from jurat.agents.dispute_desk import MAX_ROUNDS, OpenOffer
from jurat.schemas.marketplace import Party, SettlementAnswer, SettlementAnswered

STEP: Final = 10
"""Percent of the disputed amount by which an offer moves towards a side that refused without naming an amount."""

PER_HUNDRED: Final = 100

RIGHT, SPEED = "right_side", "speed"


def first_offer(amount_minor: int, balance: int) -> int | None:
    """What to offer first: half, moved by what speaks for either side; None for an amount that cannot be parted.

    Args:
        amount_minor: the disputed amount.
        balance: points for the buyer, negative for the seller.
    """
    percent = max(10, min(90, PER_HUNDRED // 2 + balance // 2))
    return _within(amount_minor * percent // PER_HUNDRED, amount_minor)


def next_offer(offer: OpenOffer, answer: SettlementAnswered) -> int | None:
    """What to offer after a refusal or a counter-offer; None where there is nothing new to offer."""
    whole, last = offer.order.amount_minor, offer.amount_minor
    if offer.buyer_asks is not None and offer.seller_bids is not None:
        amount = (offer.buyer_asks + offer.seller_bids) // 2
    elif answer.counter_minor is not None:
        amount = (last + answer.counter_minor) // 2
    else:
        step = max(1, whole * STEP // PER_HUNDRED)
        amount = last + (step if answer.party is Party.BUYER else -step)
    found = _within(amount, whole)
    return None if found == last else found


def talks(offer: OpenOffer, answer: SettlementAnswered) -> tuple[Candidate, ...]:
    """What may follow an answer within the talks; the first is the best.

    Args:
        offer: as it stands after the answer.
        answer: the answer.
    """
    currency = offer.order.currency
    if offer.agreed:
        agreed = SettleAsAgreed(amount_minor=offer.amount_minor, currency=currency)
        return (Candidate(agreed, (Signal("both sides have accepted", 120, RIGHT),)),)
    if answer.answer is SettlementAnswer.ACCEPTED or answer.to_minor != offer.amount_minor:
        return (Candidate(NoteAnswer(), (Signal("the other side has yet to answer", 100),)),)
    amount = next_offer(offer, answer) if offer.round < MAX_ROUNDS else None
    if amount is None:
        return ()
    another = OfferSettlement(amount_minor=amount, currency=currency)
    return (
        Candidate(
            another,
            (Signal("both sides still talk", 90, RIGHT), Signal("another round", -10 * offer.round, SPEED)),
        ),
    )


def ended(offer: OpenOffer) -> tuple[Candidate, ...]:
    """What an offer that one side accepted speaks for once the talks are over."""
    if not (offer.buyer_accepts or offer.seller_accepts):
        return ()
    who = "buyer" if offer.buyer_accepts else "seller"
    part = PartialRefund(amount_minor=offer.amount_minor, currency=offer.order.currency)
    return (Candidate(part, (Signal(f"the {who} has accepted it", 60, RIGHT),)),)


def _within(amount: int, whole: int) -> int | None:
    """The amount, kept between nothing and the whole; None where nothing lies between."""
    return None if whole < 2 else max(1, min(whole - 1, amount))
