"""The seven things that a customer can ask for after buying, and how a request is read.

Rules upheld here: an unknown action, a missing or unknown parameter and a parameter of another type are refused as
malformed; an order, item or payment method that merely is not the customer's is well-formed, and policies deny it.
Not here: whether it is allowed (`policies/after_sales/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, ValidationError

from jurat.agents.after_sales_facts import (
    AddressFacts,
    CancelFacts,
    ChangePaymentFacts,
    Customer,
    Order,
    ReplaceFacts,
    ReturnFacts,
)
from jurat.agents.agent import Action
from jurat.schemas import canonical
from jurat.schemas.commerce import MAX_ITEMS, AfterSalesRequested
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Address, Identifier, Text

MAX_FAULTS = 5
"""Faults named in one refusal: enough to mend a request, short enough for a header."""

Name = Annotated[str, Field(max_length=200)]
"""An id that a customer names: it may be of nothing that exists, even empty, and is then denied by a policy."""

Names = Annotated[tuple[Name, ...], Field(max_length=MAX_ITEMS)]


class CancelPendingOrder(Action):
    """Cancel a whole order."""

    action_name: ClassVar[str] = "cancel_pending_order"
    title: ClassVar[str] = "Cancel the order"
    resource = Order
    facts = CancelFacts

    order_id: Identifier
    reason: Text


class NewAddress(Action):
    """The address that both address changes carry, in the words of the request."""

    address1: Annotated[str, Field(max_length=200)]
    address2: Annotated[str, Field(max_length=200)]
    city: Annotated[str, Field(max_length=100)]
    state: Annotated[str, Field(max_length=100)]
    country: Annotated[str, Field(max_length=100)]
    zip: Annotated[str, Field(max_length=20)]

    @property
    def address(self) -> Address:
        """The address in the shop's own words."""
        return Address(
            line1=self.address1,
            line2=self.address2,
            city=self.city,
            region=self.state,
            postal_code=self.zip,
            country=self.country,
        )


class ModifyPendingOrderAddress(NewAddress):
    """Send an order elsewhere."""

    action_name: ClassVar[str] = "modify_pending_order_address"
    title: ClassVar[str] = "Change the order's address"
    resource = Order
    facts = AddressFacts

    order_id: Identifier


class ModifyUserAddress(NewAddress):
    """Change the customer's own address."""

    action_name: ClassVar[str] = "modify_user_address"
    title: ClassVar[str] = "Change the customer's address"
    resource = Customer
    facts = AddressFacts

    user_id: Identifier


class ModifyPendingOrderPayment(Action):
    """Pay an order another way."""

    action_name: ClassVar[str] = "modify_pending_order_payment"
    title: ClassVar[str] = "Change the order's payment method"
    resource = Order
    facts = ChangePaymentFacts

    order_id: Identifier
    payment_method_id: Name


class ReturnDeliveredOrderItems(Action):
    """Send items back for a refund."""

    action_name: ClassVar[str] = "return_delivered_order_items"
    title: ClassVar[str] = "Return items of the order"
    resource = Order
    facts = ReturnFacts

    order_id: Identifier
    item_ids: Names
    payment_method_id: Name


class ReplaceItems(Action):
    """Old items against new ones: the first against the first, and so on."""

    resource = Order
    facts = ReplaceFacts

    order_id: Identifier
    item_ids: Names
    new_item_ids: Names
    payment_method_id: Name


class ModifyPendingOrderItems(ReplaceItems):
    """Replace items before the order leaves."""

    action_name: ClassVar[str] = "modify_pending_order_items"
    title: ClassVar[str] = "Modify the order's items"


class ExchangeDeliveredOrderItems(ReplaceItems):
    """Replace items that arrived."""

    action_name: ClassVar[str] = "exchange_delivered_order_items"
    title: ClassVar[str] = "Exchange items of the order"


ACTIONS: tuple[type[Action], ...] = (
    CancelPendingOrder,
    ModifyPendingOrderAddress,
    ModifyPendingOrderPayment,
    ModifyPendingOrderItems,
    ExchangeDeliveredOrderItems,
    ReturnDeliveredOrderItems,
    ModifyUserAddress,
)

ACTION_BY_NAME: Mapping[str, type[Action]] = {action.action_name: action for action in ACTIONS}


def parse(event: AfterSalesRequested) -> Action:
    """Read the action that a request asks for.

    Raises:
        InputRejected: no such action, or parameters that are not the action's.
    """
    model = ACTION_BY_NAME.get(event.action)
    if model is None:
        raise InputRejected(
            f"got the action {event.action[:80]!r}, expected one of: {', '.join(sorted(ACTION_BY_NAME))}",
            request_id=event.request_id,
        )
    try:
        # Through JSON text, as a list is a tuple there while every other type stays strict.
        return model.model_validate_json(canonical.dumps(event.args))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])[:80]}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise InputRejected(
            f"got args that {event.action} does not have ({'; '.join(faults[:MAX_FAULTS])});"
            f" expected exactly the fields {', '.join(model.model_fields)}",
            request_id=event.request_id,
        ) from error
