"""The world of delivery promises: the truth stays hidden, and every way that talks may go is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.promise_actions import DeclinePromise
from jurat.schemas.commerce_promises import DeliveryPromiseRequested
from jurat.streams.score import Engines, Rule, play
from jurat.streams.score_promises import PROMISING
from tests.promises import engine


def fields(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for one in value.values() for name in fields(one)}
    return {name for one in value for name in fields(one)} if isinstance(value, list | tuple) else set()


def test_what_a_customer_thinks_is_in_no_event_and_depends_on_no_decision() -> None:
    seen: list[list[Any]] = []
    for action in (None, DeclinePromise()):
        run, asked = PROMISING.play(7, 30), []
        try:
            step = next(run)
            while True:
                asked.append(step)
                step = run.send(action)
        except StopIteration:
            seen.append([one for one in asked if isinstance(one.event, DeliveryPromiseRequested)])
        names = {name for one in asked for name in fields(one.event.model_dump())}
        assert not names & {"worth_minor", "hour_minor", "silent", "talks", "gives_in", "breaks"}
    assert seen[0] == seen[1]
    assert len(seen[0]) == 30


def test_all_ways_that_talks_may_go_are_gone() -> None:
    done: Counter[tuple[str, str]] = Counter()

    class Watching(HeuristicReasoner):
        async def propose(self, request):  # type: ignore[no-untyped-def]
            proposal = await super().propose(request)
            done[type(request.situation.event).__name__, proposal.action.action_name] += 1
            return proposal

    engines = Engines(engine(), engine())
    run = asyncio.run(play(PROMISING, seed=300, cases=150, by=Watching(), engines=engines))
    assert run.breaches == 0
    assert run.tally.promises is not None
    assert 30 < run.tally.promises <= 150
    for event, action in (
        ("DeliveryPromiseRequested", "offer_promise"),
        ("PromiseAnswered", "commit_promise"),
        ("PromiseAnswered", "offer_promise"),
        ("PromiseAnswered", "decline_promise"),
        ("TimerFired", "release_offers"),
        ("CapacityReported", "note_capacity"),
    ):
        assert done[event, action] > 0, (event, action)


def test_the_rule_is_refused_nothing_but_what_people_decide() -> None:
    engines = Engines(engine(), engine())
    run = asyncio.run(play(PROMISING, seed=300, cases=100, by=Rule(PROMISING.rule), engines=engines))
    assert run.denied == 0
    assert run.rejected == 0
    assert run.breaches == 0
