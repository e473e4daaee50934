"""Random requests about the retail data, most of them nearly right, so that both verdicts of every action occur."""

from __future__ import annotations

import random
from typing import Any

from tests.retail_negatives import ADDRESS, CANCEL, EXCHANGE, MODIFY, MOVE, PAYMENT, RETURN, Ask

Raw = dict[str, Any]

ACTIONS = (CANCEL, MOVE, PAYMENT, MODIFY, EXCHANGE, RETURN, "modify_user_address")
REASONS = (
    "no longer needed",
    "ordered by mistake",
    "ordered by mistake",
    "No Longer Needed",
    "too expensive",
    "",
)


def random_ask(rng: random.Random, db: Raw, *, key: str | None = None) -> Ask:
    """One request.

    Args:
        rng: where chance comes from.
        db: the data set.
        key: the customer; drawn when left out.
    """
    action = rng.choice(ACTIONS)
    key = key or rng.choice(sorted(db["users"]))
    user = db["users"][key]
    if action == "modify_user_address":
        user_id = key if rng.random() < 0.7 else rng.choice(sorted(db["users"]))
        return Ask(key, action, {"user_id": user_id, **ADDRESS})
    order = _order(rng, db, user, "delivered" if action in (EXCHANGE, RETURN) else "pending")
    args: Raw = {"order_id": order["order_id"]}
    if action == CANCEL:
        args["reason"] = rng.choice(REASONS)
    elif action == MOVE:
        args |= ADDRESS
    else:
        args["payment_method_id"] = _method(rng, db, user, order)
    if action in (MODIFY, EXCHANGE, RETURN):
        args["item_ids"] = _items(rng, order)
    if action in (MODIFY, EXCHANGE):
        args["new_item_ids"] = _new_items(rng, db, order, args["item_ids"])
    return Ask(key, action, args)


def _order(rng: random.Random, db: Raw, user: Raw, status: str) -> Raw:
    own = [db["orders"][order_id] for order_id in user["orders"]]
    fitting = [order for order in own if order["status"] == status]
    draw = rng.random()
    if draw < 0.85 and fitting:
        return dict(rng.choice(fitting))
    if draw < 0.95 and own:
        return dict(rng.choice(own))
    return dict(db["orders"][rng.choice(sorted(db["orders"]))])


def _method(rng: random.Random, db: Raw, user: Raw, order: Raw) -> str:
    draw = rng.random()
    if draw < 0.75:
        return str(rng.choice(sorted(user["payment_methods"])))
    if draw < 0.9:
        return str(order["payment_history"][0]["payment_method_id"])
    other = db["users"][rng.choice(sorted(db["users"]))]
    return str(rng.choice([*sorted(other["payment_methods"]), "gift_card_0000000", ""]))


def _items(rng: random.Random, order: Raw) -> list[str]:
    pieces = [item["item_id"] for item in order["items"]]
    named = rng.sample(pieces, rng.randint(1, len(pieces)))
    draw = rng.random()
    if draw < 0.04:
        named.append(rng.choice(pieces))
    elif draw < 0.06:
        named.append("0000000000")
    elif draw < 0.08:
        named = []
    return named


def _new_items(rng: random.Random, db: Raw, order: Raw, item_ids: list[str]) -> list[str]:
    product_of = {item["item_id"]: item["product_id"] for item in order["items"]}
    new = [_new_item(rng, db, product_of.get(item_id), item_id) for item_id in item_ids]
    draw = rng.random()
    if draw < 0.04 and new:
        new.pop()
    elif draw < 0.08:
        new.append(rng.choice(new or ["0000000000"]))
    return new


def _new_item(rng: random.Random, db: Raw, product_id: str | None, item_id: str) -> str:
    draw = rng.random()
    if draw < 0.04:
        return item_id
    if draw < 0.08 or product_id is None:
        product_id = rng.choice(sorted(db["products"]))
    elif draw < 0.1:
        return "0000000000"
    variants = db["products"][product_id]["variants"]
    available = sorted(one for one in variants if variants[one]["available"])
    return str(rng.choice(available if available and draw < 0.9 else sorted(variants)))
