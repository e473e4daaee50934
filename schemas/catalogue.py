"""Every event type that this process knows, by its name: those of jurat, and those that a project adds.

Rules upheld here: a name has one class, for as long as the process lives; types are added before anything is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from jurat.schemas import commerce, commerce_promises, marketplace, notices, simulation, subscriptions
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.avro import Written, fingerprint_of
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError, UnknownSchema
from jurat.schemas.forgetting import ForgetRequested
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
    commerce_promises.CapacityReported,
    commerce_promises.DeliveryPromiseRequested,
    commerce_promises.PromiseAnswered,
    marketplace.DisputeOpened,
    marketplace.SearchPerformed,
    marketplace.SellerActivityReported,
    marketplace.SettlementAnswered,
    notices.NoticeAnswered,
    notices.NoticeDue,
    simulation.DisputeOutcome,
    simulation.FulfilmentOutcome,
    simulation.RetryOutcome,
    subscriptions.CancellationRequested,
    subscriptions.CardUpdated,
    subscriptions.CareNeedDeclared,
    subscriptions.ContactChanged,
    subscriptions.IndustryDeclared,
    subscriptions.OnboardingTicketRaised,
    subscriptions.RenewalApproaching,
    subscriptions.RenewalFailed,
    subscriptions.RenewalRecovered,
    subscriptions.SuggestionAnswered,
    subscriptions.UsageDropped,
    subscriptions.UsageReported,
    Decision,
    ForgetRequested,
    SignedRecord,
    TimerFired,
)

_BY_NAME: Final[dict[str, type[Event]]] = {event.event_type(): event for event in EVENTS}
_BY_FINGERPRINT: Final[dict[bytes, Written]] = {
    fingerprint_of(event, lacks): Written(event, lacks)
    for event in EVENTS
    for lacks in range(event.added_fields + 1)
}


def add(events: Iterable[type[Event]]) -> None:
    """Make event types known to this process; one that is known already changes nothing.

    Raises:
        ConfigurationError: another class has the name.
        SchemaError: a field has a type that Avro cannot carry exactly.
    """
    for event in events:
        known = _BY_NAME.get(event.event_type(), event)
        if known is not event:
            raise ConfigurationError(
                f"got the event type {event.event_type()} of {event.__module__}, expected another name: it is that of"
                f" {known.__module__}.{known.__name__}; give the class another name or namespace"
            )
        for lacks in range(event.added_fields + 1):
            _BY_FINGERPRINT[fingerprint_of(event, lacks)] = Written(event, lacks)
        _BY_NAME[event.event_type()] = event


def known() -> Collection[type[Event]]:
    """Every event type that this process knows."""
    return _BY_NAME.values()


def by_name(name: str) -> type[Event]:
    """Find an event type by its name.

    Raises:
        UnknownSchema: there is none; the message lists a few that are.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(sorted(_BY_NAME))
        raise UnknownSchema(f"got the event type {name!r}, expected one of: {known}") from None


def by_fingerprint(fingerprint: bytes) -> Written:
    """Find an event type, and which of its schemas, by a CRC-64-AVRO fingerprint, in wire order.

    Raises:
        UnknownSchema: no schema of this release has it.
    """
    try:
        return _BY_FINGERPRINT[fingerprint]
    except KeyError:
        raise UnknownSchema(
            f"got bytes written with the Avro schema {fingerprint.hex()}, which this release does not know;"
            " the writer is newer or not a jurat publisher"
        ) from None
