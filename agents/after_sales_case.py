"""One request with all that is known of it: the documents that were read, typed, and the state so far.

Rules upheld here: a document that is missing, or that tells of an order which nobody placed yet, makes the request
rejected, never allowed. Not here: what policies see of it (`after_sales_judged.py`) and what follows from an allowed
action (`after_sales_effects.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from jurat.agents.after_sales_account import (
    MAX_CHANGED_ORDERS,
    AfterSalesState,
    OrderNow,
    gift_card_balance_minor,
    method_of,
    order_now,
    pick,
)
from jurat.agents.after_sales_actions import ReplaceItems
from jurat.agents.agent import Situation
from jurat.agents.retail_views import CUSTOMERS, ORDERS, VARIANTS, OrderDocument, VariantDocument
from jurat.schemas.commerce import AfterSalesRequested, CustomerRegistered, OrderItem, PaymentMethod
from jurat.schemas.errors import InputRejected


@dataclass(frozen=True, slots=True)
class Pair:
    """One replacement: an old item and the new one that is named at the same place.

    Attributes:
        old_id: the old item as named.
        new_id: the new item as named.
        index: the place of the old piece in the order, None where the order has no (further) such piece.
        old: the old piece itself, None likewise.
        new: the variant, None where no product lists it.
    """

    old_id: str
    new_id: str
    index: int | None
    old: OrderItem | None
    new: VariantDocument | None

    @property
    def price_difference_minor(self) -> int:
        """What the new item costs more than the old one; 0 while one of them is unknown, or in another currency."""
        if self.old is None or self.new is None or self.old.price.currency != self.new.price.currency:
            return 0
        return self.new.price.amount_minor - self.old.price.amount_minor


@dataclass(frozen=True, slots=True)
class Case:
    """A request, the customer who makes it, and the customer's state."""

    situation: Situation[AfterSalesRequested]
    customer: CustomerRegistered
    state: AfterSalesState

    def order(self, order_id: str) -> OrderNow:
        """The order that a request names.

        Raises:
            InputRejected: nobody placed it.
        """
        document = self.situation.documents.get((ORDERS, order_id))
        if not isinstance(document, OrderDocument) or document.placed is None:
            raise InputRejected(
                f"got the order {order_id!r}, expected one that was placed; check the id, or publish the order first",
                request_id=self.situation.event.request_id,
            )
        return order_now(document, document.placed, self.state)

    def variant(self, item_id: str) -> VariantDocument | None:
        """The variant of an item id, None where no product lists it."""
        document = self.situation.documents.get((VARIANTS, item_id))
        return document if isinstance(document, VariantDocument) else None

    def method(self, payment_method_id: str) -> PaymentMethod | None:
        """The customer's payment method by its id."""
        return method_of(self.customer, payment_method_id)

    def balance_minor(self, payment_method_id: str, *, currency: str) -> int:
        """What the customer's gift card of that id holds; 0 for anything else."""
        return gift_card_balance_minor(self.method(payment_method_id), self.state, currency=currency)

    def pairs(self, order: OrderNow, action: ReplaceItems) -> tuple[Pair, ...]:
        """The replacements that a request asks for; what has no counterpart in a longer list is left out."""
        indexes = pick(order.items, action.item_ids)
        return tuple(
            Pair(old_id, new_id, index, None if index is None else order.items[index], self.variant(new_id))
            for old_id, new_id, index in zip(action.item_ids, action.new_item_ids, indexes, strict=False)
        )


def case_of(situation: Situation[AfterSalesRequested]) -> Case:
    """Take a situation's documents and state by their types.

    Raises:
        InputRejected: nobody registered the customer, or the customer has more changed orders than state can hold.
    """
    event = situation.event
    customer = situation.documents.get((CUSTOMERS, event.customer_id))
    if not isinstance(customer, CustomerRegistered):
        raise InputRejected(
            f"got a request of the customer {event.customer_id!r}, expected one who is registered;"
            " check the key, or publish the customer first",
            request_id=event.request_id,
        )
    state = situation.state if isinstance(situation.state, AfterSalesState) else AfterSalesState()
    if len(state.orders) >= MAX_CHANGED_ORDERS:
        raise InputRejected(
            f"got a request of a customer with {len(state.orders)} changed orders, expected fewer than"
            f" {MAX_CHANGED_ORDERS}: such an account needs a person",
            request_id=event.request_id,
        )
    return Case(situation, customer, state)
