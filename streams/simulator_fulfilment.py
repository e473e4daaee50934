"""How long simulated orders take from each warehouse, and which one the shop would take by habit.

Rules upheld here: every warehouse's hours are drawn for every order, so that any choice can be scored; the
shop's own habit (the nearest warehouse with most of the items) is what happens in the events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.simulation import FulfilmentOutcome, WarehouseOutcome
from jurat.streams.simulator_draws import Draws
from jurat.streams.simulator_world import CARRIERS, Carrier, Warehouse, World

_MISSING_HOURS = 60
"""How long a warehouse waits for an item that it does not have."""

_LATE_WAREHOUSE_HOURS = 20


@dataclass(frozen=True, slots=True)
class Route:
    """What happens to an order when it goes the shop's habitual way."""

    handling_hours: int
    transit_hours: int
    lost: bool


class Fulfilment:
    """Draws how long orders take.

    Args:
        seed: the simulation's seed.
        world: the shop.
    """

    def __init__(self, seed: int, world: World) -> None:
        self._draws = Draws(seed, "fulfilment")
        self._losses = Draws(seed, "losses")
        self._world = world

    def route(self, order: OrderPlaced) -> tuple[Route, FulfilmentOutcome]:
        """Draw every warehouse's hours for an order, and take what it needs from the habitual one."""
        item_ids = [item.item_id for item in order.items]
        outcomes: list[WarehouseOutcome] = []
        best: tuple[int, int, int] | None = None
        for index, warehouse in enumerate(self._world.warehouses):
            missing = sum(warehouse.stock[item_id] < item_ids.count(item_id) for item_id in item_ids)
            distance_km = math.isqrt(
                (warehouse.city.x_km - order.x_km) ** 2 + (warehouse.city.y_km - order.y_km) ** 2
            )
            outcomes.append(self._hours(warehouse, carrier_of(order, index), missing, distance_km))
            if best is None or (missing, distance_km, index) < best:
                best = (missing, distance_km, index)
        chosen = best[2] if best is not None else 0
        stock = self._world.warehouses[chosen].stock
        for item_id in item_ids:
            stock[item_id] = max(0, stock[item_id] - 1)
        hours = outcomes[chosen]
        lost = self._losses.happens(carrier_of(order, chosen).lost_per_mille)
        route = Route(hours.handling_hours, hours.transit_hours, lost)
        return route, FulfilmentOutcome(order_id=order.order_id, warehouses=tuple(outcomes))

    def _hours(
        self, warehouse: Warehouse, carrier: Carrier, missing: int, distance_km: int
    ) -> WarehouseOutcome:
        draws = self._draws
        load = warehouse.load_percent
        handling = warehouse.base_hours * (60 + load * load // 60) // 100 + draws.between(0, 4)
        if draws.happens(warehouse.late_per_mille):
            handling += draws.wait(_LATE_WAREHOUSE_HOURS)
        if missing:
            handling += _MISSING_HOURS + draws.between(0, 24)
        transit = (
            carrier.base_hours
            + distance_km // carrier.km_per_hour
            + draws.between(0, carrier.base_hours // 3)
        )
        if draws.happens(carrier.late_per_mille):
            transit += draws.wait(carrier.late_hours)
        return WarehouseOutcome(
            warehouse_id=warehouse.warehouse_id,
            in_stock=missing == 0,
            handling_hours=handling,
            transit_hours=transit,
        )


def carrier_of(order: OrderPlaced, warehouse_index: int) -> Carrier:
    """The carrier that takes an order from a warehouse."""
    carriers = CARRIERS[order.service_level]
    return carriers[warehouse_index % len(carriers)]
