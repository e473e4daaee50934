"""Every event type that jurat knows, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from jurat.schemas import commerce, marketplace, simulation
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.avro import Written, fingerprint_of
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import UnknownSchema
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired

EVENTS: tuple[type[Event], ...] = (
    ApprovalAnswered,
    ApprovalRequested,
    commerce.AfterSalesRequested,
    commerce.CustomerProfile,
    commerce.CustomerRegistered,
    commerce.OrderCancelled,
    commerce.OrderDelivered,
    commerce.OrderDispatched,
    commerce.OrderPlaced,
    commerce.PaymentCaptured,
    commerce.PaymentFailed,
    commerce.PaymentRefunded,
    commerce.ProductListed,
    commerce.WarehouseReported,
    marketplace.DisputeOpened,
    marketplace.SearchPerformed,
    marketplace.SellerActivityReported,
    simulation.DisputeOutcome,
    simulation.FulfilmentOutcome,
    simulation.RetryOutcome,
    Decision,
    SignedRecord,
    TimerFired,
)

BY_NAME: Mapping[str, type[Event]] = {event.event_type(): event for event in EVENTS}
BY_FINGERPRINT: Mapping[bytes, Written] = {
    fingerprint_of(event, lacks): Written(event, lacks)
    for event in EVENTS
    for lacks in range(event.added_fields + 1)
}


def by_name(name: str) -> type[Event]:
    """Find an event type by its name.

    Raises:
        UnknownSchema: there is none; the message lists a few that are.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        known = ", ".join(sorted(BY_NAME))
        raise UnknownSchema(f"got the event type {name!r}, expected one of: {known}") from None


def by_fingerprint(fingerprint: bytes) -> Written:
    """Find an event type, and which of its schemas, by a CRC-64-AVRO fingerprint, in wire order.

    Raises:
        UnknownSchema: no schema of this release has it.
    """
    try:
        return BY_FINGERPRINT[fingerprint]
    except KeyError:
        raise UnknownSchema(
            f"got bytes written with the Avro schema {fingerprint.hex()}, which this release does not know;"
            " the writer is newer or not a jurat publisher"
        ) from None
