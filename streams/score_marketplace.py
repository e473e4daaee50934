"""Worlds made of the simulated marketplace: where orders ship from, and when failed charges are tried again.

The truth is the simulator's (`docs/simulator.md`). What is added here is what an outcome costs, and that a charge that
was tried again in vain fails again, with the same code: the simulator's shop goes its own way, this one goes the
agent's. Not here: disputes (`score_disputes.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER, ShipFrom, SplitShipment, options_of
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge
from jurat.agents.shop_views import NETWORK, NETWORK_KEY, fold_network
from jurat.schemas.commerce import OrderPlaced, PaymentFailed, WarehouseReported
from jurat.schemas.model import Model
from jurat.schemas.simulation import FailureCause, FulfilmentOutcome, RetryOutcome, WarehouseOutcome
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator import SimulatedEvent, simulate
from jurat.streams.simulator_draws import Draws

CURRENCY: Final = "EUR"
START: Final = datetime(2026, 1, 2, tzinfo=UTC)

LATE_MINOR: Final = 1_000
"""A late parcel: a voucher, and a customer who thinks twice."""

PERSON_MINOR: Final = 500
"""A person decides instead: ten minutes of their time."""

HOURS_LEFT_TO_A_PERSON: Final = 12
"""What is left to a person ships half a day later."""

ATTEMPT_MINOR: Final = 25
"""What a processor takes for an attempt."""

MARGIN_PERCENT: Final = 30
"""What a collected charge is worth, of its amount: the goods are there either way."""

CHARGEBACK_MINOR: Final = 2_000
"""What a charge-back costs beside the amount."""

ASKING_MINOR: Final = 50
"""A letter to the customer, and what it costs in patience."""

MAX_ATTEMPTS: Final = 8
"""Attempts at one payment: beyond it schemes fine the merchant, so that nobody goes on."""

ORDERS_PER_FAILURE: Final = 14
"""About one order in fourteen has a charge that fails."""

RETRY_AFTER_DAYS: Final = (1, 3, 7)


def play_routing(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """Orders and warehouses; each order is one case."""
    network: Model | None = None
    cost = kept = 0
    for happened, after in pairwise(simulate(seed=seed, orders=cases, start=START)):
        event, truth = happened.event, after.event
        if isinstance(event, WarehouseReported):
            network = fold_network(network, event, NETWORK_KEY)
        elif isinstance(event, OrderPlaced) and isinstance(truth, FulfilmentOutcome):
            action = yield Step(event, happened.time, {(NETWORK.name, NETWORK_KEY): network})
            hours, paid = _shipped(action, network, truth)
            cost += paid
            arrives = happened.time + timedelta(hours=hours)
            on_time = event.promised_by is None or arrives <= event.promised_by
            kept += on_time
            cost += 0 if on_time else LATE_MINOR
    return Tally(-cost, cases, promises=cases, kept=kept)


def _shipped(action: Action | None, network: Model | None, truth: FulfilmentOutcome) -> tuple[int, int]:
    """Hours until everything is there, and what shipping cost."""
    of = {warehouse.warehouse_id: warehouse for warehouse in truth.warehouses}
    costs = _handling(network)
    match action:
        case ShipFrom(warehouse_id=name) if name in of:
            return _hours(of[name]), costs.get(name, 0)
        case SplitShipment(first_warehouse_id=first, second_warehouse_id=second) if {
            first,
            second,
        } <= of.keys():
            return max(_hours(of[first]), _hours(of[second])), costs.get(first, 0) + costs.get(second, 0)
    best = min(truth.warehouses, key=_hours)
    late = HOURS_LEFT_TO_A_PERSON + _hours(best)
    return late, PERSON_MINOR + costs.get(best.warehouse_id, 0)


def _hours(warehouse: WarehouseOutcome) -> int:
    return warehouse.handling_hours + warehouse.transit_hours


def _handling(network: Model | None) -> Mapping[str, int]:
    reports = getattr(network, "warehouses", ())
    return {report.warehouse_id: report.handling_cost.amount_minor for report in reports}


def nearest(situation: Situation[Any]) -> Action | None:
    """Ship from the nearest warehouse that holds everything; leave it to a person where none does."""
    single = options_of(situation).single
    if not single:
        return None
    best = min(single, key=lambda option: (option.distance_km, option.report.warehouse_id))
    return ShipFrom(warehouse_id=best.report.warehouse_id)


def play_retries(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """Failed charges, each to its end; later attempts are the agent's."""
    draws = Draws(seed, "retries answers")
    value = collected = met = turn = 0
    due: list[tuple[datetime, int, PaymentFailed, RetryOutcome]] = []
    for event, truth, at in _failures(seed, cases):
        heapq.heappush(due, (at, turn, event, truth))
        turn += 1
        met += 1
    while due:
        at, _turn, event, truth = heapq.heappop(due)
        action = yield Step(event, at)
        amount = event.amount.amount_minor
        if isinstance(action, RetryCharge):
            then = at + timedelta(minutes=action.after_minutes)
            value -= ATTEMPT_MINOR
            if truth.succeeds_at(then):
                won = _collected(amount, truth)
                value += won
                collected += won > 0
            elif event.attempt < MAX_ATTEMPTS:
                again = event.model_copy(update={"attempt": event.attempt + 1})
                heapq.heappush(due, (then, turn, again, truth))
                turn += 1
        elif isinstance(action, AskForNewMethod):
            value -= ASKING_MINOR
            if draws.happens(_answers_per_mille(truth)):
                won = _collected(amount, truth)
                value += won
                collected += won > 0
        elif not isinstance(action, GiveUp):
            value -= PERSON_MINOR
    return Tally(value, met, right=collected)


def _failures(seed: int, cases: int) -> Iterator[tuple[PaymentFailed, RetryOutcome, datetime]]:
    """First failures with their truth, as many as there are cases."""
    found = 0
    events: Iterator[SimulatedEvent] = simulate(seed=seed, orders=cases * ORDERS_PER_FAILURE * 2, start=START)
    for happened, after in pairwise(events):
        if isinstance(happened.event, PaymentFailed) and isinstance(after.event, RetryOutcome):
            yield happened.event, after.event, happened.time
            found += 1
            if found == cases:
                return


def _collected(amount: int, truth: RetryOutcome) -> int:
    """What a charge that goes through is worth: a margin, unless it is a thief's, or the second of one order."""
    if truth.fraudulent:
        return -amount - CHARGEBACK_MINOR
    return -CHARGEBACK_MINOR if truth.already_charged else amount * MARGIN_PERCENT // 100


def _answers_per_mille(truth: RetryOutcome) -> int:
    """How many customers of a thousand give another method when they are asked."""
    if truth.fraudulent:
        return 250  # a thief has more than one card
    match truth.cause:
        case FailureCause.CUSTOMER_GONE:
            return 0
        case FailureCause.AWAITING_CUSTOMER:
            return 550
        case FailureCause.NO_FUNDS | FailureCause.AWAITING_FUNDS:
            return 200
    return 350


def fixed_schedule(situation: Situation[Any]) -> Action:
    """Try again after 1, 3 and 7 days, whatever the code says; then leave it."""
    attempt = situation.event.attempt
    if attempt > len(RETRY_AFTER_DAYS):
        return GiveUp()
    return RetryCharge(after_minutes=RETRY_AFTER_DAYS[attempt - 1] * 24 * 60)


ROUTING: Final = World(
    name="routing",
    agent=FULFILMENT_ROUTER,
    rule=nearest,
    rule_title="the nearest warehouse that holds everything",
    currency=CURRENCY,
    play=play_routing,
)
RETRIES: Final = World(
    name="retries",
    agent=PAYMENT_RETRIER,
    rule=fixed_schedule,
    rule_title="again after 1, 3 and 7 days, whatever the code says",
    currency=CURRENCY,
    play=play_retries,
)
