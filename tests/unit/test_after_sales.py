"""The after-sales agent on a small shop: what is malformed, what is denied, what follows, to the cent."""

from __future__ import annotations

from typing import Any

import pytest

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.after_sales_account import MAX_CHANGED_ORDERS, AfterSalesState, OrderChange
from jurat.policies import PolicyEngine, generate, load_bundle, run_cases, shipped_bundle
from jurat.policies.cedar_schema import DEFAULT_NAMESPACE
from jurat.schemas.commerce import (
    AfterSalesRequested,
    CustomerRegistered,
    OrderCancelled,
    OrderDelivered,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentMethod,
    PaymentMethodKind,
    ProductListed,
    Variant,
)
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Address, Event, Money
from tests.kernel_driver import Driver, folded

ENGINE = PolicyEngine(load_bundle(shipped_bundle(AFTER_SALES.bundle)))
ADDRESS = {
    "address1": "2 New St",
    "address2": "",
    "city": "Austin",
    "state": "TX",
    "country": "USA",
    "zip": "78701",
}
HOME = Address(line1="1 Old St", city="Austin", region="TX", postal_code="78701", country="USA")


def usd(cents: int) -> Money:
    return Money(amount_minor=cents, currency="USD")


def customer(key: str, *, gift_card_cents: int = 5_000) -> CustomerRegistered:
    return CustomerRegistered(
        customer_id=key,
        given_name=key,
        family_name="Lee",
        email=f"{key}@example.com",
        address=HOME,
        payment_methods=(
            PaymentMethod(payment_method_id=f"card_{key}", kind=PaymentMethodKind.CREDIT_CARD),
            PaymentMethod(payment_method_id=f"paypal_{key}", kind=PaymentMethodKind.PAYPAL),
            PaymentMethod(
                payment_method_id=f"gift_{key}",
                kind=PaymentMethodKind.GIFT_CARD,
                balance=usd(gift_card_cents),
            ),
        ),
    )


def item(item_id: str, cents: int) -> OrderItem:
    return OrderItem(item_id=item_id, product_id="mug", name="Mug", price=usd(cents))


def order(
    order_id: str, key: str = "ann", *, items: tuple[OrderItem, ...] = (), paid_by: str = ""
) -> list[Event]:
    pieces = items or (item("red", 1_000), item("red", 1_000), item("blue", 1_500))
    total = usd(sum(piece.price.amount_minor for piece in pieces))
    method = paid_by or f"card_{key}"
    return [
        OrderPlaced(
            order_id=order_id,
            customer_id=key,
            items=pieces,
            total=total,
            ship_to=HOME,
            payment_method_id=method,
        ),
        PaymentCaptured(
            payment_id=f"p-{order_id}",
            order_id=order_id,
            customer_id=key,
            payment_method_id=method,
            amount=total,
        ),
    ]


def delivered(order_id: str, key: str = "ann") -> OrderDelivered:
    return OrderDelivered(order_id=order_id, customer_id=key, tracking_ids=("t",), item_ids=())


def variant(item_id: str, cents: int, *, available: bool = True, currency: str = "USD") -> Variant:
    price = Money(amount_minor=cents, currency=currency)
    return Variant(item_id=item_id, options={}, available=available, price=price)


MUG = ProductListed(
    product_id="mug",
    name="Mug",
    variants=(
        variant("red", 1_200),
        variant("blue", 1_500),
        variant("gold", 3_500),
        variant("gone", 900, available=False),
        variant("euro", 900, currency="EUR"),
    ),
)


def shop(*events: Event | list[Event]) -> Driver:
    flat: list[Event] = [MUG, customer("ann"), customer("bob")]
    for one in events:
        flat += one if isinstance(one, list) else [one]
    return Driver(AFTER_SALES, ENGINE, folded(AFTER_SALES, flat))


def ask(
    driver: Driver, action: str, *, key: str = "ann", dry_run: bool = False, **args: Any
) -> tuple[str, ...]:
    event = AfterSalesRequested(request_id="r1", customer_id=key, action=action, args=args, dry_run=dry_run)
    decided = driver.decide(event)
    assert not decided.chosen.judgement.errors
    return decided.chosen.judgement.policies


def modify(
    driver: Driver, old: list[str], new: list[str], *, by: str = "card_ann", **more: Any
) -> tuple[str, ...]:
    action = more.pop("action", "modify_pending_order_items")
    return ask(driver, action, order_id="W1", item_ids=old, new_item_ids=new, payment_method_id=by, **more)


def balance(driver: Driver, key: str = "ann") -> int | None:
    state = driver.states.get(key)
    assert state is None or isinstance(state, AfterSalesState)
    cards = {} if state is None else {card.payment_method_id: card.balance_minor for card in state.gift_cards}
    return cards.get(f"gift_{key}")


def test_the_checked_in_schema_is_the_generated_one() -> None:
    text = (shipped_bundle("after_sales") / "schema.cedarschema").read_text(encoding="utf-8")
    assert text == generate(DEFAULT_NAMESPACE, AFTER_SALES.actions)


def test_the_bundles_own_cases_hold() -> None:
    report = run_cases(ENGINE)
    assert not report.failures
    assert report.run >= 35


@pytest.mark.parametrize(
    ("action", "args", "said"),
    [
        ("refund_everything", {"order_id": "W1"}, "refund_everything"),
        ("cancel_pending_order", {"order_id": "W1"}, "reason"),
        ("cancel_pending_order", {"order_id": "W1", "reason": 7}, "reason"),
        ("cancel_pending_order", {"order_id": "W1", "reason": "x", "note": "y"}, "note"),
        ("cancel_pending_order", {"order_id": ["W1"], "reason": "no longer needed"}, "order_id"),
        ("cancel_pending_order", {"order_id": "", "reason": "no longer needed"}, "order_id"),
        ("cancel_pending_order", {"order_id": "W9", "reason": "no longer needed"}, "W9"),
        (
            "return_delivered_order_items",
            {"order_id": "W1", "item_ids": "red", "payment_method_id": "x"},
            "item_ids",
        ),
        (
            "return_delivered_order_items",
            {"order_id": "W1", "item_ids": ["red"] * 201, "payment_method_id": "x"},
            "item_ids",
        ),
        ("modify_user_address", {"user_id": "ann"}, "address1"),
        ("cancel_pending_order", {"order_id": "W1", "reason": None}, "reason"),
    ],
)
def test_what_is_malformed_is_rejected_and_named(action: str, args: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRejected) as caught:
        ask(shop(order("W1")), action, **args)
    assert said in str(caught.value)


def test_an_unknown_customer_is_rejected() -> None:
    with pytest.raises(InputRejected, match="zoe"):
        ask(shop(order("W1")), "cancel_pending_order", key="zoe", order_id="W1", reason="no longer needed")


def test_a_payment_without_an_order_is_no_order() -> None:
    with pytest.raises(InputRejected, match="placed"):
        ask(shop(order("W1")[1]), "cancel_pending_order", order_id="W1", reason="no longer needed")


def test_a_cancellation_refunds_what_was_paid_and_ends_the_order() -> None:
    driver = shop(order("W1", paid_by="gift_ann"))
    assert ask(driver, "cancel_pending_order", order_id="W1", reason="ordered by mistake") == (
        "cancel.permit",
    )
    assert balance(driver) == 5_000 + 3_500
    again = ask(driver, "cancel_pending_order", order_id="W1", reason="ordered by mistake")
    assert again == ("cancel.only-pending",)


def test_a_cancellation_refunds_nothing_that_was_not_captured() -> None:
    driver = shop(order("W1", paid_by="gift_ann")[:1])
    assert ask(driver, "cancel_pending_order", order_id="W1", reason="no longer needed") == ("cancel.permit",)
    assert balance(driver) is None


def test_a_dry_run_changes_nothing() -> None:
    driver = shop(order("W1"))
    for _ in range(2):
        said = ask(driver, "cancel_pending_order", dry_run=True, order_id="W1", reason="no longer needed")
        assert said == ("cancel.permit",)
    assert not driver.states


def test_a_gift_card_pays_an_order_to_the_cent_and_gets_it_back() -> None:
    change = "modify_pending_order_payment"
    exact = shop(customer("ann", gift_card_cents=3_500), order("W1"))
    assert ask(exact, change, order_id="W1", payment_method_id="gift_ann") == ("modify-payment.permit",)
    assert balance(exact) == 0
    again = ask(exact, change, order_id="W1", payment_method_id="gift_ann")
    assert again == ("payment.differs-from-current", "payment.gift-card-covers-total")
    assert ask(exact, change, order_id="W1", payment_method_id="paypal_ann") == ("modify-payment.permit",)
    assert balance(exact) == 3_500
    poor = shop(customer("ann", gift_card_cents=3_499), order("W1"))
    assert ask(poor, change, order_id="W1", payment_method_id="gift_ann") == (
        "payment.gift-card-covers-total",
    )


def test_two_orders_cannot_be_paid_with_the_same_money() -> None:
    driver = shop(order("W1"), order("W2"))
    change = "modify_pending_order_payment"
    assert ask(driver, change, order_id="W1", payment_method_id="gift_ann") == ("modify-payment.permit",)
    assert ask(driver, change, order_id="W2", payment_method_id="gift_ann") == (
        "payment.gift-card-covers-total",
    )


def test_a_newer_report_of_a_balance_replaces_what_was_reckoned() -> None:
    driver = shop(order("W1"), order("W2"))
    change = "modify_pending_order_payment"
    ask(driver, change, order_id="W1", payment_method_id="gift_ann")
    folded(AFTER_SALES, [customer("ann", gift_card_cents=9_000)], driver.documents)
    assert ask(driver, change, order_id="W2", payment_method_id="gift_ann") == ("modify-payment.permit",)
    assert balance(driver) == 9_000 - 3_500


@pytest.mark.parametrize(
    ("cents", "old", "new", "policies", "left"),
    [
        (2_500, ["red"], ["gold"], ("modify-items.permit",), 0),
        (2_499, ["red"], ["gold"], ("payment.gift-card-covers-difference",), None),
        (0, ["blue"], ["red"], ("modify-items.permit",), 300),
        (0, ["red", "blue"], ["blue", "red"], ("payment.gift-card-covers-difference",), None),
        (200, ["red", "blue"], ["blue", "red"], ("modify-items.permit",), 0),
        (5_000, ["red", "red"], ["gold", "blue"], ("modify-items.permit",), 2_000),
    ],
)
def test_price_differences_move_a_gift_cards_balance(
    cents: int, old: list[str], new: list[str], policies: tuple[str, ...], left: int | None
) -> None:
    driver = shop(customer("ann", gift_card_cents=cents), order("W1"))
    assert modify(driver, old, new, by="gift_ann") == policies
    assert balance(driver) == left


@pytest.mark.parametrize(
    ("old", "new", "policies"),
    [
        (["red", "red"], ["blue", "gold"], ("modify-items.permit",)),
        (["red", "red", "red"], ["blue", "blue", "blue"], ("items.in-order",)),
        (["green"], ["blue"], ("items.in-order",)),
        (["red"], ["red"], ("modify.different-item",)),
        (["red", "blue"], ["blue", "blue"], ("modify.different-item",)),
        (["red"], ["gone"], ("items.available",)),
        (["red"], ["nothing"], ("items.same-product",)),
        (["red"], [""], ("items.same-product",)),
        (["red"], ["euro"], ("items.one-currency",)),
        (["red"], ["blue", "gold"], ("items.equal-length",)),
        (["red", "blue"], ["gold"], ("items.equal-length",)),
        ([], [], ("items.at-least-one",)),
        ([], ["blue"], ("items.at-least-one", "items.equal-length")),
    ],
)
def test_the_rules_on_items(old: list[str], new: list[str], policies: tuple[str, ...]) -> None:
    assert modify(shop(order("W1")), old, new) == policies


def test_an_exchange_for_the_same_item_is_fine_while_it_is_available() -> None:
    driver = shop(order("W1", items=(item("red", 1_200), item("gone", 900))), delivered("W1"))
    same = "exchange_delivered_order_items"
    assert modify(driver, ["gone"], ["gone"], action=same) == ("items.available",)
    assert modify(driver, ["red"], ["red"], action=same) == ("exchange.permit",)
    assert modify(driver, ["red"], ["blue"], action=same) == ("returns.once",)


def test_after_a_modification_the_order_is_closed_until_it_arrives_with_the_new_items() -> None:
    driver = shop(order("W1"))
    assert modify(driver, ["red"], ["gold"]) == ("modify-items.permit",)
    assert modify(driver, ["gold"], ["red"]) == ("modify.once",)
    assert ask(driver, "cancel_pending_order", order_id="W1", reason="no longer needed") == ("modify.once",)
    assert ask(driver, "modify_pending_order_address", order_id="W1", **ADDRESS) == ("modify.once",)
    folded(AFTER_SALES, [delivered("W1")], driver.documents)
    back = {"order_id": "W1", "payment_method_id": "card_ann"}
    send_back = "return_delivered_order_items"
    assert ask(driver, send_back, item_ids=["red", "red"], **back) == ("items.in-order",)
    assert ask(driver, send_back, item_ids=["red", "gold"], **back) == ("return.permit",)
    assert ask(driver, send_back, item_ids=["blue"], **back) == ("returns.once",)


def test_a_refund_follows_a_changed_payment_method() -> None:
    driver = shop(order("W1"))
    ask(driver, "modify_pending_order_payment", order_id="W1", payment_method_id="paypal_ann")
    folded(AFTER_SALES, [delivered("W1")], driver.documents)
    back = {"order_id": "W1", "item_ids": ["blue"]}
    rule = ("return.refund-to-original-or-gift-card",)
    assert ask(driver, "return_delivered_order_items", payment_method_id="card_ann", **back) == rule
    assert ask(driver, "return_delivered_order_items", payment_method_id="paypal_ann", **back) == (
        "return.permit",
    )


def test_what_the_shop_cancelled_stays_cancelled() -> None:
    gone = OrderCancelled(order_id="W1", customer_id="ann", reason="lost")
    driver = shop(gone, order("W1"), delivered("W1"))
    back = {"order_id": "W1", "item_ids": ["blue"], "payment_method_id": "card_ann"}
    assert ask(driver, "return_delivered_order_items", **back) == ("returns.only-delivered",)


def test_addresses_are_kept_and_only_ones_own() -> None:
    driver = shop(order("W1"))
    assert ask(driver, "modify_pending_order_address", order_id="W1", **ADDRESS) == ("modify-address.permit",)
    assert ask(driver, "modify_user_address", user_id="ann", **ADDRESS) == ("account.change-address",)
    assert ask(driver, "modify_user_address", user_id="bob", **ADDRESS) == ("account.own-account-only",)
    assert ask(driver, "modify_user_address", user_id="nobody", **ADDRESS) == ("account.own-account-only",)
    foreign = ask(driver, "modify_pending_order_address", key="bob", order_id="W1", **ADDRESS)
    assert foreign == ("order.own-orders-only",)
    state = driver.states["ann"]
    assert isinstance(state, AfterSalesState)
    assert state.address is not None
    assert state.address.line1 == "2 New St"
    assert state.orders[0].ship_to == state.address
    assert AfterSalesState.model_validate_json(state.model_dump_json()) == state


def test_an_account_with_too_many_changes_needs_a_person() -> None:
    driver = shop(order("W1"))
    changes = tuple(OrderChange(order_id=f"{number:04}") for number in range(MAX_CHANGED_ORDERS))
    driver.states["ann"] = AfterSalesState(orders=changes)
    with pytest.raises(InputRejected, match="person"):
        ask(driver, "cancel_pending_order", order_id="W1", reason="no longer needed")


@pytest.mark.parametrize(
    ("action", "args", "subject"),
    [
        ("cancel_pending_order", {"order_id": "W1"}, "W1"),
        ("cancel_pending_order", {"order_id": 7}, "ann"),
        ("cancel_pending_order", {"order_id": "x" * 201}, "ann"),
        ("modify_user_address", {"order_id": "W1"}, "ann"),
        ("x", {}, "ann"),
    ],
)
def test_the_subject_is_the_order_else_the_customer(action: str, args: dict[str, Any], subject: str) -> None:
    event = AfterSalesRequested(request_id="r", customer_id="ann", action=action, args=args)
    assert AFTER_SALES.subject(event) == subject
    assert AFTER_SALES.request_id(event) == "r"


def test_odd_arguments_do_not_break_what_is_read() -> None:
    args = {"order_id": None, "new_item_ids": ["a", 1, "", "a", "x" * 300]}
    event = AfterSalesRequested(request_id="r", customer_id="ann", action="x", args=args)
    found = [(lookup.view, lookup.key) for lookup in AFTER_SALES.reads(event)]
    assert found == [("customers", "ann"), ("variants", "a")]
