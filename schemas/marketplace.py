"""Events of a marketplace: disputes between a buyer and a seller."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.model import Count, Event, Identifier, Model, Money, Percent, Text


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
