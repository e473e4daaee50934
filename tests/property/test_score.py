"""Every world: the same each time, never backwards; the heuristic is no worse than the static rule over 20 seeds."""

from __future__ import annotations

import asyncio

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.streams.score import Engines, Rule, play
from jurat.streams.score_stats import differences
from jurat.streams.score_world import Step, World
from jurat.streams.score_worlds import WORLDS

SEEDS = range(1, 21)
CASES = 40


def steps(world: World, seed: int) -> list[Step]:
    """What happens where nothing is ever done."""
    found = []
    run = world.play(seed, 10)
    try:
        step = next(run)
        while True:
            found.append(step)
            step = run.send(None)
    except StopIteration:
        return found


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_a_seed_is_a_world(world: World) -> None:
    first = steps(world, 5)
    assert first == steps(world, 5)
    assert first != steps(world, 6)
    assert len(first) >= 10
    assert [step.at for step in first] == sorted(step.at for step in first)


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_the_heuristic_is_no_worse_than_the_rule_and_nobody_leaves_the_policies(world: World) -> None:
    bundle = load_bundle(shipped_bundle(world.agent.bundle))
    engines = Engines(PolicyEngine(bundle), PolicyEngine(bundle))
    values: list[list[int]] = [[], []]
    for seed in SEEDS:
        for found, by in zip(values, (HeuristicReasoner(), Rule(world.rule)), strict=True):
            run = asyncio.run(play(world, seed=seed, cases=CASES, by=by, engines=engines))
            found.append(run.tally.value_minor)
            assert run.breaches == 0
            assert run.decided > 0
    gained = differences(*values)
    assert gained.mean >= 0, gained
