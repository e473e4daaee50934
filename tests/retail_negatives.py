"""Requests about the retail data that break exactly one of the shop's rules, and ones that come close and break none.

Generated from db.json in one order, so that two runs see the same cases. Every case names the policies that must
decide it, exactly. A case with `before` needs these requests decided first, effectively; the others hold for the
initial state and may be dry runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

from tests.retail_oracle import total

Raw = dict[str, Any]

MAX_PER_KIND = 25
"""Cases of one kind: enough to meet every sort of order, few enough to run in seconds."""

PERMITS = {
    "cancel_pending_order": "cancel.permit",
    "modify_pending_order_address": "modify-address.permit",
    "modify_pending_order_payment": "modify-payment.permit",
    "modify_pending_order_items": "modify-items.permit",
    "exchange_delivered_order_items": "exchange.permit",
    "return_delivered_order_items": "return.permit",
    "modify_user_address": "account.change-address",
}
ADDRESS = {
    "address1": "1 Test Street",
    "address2": "",
    "city": "Austin",
    "state": "TX",
    "country": "USA",
    "zip": "78701",
}
BAD_REASONS = (
    "changed my mind",
    "No longer needed",
    "no longer needed ",
    "ordered by mistake.",
    "",
    "no longer",
)
MODIFY, EXCHANGE = "modify_pending_order_items", "exchange_delivered_order_items"
RETURN, PAYMENT = "return_delivered_order_items", "modify_pending_order_payment"
CANCEL, MOVE = "cancel_pending_order", "modify_pending_order_address"


@dataclass(frozen=True)
class Ask:
    """One request."""

    key: str
    action: str
    args: Raw


@dataclass(frozen=True)
class Case:
    """A request, the policies that must decide it, and what has to happen before."""

    kind: str
    ask: Ask
    policies: tuple[str, ...]
    before: tuple[Ask, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the rules allow it."""
        return self.policies == (PERMITS[self.ask.action],)


class Cases:
    """The generators over one data set; each method yields the cases of a few kinds."""

    def __init__(self, db: Raw) -> None:
        self.users: Raw = db["users"]
        self.orders: list[Raw] = [db["orders"][order_id] for order_id in sorted(db["orders"])]
        self.products: Raw = db["products"]

    # what the data set holds

    def with_status(self, *statuses: str) -> list[Raw]:
        return [order for order in self.orders if order["status"] in statuses]

    def open_for(self, action: str) -> list[Raw]:
        return self.with_status("delivered" if action in (EXCHANGE, RETURN) else "pending")

    def methods(self, key: str, *sources: str) -> list[Raw]:
        found = self.users[key]["payment_methods"].values()
        return [method for method in found if not sources or method["source"] in sources]

    def card(self, key: str) -> str | None:
        """A method that is no gift card."""
        return next((method["id"] for method in self.methods(key, "credit_card", "paypal")), None)

    def gift_cards(self, key: str) -> list[Raw]:
        return self.methods(key, "gift_card")

    def variants(self, product_id: str, *, available: bool) -> list[Raw]:
        found = self.products[product_id]["variants"].values()
        return [variant for variant in found if variant["available"] is available]

    def other(self, item: Raw) -> str | None:
        """Another available variant of an item's product."""
        found = self.variants(item["product_id"], available=True)
        return next((one["item_id"] for one in found if one["item_id"] != item["item_id"]), None)

    def stranger(self, order: Raw, *, with_gift_card: bool = False) -> str:
        """A customer who did not place the order."""
        start = self.orders.index(order)
        for other in (*self.orders[start:], *self.orders[:start]):
            key = other["user_id"]
            if key != order["user_id"] and self.card(key) and (self.gift_cards(key) or not with_gift_card):
                return str(key)
        raise AssertionError("got a data set with one customer")

    # requests that are fine

    def fine(self, action: str, order: Raw, key: str | None = None) -> Ask | None:
        """A request about an order that only its status or its owner can make wrong; None where there is none."""
        key = key or order["user_id"]
        args: Raw = {"order_id": order["order_id"]}
        card = self.card(key)
        item = order["items"][0]
        if action == CANCEL:
            args["reason"] = "no longer needed"
        elif action == MOVE:
            args |= ADDRESS
        elif action == PAYMENT:
            others = [method["id"] for method in self.methods(key, "credit_card", "paypal")]
            fresh = [one for one in others if one != original(order)]
            if not fresh:
                return None
            args["payment_method_id"] = fresh[0]
        elif action == RETURN:
            to = original(order) if key == order["user_id"] else self.gift_cards(key)[0]["id"]
            args |= {"item_ids": [item["item_id"]], "payment_method_id": to}
        else:
            other = self.other(item)
            if card is None or other is None:
                return None
            args |= {"item_ids": [item["item_id"]], "new_item_ids": [other], "payment_method_id": card}
        return Ask(key, action, args)

    def fine_orders(self, action: str) -> Iterator[tuple[Raw, Ask]]:
        """Every order that is open for an action, with a request that is allowed."""
        for order in self.open_for(action):
            ask = self.fine(action, order)
            if ask is not None:
                yield order, ask

    def fine_each(self, order: Raw, *actions: str) -> Iterator[Ask]:
        """The fine requests about one order, for those actions that have one."""
        for action in actions:
            ask = self.fine(action, order)
            if ask is not None:
                yield ask

    # cases

    def statuses(self) -> Iterator[Case]:
        rules = {
            CANCEL: "cancel.only-pending",
            EXCHANGE: "returns.only-delivered",
            RETURN: "returns.only-delivered",
        }
        for action in (CANCEL, MOVE, PAYMENT, MODIFY, EXCHANGE, RETURN):
            right = "delivered" if action in (EXCHANGE, RETURN) else "pending"
            for status in ("pending", "processed", "delivered", "cancelled"):
                if status == right:
                    continue
                asks = (self.fine(action, order) for order in self.with_status(status))
                for ask in islice((ask for ask in asks if ask), MAX_PER_KIND):
                    yield Case(
                        f"{action} of a {status} order", ask, (rules.get(action, "modify.only-pending"),)
                    )

    def strangers(self) -> Iterator[Case]:
        for action in (CANCEL, MOVE, PAYMENT, MODIFY, EXCHANGE, RETURN):
            asks = (
                self.fine(action, order, self.stranger(order, with_gift_card=True))
                for order in self.open_for(action)
            )
            for ask in islice((ask for ask in asks if ask), MAX_PER_KIND):
                yield Case(f"{action} of a foreign order", ask, ("order.own-orders-only",))
        keys = sorted(self.users)
        for key, other in islice(pairwise(keys), MAX_PER_KIND):
            ask = Ask(key, "modify_user_address", {"user_id": other, **ADDRESS})
            yield Case("address of a foreign account", ask, ("account.own-account-only",))
            own = changed(ask, user_id=key)
            yield Case("address of one's own account", own, (PERMITS[ask.action],))

    def reasons(self) -> Iterator[Case]:
        for number, (_order, ask) in enumerate(islice(self.fine_orders(CANCEL), 3 * MAX_PER_KIND)):
            reason = BAD_REASONS[number % len(BAD_REASONS)]
            yield Case("bad reason", changed(ask, reason=reason), ("cancel.reason",))

    def bad_items(self, action: str) -> Iterator[Case]:
        for order, ask in islice(self.fine_orders(action), 2 * MAX_PER_KIND):
            item = order["items"][0]
            gone = self.variants(item["product_id"], available=False)
            for variant in [one for one in gone if one["item_id"] != item["item_id"]][:1]:
                yield Case(
                    "unavailable variant",
                    changed(ask, new_item_ids=[variant["item_id"]]),
                    ("items.available",),
                )
            foreign = next(p for p in sorted(self.products) if p != item["product_id"])
            wrong = self.variants(foreign, available=True)[0]["item_id"]
            for new_id in (wrong, "0000000000", ""):
                yield Case("other product", changed(ask, new_item_ids=[new_id]), ("items.same-product",))
            new_id = ask.args["new_item_ids"][0]
            yield Case("more new items", changed(ask, new_item_ids=[new_id, new_id]), ("items.equal-length",))
            often = [item["item_id"]] * (1 + sum(one["item_id"] == item["item_id"] for one in order["items"]))
            new_ids = [new_id] * len(often)
            asked = changed(ask, item_ids=often, new_item_ids=new_ids)
            yield Case("item named too often", asked, ("items.in-order",))
            absent = new_id if all(one["item_id"] != new_id for one in order["items"]) else "0000000000"
            yield Case(
                "item not in the order",
                changed(ask, item_ids=[absent], new_item_ids=[new_id if absent != new_id else "9999999999"]),
                ("items.in-order",),
            )
            yield Case("no item", changed(ask, item_ids=[], new_item_ids=[]), ("items.at-least-one",))
            if len(order["items"]) > 1 and order["items"][1]["item_id"] != item["item_id"]:
                both = [one["item_id"] for one in order["items"][:2]]
                yield Case("fewer new items", changed(ask, item_ids=both), ("items.equal-length",))

    def same_item(self) -> Iterator[Case]:
        for action, policies in ((MODIFY, ("modify.different-item",)), (EXCHANGE, (PERMITS[EXCHANGE],))):
            for order, ask in islice(self.fine_orders(action), 3 * MAX_PER_KIND):
                item = order["items"][0]
                if self.products[item["product_id"]]["variants"][item["item_id"]]["available"]:
                    yield Case("same item", changed(ask, new_item_ids=[item["item_id"]]), policies)
                elif action == EXCHANGE:
                    asked = changed(ask, new_item_ids=[item["item_id"]])
                    yield Case("same item, gone by now", asked, ("items.available",))

    def bad_returns(self) -> Iterator[Case]:
        rule = ("return.refund-to-original-or-gift-card",)
        for order, ask in islice(self.fine_orders(RETURN), 4 * MAX_PER_KIND):
            for method in self.methods(order["user_id"]):
                if method["id"] == original(order):
                    continue
                policies = (PERMITS[RETURN],) if method["source"] == "gift_card" else rule
                yield Case("return to another method", changed(ask, payment_method_id=method["id"]), policies)
            theirs = self.gift_cards(self.stranger(order, with_gift_card=True))[0]["id"]
            yield Case("return to a stranger's gift card", changed(ask, payment_method_id=theirs), rule)
            yield Case("return to nowhere", changed(ask, payment_method_id=""), rule)
            every = [item["item_id"] for item in order["items"]]
            yield Case("return of everything", changed(ask, item_ids=every), (PERMITS[RETURN],))
            yield Case(
                "return of one too many", changed(ask, item_ids=[*every, every[0]]), ("items.in-order",)
            )
            yield Case("return of nothing", changed(ask, item_ids=[]), ("items.at-least-one",))
            yield Case("return of a strange item", changed(ask, item_ids=["0000000000"]), ("items.in-order",))

    def payments(self) -> Iterator[Case]:
        for action in (PAYMENT, MODIFY, EXCHANGE):
            for order, ask in islice(self.fine_orders(action), MAX_PER_KIND):
                theirs = self.card(self.stranger(order))
                for method_id in (theirs, "credit_card_0000000", ""):
                    asked = changed(ask, payment_method_id=method_id)
                    yield Case("somebody else's method", asked, ("payment.belongs-to-customer",))
        for order in self.with_status("pending"):
            key, paid = order["user_id"], original(order)
            ask = Ask(key, PAYMENT, {"order_id": order["order_id"], "payment_method_id": paid})
            method = self.users[key]["payment_methods"][paid]
            if method["source"] != "gift_card" or method["balance"] >= total(order):
                yield Case("the current method", ask, ("payment.differs-from-current",))
            for card in self.gift_cards(key):
                if card["id"] == paid:
                    continue
                enough = card["balance"] >= total(order)
                policies = (PERMITS[PAYMENT],) if enough else ("payment.gift-card-covers-total",)
                yield Case(
                    "gift card for the whole order", changed(ask, payment_method_id=card["id"]), policies
                )

    def differences(self) -> Iterator[Case]:
        for action in (MODIFY, EXCHANGE):
            for order in self.open_for(action):
                for card in self.gift_cards(order["user_id"]):
                    yield from self._differences(action, order, card)

    def _differences(self, action: str, order: Raw, card: Raw) -> Iterator[Case]:
        item = order["items"][0]
        for variant in self.variants(item["product_id"], available=True)[:3]:
            if variant["item_id"] == item["item_id"]:
                continue
            difference = Decimal(variant["price"]) - item["price"]
            args = {
                "order_id": order["order_id"],
                "item_ids": [item["item_id"]],
                "new_item_ids": [variant["item_id"]],
                "payment_method_id": card["id"],
            }
            fits = difference <= 0 or card["balance"] >= difference
            policies = (PERMITS[action],) if fits else ("payment.gift-card-covers-difference",)
            yield Case("gift card for the difference", Ask(order["user_id"], action, args), policies)

    def after_modifications(self) -> Iterator[Case]:
        for order, first in islice(self.fine_orders(MODIFY), MAX_PER_KIND):
            again = changed(first, item_ids=first.args["new_item_ids"], new_item_ids=first.args["item_ids"])
            item = order["items"][0]
            if self.products[item["product_id"]]["variants"][item["item_id"]]["available"]:
                yield Case("second modification", again, ("modify.once",), (first,))
            for ask in self.fine_each(order, CANCEL, MOVE, PAYMENT):
                yield Case(f"{ask.action} after a modification", ask, ("modify.once",), (first,))

    def after_returns(self) -> Iterator[Case]:
        for first_action in (RETURN, EXCHANGE):
            for order, first in islice(self.fine_orders(first_action), MAX_PER_KIND):
                for ask in self.fine_each(order, RETURN, EXCHANGE):
                    yield Case(f"{ask.action} after {first_action}", ask, ("returns.once",), (first,))

    def after_cancellations(self) -> Iterator[Case]:
        for order, first in islice(self.fine_orders(CANCEL), MAX_PER_KIND):
            for ask in self.fine_each(order, CANCEL, MOVE, PAYMENT, MODIFY):
                policy = "cancel.only-pending" if ask.action == CANCEL else "modify.only-pending"
                yield Case(f"{ask.action} after a cancellation", ask, (policy,), (first,))

    def after_payments(self) -> Iterator[Case]:
        for order, first in islice(self.fine_orders(PAYMENT), MAX_PER_KIND):
            back = changed(first, payment_method_id=original(order))
            if self.users[order["user_id"]]["payment_methods"][original(order)]["source"] != "gift_card":
                yield Case("back to the first method", back, (PERMITS[PAYMENT],), (first,))
            yield Case("the same method again", first, ("payment.differs-from-current",), (first,))

    def fines(self) -> Iterator[Case]:
        for action in (CANCEL, MOVE, PAYMENT, MODIFY, EXCHANGE, RETURN):
            for _order, ask in islice(self.fine_orders(action), MAX_PER_KIND):
                yield Case("nothing wrong", ask, (PERMITS[action],))

    def all(self) -> Iterator[Case]:
        """Every case."""
        for cases in (
            self.statuses(),
            self.strangers(),
            self.reasons(),
            self.bad_items(MODIFY),
            self.bad_items(EXCHANGE),
            self.same_item(),
            self.bad_returns(),
            self.payments(),
            self.differences(),
            self.after_modifications(),
            self.after_returns(),
            self.after_cancellations(),
            self.after_payments(),
            self.fines(),
        ):
            yield from _checked(cases)


def original(order: Raw) -> str:
    """What an order was paid with."""
    return str(order["payment_history"][0]["payment_method_id"])


def changed(ask: Ask, **args: object) -> Ask:
    """The request with other arguments."""
    return Ask(ask.key, ask.action, {**ask.args, **args})


def _checked(cases: Iterable[Case]) -> Iterator[Case]:
    for case in cases:
        if case.ask.action not in PERMITS:
            raise AssertionError(f"got a case of {case.ask.action}")
        yield case


def all_cases(db: Raw) -> list[Case]:
    """Every case of a data set, positive ones included."""
    return list(Cases(db).all())
