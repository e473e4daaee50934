"""Events of delivery promises: who asks for one, what they say to an offer, and what a zone can still take.

Every event is keyed by the zone, so that one partition is the only writer of that zone's ledger of capacity. Fees are
in the zone's currency; one below zero is paid to the customer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, model_validator

from jurat.schemas.model import Count, Event, Identifier, Model, Money, Percent, Timestamp

MAX_REPORTED_SLOTS: Final = 32
"""Slots of one report: four a day for a week, and some to spare."""

MAX_UNITS: Final = 1_000
"""Units of capacity that one order takes; a van holds a tenth of it."""

MAX_FEE_MINOR: Final = 1_000_000
"""Ten thousand: far above any fee, far below where sums of fees would overflow."""

Units = Annotated[int, Field(ge=1, le=MAX_UNITS)]
Fee = Annotated[int, Field(ge=-MAX_FEE_MINOR, le=MAX_FEE_MINOR)]
Tariff = Annotated[int, Field(ge=0, le=MAX_FEE_MINOR)]


class Tier(StrEnum):
    """What kind of customer asks."""

    STANDARD = "standard"
    PLUS = "plus"


class DeliveryPromiseRequested(Event):
    """A customer wants to be told when an order will come.

    Attributes:
        zone_id: where it goes; the key.
        request_id: what the offers and answers name.
        value: what the order is worth.
        units: how much of a slot it takes.
        wished_by: the customer would like to have it by then.
        late_before: how many of the customer's deliveries came later than promised.
    """

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "zone_id"

    zone_id: Identifier
    request_id: Identifier
    customer_id: Identifier
    order_id: Identifier
    value: Money
    tier: Tier
    units: Units
    wished_by: Timestamp
    late_before: Count


class PromiseAnswer(StrEnum):
    """What a customer says to an offer."""

    ACCEPTED = "accepted"
    COUNTERED = "countered"
    DECLINED = "declined"


class PromiseAnswered(Event):
    """A customer answers an offer.

    Attributes:
        zone_id: the key, as of the request.
        request_id: what was asked for.
        to_round: the offer that they answer to: an answer to an earlier one is none to a later.
        slot_id: with `countered`, the slot that they would take; None for the offered one.
        fee_minor: with `countered`, the fee that they would pay; None where they name none.
    """

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "zone_id"

    zone_id: Identifier
    request_id: Identifier
    answer: PromiseAnswer
    to_round: Annotated[int, Field(ge=1, le=100)]
    slot_id: Identifier | None = None
    fee_minor: Fee | None = None

    @model_validator(mode="after")
    def _answers(self) -> PromiseAnswered:
        names = self.slot_id is not None or self.fee_minor is not None
        if (self.answer is PromiseAnswer.COUNTERED) != names:
            raise ValueError(
                "got a counter-offer without a slot or a fee, or one of them without it; they go together"
            )
        return self


class SlotCapacity(Model):
    """What one slot can take in all, what is promised in it included; and what it costs as a rule."""

    slot_id: Identifier
    starts_at: Timestamp
    ends_at: Timestamp
    capacity: Count
    tariff_minor: Tariff

    @model_validator(mode="after")
    def _forward(self) -> SlotCapacity:
        if self.ends_at <= self.starts_at:
            raise ValueError("got a slot that ends before it starts")
        return self


class CapacityReported(Event):
    """What a zone's slots can take, and how busy the zone is; the latest report counts, for all slots."""

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "zone_id"

    zone_id: Identifier
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    load_percent: Percent
    slots: Annotated[tuple[SlotCapacity, ...], Field(max_length=MAX_REPORTED_SLOTS)]

    @model_validator(mode="after")
    def _once(self) -> CapacityReported:
        if len({slot.slot_id for slot in self.slots}) != len(self.slots):
            raise ValueError("got a slot twice, expected each once")
        return self
