"""The retail data set as events: customers, products, orders, payments and deliveries, and requests about them.

Rules upheld here: the files are read strictly (an unknown field, an id that contradicts its place, a price that is no
whole number of cents is an error that names the place); amounts become integer cents without ever being floats; an
event's id follows from what it is about, so reading the same file again gives the same ids. Orders carry no time, so
neither do their events. Not here: publishing (`jurat.cli.dataset`).

The format is that of `data/tau2/domains/retail/db.json` of sierra-research/tau2-bench; see `docs/retail.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from jurat.schemas import canonical
from jurat.schemas.commerce import (
    AfterSalesRequested,
    CustomerRegistered,
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentMethod,
    PaymentMethodKind,
    PaymentRefunded,
    ProductListed,
    Variant,
)
from jurat.schemas.errors import CanonicalError, DecodeError
from jurat.schemas.model import Address, Event, FreeJson, Identifier, Model, Money
from jurat.streams.retail_raw import RawAddress, RawOrder, RawParcel, RawProduct, RawShop, RawUser

CURRENCY: Final = "USD"
"""The data set's prices are dollars and do not say so."""

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""The data set has three megabytes; a file of this size is another one, and would fill the memory."""

MAX_LINE_BYTES: Final = 256 * 1024
"""Half of what an event may have; a request of usual size has 300 bytes."""

MAX_FAULTS: Final = 5
"""Faults named in one error; the rest tends to be more of the same."""

REASON_NOT_GIVEN: Final = "not recorded"
"""The data set's cancelled orders do not say why."""


@dataclass(frozen=True, slots=True)
class DatasetEvent:
    """An event to publish, with the id that makes publishing it twice the same event."""

    event: Event
    event_id: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no request.

    Attributes:
        number: counted from 1.
        error: what was got and what was expected.
    """

    number: int
    error: str


class _RequestLine(Model):
    id: Identifier
    key: Identifier
    action: Identifier
    args: FreeJson
    dry_run: bool = False


def read_retail(path: Path) -> Iterator[DatasetEvent]:
    """Read a shop: its customers, then its products, then every order with what happened to it.

    Args:
        path: a db.json.

    Raises:
        DecodeError: not readable, not JSON, or not such a data set; the message names the place.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DecodeError(f"{path}: got {size} bytes, expected at most {MAX_FILE_BYTES}")
        text = path.read_bytes().decode()
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({error.strerror}), expected a db.json") from error
    except UnicodeDecodeError as error:
        raise DecodeError(f"{path}: got bytes that are not UTF-8 at {error.start}, expected JSON") from error
    try:
        shop = RawShop.model_validate(_load(text))
        _check_ids(shop)
        yield from _events_of(shop)
    except ValidationError as error:
        raise DecodeError(f"{path}: {_faults(error)}; expected a retail db.json") from error
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{path}: {error}; expected a retail db.json") from error


def read_requests(lines: Iterable[bytes]) -> Iterator[DatasetEvent | BadLine]:
    """Read requests, one JSON object a line: `{"id", "key", "action", "args", "dry_run"}`.

    `dry_run` may be left out and is then false; empty lines are passed over. Whether action and args make sense is
    for the agent to say: such requests get a signed answer.

    Args:
        lines: the lines of a file, with or without their line ends.

    Yields:
        A request to publish, or what is wrong with a line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _request(line)
        except ValidationError as error:
            yield BadLine(number, _faults(error))
        except (ValueError, RecursionError, CanonicalError) as error:
            yield BadLine(number, str(error))


def _request(line: bytes) -> DatasetEvent:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"got a line of {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    told = _load(line.decode())
    if isinstance(told, dict) and isinstance(told.get("args"), str):
        # Model fields of free JSON take canonical text too; a request line does not.
        raise ValueError("args: got a string, expected an object")  # noqa: TRY004
    asked = _RequestLine.model_validate(told)
    # What cannot be canonical (a fraction, half a surrogate pair) could not be signed either.
    canonical.dumps(asked.model_dump())
    event = AfterSalesRequested(
        request_id=asked.id,
        customer_id=asked.key,
        action=asked.action,
        args=asked.args,
        dry_run=asked.dry_run,
    )
    return DatasetEvent(event, asked.id)


def _load(text: str) -> object:
    try:
        return json.loads(
            text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique_keys
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"got text that is not JSON ({error})") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"got {name}, which is not JSON")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("got an object with a repeated key, expected every key once")
    return found


def _faults(error: ValidationError) -> str:
    faults = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the value'}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    ]
    more = f" and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return "; ".join(faults[:MAX_FAULTS]) + more


def _check_ids(shop: RawShop) -> None:
    """Every object says the id under which it stands."""
    told: list[tuple[str, str]] = [(key, user.user_id) for key, user in shop.users.items()]
    told += [(key, method.id) for user in shop.users.values() for key, method in user.payment_methods.items()]
    told += [(key, product.product_id) for key, product in shop.products.items()]
    told += [
        (key, one.item_id) for product in shop.products.values() for key, one in product.variants.items()
    ]
    told += [(key, order.order_id) for key, order in shop.orders.items()]
    for key, own in told:
        if key != own:
            raise ValueError(f"got {own!r} under the key {key!r}, expected the same id")


def _events_of(shop: RawShop) -> Iterator[DatasetEvent]:
    for user in shop.users.values():
        yield DatasetEvent(_customer(user), f"customer-{user.user_id}")
    for product in shop.products.values():
        yield DatasetEvent(_product(product), f"product-{product.product_id}")
    for order in shop.orders.values():
        yield from _order(order)


def _customer(user: RawUser) -> CustomerRegistered:
    return CustomerRegistered(
        customer_id=user.user_id,
        given_name=user.name.first_name,
        family_name=user.name.last_name,
        email=user.email,
        address=_address(user.address),
        payment_methods=tuple(
            PaymentMethod(
                payment_method_id=method.id,
                kind=PaymentMethodKind(method.source),
                balance=None if method.balance is None else _money(method.balance),
            )
            for method in user.payment_methods.values()
        ),
    )


def _product(product: RawProduct) -> ProductListed:
    return ProductListed(
        product_id=product.product_id,
        name=product.name,
        variants=tuple(
            Variant(
                item_id=one.item_id, options=one.options, available=one.available, price=_money(one.price)
            )
            for one in product.variants.values()
        ),
    )


def _order(order: RawOrder) -> Iterator[DatasetEvent]:
    order_id, customer_id = order.order_id, order.user_id
    placed = OrderPlaced(
        order_id=order_id,
        customer_id=customer_id,
        items=tuple(
            OrderItem(
                item_id=item.item_id, product_id=item.product_id, name=item.name, price=_money(item.price)
            )
            for item in order.items
        ),
        total=_money(sum(item.price for item in order.items)),
        ship_to=_address(order.address),
        payment_method_id=order.payment_history[0].payment_method_id,
    )
    yield DatasetEvent(placed, f"order-{order_id}-placed")
    for number, payment in enumerate(order.payment_history, 1):
        movement = PaymentCaptured if payment.transaction_type == "payment" else PaymentRefunded
        payment_id = f"{order_id}-{number}"
        yield DatasetEvent(
            movement(
                payment_id=payment_id,
                order_id=order_id,
                customer_id=customer_id,
                payment_method_id=payment.payment_method_id,
                amount=_money(payment.amount),
            ),
            f"payment-{payment_id}",
        )
    for number, parcel in enumerate(_parcels(order), 1):
        yield from _parcel(order, parcel, number)
    if order.status == "cancelled":
        cancelled = OrderCancelled(order_id=order_id, customer_id=customer_id, reason=REASON_NOT_GIVEN)
        yield DatasetEvent(cancelled, f"order-{order_id}-cancelled")


def _parcels(order: RawOrder) -> list[RawParcel]:
    """The parcels of an order; one without a tracking id where a status tells of a parcel that is not listed.

    Raises:
        ValueError: the order is pending, and yet a parcel left.
    """
    if order.status == "pending" and order.fulfillments:
        raise ValueError(f"orders.{order.order_id}: got a pending order with a parcel, expected none")
    if order.status in ("processed", "delivered") and not order.fulfillments:
        return [RawParcel(tracking_id=[], item_ids=[item.item_id for item in order.items])]
    return order.fulfillments


def _parcel(order: RawOrder, parcel: RawParcel, number: int) -> Iterator[DatasetEvent]:
    kinds: list[tuple[type[OrderDispatched | OrderDelivered], str]] = [(OrderDispatched, "dispatched")]
    if order.status == "delivered":
        kinds.append((OrderDelivered, "delivered"))
    for kind, verb in kinds:
        event = kind(
            order_id=order.order_id,
            customer_id=order.user_id,
            tracking_ids=tuple(parcel.tracking_id),
            item_ids=tuple(parcel.item_ids),
        )
        yield DatasetEvent(event, f"parcel-{order.order_id}-{number}-{verb}")


def _address(raw: RawAddress) -> Address:
    return Address(
        line1=raw.address1,
        line2=raw.address2,
        city=raw.city,
        region=raw.state,
        postal_code=raw.zip,
        country=raw.country,
    )


def _money(cents: int) -> Money:
    return Money(amount_minor=cents, currency=CURRENCY)
