"""Events of a shop: customers, products, orders, payments, deliveries and after-sales requests.

Every event that concerns a customer is keyed by the customer, so that all that happens to one customer is in order.
The moment of an event is in its CloudEvents envelope, not in here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.model import (
    Address,
    Count,
    Event,
    FreeJson,
    Identifier,
    MapKey,
    Model,
    Money,
    Name,
    Percent,
    Text,
    Timestamp,
)

MAX_ITEMS = 200
"""Items in one order; a larger basket is split by the shop."""

MAX_PAYMENT_METHODS = 100
"""Of one customer; people have a handful."""

MAX_VARIANTS = 1_000
"""Of one product: ten sizes in a hundred colours. With these, an event still fits into a record."""

MAX_OPTIONS = 50
"""What distinguishes one variant: size, colour, ...; real ones have five."""

MAX_STOCK_ITEMS = 10_000
"""Of one report: at 40 bytes each they fit into a record; a larger warehouse reports as several."""

MAX_KM = 100_000
"""Places lie on one Earth, 40,075 km around: distances and their squares stay exact integers."""

EmailAddress = Annotated[str, Field(max_length=254)]
"""As long as a mail path may be (RFC 5321, section 4.5.3.1.3)."""

Kilometres = Annotated[int, Field(ge=-MAX_KM, le=MAX_KM)]
Pieces = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
"""How many there are; below zero where more were promised than there are."""

TrackingIds = Annotated[tuple[Identifier, ...], Field(max_length=MAX_ITEMS)]
ItemIds = Annotated[tuple[Identifier, ...], Field(max_length=MAX_ITEMS)]


class CommerceEvent(Event):
    """Base of this module's events about one customer."""

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "customer_id"


class PaymentMethodKind(StrEnum):
    """How a payment method pays."""

    CREDIT_CARD = "credit_card"
    PAYPAL = "paypal"
    GIFT_CARD = "gift_card"


class PaymentMethod(Model):
    """A payment method of a customer; only gift cards have a balance."""

    payment_method_id: Identifier
    kind: PaymentMethodKind
    balance: Money | None = None


class CustomerRegistered(CommerceEvent):
    """A customer exists, with an address and payment methods; the latest one counts."""

    customer_id: Identifier
    given_name: Name
    family_name: Name
    email: EmailAddress
    address: Address
    payment_methods: Annotated[tuple[PaymentMethod, ...], Field(max_length=MAX_PAYMENT_METHODS)]


class Variant(Model):
    """One thing that can be bought: a product in a certain size, colour, ..."""

    item_id: Identifier
    options: Annotated[dict[MapKey, Name], Field(max_length=MAX_OPTIONS)]
    available: bool
    price: Money


class ProductListed(Event):
    """A product with its variants; the latest one counts."""

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "product_id"

    product_id: Identifier
    name: Name
    variants: Annotated[tuple[Variant, ...], Field(max_length=MAX_VARIANTS)]


class WarehouseReported(Event):
    """What a warehouse holds and how busy it is; the latest one counts."""

    namespace: ClassVar[str] = "commerce"
    key_field: ClassVar[str] = "warehouse_id"

    warehouse_id: Identifier
    region: Name
    x_km: Kilometres
    y_km: Kilometres
    load_percent: Percent
    late_percent: Percent
    handling_cost: Money
    stock: Annotated[dict[MapKey, Pieces], Field(max_length=MAX_STOCK_ITEMS)]


class OrderItem(Model):
    """One piece of an order: the same item bought twice stands there twice."""

    item_id: Identifier
    product_id: Identifier
    name: Name
    price: Money


class ServiceLevel(StrEnum):
    """How fast the customer was told it would be."""

    STANDARD = "standard"
    EXPRESS = "express"


class OrderPlaced(CommerceEvent):
    """A customer placed an order and chose how to pay."""

    order_id: Identifier
    customer_id: Identifier
    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    total: Money
    ship_to: Address
    x_km: Kilometres = 0
    y_km: Kilometres = 0
    service_level: ServiceLevel = ServiceLevel.STANDARD
    promised_by: Timestamp | None = None
    payment_method_id: Identifier


class OrderCancelled(CommerceEvent):
    """An order was cancelled."""

    order_id: Identifier
    customer_id: Identifier
    reason: Text


class PaymentCaptured(CommerceEvent):
    """A charge succeeded."""

    payment_id: Identifier
    order_id: Identifier
    customer_id: Identifier
    payment_method_id: Identifier
    amount: Money


class PaymentFailed(CommerceEvent):
    """A charge was refused or did not complete."""

    payment_id: Identifier
    order_id: Identifier
    customer_id: Identifier
    payment_method_id: Identifier
    amount: Money
    failure_code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    attempt: Annotated[int, Field(ge=1, le=1000)]
    fraud_score: Percent


class PaymentRefunded(CommerceEvent):
    """Money went back to the customer."""

    payment_id: Identifier
    order_id: Identifier
    customer_id: Identifier
    payment_method_id: Identifier
    amount: Money


class OrderDispatched(CommerceEvent):
    """A parcel left with a carrier; the order is processed from here on."""

    order_id: Identifier
    customer_id: Identifier
    tracking_ids: TrackingIds
    item_ids: ItemIds


class OrderDelivered(CommerceEvent):
    """The carrier reports that an order arrived."""

    order_id: Identifier
    customer_id: Identifier
    tracking_ids: TrackingIds
    item_ids: ItemIds


class AfterSalesRequested(CommerceEvent):
    """A customer asks to cancel, return, exchange or change something.

    `args` is checked against the action's own model when the request is decided, so that a malformed request gets a
    signed answer rather than being lost at the door.
    """

    request_id: Identifier
    customer_id: Identifier
    action: Identifier
    args: FreeJson
    dry_run: bool = False


class CustomerProfile(Event):
    """What the context stream knows about a customer: advice, recomputed from the events, never a ledger."""

    namespace: ClassVar[str] = "context"
    key_field: ClassVar[str] = "customer_id"

    customer_id: Identifier
    orders: Count
    spend: Money
    refunds: Count
    refunded: Money
    failed_charges: Count
    disputes: Count
    first_seen: Timestamp
    last_seen: Timestamp
