"""A seeded marketplace: the events that a real shop would publish, and the truth that it never learns.

Rules upheld here:

1. pure: the same seed, number of orders and start give the same events, byte for byte, on every platform; no
   clock, no IO, no pacing (`simulator_publish.py` has those);
2. events come in the order of their time, over all keys; memory does not grow with the number of orders;
3. the truth is a separate family of events (`jurat.simulation.*`); ids of visible events are counters and
   carry nothing of it;
4. an open loop: what agents decide does not change what happens next. The shop goes its habitual way.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jurat.schemas.commerce import (
    CustomerRegistered,
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderItem,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    ProductListed,
    ServiceLevel,
    WarehouseReported,
)
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import DisputeOpened
from jurat.schemas.model import Event
from jurat.schemas.simulation import DisputeOutcome, FulfilmentOutcome, RetryOutcome, SimulationEvent
from jurat.streams.simulator_customers import Customer, Customers
from jurat.streams.simulator_disputes import Complaint, Delivery, Disputes
from jurat.streams.simulator_draws import Draws
from jurat.streams.simulator_fulfilment import Fulfilment, Route
from jurat.streams.simulator_payments import Payments
from jurat.streams.simulator_world import ITEMS, PRODUCTS, World, build_world, euros

EVENT_TYPES: tuple[type[Event], ...] = (
    CustomerRegistered,
    DisputeOpened,
    OrderCancelled,
    OrderDelivered,
    OrderDispatched,
    OrderPlaced,
    PaymentCaptured,
    PaymentFailed,
    PaymentRefunded,
    ProductListed,
    WarehouseReported,
)
OUTCOME_TYPES: tuple[type[SimulationEvent], ...] = (DisputeOutcome, FulfilmentOutcome, RetryOutcome)

MAX_ORDERS = 10_000_000
"""A century of virtual time: beyond it dates stop making sense."""

FIRST_YEAR, LAST_YEAR = 1970, 2900
"""Start years for which every date of the longest run exists."""

_SPAN_S = 30 * 24 * 3600
_LEAST_GAP_S = 300
"""A run lasts a month, so that disputes and paydays fall into it; a large one lasts longer, as orders are
never closer than five minutes on average: what is under way at a time stays bounded."""

_REPORT_EVERY = 8
"""Orders between two warehouse reports; the warehouses take turns."""

_PROMISED_HOURS = {ServiceLevel.STANDARD: 72, ServiceLevel.EXPRESS: 36}
"""Some warehouse nearly always makes it; one taken blindly, about every other time."""


_HOUR_S = 3600
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """One event with its virtual time and its CloudEvents id."""

    time: datetime
    event: Event
    event_id: str

    @property
    def is_outcome(self) -> bool:
        """Whether it belongs to the truth that agents must not see."""
        return isinstance(self.event, SimulationEvent)


def simulate(*, seed: int, orders: int, start: datetime) -> Iterator[SimulatedEvent]:
    """Simulate a marketplace.

    Args:
        seed: any integer; another seed is another marketplace with other ids.
        orders: how many orders are placed, up to `MAX_ORDERS`.
        start: when it begins, in virtual time, with a zone; whole seconds count.

    Returns:
        Everything that happens, in order of time, outcomes right behind the events that they belong to.

    Raises:
        ConfigurationError: a number or time outside these bounds.
    """
    if not 0 <= orders <= MAX_ORDERS:
        raise ConfigurationError(f"got {orders} orders to simulate, expected 0 to {MAX_ORDERS}")
    if start.tzinfo is None or not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ConfigurationError(
            f"got the start {start.isoformat()}, expected a time with a zone, like 2026-01-01T00:00:00Z,"
            f" from {FIRST_YEAR} to {LAST_YEAR}"
        )
    return _Marketplace(seed, orders, _seconds(start)).run()


class _Marketplace:
    """One run: draws orders one by one and keeps what is still to happen in a heap."""

    def __init__(self, seed: int, orders: int, start_s: int) -> None:
        self._tag = hashlib.sha256(f"{seed}\n{start_s}\n".encode()).hexdigest()[:6]
        self._orders_left = orders
        self._gap_s = max(_LEAST_GAP_S, _SPAN_S // max(1, orders))
        self._now_s = start_s
        self._arrivals = Draws(seed, "arrivals")
        self._baskets = Draws(seed, "baskets")
        self._shop = Draws(seed, "shop")
        self._reports = Draws(seed, "reports")
        self._world: World = build_world(seed)
        self._customers = Customers(seed, self._tag)
        self._payments = Payments(seed)
        self._fulfilment = Fulfilment(seed, self._world)
        self._disputes = Disputes(seed, self._tag)
        self._agenda: list[tuple[int, int, Event | Complaint]] = []
        self._planned = 0
        self._order_count = 0
        self._visible_count = 0
        self._outcome_count = 0

    def run(self) -> Iterator[SimulatedEvent]:
        for product in PRODUCTS:
            self._plan(self._now_s, product)
        for warehouse in self._world.warehouses:
            self._plan(self._now_s, warehouse.report(self._reports))
        while self._orders_left:
            self._orders_left -= 1
            self._now_s += 1 + self._arrivals.wait(self._gap_s)
            yield from self._happen_before(self._now_s)
            self._plan_order()
        while self._agenda:
            yield from self._happen_before(self._agenda[0][0] + 1)

    def _plan(self, time_s: int, what: Event | Complaint) -> None:
        self._planned += 1
        heapq.heappush(self._agenda, (time_s, self._planned, what))

    def _happen_before(self, end_s: int) -> Iterator[SimulatedEvent]:
        while self._agenda and self._agenda[0][0] < end_s:
            time_s, _number, what = heapq.heappop(self._agenda)
            time = _moment(time_s)
            if isinstance(what, Complaint):
                for event in self._disputes.open(what):
                    yield self._issue(time, event)
            else:
                yield self._issue(time, what)

    def _issue(self, time: datetime, event: Event) -> SimulatedEvent:
        # Two counters: a gap in the visible ids would show where an outcome was.
        if isinstance(event, SimulationEvent):
            self._outcome_count += 1
            return SimulatedEvent(time, event, f"truth-{self._tag}-{self._outcome_count:07d}")
        self._visible_count += 1
        return SimulatedEvent(time, event, f"sim-{self._tag}-{self._visible_count:07d}")

    def _plan_order(self) -> None:
        self._order_count += 1
        customer, new = self._customers.next_buyer()
        placed_s = self._now_s
        if new:
            self._plan(placed_s, customer.registration())
            placed_s += 60 + self._arrivals.wait(600)
        if self._order_count % _REPORT_EVERY == 0:
            turn = self._order_count // _REPORT_EVERY % len(self._world.warehouses)
            warehouse = self._world.warehouses[turn]
            warehouse.restock(self._reports)
            self._plan(self._now_s, warehouse.report(self._reports))
        order = self._draw_order(customer, placed_s)
        route, truth = self._fulfilment.route(order)
        self._plan(placed_s, order)
        self._plan(placed_s, truth)
        self._plan_payment(order, customer, route, placed_s)

    def _draw_order(self, customer: Customer, placed_s: int) -> OrderPlaced:
        draws = self._baskets
        items: tuple[OrderItem, ...] = tuple(
            draws.pick(ITEMS) for _ in range(draws.between(1, customer.tier))
        )
        total_minor = sum(item.price.amount_minor for item in items)
        level = ServiceLevel.EXPRESS if draws.happens(220) else ServiceLevel.STANDARD
        return OrderPlaced(
            order_id=f"o-{self._tag}-{self._order_count:06d}",
            customer_id=customer.customer_id,
            items=items,
            total=euros(total_minor),
            ship_to=customer.address,
            x_km=customer.x_km,
            y_km=customer.y_km,
            service_level=level,
            promised_by=_moment(placed_s + _PROMISED_HOURS[level] * _HOUR_S),
            payment_method_id=self._payments.choose_method(customer, total_minor).payment_method_id,
        )

    def _plan_payment(self, order: OrderPlaced, customer: Customer, route: Route, placed_s: int) -> None:
        payment_id = f"p-{self._tag}-{self._order_count:06d}"
        charged_s = placed_s + self._shop.between(3, 90)
        method = next(m for m in customer.methods if m.payment_method_id == order.payment_method_id)
        failure = self._payments.charge(customer, method, _moment(charged_s))
        score = self._payments.fraud_score(customer)
        if failure is None:
            captured = PaymentCaptured(
                payment_id=payment_id,
                order_id=order.order_id,
                customer_id=order.customer_id,
                payment_method_id=order.payment_method_id,
                amount=order.total,
            )
            self._plan(charged_s, captured)
            self._plan_delivery(order, customer, route, charged_s)
            return
        times = (_moment(charged_s), *failure.later_attempts)
        for attempt, time in enumerate(times, start=1):
            failed = PaymentFailed(
                payment_id=payment_id,
                order_id=order.order_id,
                customer_id=order.customer_id,
                payment_method_id=order.payment_method_id,
                amount=order.total,
                failure_code=failure.code,
                attempt=attempt,
                fraud_score=score,
            )
            time_s = _seconds(time)
            self._plan(time_s, failed)
            if attempt == 1:
                self._plan(time_s, failure.outcome(payment_id))

    def _plan_delivery(self, order: OrderPlaced, customer: Customer, route: Route, paid_s: int) -> None:
        draws = self._shop
        if draws.happens(18):
            cancelled_s = paid_s + draws.between(5, 50) * 60
            reason = draws.pick(("no longer needed", "ordered by mistake"))
            self._plan(
                cancelled_s,
                OrderCancelled(order_id=order.order_id, customer_id=order.customer_id, reason=reason),
            )
            self._plan_refund(order, cancelled_s + draws.between(1, 60) * 60)
            return
        leaves_s = paid_s + route.handling_hours * _HOUR_S + draws.below(_HOUR_S)
        arrives_s = leaves_s + route.transit_hours * _HOUR_S + draws.below(_HOUR_S)
        self._plan_parcel(order, leaves_s, None if route.lost else arrives_s)
        due_s = paid_s + _PROMISED_HOURS[order.service_level] * _HOUR_S
        complaint = self._disputes.complain(
            order,
            customer=customer,
            seller=self._world.seller_of(order.items[0]),
            delivery=Delivery(due_s, leaves_s, None if route.lost else arrives_s),
        )
        if complaint is not None:
            self._plan(complaint.opens_s, complaint)
        elif not route.lost and draws.happens(25):
            self._plan_refund(order, arrives_s + draws.wait(5 * 24 * _HOUR_S))

    def _plan_parcel(self, order: OrderPlaced, leaves_s: int, arrives_s: int | None) -> None:
        tracking_ids = (f"t-{self._tag}-{self._order_count:06d}",)
        item_ids = tuple(item.item_id for item in order.items)
        order_id, customer_id = order.order_id, order.customer_id
        dispatched = OrderDispatched(
            order_id=order_id, customer_id=customer_id, tracking_ids=tracking_ids, item_ids=item_ids
        )
        self._plan(leaves_s, dispatched)
        if arrives_s is not None:
            delivered = OrderDelivered(
                order_id=order_id, customer_id=customer_id, tracking_ids=tracking_ids, item_ids=item_ids
            )
            self._plan(arrives_s, delivered)

    def _plan_refund(self, order: OrderPlaced, time_s: int) -> None:
        refunded = PaymentRefunded(
            payment_id=f"p-{self._tag}-{self._order_count:06d}",
            order_id=order.order_id,
            customer_id=order.customer_id,
            payment_method_id=order.payment_method_id,
            amount=order.total,
        )
        self._plan(time_s, refunded)


def _moment(time_s: int) -> datetime:
    return _EPOCH + timedelta(seconds=time_s)


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)
