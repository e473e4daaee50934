"""A customer's after-sales account: what allowed decisions changed, laid over what the shop's events tell.

Rules upheld here: state holds only what decisions changed; an order is never changed in place; a gift card's balance
counts from the balance that the shop reported last, so a newer report replaces what was reckoned here. Money is
reckoned when a decision moves it at once: a cancellation, a changed payment method, modified items, the price
difference of an exchange. What follows a parcel back (refunds of returns, cheaper exchanges) is not reckoned: the
shop reports it when the parcel arrives. Not here: which changes are allowed (`policies/after_sales/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from jurat.agents.retail_views import OrderDocument, OrderStatus
from jurat.schemas.commerce import (
    CustomerRegistered,
    OrderItem,
    OrderPlaced,
    PaymentMethod,
    PaymentMethodKind,
)
from jurat.schemas.model import Address, Identifier, MinorUnits, Model, Money

MAX_CHANGED_ORDERS = 500
"""Orders of one customer with a change in state: at some ten items an order, about Kafka's limit of a megabyte."""


class OrderChange(Model):
    """What decisions changed about one order; a field that is None or false was not changed.

    Attributes:
        order_id: the order.
        cancelled: a cancellation was allowed.
        items: the order's pieces after a modification.
        returned: a return was allowed.
        exchanged: an exchange was allowed.
        ship_to: the new address.
        payment_method_id: the new payment method.
    """

    order_id: Identifier
    cancelled: bool = False
    items: tuple[OrderItem, ...] | None = None
    returned: bool = False
    exchanged: bool = False
    ship_to: Address | None = None
    payment_method_id: Identifier | None = None


class GiftCard(Model):
    """A gift card's balance after decisions.

    Attributes:
        payment_method_id: the card.
        reported_minor: the balance that the shop had reported when this was reckoned.
        balance_minor: the balance after the decisions since.
    """

    payment_method_id: Identifier
    reported_minor: MinorUnits
    balance_minor: MinorUnits


class AfterSalesState(Model):
    """The agent's state for one customer; lists are sorted by their ids."""

    orders: Annotated[tuple[OrderChange, ...], Field(max_length=MAX_CHANGED_ORDERS)] = ()
    gift_cards: tuple[GiftCard, ...] = ()
    address: Address | None = None

    def change_of(self, order_id: str) -> OrderChange:
        """What was changed about an order so far."""
        found = (change for change in self.orders if change.order_id == order_id)
        return next(found, OrderChange(order_id=order_id))

    def with_change(self, change: OrderChange) -> AfterSalesState:
        """The state with another change of one order."""
        others = (other for other in self.orders if other.order_id != change.order_id)
        return self.model_copy(
            update={"orders": tuple(sorted((*others, change), key=lambda one: one.order_id))}
        )


@dataclass(frozen=True, slots=True)
class OrderNow:
    """An order as it stands: its events, and what decisions changed since.

    Attributes:
        placed: the order as it was placed.
        change: what decisions changed.
        status: where it stands.
        items: its pieces now.
        total: its price now.
        paid_minor: what was charged for it and not given back, in the total's currency.
    """

    placed: OrderPlaced
    change: OrderChange
    status: OrderStatus
    items: tuple[OrderItem, ...]
    total: Money
    paid_minor: int

    @property
    def payment_method_id(self) -> str:
        """What the order is paid with now; refunds to "the original payment method" go there."""
        return self.change.payment_method_id or self.placed.payment_method_id


def order_now(document: OrderDocument, placed: OrderPlaced, state: AfterSalesState) -> OrderNow:
    """Lay what decisions changed over what the events tell.

    Args:
        document: the order's document.
        placed: the order itself, taken from the document.
        state: the customer's state.
    """
    change = state.change_of(placed.order_id)
    items = placed.items if change.items is None else change.items
    total_minor = placed.total.amount_minor + _sum_minor(items) - _sum_minor(placed.items)
    return OrderNow(
        placed=placed,
        change=change,
        status=OrderStatus.CANCELLED if change.cancelled else document.status,
        items=items,
        total=placed.total.model_copy(update={"amount_minor": total_minor}),
        paid_minor=document.net_paid_minor if change.payment_method_id is None else total_minor,
    )


def method_of(customer: CustomerRegistered, payment_method_id: str) -> PaymentMethod | None:
    """A customer's payment method by its id."""
    found = (method for method in customer.payment_methods if method.payment_method_id == payment_method_id)
    return next(found, None)


def gift_card_balance_minor(method: PaymentMethod | None, state: AfterSalesState, *, currency: str) -> int:
    """What a gift card holds in a currency; 0 for another currency, and for what is not a gift card."""
    if method is None or method.kind is not PaymentMethodKind.GIFT_CARD or method.balance is None:
        return 0
    if method.balance.currency != currency:
        return 0
    reported_minor = method.balance.amount_minor
    for card in state.gift_cards:
        if card.payment_method_id == method.payment_method_id and card.reported_minor == reported_minor:
            return card.balance_minor
    return reported_minor


def moved(
    state: AfterSalesState, customer: CustomerRegistered, payment_method_id: str, *, amount: Money
) -> AfterSalesState:
    """The state after money moved to a payment method; only gift cards keep a balance.

    Args:
        state: the state before.
        customer: the customer, with the balances that the shop reported.
        payment_method_id: where the money goes, or comes from.
        amount: positive for money to the method, negative for money from it.
    """
    method = method_of(customer, payment_method_id)
    if method is None or method.kind is not PaymentMethodKind.GIFT_CARD or method.balance is None:
        return state
    if method.balance.currency != amount.currency or not amount.amount_minor:
        return state
    before = gift_card_balance_minor(method, state, currency=amount.currency)
    card = GiftCard(
        payment_method_id=payment_method_id,
        reported_minor=method.balance.amount_minor,
        balance_minor=before + amount.amount_minor,
    )
    # Cards that the customer no longer has are dropped: state holds no more of them than the customer's own record.
    has = {method.payment_method_id for method in customer.payment_methods} - {payment_method_id}
    cards = (*(other for other in state.gift_cards if other.payment_method_id in has), card)
    return state.model_copy(
        update={"gift_cards": tuple(sorted(cards, key=lambda one: one.payment_method_id))}
    )


def pick(items: Sequence[OrderItem], item_ids: Iterable[str]) -> tuple[int | None, ...]:
    """Find the pieces that a request names: each piece once, in the order's order.

    Returns:
        For every named id the index of its piece, or None where the order holds no (further) such piece.
    """
    free: dict[str, list[int]] = {}
    for index in reversed(range(len(items))):
        free.setdefault(items[index].item_id, []).append(index)
    return tuple(free[item_id].pop() if free.get(item_id) else None for item_id in item_ids)


def _sum_minor(items: Iterable[OrderItem]) -> int:
    return sum(item.price.amount_minor for item in items)
