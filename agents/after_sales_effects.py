"""What follows from an allowed after-sales action: the customer's next state.

Rules upheld here: only what decisions change is kept; the shop's own events stay the truth about everything else.
The amounts that move are listed with every action. Not here: doing it in the shop's systems; they follow the
decision events.
"""

from __future__ import annotations

from jurat.agents.after_sales_account import AfterSalesState, OrderNow, moved
from jurat.agents.after_sales_actions import (
    CancelPendingOrder,
    ExchangeDeliveredOrderItems,
    ModifyPendingOrderAddress,
    ModifyPendingOrderItems,
    ModifyPendingOrderPayment,
    ModifyUserAddress,
    ReplaceItems,
    ReturnDeliveredOrderItems,
)
from jurat.agents.after_sales_case import Case, case_of
from jurat.agents.agent import Action, Situation
from jurat.schemas.commerce import AfterSalesRequested, OrderItem
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Money


def effect(situation: Situation[AfterSalesRequested], action: Action) -> AfterSalesState:
    """The state after an allowed action.

    Raises:
        InputRejected: the customer or the order does not exist.
        ProposalInvalid: not an action of this agent.
    """
    case = case_of(situation)
    match action:
        case ModifyUserAddress():
            return case.state.model_copy(update={"address": action.address})
        case CancelPendingOrder():
            return _cancelled(case, case.order(action.order_id))
        case ModifyPendingOrderAddress():
            return _changed(case.state, case.order(action.order_id), ship_to=action.address)
        case ModifyPendingOrderPayment():
            return _paid_otherwise(case, case.order(action.order_id), action.payment_method_id)
        case ModifyPendingOrderItems():
            return _items_modified(case, case.order(action.order_id), action)
        case ExchangeDeliveredOrderItems():
            return _exchanged(case, case.order(action.order_id), action)
        case ReturnDeliveredOrderItems():
            return _changed(case.state, case.order(action.order_id), returned=True)
        case _:
            raise ProposalInvalid(f"got the action {action.action_name}, expected one of after-sales")


def _changed(state: AfterSalesState, order: OrderNow, **update: object) -> AfterSalesState:
    return state.with_change(order.change.model_copy(update=update))


def _cancelled(case: Case, order: OrderNow) -> AfterSalesState:
    """What was paid goes back to what it was paid with."""
    back = _money(order, order.paid_minor)
    state = moved(case.state, case.customer, order.payment_method_id, amount=back)
    return _changed(state, order, cancelled=True)


def _paid_otherwise(case: Case, order: OrderNow, payment_method_id: str) -> AfterSalesState:
    """The new method pays the whole order, the old one gets back what it paid."""
    back = _money(order, order.paid_minor)
    state = moved(case.state, case.customer, order.payment_method_id, amount=back)
    charge = _money(order, -order.total.amount_minor)
    state = moved(state, case.customer, payment_method_id, amount=charge)
    return _changed(state, order, payment_method_id=payment_method_id)


def _items_modified(case: Case, order: OrderNow, action: ModifyPendingOrderItems) -> AfterSalesState:
    """The named method pays the difference, or gets it."""
    difference_minor = _difference_minor(case, order, action)
    amount = _money(order, -difference_minor)
    state = moved(case.state, case.customer, action.payment_method_id, amount=amount)
    return _changed(state, order, items=_replaced(case, order, action))


def _exchanged(case: Case, order: OrderNow, action: ExchangeDeliveredOrderItems) -> AfterSalesState:
    """A dearer exchange is paid for at once; the difference of a cheaper one follows the parcel back."""
    amount = _money(order, -max(_difference_minor(case, order, action), 0))
    state = moved(case.state, case.customer, action.payment_method_id, amount=amount)
    return _changed(state, order, exchanged=True)


def _difference_minor(case: Case, order: OrderNow, action: ReplaceItems) -> int:
    return sum(pair.price_difference_minor for pair in case.pairs(order, action))


def _replaced(case: Case, order: OrderNow, action: ReplaceItems) -> tuple[OrderItem, ...]:
    """The order's pieces with the new ones in the old ones' places."""
    items = list(order.items)
    for pair in case.pairs(order, action):
        if pair.index is None or pair.old is None or pair.new is None:
            continue
        items[pair.index] = OrderItem(
            item_id=pair.new.item_id,
            product_id=pair.new.product_id,
            name=pair.old.name,
            price=pair.new.price,
        )
    return tuple(items)


def _money(order: OrderNow, amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency=order.total.currency)
