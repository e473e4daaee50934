"""The shop's rules of the data set's README, a second time: plain Python over the raw data, nothing of jurat's.

It says only yes or no, for comparison with what the policies say, and applies what was allowed.
"""

from __future__ import annotations

import copy
from collections import Counter
from decimal import Decimal
from typing import Any

Raw = dict[str, Any]


class Shop:
    """The raw data set with what allowed requests did to it."""

    def __init__(self, db: Raw) -> None:
        self._db = db
        self._orders: Raw = {}
        self._users: Raw = {}
        self._variants = {
            item_id: (product["product_id"], variant)
            for product in db["products"].values()
            for item_id, variant in product["variants"].items()
        }

    def allows(self, key: str, action: str, args: Raw) -> bool:
        """Tell whether the rules allow a request."""
        if action == "modify_user_address":
            return bool(args["user_id"] == key)
        order = self._order(args["order_id"])
        if order["user_id"] != key:
            return False
        rule = {
            "cancel_pending_order": self._cancel,
            "modify_pending_order_address": lambda o, a, u: o["status"] == "pending",
            "modify_pending_order_payment": self._payment,
            "modify_pending_order_items": self._modify,
            "exchange_delivered_order_items": self._exchange,
            "return_delivered_order_items": self._return,
        }[action]
        return bool(rule(order, args, self._user(key)))

    def _cancel(self, order: Raw, args: Raw, user: Raw) -> bool:
        return order["status"] == "pending" and args["reason"] in ("no longer needed", "ordered by mistake")

    def _payment(self, order: Raw, args: Raw, user: Raw) -> bool:
        if order["status"] != "pending" or args["payment_method_id"] not in user["payment_methods"]:
            return False
        if order["payment_history"][-1]["payment_method_id"] == args["payment_method_id"]:
            return False
        method = user["payment_methods"][args["payment_method_id"]]
        return method["source"] != "gift_card" or method["balance"] >= total(order)

    def _modify(self, order: Raw, args: Raw, user: Raw) -> bool:
        if order["status"] != "pending":
            return False
        if any(old == new for old, new in zip(args["item_ids"], args["new_item_ids"], strict=False)):
            return False
        return self._replaceable(order, args, user)

    def _exchange(self, order: Raw, args: Raw, user: Raw) -> bool:
        return order["status"] == "delivered" and self._replaceable(order, args, user)

    def _return(self, order: Raw, args: Raw, user: Raw) -> bool:
        if order["status"] != "delivered" or not holds(order, args["item_ids"]):
            return False
        if args["payment_method_id"] == order["payment_history"][0]["payment_method_id"]:
            return True
        method = user["payment_methods"].get(args["payment_method_id"])
        return method is not None and method["source"] == "gift_card"

    def _replaceable(self, order: Raw, args: Raw, user: Raw) -> bool:
        old_ids, new_ids = args["item_ids"], args["new_item_ids"]
        if len(old_ids) != len(new_ids) or not holds(order, old_ids):
            return False
        for old_id, new_id in zip(old_ids, new_ids, strict=True):
            product_id, variant = self._variants.get(new_id, (None, None))
            if product_id != product_of(order, old_id) or not variant["available"]:
                return False
        method = user["payment_methods"].get(args["payment_method_id"])
        if method is None:
            return False
        difference = self.difference(order, args)
        return difference <= 0 or method["source"] != "gift_card" or method["balance"] >= difference

    def difference(self, order: Raw, args: Raw) -> Decimal:
        """What the new items cost more than the old ones."""
        old = sum((price_of(order, item_id) for item_id in args["item_ids"]), Decimal(0))
        return (
            sum((self._variants[item_id][1]["price"] for item_id in args["new_item_ids"]), Decimal(0)) - old
        )

    def apply(self, key: str, action: str, args: Raw) -> None:
        """Do what was allowed."""
        user = self._users.setdefault(key, copy.deepcopy(self._user(key)))
        if action == "modify_user_address":
            return
        order = self._orders.setdefault(args["order_id"], copy.deepcopy(self._order(args["order_id"])))
        history = order["payment_history"]
        if action == "cancel_pending_order":
            move(user, history[-1]["payment_method_id"], total(order))
            order["status"] = "cancelled"
        elif action == "modify_pending_order_payment":
            move(user, history[-1]["payment_method_id"], total(order))
            move(user, args["payment_method_id"], -total(order))
            history[:] = [{"payment_method_id": args["payment_method_id"]}]
        elif action == "modify_pending_order_items":
            move(user, args["payment_method_id"], -self.difference(order, args))
            order["status"] = "pending (item modified)"
        elif action == "exchange_delivered_order_items":
            move(user, args["payment_method_id"], min(Decimal(0), -self.difference(order, args)))
            order["status"] = "exchange requested"
        elif action == "return_delivered_order_items":
            order["status"] = "return requested"

    def _order(self, order_id: str) -> Raw:
        found: Raw = self._orders.get(order_id) or self._db["orders"][order_id]
        return found

    def _user(self, key: str) -> Raw:
        found: Raw = self._users.get(key) or self._db["users"][key]
        return found


def holds(order: Raw, item_ids: list[str]) -> bool:
    """An order holds items when each is in it as often as it is named, and at least one is named."""
    return bool(item_ids) and Counter(item_ids) <= Counter(item["item_id"] for item in order["items"])


def total(order: Raw) -> Decimal:
    """The price of all pieces."""
    return sum((item["price"] for item in order["items"]), Decimal(0))


def product_of(order: Raw, item_id: str) -> str:
    """The product of a piece of the order."""
    return str(next(item["product_id"] for item in order["items"] if item["item_id"] == item_id))


def price_of(order: Raw, item_id: str) -> Decimal:
    """The price of a piece of the order."""
    return Decimal(next(item["price"] for item in order["items"] if item["item_id"] == item_id))


def move(user: Raw, payment_method_id: str, amount: Decimal) -> None:
    """Money to a gift card, or from it; other methods keep no balance."""
    method = user["payment_methods"][payment_method_id]
    if method["source"] == "gift_card":
        method["balance"] += amount
