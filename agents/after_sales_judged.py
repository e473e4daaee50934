"""From a request to what policies judge it by: the resource and the facts of every action.

Rules upheld here: facts are found, not judged. Whether a status, a reason, an item or a payment method is good
enough is said by `policies/after_sales/*.cedar` alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from jurat.agents.after_sales_account import OrderNow, pick
from jurat.agents.after_sales_actions import (
    CancelPendingOrder,
    ModifyPendingOrderAddress,
    ModifyPendingOrderPayment,
    ModifyUserAddress,
    ReplaceItems,
    ReturnDeliveredOrderItems,
    parse,
)
from jurat.agents.after_sales_case import Case, case_of
from jurat.agents.after_sales_facts import (
    AddressFacts,
    CancelFacts,
    ChangePaymentFacts,
    Customer,
    Order,
    ReplaceFacts,
    ReturnFacts,
)
from jurat.agents.agent import Action, Judged, Situation
from jurat.schemas.commerce import AfterSalesRequested
from jurat.schemas.errors import ProposalInvalid

UNKNOWN_KIND = "unknown"
"""The kind of a payment method that is none of the customer's."""


def judged(situation: Situation[AfterSalesRequested], action: Action) -> Judged:
    """Find the resource and the facts of the action that the customer asks for.

    Raises:
        InputRejected: the customer or the order does not exist.
        ProposalInvalid: not an action of this agent, or not exactly the one that the customer asks for.
    """
    if action != parse(situation.event):
        # Policies say what a customer may do, and it would be theirs to do: but nobody asked for it.
        raise ProposalInvalid(
            f"got a proposal of {action.action_name} with other parameters than the request's, or for another request:"
            f" expected the {situation.event.action[:80]} that the customer asks for"
        )
    return found(situation, action)


def found(situation: Situation[AfterSalesRequested], action: Action) -> Judged:
    """Find the resource and the facts of any action, asked for or not.

    Raises:
        InputRejected: the customer or the order does not exist.
        ProposalInvalid: not an action of this agent.
    """
    case = case_of(situation)
    requester = situation.event.customer_id
    match action:
        case ModifyUserAddress():
            return Judged(
                Customer(id=action.user_id, holder=action.user_id),
                AddressFacts(requester=requester),
            )
        case CancelPendingOrder():
            return _cancel(case, action)
        case ModifyPendingOrderAddress():
            return Judged(_resource(case.order(action.order_id)), AddressFacts(requester=requester))
        case ModifyPendingOrderPayment():
            return _change_payment(case, action)
        case ReturnDeliveredOrderItems():
            return _return(case, action)
        case ReplaceItems():
            return _replace(case, action)
        case _:
            raise ProposalInvalid(f"got the action {action.action_name}, expected one of after-sales")


def _resource(order: OrderNow) -> Order:
    return Order(
        id=order.placed.order_id,
        owner=order.placed.customer_id,
        status=order.status.value,
        items_modified=order.change.items is not None,
        returned_or_exchanged=order.change.returned or order.change.exchanged,
    )


def _cancel(case: Case, action: CancelPendingOrder) -> Judged:
    order = case.order(action.order_id)
    facts = CancelFacts(
        requester=case.customer.customer_id,
        amount_minor=order.total.amount_minor,
        currency=order.total.currency,
        reason=action.reason,
    )
    return Judged(_resource(order), facts)


def _change_payment(case: Case, action: ModifyPendingOrderPayment) -> Judged:
    order = case.order(action.order_id)
    facts = ChangePaymentFacts(
        requester=case.customer.customer_id,
        amount_minor=order.total.amount_minor,
        currency=order.total.currency,
        payment_method_id=action.payment_method_id,
        payment_method_kind=_kind(case, action.payment_method_id),
        customer_payment_methods=_methods(case),
        current_payment_method_id=order.payment_method_id,
        gift_card_balance_minor=case.balance_minor(action.payment_method_id, currency=order.total.currency),
    )
    return Judged(_resource(order), facts)


def _return(case: Case, action: ReturnDeliveredOrderItems) -> Judged:
    order = case.order(action.order_id)
    pieces = [order.items[index] for index in pick(order.items, action.item_ids) if index is not None]
    facts = ReturnFacts(
        requester=case.customer.customer_id,
        amount_minor=sum(piece.price.amount_minor for piece in pieces),
        currency=order.total.currency,
        payment_method_id=action.payment_method_id,
        payment_method_kind=_kind(case, action.payment_method_id),
        customer_payment_methods=_methods(case),
        item_count=len(action.item_ids),
        not_in_order=_not_in_order(order, action.item_ids),
        original_payment_method_id=order.payment_method_id,
    )
    return Judged(_resource(order), facts)


def _replace(case: Case, action: ReplaceItems) -> Judged:
    order = case.order(action.order_id)
    currency = order.total.currency
    pairs = case.pairs(order, action)
    difference_minor = sum(pair.price_difference_minor for pair in pairs)
    new = [variant for variant in map(case.variant, action.new_item_ids) if variant is not None]
    facts = ReplaceFacts(
        requester=case.customer.customer_id,
        amount_minor=abs(difference_minor),
        currency=currency,
        payment_method_id=action.payment_method_id,
        payment_method_kind=_kind(case, action.payment_method_id),
        customer_payment_methods=_methods(case),
        item_count=len(action.item_ids),
        new_item_count=len(action.new_item_ids),
        not_in_order=_not_in_order(order, action.item_ids),
        not_same_product=_names(
            pair.new_id
            for pair in pairs
            if pair.old is not None and (pair.new is None or pair.new.product_id != pair.old.product_id)
        ),
        unavailable=_names(variant.item_id for variant in new if not variant.available),
        other_currency=_names(variant.item_id for variant in new if variant.price.currency != currency),
        unchanged=_names(pair.new_id for pair in pairs if pair.new_id == pair.old_id),
        price_difference_minor=difference_minor,
        gift_card_balance_minor=case.balance_minor(action.payment_method_id, currency=currency),
    )
    return Judged(_resource(order), facts)


def _kind(case: Case, payment_method_id: str) -> str:
    method = case.method(payment_method_id)
    return UNKNOWN_KIND if method is None else method.kind.value


def _methods(case: Case) -> tuple[str, ...]:
    return _names(method.payment_method_id for method in case.customer.payment_methods)


def _not_in_order(order: OrderNow, item_ids: tuple[str, ...]) -> tuple[str, ...]:
    indexes = pick(order.items, item_ids)
    return _names(item_id for item_id, index in zip(item_ids, indexes, strict=True) if index is None)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    """A set of names in one order, so that the same facts are the same bytes in every record."""
    return tuple(sorted(set(names)))
