"""The retail data set as events: exact cents, stable ids, strict reading, bad lines by number."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jurat.schemas.commerce import (
    AfterSalesRequested,
    CustomerRegistered,
    OrderPlaced,
    PaymentCaptured,
    ProductListed,
)
from jurat.schemas.errors import DecodeError
from jurat.streams.retail_dataset import BadLine, DatasetEvent, read_requests, read_retail
from jurat.streams.retail_raw import cents
from tests.retail_data import DB, needs_retail_data

ADDRESS = {"address1": "1 A St", "address2": "", "city": "B", "state": "C", "country": "USA", "zip": "00001"}


def shop(**order: Any) -> dict[str, Any]:
    item = {"item_id": "i1", "product_id": "p1", "name": "Mug", "price": 19.99, "options": {}}
    placed = {
        "order_id": "#W1",
        "user_id": "ann",
        "address": ADDRESS,
        "items": [item, item],
        "status": "delivered",
        "fulfillments": [{"tracking_id": ["t1"], "item_ids": ["i1", "i1"]}],
        "payment_history": [
            {"transaction_type": "payment", "amount": 39.98, "payment_method_id": "gift_card_1"}
        ],
        **order,
    }
    return {
        "users": {
            "ann": {
                "user_id": "ann",
                "name": {"first_name": "Ann", "last_name": "Lee"},
                "address": ADDRESS,
                "email": "ann@example.com",
                "payment_methods": {
                    "gift_card_1": {"source": "gift_card", "id": "gift_card_1", "balance": 17.1},
                    "c1": {"source": "credit_card", "id": "c1", "brand": "visa", "last_four": "0001"},
                },
                "orders": ["#W1"],
            }
        },
        "products": {
            "p1": {
                "name": "Mug",
                "product_id": "p1",
                "variants": {"i1": {"item_id": "i1", "options": {}, "available": True, "price": 8.15}},
            }
        },
        "orders": {"#W1": placed},
    }


def written(folder: Path, data: object) -> Path:
    path = folder / "db.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_events_ids_and_cents(tmp_path: Path) -> None:
    found = list(read_retail(written(tmp_path, shop())))
    assert [one.event_id for one in found] == [
        "customer-ann",
        "product-p1",
        "order-#W1-placed",
        "payment-#W1-1",
        "parcel-#W1-1-dispatched",
        "parcel-#W1-1-delivered",
    ]
    customer, product, order, payment = (one.event for one in found[:4])
    assert isinstance(customer, CustomerRegistered)
    assert isinstance(product, ProductListed)
    assert isinstance(order, OrderPlaced)
    assert isinstance(payment, PaymentCaptured)
    balance = customer.payment_methods[0].balance
    assert balance is not None
    assert (balance.amount_minor, balance.currency) == (1710, "USD")
    assert product.variants[0].price.amount_minor == 815
    assert order.total.amount_minor == payment.amount.amount_minor == 3998
    assert order.payment_method_id == "gift_card_1"


def test_a_status_without_a_parcel_still_becomes_one(tmp_path: Path) -> None:
    found = [
        one.event_id for one in read_retail(written(tmp_path, shop(status="processed", fulfillments=[])))
    ]
    assert found[-1] == "parcel-#W1-1-dispatched"


def test_a_cancelled_order_says_so_last(tmp_path: Path) -> None:
    found = [one.event_id for one in read_retail(written(tmp_path, shop(status="cancelled")))]
    assert found[-2:] == ["parcel-#W1-1-dispatched", "order-#W1-cancelled"]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"payment_history": []}, "payment_history"),
        ({"status": "lost"}, "status"),
        ({"status": "pending"}, "pending order with a parcel"),
        ({"colour": "red"}, "colour"),
        ({"order_id": "#W2"}, "#W2"),
        (
            {"payment_history": [{"transaction_type": "payment", "amount": 1.005, "payment_method_id": "x"}]},
            "1.005",
        ),
        (
            {"payment_history": [{"transaction_type": "payment", "amount": "1", "payment_method_id": "x"}]},
            "str",
        ),
        (
            {"payment_history": [{"transaction_type": "payment", "amount": True, "payment_method_id": "x"}]},
            "bool",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, order: dict[str, Any], named: str) -> None:
    with pytest.raises(DecodeError, match="expected") as caught:
        list(read_retail(written(tmp_path, shop(**order))))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"users": {}, "users": {}}', '{"users": NaN}', "[" * 100_000]
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DecodeError, match="expected"):
        list(read_retail(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(Decimal("19.99"), 1999), (Decimal("-0.01"), -1), (7, 700), (Decimal("1E+2"), 10_000)],
)
def test_cents_are_exact(amount: object, expected: int) -> None:
    assert cents(amount) == expected


@pytest.mark.parametrize(
    "amount",
    [
        1.5,
        "1",
        True,
        None,
        Decimal("0.001"),
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        Decimal("1." + "0" * 60 + "1"),
    ],
)
def test_what_is_no_number_of_cents_is_refused(amount: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        cents(amount)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="cannot be read"):
        list(read_retail(tmp_path / "db.json"))


def test_requests_and_bad_lines() -> None:
    good = b'{"id": "r1", "key": "ann", "action": "cancel_pending_order", "args": {"order_id": "#W1"}}\n'
    dry = b'{"id": "r2", "key": "ann", "action": "x", "args": {}, "dry_run": true}'
    lines = [good, b"\n", b"{", b"[1]", b'{"id": "r3"}', dry]
    first, *bad, last = read_requests(lines)
    assert first == DatasetEvent(
        AfterSalesRequested(
            request_id="r1", customer_id="ann", action="cancel_pending_order", args={"order_id": "#W1"}
        ),
        "r1",
    )
    assert isinstance(last, DatasetEvent)
    assert isinstance(last.event, AfterSalesRequested)
    assert last.event.dry_run
    assert [one.number for one in bad if isinstance(one, BadLine)] == [3, 4, 5]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 7, "key": "ann", "action": "x", "args": {}}',
        b'{"id": "r", "key": "ann", "action": "x", "args": {}, "dry_run": 1}',
        b'{"id": "r", "key": "ann", "action": "x", "args": []}',
        b'{"id": "r", "key": "ann", "action": "x", "args": "{}"}',
        b'{"id": "r", "key": "ann", "action": "x", "args": {"amount": 1.5}}',
        b'{"id": "r", "key": "ann", "action": "x", "args": {"a": "\\ud800"}}',
        b'{"id": "r", "key": "ann", "action": "x", "args": {}, "step": 1}',
        b'{"id": "r", "id": "s", "key": "ann", "action": "x", "args": {}}',
        b'{"id": "", "key": "ann", "action": "x", "args": {}}',
        b"\xff",
        b'{"id": "r", "key": "ann", "action": "x", "args": {"a": "' + b"x" * 300_000 + b'"}}',
    ],
)
def test_a_line_that_is_no_request(line: bytes) -> None:
    (found,) = read_requests([line])
    assert isinstance(found, BadLine)
    assert found.number == 1
    assert found.error


@needs_retail_data
def test_the_real_data_set_reads_the_same_twice() -> None:
    first, second = list(read_retail(DB)), list(read_retail(DB))
    assert first == second
    assert len({one.event_id for one in first}) == len(first)
    assert Counter(type(one.event).__name__ for one in first) == {
        "CustomerRegistered": 500,
        "ProductListed": 50,
        "OrderPlaced": 1000,
        "PaymentCaptured": 1000,
        "PaymentRefunded": 102,
        "OrderDispatched": 577,
        "OrderDelivered": 373,
        "OrderCancelled": 102,
    }
