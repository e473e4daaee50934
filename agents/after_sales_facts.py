"""What the shop's after-sales policies see: the resources and the facts, as frozen values.

Rules upheld here: a fact is a number, a name or a set of names that anyone can check against the request and the
order; it never says whether something is allowed. The rules stand in `policies/after_sales/*.cedar`. Not here: how
the facts are found (`after_sales_judged.py`).
"""

from __future__ import annotations

from typing import ClassVar

from jurat.policies.request import Entity, Facts


class Order(Entity):
    """An order as policies see it.

    Attributes:
        owner: the customer who placed it.
        status: `pending`, `processed`, `delivered` or `cancelled`.
        items_modified: whether its items were modified before.
        returned_or_exchanged: whether a return or an exchange was requested before.
    """

    entity_type: ClassVar[str] = "Order"

    owner: str
    status: str
    items_modified: bool
    returned_or_exchanged: bool


class Customer(Entity):
    """A customer account as policies see it.

    Attributes:
        holder: the customer whose account it is.
    """

    entity_type: ClassVar[str] = "Customer"

    holder: str


class RequestFacts(Facts):
    """What every request has.

    Attributes:
        requester: the customer who asks.
    """

    requester: str


class MoneyFacts(RequestFacts):
    """Facts of whatever moves money, from the customer or to them.

    Attributes:
        amount_minor: how much, in minor units of `currency`, whoever pays it.
        currency: the order's.
    """

    amount_minor: int
    currency: str


class CancelFacts(MoneyFacts):
    """Facts of a cancellation; the amount is the whole order's price.

    Attributes:
        reason: the reason that the customer gives, word for word.
    """

    reason: str


class AddressFacts(RequestFacts):
    """Facts of a new address: who asks is all that the rules need."""


class PaymentFacts(MoneyFacts):
    """Facts of whatever names a payment method.

    Attributes:
        payment_method_id: the method that the request names.
        payment_method_kind: `credit_card`, `paypal`, `gift_card`, or `unknown` when it is none of the requester's.
        customer_payment_methods: the requester's payment methods.
    """

    payment_method_id: str
    payment_method_kind: str
    customer_payment_methods: tuple[str, ...]


class ChangePaymentFacts(PaymentFacts):
    """Facts of another payment method for an order; the amount is the whole order's price.

    Attributes:
        current_payment_method_id: what the order is paid with now.
        gift_card_balance_minor: what the named gift card holds in the order's currency; 0 for anything else.
    """

    current_payment_method_id: str
    gift_card_balance_minor: int


class ReturnFacts(PaymentFacts):
    """Facts of a return; the amount is the price of the named pieces that are in the order.

    Attributes:
        item_count: how many pieces are named.
        not_in_order: items that are not in the order as often as they are named.
        original_payment_method_id: what the order was paid with.
    """

    item_count: int
    not_in_order: tuple[str, ...]
    original_payment_method_id: str


class ReplaceFacts(PaymentFacts):
    """Facts of a modification or an exchange of items; the first old item is paired with the first new one, and so on.

    The amount is the price difference, whoever pays it.

    Attributes:
        item_count: how many old pieces are named.
        new_item_count: how many new pieces are named.
        not_in_order: old items that are not in the order as often as they are named.
        not_same_product: new items that are no variant of their old item's product.
        unavailable: new items that are listed but not available.
        other_currency: new items that are priced in another currency than the order.
        unchanged: new items that are their own old item.
        price_difference_minor: new prices minus old prices, over all pairs; positive means the customer pays; a
            pair in two currencies, or of which one is unknown, has none.
        gift_card_balance_minor: what the named gift card holds in the order's currency; 0 for anything else.
    """

    item_count: int
    new_item_count: int
    not_in_order: tuple[str, ...]
    not_same_product: tuple[str, ...]
    unavailable: tuple[str, ...]
    other_currency: tuple[str, ...]
    unchanged: tuple[str, ...]
    price_difference_minor: int
    gift_card_balance_minor: int
