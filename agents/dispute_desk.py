"""What the dispute mediator keeps for one buyer: settled disputes, and offers that both sides have yet to accept.

Rules upheld here: pure values; an offer holds the dispute in numbers, so that it can be decided when the talks end
without the event that opened it; a dispute has one offer at most; an answer counts for the offer that it names and no
other; both lists are bounded. Not here: what is offered (`dispute_settlement.py`), what is allowed (the policies).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from jurat.agents.dispute_actions import DisputedOrder
from jurat.schemas.marketplace import Party, SettlementAnswer, SettlementAnswered
from jurat.schemas.model import Count, Identifier, MinorUnits, Model, Timestamp

MAX_SETTLED: Final = 200
"""Settled disputes remembered per buyer: far above the number at which policies call a person to refund."""

MAX_OFFERS: Final = 16
"""Offers of one buyer that may be open: as many as a key may have timers."""

MAX_ROUNDS: Final = 3
"""Offers in one dispute; the policies say the same."""

ANSWER_WITHIN: Final = timedelta(hours=48)
"""How long an offer stands: both sides have seen a working day."""

TIMER: Final = "offer/"
"""Begins the name of the timer that ends an offer; the dispute's id follows."""

MAX_NAMED: Final = 90
"""The longest id that stands in a timer's name, which has 100 letters."""


class OpenOffer(Model):
    """An offer that stands.

    Attributes:
        order: the dispute in numbers, as it was opened.
        pieces_from_buyer: pieces of evidence that the buyer handed in.
        pieces_from_seller: those of the seller.
        amount_minor: what the buyer would get.
        round: 1 for the first offer of the dispute.
        expires_at: when it ends.
        buyer_accepts: whether the buyer has accepted.
        seller_accepts: whether the seller has accepted.
        buyer_asks: what the buyer would accept, where they said so in any round.
        seller_bids: what the seller would give, where they said so in any round.
    """

    order: DisputedOrder
    pieces_from_buyer: Count
    pieces_from_seller: Count
    amount_minor: MinorUnits
    round: Count
    expires_at: Timestamp
    buyer_accepts: bool = False
    seller_accepts: bool = False
    buyer_asks: MinorUnits | None = None
    seller_bids: MinorUnits | None = None

    @property
    def agreed(self) -> bool:
        """Whether both sides have accepted."""
        return self.buyer_accepts and self.seller_accepts


class BuyerDesk(Model):
    """The mediator's state for one buyer, every list with the latest last.

    Attributes:
        settled: disputes that were settled.
        talked: disputes whose talks ended without a settlement; they do not begin again.
        offers: offers that stand.
    """

    settled: Annotated[tuple[Identifier, ...], Field(max_length=MAX_SETTLED)] = ()
    talked: Annotated[tuple[Identifier, ...], Field(max_length=MAX_SETTLED)] = ()
    offers: Annotated[tuple[OpenOffer, ...], Field(max_length=MAX_OFFERS)] = ()

    def offer(self, dispute_id: str) -> OpenOffer | None:
        """The offer that stands in a dispute."""
        return next((offer for offer in self.offers if offer.order.id == dispute_id), None)

    def settle(self, dispute_id: str) -> BuyerDesk:
        """The desk after a dispute was settled; its offer ends."""
        others = tuple(name for name in self.settled if name != dispute_id)
        return self.close(dispute_id).model_copy(update={"settled": (*others, dispute_id)[-MAX_SETTLED:]})

    def close(self, dispute_id: str) -> BuyerDesk:
        """The desk without the dispute's offer."""
        left = tuple(offer for offer in self.offers if offer.order.id != dispute_id)
        return self.model_copy(update={"offers": left})

    def rounds(self, dispute_id: str) -> int:
        """How many offers were made in a dispute; all that may be made where its talks came to nothing."""
        offer = self.offer(dispute_id)
        if offer is not None:
            return offer.round
        return MAX_ROUNDS if dispute_id in self.talked else 0

    def give_up(self, dispute_id: str) -> BuyerDesk:
        """The desk after talks that came to nothing; the same where there were none."""
        if self.offer(dispute_id) is None:
            return self
        others = tuple(name for name in self.talked if name != dispute_id)
        return self.close(dispute_id).model_copy(update={"talked": (*others, dispute_id)[-MAX_SETTLED:]})

    def put(self, offer: OpenOffer) -> BuyerDesk:
        """The desk with an offer in the place of the one that stood in its dispute."""
        others = self.close(offer.order.id).offers
        return BuyerDesk(settled=self.settled, talked=self.talked, offers=(*others, offer))

    def timers(self) -> Mapping[str, datetime]:
        """When each offer ends, by the name of its timer."""
        return {timer_name(offer.order.id): offer.expires_at for offer in self.offers}


def timer_name(dispute_id: str) -> str:
    """The name of the timer that ends a dispute's offer: the id where it fits, else its digest."""
    if dispute_id.isascii() and dispute_id.isprintable() and len(dispute_id) <= MAX_NAMED:
        return TIMER + dispute_id
    return TIMER + hashlib.sha256(dispute_id.encode()).hexdigest()[:32]


def answered(offer: OpenOffer, answer: SettlementAnswered) -> OpenOffer:
    """The offer after an answer; one to another amount than stands changes nothing."""
    if answer.to_minor != offer.amount_minor:
        return offer
    buyer = answer.party is Party.BUYER
    if answer.answer is SettlementAnswer.ACCEPTED:
        return offer.model_copy(update={"buyer_accepts" if buyer else "seller_accepts": True})
    named = answer.counter_minor
    changes: dict[str, object] = {"buyer_accepts" if buyer else "seller_accepts": False}
    if named is not None:
        changes["buyer_asks" if buyer else "seller_bids"] = named
    return offer.model_copy(update=changes)
