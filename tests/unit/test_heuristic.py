"""The heuristic reasoner: the best candidate that was not refused, and why."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.heuristic import FULL_MARGIN, HeuristicReasoner
from jurat.agents.reasoner import JudgedProposal, Proposal, ProposalRequest
from jurat.policies.request import Entity, Facts, Judgement
from jurat.schemas.commerce import OrderCancelled
from jurat.schemas.decision import Verdict
from tests.shop import NOW


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


def ask(*candidates: Candidate, refused: tuple[Action, ...] = ()) -> Proposal | None:
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
    request = ProposalRequest(agent, Situation(event=event, now=NOW), judged)
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


def test_it_says_what_it_is() -> None:
    assert HeuristicReasoner().name == "heuristic"
