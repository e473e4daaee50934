"""The fulfilment router on realistic orders, under the shipped policies."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jurat.agents.agent import Situation
from jurat.agents.fulfilment_router import (
    FULFILMENT_ROUTER,
    MAX_DISTANCE_KM,
    NO_LOAD,
    Backorder,
    BackorderFacts,
    ShipFrom,
    ShipFromFacts,
    SplitFacts,
    SplitShipment,
)
from jurat.agents.payment_retrier import GiveUp
from jurat.agents.shop_views import MAX_WAREHOUSES, NETWORK, Network, standing_of
from jurat.schemas.commerce import CustomerRegistered, OrderItem, OrderPlaced, ServiceLevel, WarehouseReported
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Address, Event
from tests.shop import NOW, Down, Insisting, euros, profile, run, situation, told

COLOGNE = Address(line1="Domkloster 4", city="Köln", region="west", postal_code="50667", country="Germany")


def order(
    *item_ids: str, total: int = 12_900, express: bool = False, promised_h: int | None = None
) -> OrderPlaced:
    return OrderPlaced(
        order_id="o-1",
        customer_id="c-1",
        items=tuple(
            OrderItem(item_id=name, product_id="p-1", name="Headphones", price=euros(total))
            for name in item_ids or ("sku-1",)
        ),
        total=euros(total),
        ship_to=COLOGNE,
        x_km=-175,
        y_km=-40,
        service_level=ServiceLevel.EXPRESS if express else ServiceLevel.STANDARD,
        promised_by=None if promised_h is None else NOW + timedelta(hours=promised_h),
        payment_method_id="pm-1",
    )


def warehouse(
    name: str, *, x_km: int = -140, load: int = 50, late: int = 5, **stock: int
) -> WarehouseReported:
    return WarehouseReported(
        warehouse_id=name,
        region="west",
        x_km=x_km,
        y_km=20,
        load_percent=load,
        late_percent=late,
        handling_cost=euros(300),
        stock={item.replace("_", "-"): count for item, count in (stock or {"sku_1": 9}).items()},
    )


def ask(event: OrderPlaced, *known: Event) -> Situation[OrderPlaced]:
    return situation(FULFILMENT_ROUTER, event, *known)


def test_the_near_warehouse_ships() -> None:
    decided = run(FULFILMENT_ROUTER, ask(order(), warehouse("near"), warehouse("far", x_km=270)))
    assert told(decided) == (("ship_from", "allow", ("route.ship.grant",)),)
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="near")
    assert decided.chosen.proposal.rationale.startswith("Ship the order from one warehouse: ")


def test_an_overloaded_near_warehouse_is_refused_and_the_next_one_ships() -> None:
    decided = run(FULFILMENT_ROUTER, ask(order(), warehouse("near", load=93), warehouse("far", x_km=270)))
    assert told(decided) == (
        ("ship_from", "deny", ("route.ship.overloaded",)),
        ("ship_from", "allow", ("route.ship.grant",)),
    )
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="far")


def test_the_fallback_is_the_calmest_warehouse_after_three_refusals() -> None:
    busy = [warehouse(f"busy-{number}", load=90) for number in range(3)]
    decided = run(FULFILMENT_ROUTER, ask(order(), *busy, warehouse("far", x_km=400)))
    assert [verdict for _, verdict, _ in told(decided)] == ["deny", "deny", "deny", "allow"]
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="far")
    assert decided.chosen.proposal.rationale == "fallback: every proposal was refused"


def test_a_promise_is_kept_by_the_warehouse_that_can() -> None:
    slow, quick = warehouse("slow", load=88, late=0), warehouse("quick", x_km=0, load=20, late=9)
    decided = run(FULFILMENT_ROUTER, ask(order(promised_h=46), slow, quick))
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="quick")
    late = FULFILMENT_ROUTER.judged(
        ask(order(promised_h=46), slow, quick), ShipFrom(warehouse_id="slow")
    ).facts
    assert isinstance(late, ShipFromFacts)
    assert (late.on_time, late.lowest_load_on_time_percent, late.estimated_hours) == (False, 20, 51)


def test_the_promise_counts_from_when_the_order_was_placed() -> None:
    seen = ask(order(promised_h=72), warehouse("near"))
    late_reader = Situation(
        event=seen.event,
        now=NOW + timedelta(days=300),
        occurred_at=seen.occurred_at,
        documents=seen.documents,
    )
    facts = FULFILMENT_ROUTER.judged(late_reader, ShipFrom(warehouse_id="near")).facts
    assert isinstance(facts, ShipFromFacts)
    assert facts.on_time


def test_a_valuable_order_from_an_unreliable_warehouse_is_escalated() -> None:
    decided = run(FULFILMENT_ROUTER, ask(order(total=60_000), warehouse("near", late=20)))
    assert told(decided) == (("ship_from", "escalate", ("route.ship.valuable-and-late",)),)
    assert decided.chosen.judgement.approvers == ("logistics-lead",)


def test_a_valuable_order_avoids_the_unreliable_warehouse_where_it_can() -> None:
    decided = run(
        FULFILMENT_ROUTER,
        ask(order(total=60_000), warehouse("near", late=20), warehouse("far", x_km=270, late=2)),
    )
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="far")


def test_an_order_is_split_where_no_warehouse_holds_it() -> None:
    decided = run(
        FULFILMENT_ROUTER,
        ask(order("sku-1", "sku-1", "sku-2"), warehouse("a", sku_1=1), warehouse("b", sku_1=1, sku_2=4)),
    )
    assert told(decided) == (("split_shipment", "allow", ("route.split.grant",)),)
    assert decided.chosen.proposal.action == SplitShipment(first_warehouse_id="a", second_warehouse_id="b")


def test_what_nobody_holds_waits() -> None:
    decided = run(FULFILMENT_ROUTER, ask(order("sku-9"), warehouse("near")))
    assert told(decided) == (("backorder", "allow", ("route.backorder.grant",)),)


@pytest.mark.parametrize(
    ("event", "known", "policy"),
    [
        (order("sku-9", express=True), (warehouse("near"),), "route.backorder.express"),
        (order(), (), "route.backorder.blind"),
    ],
)
def test_some_backorders_are_for_people(event: OrderPlaced, known: tuple[Event, ...], policy: str) -> None:
    decided = run(FULFILMENT_ROUTER, ask(event, *known))
    assert told(decided) == (("backorder", "escalate", (policy,)),)


def test_beyond_the_carriers_reach_all_is_denied() -> None:
    decided = run(FULFILMENT_ROUTER, ask(order(), warehouse("overseas", x_km=9_000)))
    assert decided.resolution == "denied"
    assert told(decided) == (
        ("ship_from", "deny", ("route.ship.too-far",)),
        ("backorder", "deny", ("route.backorder.unneeded",)),
    )


@pytest.mark.parametrize(
    ("action", "policies"),
    [
        (ShipFrom(warehouse_id="nowhere"), ("route.ship.out-of-stock", "route.ship.unknown-warehouse")),
        (ShipFrom(warehouse_id="empty"), ("route.ship.out-of-stock",)),
        (SplitShipment(first_warehouse_id="a", second_warehouse_id="a"), ("route.split.out-of-stock",)),
        (
            SplitShipment(first_warehouse_id="a", second_warehouse_id="nowhere"),
            ("route.split.out-of-stock", "route.split.unknown-warehouse"),
        ),
    ],
)
def test_what_a_reasoner_makes_up_is_refused(
    action: ShipFrom | SplitShipment, policies: tuple[str, ...]
) -> None:
    seen = ask(order("sku-1", "sku-2"), warehouse("a", sku_1=1), warehouse("empty", sku_3=1))
    decided = run(FULFILMENT_ROUTER, seen, reasoner=Insisting(action))
    assert told(decided)[0] == (action.action_name, "deny", policies)
    assert decided.chosen.proposal.action == Backorder()


def test_a_loyal_customer_weighs_in_signals_and_never_in_facts() -> None:
    known = (warehouse("near", late=20), warehouse("far", x_km=100, late=2))
    stranger, loyal = ask(order(), *known), ask(order(), *known, profile(orders=20))
    scores = [
        {c.action: c.score for c in FULFILMENT_ROUTER.candidates(seen)}[ShipFrom(warehouse_id="near")]
        for seen in (stranger, loyal)
    ]
    assert scores[1] < scores[0]
    for action in (ShipFrom(warehouse_id="near"), Backorder()):
        assert FULFILMENT_ROUTER.judged(stranger, action) == FULFILMENT_ROUTER.judged(loyal, action)


def test_a_reasoner_that_is_down_leaves_the_calmest_warehouse() -> None:
    known = (warehouse("near", load=80), warehouse("far", x_km=400, load=20))
    decided = run(FULFILMENT_ROUTER, ask(order(), *known), reasoner=Down())
    assert decided.chosen.proposal.action == ShipFrom(warehouse_id="far")
    assert decided.chosen.proposal.rationale == "fallback: got no answer within 5 s"


def test_facts_of_a_backorder() -> None:
    seen = ask(
        order("sku-1", "sku-2"),
        warehouse("a", sku_1=1, load=30),
        warehouse("b", sku_2=1, load=70),
        warehouse("c", sku_2=1, load=95),
    )
    assert FULFILMENT_ROUTER.judged(seen, Backorder()).facts == BackorderFacts(
        warehouses_known=3, lowest_load_single_percent=NO_LOAD, lowest_load_pair_percent=70
    )


def test_a_pair_is_as_good_as_its_worse_half() -> None:
    seen = ask(
        order("sku-1", "sku-2"),
        warehouse("a", sku_1=1, load=30, late=9),
        warehouse("b", x_km=270, sku_2=1, load=70),
    )
    action = SplitShipment(first_warehouse_id="a", second_warehouse_id="b")
    facts = FULFILMENT_ROUTER.judged(seen, action).facts
    assert isinstance(facts, SplitFacts)
    assert (facts.load_percent, facts.late_percent, facts.distance_km) == (70, 9, 449)


def test_a_negative_stock_covers_nothing() -> None:
    seen = ask(order("sku-1"), warehouse("a", sku_1=-5), warehouse("b", sku_1=1))
    assert {c.action for c in FULFILMENT_ROUTER.candidates(seen)} == {ShipFrom(warehouse_id="b"), Backorder()}


def test_coordinates_further_apart_than_the_earth_is_wide_stay_within_bounds() -> None:
    facts = FULFILMENT_ROUTER.judged(
        ask(order(), warehouse("mars", x_km=100_000)), ShipFrom(warehouse_id="mars")
    ).facts
    assert isinstance(facts, ShipFromFacts)
    assert facts.distance_km == MAX_DISTANCE_KM


def test_the_network_keeps_the_latest_report_of_each_warehouse() -> None:
    seen = ask(order(), warehouse("b"), warehouse("a"), warehouse("b", load=77))
    network = seen.documents[NETWORK.name, "all"]
    assert isinstance(network, Network)
    assert [(report.warehouse_id, report.load_percent) for report in network.warehouses] == [
        ("a", 50),
        ("b", 77),
    ]


def test_the_network_is_bounded() -> None:
    with pytest.raises(ConfigurationError, match="its number 101; expected at most 100"):
        ask(order(), *(warehouse(f"wh-{number:03d}") for number in range(MAX_WAREHOUSES + 1)))


def test_views_pass_over_events_that_are_not_theirs() -> None:
    customer = CustomerRegistered(
        customer_id="c-1",
        given_name="A",
        family_name="B",
        email="a@example.org",
        address=COLOGNE,
        payment_methods=(),
    )
    assert [view.keys(customer) for view in FULFILMENT_ROUTER.views] == [(), ()]
    with pytest.raises(ConfigurationError, match="got a CustomerRegistered"):
        NETWORK.fold(None, customer, "all")


def test_an_action_of_another_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the action GiveUp"):
        FULFILMENT_ROUTER.judged(ask(order()), GiveUp())


@pytest.mark.parametrize(
    ("numbers", "points"),
    [
        ({}, 0),
        ({"orders": 7}, 7),
        ({"orders": 500}, 20),
        ({"orders": 2, "refunds": 1}, -1),
        ({"disputes": 9}, -20),
    ],
)
def test_standing(numbers: dict[str, int], points: int) -> None:
    assert standing_of(profile(**numbers)) == points


def test_the_standing_of_a_stranger_is_even() -> None:
    assert standing_of(None) == 0
