"""The order's document does not depend on how topics interleave, nor on events that are published again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jurat.agents.retail_views import ORDERS_VIEW
from jurat.schemas.commerce import (
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentRefunded,
)
from jurat.schemas.model import Address, Event, Model, Money

CENTS = Money(amount_minor=100, currency="USD")
HOME = Address(line1="1 A St", city="B", region="C", postal_code="1", country="USA")
WHO = {"order_id": "W1", "customer_id": "ann"}
PARCEL = {**WHO, "tracking_ids": ("t",), "item_ids": ("i",)}
PLACED = OrderPlaced(
    order_id="W1",
    customer_id="ann",
    items=(OrderItem(item_id="i", product_id="p", name="Mug", price=CENTS),),
    total=CENTS,
    ship_to=HOME,
    payment_method_id="card",
)
EVENTS: tuple[Event, ...] = (
    PLACED,
    OrderCancelled(order_id="W1", customer_id="ann", reason="lost"),
    *(
        kind(payment_id=payment_id, order_id="W1", customer_id="ann", payment_method_id="card", amount=CENTS)
        for kind in (PaymentCaptured, PaymentRefunded)
        for payment_id in ("a", "b")
    ),
    OrderDispatched.model_validate(PARCEL),
    OrderDelivered.model_validate(PARCEL),
)


def fold(events: list[Event]) -> Model | None:
    document: Model | None = None
    for event in events:
        (key,) = ORDERS_VIEW.keys(event)
        document = ORDERS_VIEW.fold(document, event, key)
    return document


@given(st.sets(st.sampled_from(range(len(EVENTS))), min_size=1), st.data())
def test_any_order_and_any_repetition_gives_the_same_document(chosen: set[int], data: st.DataObject) -> None:
    events = [EVENTS[index] for index in sorted(chosen)]
    again = data.draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = data.draw(st.permutations([*events, *again]))
    assert fold(shuffled) == fold(events)
