"""Whatever the seed, size and start: a story that could have happened, in events that can be sent."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jurat.schemas.codec import decode, encode
from jurat.schemas.commerce import (
    CustomerRegistered,
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
)
from jurat.schemas.marketplace import DisputeOpened
from jurat.streams.simulator import simulate
from jurat.streams.simulator_publish import json_line

seeds = st.integers(min_value=-(2**70), max_value=2**70)
sizes = st.integers(min_value=0, max_value=60)
starts = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - the zone is the strategy's
    max_value=datetime(2900, 12, 31),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)

# What must have happened to an order before this can happen to it.
BEFORE: dict[type, set[str]] = {
    PaymentCaptured: {"OrderPlaced"},
    PaymentFailed: {"OrderPlaced"},
    OrderCancelled: {"PaymentCaptured"},
    OrderDispatched: {"PaymentCaptured"},
    OrderDelivered: {"OrderDispatched"},
    PaymentRefunded: {"PaymentCaptured"},
    DisputeOpened: {"PaymentCaptured", "OrderDispatched"},
}
# What can not have happened to it before.
NEVER_BEFORE: dict[type, set[str]] = {
    PaymentCaptured: {"PaymentFailed", "PaymentCaptured"},
    PaymentFailed: {"PaymentCaptured"},
    OrderCancelled: {"OrderDispatched", "OrderCancelled"},
    OrderDispatched: {"OrderCancelled", "PaymentFailed", "OrderDispatched"},
    OrderDelivered: {"OrderDelivered"},
    PaymentRefunded: {"PaymentRefunded"},
    DisputeOpened: {"DisputeOpened", "PaymentRefunded"},
}


@given(seed=seeds, orders=sizes, start=starts)
@settings(max_examples=40, deadline=None)
def test_the_same_again(seed: int, orders: int, start: datetime) -> None:
    one, two = (list(simulate(seed=seed, orders=orders, start=start)) for _ in range(2))
    assert list(map(json_line, one)) == list(map(json_line, two))
    assert [each.time for each in one] == sorted(each.time for each in one)
    assert all(each.time >= start.replace(microsecond=0) for each in one)


@given(seed=seeds, orders=sizes, start=starts)
@settings(max_examples=40, deadline=None)
def test_every_event_can_be_sent(seed: int, orders: int, start: datetime) -> None:
    for each in simulate(seed=seed, orders=orders, start=start):
        assert decode(encode(each.event)) == each.event


@given(seed=seeds, orders=sizes, start=starts)
@example(seed=268296082, orders=22, start=datetime(2000, 1, 1, tzinfo=UTC))  # promised before it could leave
@settings(max_examples=60, deadline=None)
def test_every_order_has_a_story(seed: int, orders: int, start: datetime) -> None:
    known: set[str] = set()
    happened: dict[str, set[str]] = defaultdict(set)
    placed = 0
    for each in simulate(seed=seed, orders=orders, start=start):
        event = each.event
        if isinstance(event, CustomerRegistered):
            assert event.customer_id not in known
            known.add(event.customer_id)
        if isinstance(event, OrderPlaced):
            placed += 1
            assert event.customer_id in known
            assert event.total.amount_minor == sum(item.price.amount_minor for item in event.items)
            assert event.promised_by is not None
            assert event.promised_by > each.time
            happened[event.order_id].add("OrderPlaced")
        elif type(event) in BEFORE:
            story = happened[event.order_id]  # type: ignore[attr-defined]  # every type of the table has it
            assert BEFORE[type(event)] <= story
            assert not NEVER_BEFORE[type(event)] & story
            story.add(type(event).__name__)
    assert placed == orders
