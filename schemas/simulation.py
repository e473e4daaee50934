"""What really happened in a simulated marketplace: the answers that decisions can be scored against.

These events travel on their own topic and are never read by an agent. A real shop has none of them: it learns
some of these answers weeks later, and most of them never.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.marketplace import Party
from jurat.schemas.model import Count, Event, Identifier, Model, Timestamp

MAX_WINDOWS = 8
"""Windows of one payment: a charge that is still open after that many paydays has been written off."""

MAX_WAREHOUSES = 100
"""Warehouses of one shop in one outcome."""


class SimulationEvent(Event):
    """Base of this module's events."""

    namespace: ClassVar[str] = "simulation"


class FailureCause(StrEnum):
    """Why a charge failed, whatever the code said."""

    AWAITING_FUNDS = "awaiting_funds"
    NO_FUNDS = "no_funds"
    ISSUER_SOFT_DECLINE = "issuer_soft_decline"
    ISSUER_HARD_DECLINE = "issuer_hard_decline"
    AWAITING_CUSTOMER = "awaiting_customer"
    CUSTOMER_GONE = "customer_gone"
    PROCESSOR_OUTAGE = "processor_outage"
    FRAUD = "fraud"


class RetryWindow(Model):
    """A time in which another attempt would succeed, from `opens_at` up to but without `closes_at`."""

    opens_at: Timestamp
    closes_at: Timestamp | None = None


class RetryOutcome(SimulationEvent):
    """What another attempt at a failed payment would have met, at any time.

    Attributes:
        payment_id: the payment, of one or more `PaymentFailed` events.
        cause: why it failed.
        windows: when an attempt would succeed, in order and apart; empty means never.
        fraudulent: the payer is not who he says: a successful attempt would be charged back.
        already_charged: the first attempt went through unseen: a successful attempt would charge twice.
    """

    key_field: ClassVar[str] = "payment_id"

    payment_id: Identifier
    cause: FailureCause
    windows: Annotated[tuple[RetryWindow, ...], Field(max_length=MAX_WINDOWS)]
    fraudulent: bool
    already_charged: bool

    @property
    def ever(self) -> bool:
        """Whether there is any time at which an attempt would succeed."""
        return bool(self.windows)

    def succeeds_at(self, moment: datetime) -> bool:
        """Tell whether an attempt at this moment would succeed."""
        return any(
            window.opens_at <= moment and (window.closes_at is None or moment < window.closes_at)
            for window in self.windows
        )


class DisputeCause(StrEnum):
    """What really happened before a dispute."""

    PARCEL_LOST = "parcel_lost"
    PARCEL_LATE = "parcel_late"
    SELLER_FAULT = "seller_fault"
    STOLEN_CARD = "stolen_card"
    FALSE_CLAIM = "false_claim"
    REMORSE = "remorse"


class DisputeOutcome(SimulationEvent):
    """Who is right in a dispute, and what a judge who knows everything would refund.

    Attributes:
        dispute_id: the dispute.
        cause: what really happened.
        right: buyer or seller.
        fair_refund_minor: from 0 to the disputed amount, in its currency's minor unit.
    """

    key_field: ClassVar[str] = "dispute_id"

    dispute_id: Identifier
    cause: DisputeCause
    right: Party
    fair_refund_minor: Count


class WarehouseOutcome(Model):
    """How long an order would have taken from one warehouse.

    Attributes:
        warehouse_id: the warehouse.
        in_stock: it had every item; if not, `handling_hours` includes the wait for what was missing.
        handling_hours: from the order to the carrier.
        transit_hours: from the carrier to the customer.
    """

    warehouse_id: Identifier
    in_stock: bool
    handling_hours: Count
    transit_hours: Count


class FulfilmentOutcome(SimulationEvent):
    """How long an order would have taken from every warehouse that there is."""

    key_field: ClassVar[str] = "order_id"

    order_id: Identifier
    warehouses: Annotated[tuple[WarehouseOutcome, ...], Field(min_length=1, max_length=MAX_WAREHOUSES)]
