"""The after-sales agent: a customer asks to cancel, return, exchange or change something, and the shop's rules decide.

Rules upheld here: a request is judged exactly as it was made, nothing is proposed in its place; what an allowed
request changes holds for the next one of the same customer; a dry run changes nothing.

- what can be asked for: `after_sales_actions.py`
- what is read: `retail_views.py`
- what policies see: `after_sales_facts.py`, found by `after_sales_judged.py`
- the rules: `policies/after_sales/*.cedar`
- what follows: `after_sales_effects.py`, kept as `after_sales_account.py` says
"""

from __future__ import annotations

from jurat.agents.after_sales_account import AfterSalesState
from jurat.agents.after_sales_actions import ACTIONS, ModifyUserAddress, parse
from jurat.agents.after_sales_case import case_of
from jurat.agents.after_sales_effects import effect
from jurat.agents.after_sales_judged import judged
from jurat.agents.agent import Action, Agent, Candidate, Lookup, Signal, Situation
from jurat.agents.retail_views import CUSTOMERS, ORDERS, VARIANTS, VIEWS
from jurat.schemas.commerce import MAX_ITEMS, AfterSalesRequested

MAX_KEY_LENGTH = 200
"""The longest id (`Identifier`): what is longer names nothing that could be looked up."""

ASKED_FOR_POINTS = 100
"""The only candidate: there is nothing to weigh it against."""


def requested(situation: Situation[AfterSalesRequested]) -> Action:
    """The action that the request asks for.

    Raises:
        InputRejected: malformed, or of a customer or an order that does not exist.
    """
    action = parse(situation.event)
    case = case_of(situation)
    if not isinstance(action, ModifyUserAddress):
        case.order(_order_id(situation.event))
    return action


def candidates(situation: Situation[AfterSalesRequested]) -> tuple[Candidate, ...]:
    """What was asked for, and nothing else: a customer who asks for a return is not given an exchange."""
    return (Candidate(requested(situation), (Signal("the customer asks for it", ASKED_FOR_POINTS),)),)


def reads(event: AfterSalesRequested) -> tuple[Lookup, ...]:
    """The customer, the order that the request names and the variants that it wants instead."""
    lookups = [Lookup(CUSTOMERS, event.customer_id, required=True)]
    order_id = _order_id(event)
    if order_id:
        lookups.append(Lookup(ORDERS, order_id, required=True))
    wanted = event.args.get("new_item_ids")
    names = wanted[:MAX_ITEMS] if isinstance(wanted, list) else []
    lookups += [Lookup(VARIANTS, name) for name in dict.fromkeys(map(_name, names)) if name]
    return tuple(lookups)


def subject(event: AfterSalesRequested) -> str:
    """What the decision is about: the order, or the customer where no order is named."""
    return _order_id(event) or event.customer_id


def _order_id(event: AfterSalesRequested) -> str:
    """The order that a request names, before anything about the request was checked; empty for none."""
    if event.action == ModifyUserAddress.action_name:
        return ""
    return _name(event.args.get("order_id"))


def _name(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_KEY_LENGTH else ""


AFTER_SALES: Agent[AfterSalesRequested] = Agent(
    name="after-sales",
    listens={"commerce.after-sales-requests": (AfterSalesRequested,)},
    subject=subject,
    actions=ACTIONS,
    bundle="after_sales",
    judged=judged,
    candidates=candidates,
    requested=requested,
    views=VIEWS,
    reads=reads,
    state_model=AfterSalesState,
    effect=effect,
    request_id=lambda event: event.request_id,
    dry_run=lambda event: event.dry_run,
)
