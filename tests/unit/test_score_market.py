"""The worlds of the ranker and the trust scorer: the same each time, no truth in events, and no worse than the rule."""

from __future__ import annotations

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.streams.score_ranking import RANKING
from jurat.streams.score_trust import TRUST
from jurat.streams.score_world import Step, World
from tests.score_driver import Rule, played

CASES = {RANKING.name: 100, TRUST.name: 200}


def steps(world: World, seed: int) -> list[Step]:
    """What happens where nothing is ever decided."""
    found = []
    play = world.play(seed, CASES[world.name])
    try:
        step = next(play)
        while True:
            found.append(step)
            step = play.send(None)
    except StopIteration:
        return found


@pytest.mark.parametrize("world", [RANKING, TRUST], ids=lambda world: world.name)
def test_a_seed_is_a_world(world: World) -> None:
    first = steps(world, 7)
    assert first == steps(world, 7)
    assert first != steps(world, 8)
    assert len(first) == CASES[world.name]
    assert [step.at for step in first] == sorted(step.at for step in first)


@pytest.mark.parametrize("world", [RANKING, TRUST], ids=lambda world: world.name)
def test_the_heuristic_is_at_least_as_good_as_the_rule_over_twenty_seeds(world: World) -> None:
    gained = [
        played(world, seed=seed, cases=CASES[world.name], by=HeuristicReasoner()).value_minor
        - played(world, seed=seed, cases=CASES[world.name], by=Rule(world.rule)).value_minor
        for seed in range(1, 21)
    ]
    assert sum(gained) >= 0, gained
