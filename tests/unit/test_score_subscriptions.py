"""The worlds of subscriptions: a seed is a world, and nothing leaks."""

from __future__ import annotations

from typing import Any

import pytest

from jurat.agents.agent import Action
from jurat.streams.score_dunning import RENEWALS, Why
from jurat.streams.score_retention import KEEPING, Cause
from jurat.streams.score_upgrades import UPGRADES, Kind
from jurat.streams.score_world import Step, Tally, World

WORLDS = (UPGRADES, RENEWALS, KEEPING)
SAID = {"left", "promoted", "regulated", "price", "closing"}
"""Causes whose names are words of the events too: what is told of an account, true or not."""

HIDDEN = {
    "upgrades": {kind.value for kind in Kind} | {"units", "kind"},
    "dunning": {why.value for why in Why} | {"why", "payday", "willing"},
    "retention": ({cause.value for cause in Cause} - SAID) | {"cause", "roll"},
}


def by_name(world: World) -> str:
    return world.name


def watched(world: World, seed: int, action: Action | None = None) -> tuple[list[Step], Tally]:
    """Every step of a world whose agent does nothing, or always the same."""
    steps, play = [], world.play(seed, 10)
    try:
        step = next(play)
        while True:
            steps.append(step)
            step = play.send(action if world.agent.decides(step.event) else None)
    except StopIteration as stop:
        return steps, stop.value


@pytest.mark.parametrize("world", WORLDS, ids=by_name)
def test_a_seed_is_a_world(world: World) -> None:
    assert watched(world, 5) == watched(world, 5)
    assert watched(world, 5) != watched(world, 6)


@pytest.mark.parametrize("world", WORLDS, ids=by_name)
def test_time_goes_forward(world: World) -> None:
    moments = [step.at for step in watched(world, 5)[0]]
    assert moments == sorted(moments)
    assert len(moments) >= 10


def words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {word for name, one in value.items() for word in {name} | words(one)}
    if isinstance(value, list | tuple):
        return {word for one in value for word in words(one)}
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("world", WORLDS, ids=by_name)
def test_the_truth_is_not_in_the_events(world: World) -> None:
    seen = {word for step in watched(world, 5)[0] for word in words(step.event.model_dump(mode="json"))}
    assert seen & HIDDEN[world.name] == set()
    assert all(not step.documents for step in watched(world, 5)[0])


@pytest.mark.parametrize("world", WORLDS, ids=by_name)
def test_what_happens_before_a_decision_does_not_depend_on_it(world: World) -> None:
    nothing, _ = watched(world, 5)
    something, _ = watched(world, 5, world.agent.actions[-1].model_construct())
    assert nothing[0] == something[0]
