"""What each after-sales request moves, as policies see it and backtests add it up."""

from __future__ import annotations

from typing import Any

import pytest

from jurat.policies.backtest_past import amount_of
from jurat.policies.backtest_report import Amount
from jurat.schemas.commerce import AfterSalesRequested
from tests.unit.test_after_sales import ADDRESS, modify, order, shop

BY_CARD = {"order_id": "W1", "payment_method_id": "card_ann"}


@pytest.mark.parametrize(
    ("action", "args", "cents"),
    [
        ("cancel_pending_order", {"order_id": "W1", "reason": "no longer needed"}, 3_500),
        ("modify_pending_order_payment", {"order_id": "W1", "payment_method_id": "gift_ann"}, 3_500),
        ("return_delivered_order_items", {**BY_CARD, "item_ids": ["red", "blue"]}, 2_500),
        ("return_delivered_order_items", {**BY_CARD, "item_ids": ["red", "red", "red"]}, 2_000),
        ("exchange_delivered_order_items", {**BY_CARD, "item_ids": ["red"], "new_item_ids": ["gold"]}, 2_500),
        ("exchange_delivered_order_items", {**BY_CARD, "item_ids": ["blue"], "new_item_ids": ["red"]}, 300),
        (
            "modify_pending_order_items",
            {**BY_CARD, "item_ids": ["red", "blue"], "new_item_ids": ["blue", "red"]},
            200,
        ),
        ("modify_pending_order_items", {**BY_CARD, "item_ids": ["red"], "new_item_ids": ["euro"]}, 0),
        ("modify_pending_order_items", {**BY_CARD, "item_ids": ["red"], "new_item_ids": ["nothing"]}, 0),
    ],
)
def test_the_money_that_a_request_moves_is_a_fact(action: str, args: dict[str, Any], cents: int) -> None:
    """Backtests add it up, whatever the verdict."""
    event = AfterSalesRequested(request_id="r1", customer_id="ann", action=action, args=args)
    chosen = shop(order("W1")).decide(event).chosen
    assert amount_of(chosen.judgement.normalised) == Amount(cents, "USD")


def test_the_money_of_a_modified_order_is_that_of_its_new_items() -> None:
    driver = shop(order("W1"))
    assert modify(driver, ["red"], ["gold"]) == ("modify-items.permit",)
    event = AfterSalesRequested(
        request_id="r2",
        customer_id="ann",
        action="cancel_pending_order",
        args={"order_id": "W1", "reason": "no longer needed"},
    )
    assert amount_of(driver.decide(event).chosen.judgement.normalised) == Amount(6_000, "USD")


def test_an_address_moves_no_money() -> None:
    event = AfterSalesRequested(
        request_id="r1",
        customer_id="ann",
        action="modify_pending_order_address",
        args={"order_id": "W1", **ADDRESS},
    )
    assert amount_of(shop(order("W1")).decide(event).chosen.judgement.normalised) is None
