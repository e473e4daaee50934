"""The views of a shop that after-sales decisions read: customers, variants and orders.

Rules upheld here: a view is folded from published events alone; the fold of an order does not depend on how events
of different topics interleave, and an event that is published twice changes nothing the second time. Not here: what
decisions change (`after_sales_account.py`).

A product that is listed again without one of its variants leaves that variant's document as it was: a shop takes a
variant off sale by listing it with `available` false.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from jurat.agents.agent import ContextTable, GlobalTable
from jurat.schemas.commerce import (
    CustomerRegistered,
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderPlaced,
    PaymentCaptured,
    PaymentRefunded,
    ProductListed,
)
from jurat.schemas.model import Event, Identifier, Model, Money

CUSTOMERS = "customers"
VARIANTS = "variants"
ORDERS = "orders"

M = TypeVar("M", bound=Model)
Movement = TypeVar("Movement", PaymentCaptured, PaymentRefunded)


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class VariantDocument(Model):
    """What can be bought under an item id."""

    item_id: Identifier
    product_id: Identifier
    available: bool
    price: Money


class OrderDocument(Model):
    """An order as its events tell it.

    Attributes:
        order_id: the view's key.
        placed: the order itself; None while only a payment or a parcel of it is known.
        captured: charges that succeeded, sorted by payment id, each once.
        refunded: refunds, sorted by payment id, each once.
        dispatched: whether a parcel left.
        delivered: whether the carrier reported the arrival.
        cancelled: whether the shop cancelled it.
    """

    order_id: Identifier
    placed: OrderPlaced | None = None
    captured: tuple[PaymentCaptured, ...] = ()
    refunded: tuple[PaymentRefunded, ...] = ()
    dispatched: bool = False
    delivered: bool = False
    cancelled: bool = False

    @property
    def status(self) -> OrderStatus:
        """Where the order stands: what is further along counts, so the order of arrival does not."""
        if self.cancelled:
            return OrderStatus.CANCELLED
        if self.delivered:
            return OrderStatus.DELIVERED
        return OrderStatus.PROCESSED if self.dispatched else OrderStatus.PENDING

    @property
    def net_paid_minor(self) -> int:
        """What the customer paid for the order and did not get back, in minor units."""
        captured = sum(charge.amount.amount_minor for charge in self.captured)
        return captured - sum(refund.amount.amount_minor for refund in self.refunded)


def customer_keys(event: Event) -> tuple[str, ...]:
    """The customer that an event registers."""
    return (event.customer_id,) if isinstance(event, CustomerRegistered) else ()


def fold_customer(document: Model | None, event: Event, _key: str) -> Model:
    """The latest registration counts."""
    return event if isinstance(event, CustomerRegistered) else _kept(document, event)


def variant_keys(event: Event) -> tuple[str, ...]:
    """Every variant of a listed product."""
    return tuple(variant.item_id for variant in event.variants) if isinstance(event, ProductListed) else ()


def fold_variant(document: Model | None, event: Event, key: str) -> Model:
    """The latest listing counts."""
    if isinstance(event, ProductListed):
        for variant in event.variants:
            if variant.item_id == key:
                return VariantDocument(
                    item_id=key,
                    product_id=event.product_id,
                    available=variant.available,
                    price=variant.price,
                )
    return _kept(document, event)


def order_keys(event: Event) -> tuple[str, ...]:
    """The order that an event tells about."""
    if isinstance(
        event,
        OrderPlaced | OrderCancelled | PaymentCaptured | PaymentRefunded | OrderDispatched | OrderDelivered,
    ):
        return (event.order_id,)
    return ()


def fold_order(document: Model | None, event: Event, key: str) -> Model:
    """Add what an event tells; each kind of event fills its own field, so kinds may arrive in any order."""
    order = document if isinstance(document, OrderDocument) else OrderDocument(order_id=key)
    match event:
        case OrderPlaced():
            return order.model_copy(update={"placed": event})
        case OrderCancelled():
            return order.model_copy(update={"cancelled": True})
        case PaymentCaptured():
            return order.model_copy(update={"captured": _with(order.captured, event)})
        case PaymentRefunded():
            return order.model_copy(update={"refunded": _with(order.refunded, event)})
        case OrderDispatched():
            return order.model_copy(update={"dispatched": True})
        case OrderDelivered():
            return order.model_copy(update={"delivered": True})
        case _:
            return _kept(document, event)


def _with(movements: tuple[Movement, ...], one: Movement) -> tuple[Movement, ...]:
    kept: dict[str, Movement] = {movement.payment_id: movement for movement in movements}
    kept[one.payment_id] = one
    return tuple(kept[payment_id] for payment_id in sorted(kept))


def _kept(document: Model | None, event: Event) -> Model:
    if document is None:
        raise TypeError(
            f"got a {type(event).__name__} that this view has no key for, expected keys() to be asked first"
        )
    return document


CUSTOMERS_VIEW = ContextTable(
    name=CUSTOMERS,
    topics=("commerce.customers",),
    keys=customer_keys,
    fold=fold_customer,
    document=CustomerRegistered,
)
VARIANTS_VIEW = GlobalTable(
    name=VARIANTS,
    topics=("commerce.products",),
    keys=variant_keys,
    fold=fold_variant,
    document=VariantDocument,
)
ORDERS_VIEW = GlobalTable(
    name=ORDERS,
    topics=("commerce.orders", "commerce.payments", "commerce.deliveries"),
    keys=order_keys,
    fold=fold_order,
    document=OrderDocument,
)
"""Global, though its events are keyed by customer: a request may name an order of somebody else, and is then denied for
that, not rejected as if the order did not exist."""

VIEWS = (CUSTOMERS_VIEW, ORDERS_VIEW, VARIANTS_VIEW)
