"""The heuristic reasoner: the best candidate that was not refused, and why."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.heuristic import FULL_MARGIN, HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.reasoner import JudgedProposal, Proposal, ProposalRequest
from jurat.policies.objectives import Objectives
from jurat.policies.request import Entity, Facts, Judgement
from jurat.schemas.commerce import OrderCancelled, WarehouseReported
from jurat.schemas.decision import Verdict
from jurat.streams.simulator import simulate
from tests.shop import NOW, euros, shop_engine, situation

STORE = WarehouseReported(
    warehouse_id="wh-1",
    region="west",
    x_km=0,
    y_km=0,
    load_percent=80,
    late_percent=9,
    handling_cost=euros(250),
    stock={},
)


class Thing(Entity):
    entity_type: ClassVar[str] = "Thing"


class Left(Action):
    action_name: ClassVar[str] = "left"
    title: ClassVar[str] = "Go left"
    resource: ClassVar[type[Entity]] = Thing
    facts: ClassVar[type[Facts]] = Facts


class Right(Left):
    action_name: ClassVar[str] = "right"
    title: ClassVar[str] = "Go right"


def ask(
    *candidates: Candidate, refused: tuple[Action, ...] = (), weights: dict[str, int] | None = None
) -> Proposal | None:
    agent: Agent[OrderCancelled] = Agent(
        name="walker",
        listens={"commerce.orders": (OrderCancelled,)},
        subject=lambda event: event.order_id,
        actions=(Left, Right),
        bundle="none",
        judged=lambda situation, _action: Judged(Thing(id=situation.event.order_id), Facts()),
        candidates=lambda _situation: candidates,
    )
    event = OrderCancelled(order_id="o-1", customer_id="c-1", reason="r")
    judged = tuple(
        JudgedProposal(Proposal(action=action, rationale=""), Judgement(Verdict.DENY, (), ()))
        for action in refused
    )
    aims = None if weights is None else Objectives("arrive", weights)
    request = ProposalRequest(agent, Situation(event=event, now=NOW), judged, objectives=aims)
    return asyncio.run(HeuristicReasoner().propose(request))


def scored(action: Action, *points: int) -> Candidate:
    return Candidate(
        action, tuple(Signal(f"signal {place}", value) for place, value in enumerate(points, start=1))
    )


def test_the_best_score_is_proposed_and_the_rest_are_alternatives() -> None:
    got = ask(scored(Left(), 10), scored(Right(), 30, 5))
    assert got is not None
    assert got.action == Right()
    assert got.alternatives == ("left",)
    assert got.confidence == 50 + 25 * 50 // FULL_MARGIN


def test_the_declared_order_breaks_ties_at_half_confidence() -> None:
    got = ask(scored(Right(), 7), scored(Left(), 7))
    assert got is not None
    assert (got.action, got.confidence) == (Right(), 50)


@pytest.mark.parametrize("margin", [FULL_MARGIN, FULL_MARGIN * 50])
def test_confidence_ends_at_100(margin: int) -> None:
    got = ask(scored(Left(), margin), scored(Right(), 0))
    assert got is not None
    assert got.confidence == 100


def test_a_refused_candidate_gives_way_to_the_next() -> None:
    got = ask(scored(Left(), 10), scored(Right(), -5), refused=(Left(),))
    assert got is not None
    assert got.action == Right()


def test_nothing_is_left_to_propose() -> None:
    assert ask(scored(Left(), 10), refused=(Left(),)) is None
    assert ask() is None


def test_it_explains_itself_by_the_three_strongest_signals() -> None:
    got = ask(scored(Left(), 1, -40, 20, 5))
    assert got is not None
    assert got.rationale == "Go left: -14 points (signal 2 -40, signal 3 +20, signal 4 +5)"


def test_signals_without_points_are_not_named() -> None:
    got = ask(scored(Left(), 0, 0))
    assert got is not None
    assert got.rationale == "Go left: 0 points (no signal)"


WAYS = (
    Candidate(Left(), (Signal("quick", 40, "speed"), Signal("dear", -20, "cost"), Signal("sunny", 5))),
    Candidate(Right(), (Signal("slow", -10, "speed"), Signal("cheap", 25, "cost"), Signal("sunny", 5))),
)


@pytest.mark.parametrize(
    ("weights", "action", "points"),
    [
        (None, Left(), 25),
        ({"speed": 50, "cost": 50}, Left(), 25),
        ({"speed": 40, "cost": 60}, Right(), 27),
        ({"speed": 34, "cost": 33, "beauty": 33}, Left(), 25),
        ({"cost": 100}, Right(), 30),
        ({"beauty": 100}, Left(), 5),
    ],
)
def test_what_the_goals_weigh_decides_between_candidates(
    weights: dict[str, int] | None, action: Action, points: int
) -> None:
    got = ask(*WAYS, weights=weights)
    assert got is not None
    assert got.action == action
    assert f": {points} points (" in got.rationale


def test_the_margin_and_the_explanation_are_of_the_weighed_points() -> None:
    got = ask(*WAYS, weights={"speed": 40, "cost": 60})
    assert got is not None
    assert got.rationale == "Go right: 27 points (cheap +30, slow -8, sunny +5)"
    assert got.confidence == 50 + (27 - 13) * 50 // FULL_MARGIN


def test_the_goals_that_signals_of_shipped_agents_serve_stand_in_their_objectives() -> None:
    seen: dict[str, set[str]] = {}
    for one in simulate(seed=1, orders=200, start=NOW):
        for agent in (FULFILMENT_ROUTER, PAYMENT_RETRIER, DISPUTE_MEDIATOR):
            if agent.decides(one.event):
                items = getattr(one.event, "items", ())
                stock = {item.item_id: len(items) for item in items}
                about = situation(agent, one.event, STORE.model_copy(update={"stock": stock}))
                served = {signal.serves for each in agent.candidates(about) for signal in each.signals}
                seen.setdefault(agent.name, set()).update(served - {""})
    objectives = shop_engine().bundle.objectives
    assert seen.keys() == objectives.keys()
    for agent_name, goals in seen.items():
        assert goals
        assert goals <= objectives[agent_name].weights.keys()
    assert seen["fulfilment-router"] == objectives["fulfilment-router"].weights.keys()


def test_it_says_what_it_is() -> None:
    assert HeuristicReasoner().name == "heuristic"
