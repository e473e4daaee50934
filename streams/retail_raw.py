"""The retail data set as it is written: its objects, read strictly, with amounts as integer cents.

Rules upheld here: an unknown field is an error; an amount is exact, or it is an error. Not here: what events it becomes
(`retail_dataset.py`).
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.model import Identifier, Model

CENTS_PER_DOLLAR: Final = 100

_EXACT: Final = Context(prec=40, traps=[Inexact])
"""Enough digits for every amount that fits; what would be rounded raises instead."""


def cents(value: object) -> int:
    """Turn a decimal dollar amount into cents, exactly.

    Raises:
        ValueError: not a number, too large, or with a fraction of a cent.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        # A ValueError, as pydantic reports it with its place.
        raise ValueError(f"got a {type(value).__name__}, expected a number of dollars")  # noqa: TRY004
    amount: Decimal = Decimal(value)
    if abs(amount) > MAX_INTEGER // CENTS_PER_DOLLAR:
        raise ValueError("got more dollars than fit, expected less than 2**53 cents")
    try:
        exact = _EXACT.multiply(amount, CENTS_PER_DOLLAR)
    except Inexact as error:
        raise ValueError("got an amount of too many digits, expected at most two decimals") from error
    if exact != exact.to_integral_value():
        raise ValueError(f"got {str(value)[:40]} dollars, expected at most two decimals")
    return int(exact)


Cents = Annotated[int, BeforeValidator(cents)]


class RawAddress(Model):
    """An address, in the data set's words."""

    address1: str
    address2: str
    city: str
    state: str
    country: str
    zip: str


class RawName(Model):
    """A customer's name."""

    first_name: str
    last_name: str


class RawMethod(Model):
    """A payment method; only gift cards have a balance."""

    id: Identifier
    source: Annotated[str, Field(pattern=r"^(credit_card|paypal|gift_card)$")]
    brand: str | None = None
    last_four: str | None = None
    balance: Cents | None = None


class RawUser(Model):
    """A customer."""

    user_id: Identifier
    name: RawName
    address: RawAddress
    email: str
    payment_methods: dict[str, RawMethod]
    orders: list[str]


class RawVariant(Model):
    """A variant of a product."""

    item_id: Identifier
    options: dict[str, str]
    available: bool
    price: Cents


class RawProduct(Model):
    """A product with its variants by item id."""

    product_id: Identifier
    name: str
    variants: dict[str, RawVariant]


class RawItem(Model):
    """One piece of an order."""

    item_id: Identifier
    product_id: Identifier
    name: str
    price: Cents
    options: dict[str, str]


class RawParcel(Model):
    """A parcel."""

    tracking_id: list[str]
    item_ids: list[Identifier]


class RawPayment(Model):
    """A payment, or a refund."""

    transaction_type: Annotated[str, Field(pattern=r"^(payment|refund)$")]
    amount: Cents
    payment_method_id: Identifier


class RawOrder(Model):
    """An order with all that happened to it."""

    order_id: Identifier
    user_id: Identifier
    address: RawAddress
    items: list[RawItem]
    status: Annotated[str, Field(pattern=r"^(pending|processed|delivered|cancelled)$")]
    fulfillments: list[RawParcel]
    payment_history: Annotated[list[RawPayment], Field(min_length=1)]


class RawShop(Model):
    """The whole data set, by id."""

    users: dict[str, RawUser]
    products: dict[str, RawProduct]
    orders: dict[str, RawOrder]
