"""The pure fold of the context stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.commerce import (
    OrderCancelled,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    ProductListed,
)
from jurat.schemas.errors import SchemaError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened
from jurat.schemas.model import Address, Event, Money
from jurat.streams.context_profile import NO_CURRENCY, ProfileState, Source, customer_of, fold

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAYMENTS = "commerce.payments"


def eur(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="EUR")


def placed(total: Money, customer_id: str = "c1") -> OrderPlaced:
    return OrderPlaced(
        order_id="o1",
        customer_id=customer_id,
        items=(OrderItem(item_id="i1", product_id="p1", name="Lamp", price=total),),
        total=total,
        ship_to=Address(line1="1 Quay", city="Porto", region="Norte", postal_code="4000", country="PT"),
        payment_method_id="m1",
    )


def captured(amount: Money) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id="p1", order_id="o1", customer_id="c1", payment_method_id="m1", amount=amount
    )


def refunded(amount: Money) -> PaymentRefunded:
    return PaymentRefunded(
        payment_id="p1", order_id="o1", customer_id="c1", payment_method_id="m1", amount=amount
    )


def failed(amount: Money) -> PaymentFailed:
    return PaymentFailed(
        payment_id="p1",
        order_id="o1",
        customer_id="c1",
        payment_method_id="m1",
        amount=amount,
        failure_code="insufficient_funds",
        attempt=1,
        fraud_score=3,
    )


def disputed(amount: Money) -> DisputeOpened:
    return DisputeOpened(
        dispute_id="d1",
        order_id="o1",
        customer_id="c1",
        seller_id="s1",
        amount=amount,
        category=DisputeCategory.DAMAGED,
        statements=(),
        evidence=(),
        seller_dispute_rate_percent=1,
        buyer_prior_disputes=0,
    )


CANCELLED = OrderCancelled(order_id="o1", customer_id="c1", reason="no longer needed")


def after(*events: Event, topic: str = PAYMENTS) -> ProfileState:
    state: ProfileState | None = None
    for offset, event in enumerate(events):
        state = fold(state, event, at=NOON + offset * HOUR, source=Source(topic, 3, offset))
    assert state is not None
    return state


def test_each_event_counts_for_what_it_is() -> None:
    profile = after(
        placed(eur(500)),
        captured(eur(500)),
        captured(eur(250)),
        refunded(eur(50)),
        failed(eur(70)),
        disputed(eur(9)),
    ).profile()
    assert (profile.orders, profile.refunds, profile.failed_charges, profile.disputes) == (1, 1, 1, 1)
    assert profile.spend == eur(750)
    assert profile.refunded == eur(50)
    assert (profile.first_seen, profile.last_seen) == (NOON, NOON + 5 * HOUR)


def test_an_event_without_a_number_of_its_own_is_still_a_sign_of_life() -> None:
    profile = after(placed(eur(500)), CANCELLED).profile()
    assert profile.orders == 1
    assert profile.last_seen == NOON + HOUR


def test_a_repeated_event_changes_nothing() -> None:
    state = after(captured(eur(500)), captured(eur(250)))
    for offset in (0, 1):
        assert fold(state, captured(eur(500)), at=NOON, source=Source(PAYMENTS, 3, offset)) is state


def test_offsets_of_different_topics_are_not_mixed_up() -> None:
    state = after(captured(eur(500)), captured(eur(250)))
    state = fold(state, placed(eur(500)), at=NOON, source=Source("commerce.orders", 3, 0))
    assert state.profile().orders == 1
    assert state.folded == {PAYMENTS: 1, "commerce.orders": 0}
    assert state.revision == 3


def test_other_currencies_are_kept_apart() -> None:
    usd = Money(amount_minor=900, currency="USD")
    state = after(captured(eur(500)), captured(usd), refunded(usd))
    assert state.profile().spend == eur(500)
    assert state.profile().refunded == eur(0)
    assert state.profile().refunds == 1
    assert state.spend_minor == {"EUR": 500, "USD": 900}


def test_the_currency_is_that_of_the_earliest_money_not_of_the_first_to_arrive() -> None:
    state = after(captured(eur(500)))
    earlier = captured(Money(amount_minor=900, currency="USD"))
    state = fold(state, earlier, at=NOON - HOUR, source=Source(PAYMENTS, 3, 1))
    assert state.profile().spend == Money(amount_minor=900, currency="USD")
    assert state.profile().first_seen == NOON - HOUR


def test_a_customer_without_money_has_no_currency() -> None:
    assert after(CANCELLED).profile().spend == Money(amount_minor=0, currency=NO_CURRENCY)


def test_the_state_survives_its_bytes() -> None:
    state = after(placed(eur(500)), captured(Money(amount_minor=7, currency="JPY")), refunded(eur(1)))
    assert ProfileState.from_bytes(state.to_bytes()) == state


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xc3\x01", after(CANCELLED).to_bytes().replace(b'"format":1', b'"format":2')]
)
def test_other_bytes_are_no_state(data: bytes) -> None:
    with pytest.raises(SchemaError, match="format 1"):
        ProfileState.from_bytes(data)


def test_an_event_in_another_partition_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"partition 4 .*expected partition 3.*murmur2"):
        fold(after(CANCELLED), CANCELLED, at=NOON, source=Source("commerce.orders", 4, 9))


def test_an_event_of_another_customer_is_refused() -> None:
    with pytest.raises(SchemaError, match="another customer"):
        fold(after(CANCELLED), placed(eur(1), customer_id="c2"), at=NOON, source=Source(PAYMENTS, 3, 9))


def test_a_sum_that_no_longer_fits_is_refused() -> None:
    with pytest.raises(SchemaError, match="spend_minor"):
        after(captured(eur(MAX_INTEGER)), captured(eur(1)))


def test_events_that_concern_no_customer_have_none() -> None:
    product = ProductListed(product_id="p1", name="Lamp", variants=())
    assert customer_of(product) is None
    assert customer_of(CANCELLED) == "c1"
    with pytest.raises(SchemaError, match="concerns a customer"):
        fold(None, product, at=NOON, source=Source("commerce.orders", 0, 0))
