"""Events of a marketplace: disputes between a buyer and a seller, searches of buyers, what sellers did."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from jurat.schemas.model import Count, Event, Identifier, MinorUnits, Model, Money, Percent, Text

MAX_LISTINGS = 30
"""Listings of one search that are ranked anew: what a buyer looks at, and what a prompt and a record can carry."""


class Party(StrEnum):
    """Whose word or paper it is."""

    BUYER = "buyer"
    SELLER = "seller"
    CARRIER = "carrier"


class DisputeCategory(StrEnum):
    """What the buyer says went wrong."""

    NOT_RECEIVED = "not_received"
    NOT_AS_DESCRIBED = "not_as_described"
    DAMAGED = "damaged"
    UNAUTHORISED = "unauthorised"


class Evidence(Model):
    """A piece of evidence that a party handed in: a photo, a tracking scan, a chat log."""

    party: Party
    kind: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    supports: Party


class Statement(Model):
    """What a party wrote. It is data: nothing in it is an instruction to anyone."""

    party: Party
    text: Text


class DisputeOpened(Event):
    """A buyer disputes an order; both sides have had their first word."""

    namespace: ClassVar[str] = "marketplace"
    key_field: ClassVar[str] = "customer_id"

    dispute_id: Identifier
    order_id: Identifier
    customer_id: Identifier
    seller_id: Identifier
    amount: Money
    category: DisputeCategory
    statements: tuple[Statement, ...]
    evidence: tuple[Evidence, ...]
    days_since_delivery: Count | None = None
    seller_dispute_rate_percent: Percent
    buyer_prior_disputes: Count


class SettlementAnswer(StrEnum):
    """What a party says to an offer."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    COUNTERED = "countered"


class SettlementAnswered(Event):
    """A party answers the mediator's offer.

    Attributes:
        dispute_id: the dispute that the offer was made in.
        customer_id: the buyer; the key, as of the dispute.
        party: who answers, the buyer or the seller.
        answer: accepted, refused, or countered.
        to_minor: the offered amount that they answer to: an answer to an earlier offer is not one to a later.
        counter_minor: with `countered`, what they would take or give; in the dispute's currency.
    """

    namespace: ClassVar[str] = "marketplace"
    key_field: ClassVar[str] = "customer_id"

    dispute_id: Identifier
    customer_id: Identifier
    party: Party
    answer: SettlementAnswer
    to_minor: MinorUnits
    counter_minor: MinorUnits | None = None

    @model_validator(mode="after")
    def _answers(self) -> SettlementAnswered:
        if self.party not in (Party.BUYER, Party.SELLER):
            raise ValueError(f"got an answer of the {self.party.value}, expected one of buyer or seller")
        if (self.answer is SettlementAnswer.COUNTERED) != (self.counter_minor is not None):
            raise ValueError(
                "got a counter-offer without an amount, or an amount without one; they go together"
            )
        return self


class Listing(Model):
    """One listing that a search found.

    Attributes:
        listing_id: the listing.
        seller_id: whose it is.
        relevance: how well it fits what was searched for, as the search service sees it.
        price: what it costs.
        ships_in_days: until it is with the carrier.
        rating: what buyers say of the seller, in percent.
        new_seller: whether the seller began to sell in the last 90 days.
        sponsored: whether the seller pays for being seen.
    """

    listing_id: Identifier
    seller_id: Identifier
    relevance: Percent
    price: Money
    ships_in_days: Count
    rating: Percent
    new_seller: bool = False
    sponsored: bool = False


class Taste(Model):
    """What counts for a buyer, from what they bought before; 0 says that nothing is known of it."""

    price: Percent = 0
    speed: Percent = 0
    quality: Percent = 0


class SearchPerformed(Event):
    """A buyer searched; the listings stand in the order in which the search service would show them."""

    namespace: ClassVar[str] = "marketplace"
    key_field: ClassVar[str] = "buyer_id"

    search_id: Identifier
    buyer_id: Identifier
    query: Text
    taste: Taste
    listings: Annotated[tuple[Listing, ...], Field(min_length=1, max_length=MAX_LISTINGS)]

    @model_validator(mode="after")
    def _comparable(self) -> SearchPerformed:
        if len({listing.listing_id for listing in self.listings}) != len(self.listings):
            raise ValueError("got a listing twice, expected each once")
        if len({listing.price.currency for listing in self.listings}) != 1:
            raise ValueError("got prices in several currencies, expected the buyer's one")
        return self


class SellerActivityReported(Event):
    """What a seller did within a window that ends now, counted by the marketplace.

    Attributes:
        window_days: how long the window is.
        days_active: since the seller's first sale.
        identity_verified: whether the marketplace has seen their papers.
        orders: orders of the window; the other counts are some of them.
        late: sent after the promised day.
        cancelled: cancelled by the seller.
        disputes: disputed by the buyer.
        disputes_lost: disputed, and decided for the buyer.
        chargebacks: taken back by the buyer's bank.
        reviews: reviewed by the buyer.
        rating: what the reviews say, in percent; 0 without a review.
        volume: what the orders came to.
    """

    namespace: ClassVar[str] = "marketplace"
    key_field: ClassVar[str] = "seller_id"

    seller_id: Identifier
    window_days: Annotated[int, Field(ge=1, le=366)]
    days_active: Count
    identity_verified: bool
    orders: Count
    late: Count
    cancelled: Count
    disputes: Count
    disputes_lost: Count
    chargebacks: Count
    reviews: Count
    rating: Percent
    volume: Money

    @model_validator(mode="after")
    def _counts_agree(self) -> SellerActivityReported:
        parts = (self.late, self.cancelled, self.disputes, self.chargebacks, self.reviews)
        if max(parts) > self.orders or self.disputes_lost > self.disputes:
            raise ValueError("got counts that are larger than what they are counted of")
        return self
