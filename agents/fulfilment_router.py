"""The fulfilment router: which warehouse an order leaves from.

Rules upheld here: an agent's numbers are estimates made from the warehouses' own reports and are the same
for the policies and for the signals; what is allowed is not decided here but in
`policies/shop/routing.cedar`; the customer's profile weighs in signals only. Not here: reserving stock,
choosing a carrier, more than two parcels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from heapq import nsmallest
from itertools import combinations
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation
from jurat.agents.shop_views import CUSTOMERS, NETWORK, NETWORK_KEY, network_of, profile_of, standing_of
from jurat.policies.request import Entity, Facts
from jurat.schemas.commerce import OrderPlaced, ServiceLevel, WarehouseReported
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Count, Identifier, MinorUnits, Percent

NO_LOAD = 101
"""Stands in facts for "there is no such warehouse": above every real load, so that no limit is met by it."""

MAX_DISTANCE_KM = 20_040
"""Half the Earth's circumference: a distance beyond it is a slip in the coordinates and counts as this."""

HANDLING_HOURS = 6
"""Picking and packing in an idle warehouse."""

LOAD_HOURS = 20
"""Hours that a warehouse at 100 % load needs on top."""

CARRIER_HOURS = MappingProxyType({ServiceLevel.STANDARD: 24, ServiceLevel.EXPRESS: 8})
"""From the ramp to the road, and from the road to the door."""

KM_AN_HOUR = MappingProxyType({ServiceLevel.STANDARD: 20, ServiceLevel.EXPRESS: 50})
"""On the road, stops and nights included."""

MAX_DEARER = 200
"""Points that a dear warehouse may lose: 6.00 more than the cheapest, beyond which it makes no difference."""

MAX_PAIRS = 20
"""Split shipments scored per order, those nearest and calmest at first sight: a hundred warehouses make 4950 pairs."""


KEPT_SIGNALS = 2_048
"""Signals kept for the next order: there are ten names with a hundred points or so each."""

KEPT_ACTIONS = 128
"""Actions kept for the next order: somewhat more than a network has warehouses."""


class RoutedOrder(Entity):
    """The order to be routed."""

    entity_type: ClassVar[str] = "Order"

    customer_id: Identifier
    amount_minor: MinorUnits
    currency: str
    item_count: Count
    express: bool


class ShipFromFacts(Facts):
    """A warehouse for the whole order; `lowest_load_...` is 101 where there is no such warehouse.

    The numbers of a warehouse that is not known are 0: it is refused for being unknown, not for a load it has not.
    """

    warehouse_id: Identifier
    warehouse_known: bool
    stock_covers_order: bool
    load_percent: Percent
    late_percent: Percent
    distance_km: Count
    estimated_hours: Count
    on_time: bool
    lowest_load_on_time_percent: Count


class SplitFacts(Facts):
    """Two warehouses that share the order; load, lateness, distance and hours are those of the worse one."""

    first_warehouse_id: Identifier
    second_warehouse_id: Identifier
    warehouses_known: bool
    stock_covers_order: bool
    load_percent: Percent
    late_percent: Percent
    distance_km: Count
    lowest_load_single_percent: Count


class BackorderFacts(Facts):
    """Nothing is shipped yet; what the network could have done instead."""

    warehouses_known: Count
    lowest_load_single_percent: Count
    lowest_load_pair_percent: Count


class ShipFrom(Action):
    """Ship everything from one warehouse."""

    action_name: ClassVar[str] = "ship_from"
    title: ClassVar[str] = "Ship the order from one warehouse"
    resource: ClassVar[type[Entity]] = RoutedOrder
    facts: ClassVar[type[Facts]] = ShipFromFacts

    warehouse_id: Identifier


class SplitShipment(Action):
    """Ship what the first warehouse holds from there, the rest from the second."""

    action_name: ClassVar[str] = "split_shipment"
    title: ClassVar[str] = "Ship the order in two parcels from two warehouses"
    resource: ClassVar[type[Entity]] = RoutedOrder
    facts: ClassVar[type[Facts]] = SplitFacts

    first_warehouse_id: Identifier
    second_warehouse_id: Identifier


class Backorder(Action):
    """Wait until the stock is there."""

    action_name: ClassVar[str] = "backorder"
    title: ClassVar[str] = "Put the order on backorder"
    resource: ClassVar[type[Entity]] = RoutedOrder
    facts: ClassVar[type[Facts]] = BackorderFacts


class Option(NamedTuple):
    """A warehouse as seen from one order, or two as one: `report` is then that of the dearer one."""

    report: WarehouseReported
    load_percent: int
    late_percent: int
    distance_km: int
    estimated_hours: int
    on_time: bool


@dataclass(frozen=True, slots=True)
class Options:
    """What the network can do for one order."""

    need: Mapping[str, int]
    known: Mapping[str, Option]
    single: tuple[Option, ...]

    @property
    def lowest_load_single(self) -> int:
        """The lowest load of a warehouse that holds everything."""
        return min([option.load_percent for option in self.single], default=NO_LOAD)

    @property
    def lowest_load_on_time(self) -> int:
        """The lowest load of a warehouse that holds everything and keeps the promise."""
        return min([option.load_percent for option in self.single if option.on_time], default=NO_LOAD)

    def pairs(self) -> Iterator[tuple[Option, Option]]:
        """Find the pairs that hold everything together, where neither does so alone."""
        alone = {option.report.warehouse_id for option in self.single}
        parts = [
            option
            for name, option in self.known.items()
            if name not in alone and any(option.report.stock.get(item, 0) > 0 for item in self.need)
        ]
        for first, second in combinations(parts, 2):
            if covers(self.need, first.report, second.report):
                yield first, second


def covers(need: Mapping[str, int], *warehouses: WarehouseReported) -> bool:
    """Tell whether these warehouses together hold every item as often as it was ordered."""
    for item, count in need.items():
        missing = count
        for warehouse in warehouses:
            missing -= max(0, warehouse.stock.get(item, 0))
        if missing > 0:
            return False
    return True


def options_of(situation: Situation[OrderPlaced]) -> Options:
    """Work out what each warehouse could do for the order."""
    order = situation.event
    need = Counter([item.item_id for item in order.items])
    promised = order.promised_by
    # From the order's own moment: an order that is read late is routed as it would have been in time.
    begins = situation.occurred_at or situation.now
    hours_left = None if promised is None else (promised - begins) // timedelta(hours=1)
    base_hours, km_an_hour = (
        HANDLING_HOURS + CARRIER_HOURS[order.service_level],
        KM_AN_HOUR[order.service_level],
    )
    known: dict[str, Option] = {}
    for report in network_of(situation):
        distance_km = min(
            MAX_DISTANCE_KM, math.isqrt((report.x_km - order.x_km) ** 2 + (report.y_km - order.y_km) ** 2)
        )
        hours = base_hours + report.load_percent * LOAD_HOURS // 100 + -(-distance_km // km_an_hour)
        on_time = hours_left is None or hours <= hours_left
        known[report.warehouse_id] = Option(
            report, report.load_percent, report.late_percent, distance_km, hours, on_time
        )
    single = tuple([option for option in known.values() if covers(need, option.report)])
    return Options(need, known, single)


def judged(situation: Situation[OrderPlaced], action: Action) -> Judged:
    """State the facts by which policies judge a routing action."""
    options = situation.once(options_of)
    if isinstance(action, ShipFrom):
        return Judged(_order(situation.event), _ship_facts(options, action))
    if isinstance(action, SplitShipment):
        return Judged(_order(situation.event), _split_facts(options, action))
    if isinstance(action, Backorder):
        return Judged(
            _order(situation.event),
            BackorderFacts(
                warehouses_known=len(options.known),
                lowest_load_single_percent=options.lowest_load_single,
                lowest_load_pair_percent=min(
                    (max(a.load_percent, b.load_percent) for a, b in options.pairs()),
                    default=NO_LOAD,
                ),
            ),
        )
    raise ConfigurationError(
        f"fulfilment-router got the action {type(action).__name__}, expected one of its own"
    )


def candidates(situation: Situation[OrderPlaced]) -> tuple[Candidate, ...]:
    """Score every warehouse that holds the order, the best splits, and the backorder."""
    order = situation.event
    options = situation.once(options_of)
    standing = standing_of(profile_of(situation, order.customer_id))
    cheapest = min([option.report.handling_cost.amount_minor for option in options.known.values()], default=0)
    found = [
        Candidate(
            _ship_from(option.report.warehouse_id),
            (_signal("one parcel", 100), *_signals(order, standing, cheapest, option)),
        )
        for option in options.single
    ]
    found += [
        Candidate(
            SplitShipment(
                first_warehouse_id=first.report.warehouse_id, second_warehouse_id=second.report.warehouse_id
            ),
            (_signal("two parcels", 40), *_signals(order, standing, cheapest, _worse(first, second))),
        )
        for first, second in nsmallest(MAX_PAIRS, options.pairs(), key=_burden)
    ]
    waiting = (
        _signal("express customer waits", -30)
        if order.service_level is ServiceLevel.EXPRESS
        else _signal("waits", -10)
    )
    found.append(Candidate(Backorder(), (waiting, _signal("customer standing", -max(0, standing)))))
    return tuple(found)


@lru_cache(KEPT_SIGNALS)
def _signal(name: str, points: int, serves: str = "") -> Signal:
    return Signal(name, points, serves)


@lru_cache(KEPT_ACTIONS)
def _ship_from(warehouse_id: str) -> ShipFrom:
    return ShipFrom(warehouse_id=warehouse_id)


def fallback(situation: Situation[OrderPlaced]) -> Action:
    """Choose the calmest warehouse that holds the order, one that keeps the promise first; else wait."""
    single = situation.once(options_of).single
    if not single:
        return Backorder()
    calmest = min(
        single,
        key=lambda option: (not option.on_time, option.load_percent, option.report.warehouse_id),
    )
    return ShipFrom(warehouse_id=calmest.report.warehouse_id)


def _order(order: OrderPlaced) -> RoutedOrder:
    return RoutedOrder(
        id=order.order_id,
        customer_id=order.customer_id,
        amount_minor=order.total.amount_minor,
        currency=order.total.currency,
        item_count=len(order.items),
        express=order.service_level is ServiceLevel.EXPRESS,
    )


def _ship_facts(options: Options, action: ShipFrom) -> ShipFromFacts:
    option = options.known.get(action.warehouse_id)
    return ShipFromFacts(
        warehouse_id=action.warehouse_id,
        warehouse_known=option is not None,
        stock_covers_order=option is not None and covers(options.need, option.report),
        load_percent=option.load_percent if option else 0,
        late_percent=option.late_percent if option else 0,
        distance_km=option.distance_km if option else 0,
        estimated_hours=option.estimated_hours if option else 0,
        on_time=option is not None and option.on_time,
        lowest_load_on_time_percent=options.lowest_load_on_time,
    )


def _split_facts(options: Options, action: SplitShipment) -> SplitFacts:
    first = options.known.get(action.first_warehouse_id)
    second = options.known.get(action.second_warehouse_id)
    known = first is not None and second is not None
    worse = _worse(first, second) if first and second else None
    apart = action.first_warehouse_id != action.second_warehouse_id
    return SplitFacts(
        first_warehouse_id=action.first_warehouse_id,
        second_warehouse_id=action.second_warehouse_id,
        warehouses_known=known,
        stock_covers_order=bool(
            first and second and apart and covers(options.need, first.report, second.report)
        ),
        load_percent=worse.load_percent if worse else 0,
        late_percent=worse.late_percent if worse else 0,
        distance_km=worse.distance_km if worse else 0,
        lowest_load_single_percent=options.lowest_load_single,
    )


def _worse(first: Option, second: Option) -> Option:
    """Make one option of two, the worse of each number: an order is complete with its later parcel."""
    dearer = max(first.report, second.report, key=lambda report: report.handling_cost.amount_minor)
    return Option(
        dearer,
        max(first.load_percent, second.load_percent),
        max(first.late_percent, second.late_percent),
        max(first.distance_km, second.distance_km),
        max(first.estimated_hours, second.estimated_hours),
        first.on_time and second.on_time,
    )


def _burden(pair: tuple[Option, Option]) -> int:
    """Say in points what speaks against a pair at first sight; cheap, as there are many pairs."""
    first, second = pair
    load_percent = max(first.load_percent, second.load_percent)
    return max(first.distance_km, second.distance_km) // 10 + load_percent


def _signals(order: OrderPlaced, standing: int, cheapest: int, option: Option) -> tuple[Signal, ...]:
    promise = 0 if order.promised_by is None else 20 if option.on_time else -60
    value_at_risk = max(0, order.total.amount_minor) // 2_500 * option.late_percent // 10
    return (
        _signal("distance", -min(80, option.distance_km // 10), "distance"),
        _signal("load", -max(0, option.load_percent - 70), "load"),
        _signal("late parcels", -option.late_percent, "lateness"),
        _signal("promise", promise, "promise"),
        _signal(
            "handling cost",
            -min(MAX_DEARER, (option.report.handling_cost.amount_minor - cheapest) // 3),
            "handling_cost",
        ),
        _signal("value at risk", -min(100, value_at_risk), "lateness"),
        _signal("loyal customer", -max(0, standing) * option.late_percent // 40, "lateness"),
    )


FULFILMENT_ROUTER: Agent[OrderPlaced] = Agent(
    name="fulfilment-router",
    listens={"commerce.orders": (OrderPlaced,)},
    subject=lambda order: order.order_id,
    actions=(ShipFrom, SplitShipment, Backorder),
    bundle="shop",
    judged=judged,
    candidates=candidates,
    views=(NETWORK, CUSTOMERS),
    reads=lambda order: (Lookup(NETWORK.name, NETWORK_KEY), Lookup(CUSTOMERS.name, order.customer_id)),
    fallback=fallback,
)
