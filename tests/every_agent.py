"""One event for each shipped agent, with what must be known before: for tests that take every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.dunning import DUNNING
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.notifier import NOTIFIER
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.promise_negotiator import PROMISE_NEGOTIATOR
from jurat.agents.ranker import RANKER
from jurat.agents.retention import RETENTION
from jurat.agents.trust_scorer import TRUST_SCORER
from jurat.agents.upgrade_adviser import UPGRADE_ADVISER
from jurat.schemas.commerce import AfterSalesRequested
from jurat.schemas.marketplace import DisputeCategory
from jurat.schemas.model import Event
from tests.market import activity, listing, search
from tests.promises import request as promise
from tests.shop import euros
from tests.unit import test_after_sales as after_sales
from tests.unit.test_agents_disputes import dispute
from tests.unit.test_agents_dunning import failed as renewal_failed
from tests.unit.test_agents_fulfilment import order, warehouse
from tests.unit.test_agents_notifier import notice
from tests.unit.test_agents_payments import failed as payment_failed
from tests.unit.test_agents_retention import dropped
from tests.unit.test_agents_upgrades import report


@dataclass(frozen=True, slots=True)
class Case:
    """An event that its agent decides, and the events that its views need before."""

    event: Event
    known: Sequence[Event] = ()


def cases(now: datetime) -> Mapping[str, Case]:
    """By the agent's name; a test sees to it that none is missing."""
    return {
        AFTER_SALES.name: Case(
            AfterSalesRequested(
                request_id="r-1",
                customer_id="ann",
                action="cancel_pending_order",
                args={"order_id": "W1", "reason": "no longer needed"},
            ),
            (after_sales.MUG, after_sales.customer("ann"), *after_sales.order("W1")),
        ),
        DISPUTE_MEDIATOR.name: Case(dispute(DisputeCategory.NOT_RECEIVED, amount=euros(90_000))),
        DUNNING.name: Case(renewal_failed()),
        FULFILMENT_ROUTER.name: Case(order(), (warehouse("wh-1"),)),
        NOTIFIER.name: Case(notice(at=now)),
        PAYMENT_RETRIER.name: Case(payment_failed()),
        PROMISE_NEGOTIATOR.name: Case(promise(wished_by=now + timedelta(hours=16))),
        RANKER.name: Case(search(*(listing(number, 90 - number) for number in range(4)))),
        RETENTION.name: Case(dropped()),
        TRUST_SCORER.name: Case(activity()),
        UPGRADE_ADVISER.name: Case(report()),
    }
