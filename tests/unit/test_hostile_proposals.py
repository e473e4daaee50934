"""Hostile proposals, 500 of them: nothing outside of policy becomes a decision, and every input has one record.

What is outside of policy is told by rules that stand in tests alone, never by the engine.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jurat.agents.agent import MAX_PROPOSALS
from jurat.audit.record import MAX_PAYLOAD_BYTES, Outcome, parse
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle, shipped_bundles
from jurat.policies.backtest import Backtest
from jurat.schemas import canonical
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.decision import Verdict
from jurat.schemas.model import Event
from jurat.streams.asking import Calls
from jurat.streams.deciding import Verdicted
from jurat.streams.past_decisions import VERDICT_OF
from tests.deciding_stage import Asked
from tests.hostile import MAKERS, Script, Scripted, script
from tests.hostile_worlds import AfterSales, Disputes, Payments, Routing, World
from tests.journal_stage import MemoryWriter, opened
from tests.past_log import PastLog, past_of

SEED = 20_261_126
CASES = 125
"""For each of four agents: 500 in all."""

WORLDS: dict[str, Callable[[random.Random, Path], World]] = {
    "payments": lambda rng, _folder: Payments(rng),
    "disputes": lambda rng, _folder: Disputes(rng),
    "routing": lambda rng, _folder: Routing(rng),
    "after-sales": AfterSales,
}


class Attack:
    """One agent under attack: the worker's own decider, with a reasoner that is the enemy.

    Attributes:
        used: how often each way of making an answer was used.
        ends: how inputs ended.
        wrong: the decisions of which the rules say something else, with what they were made of and their verdict.
    """

    def __init__(self, world: World, bundle: Path, *, deterministic: bool) -> None:
        self.world = world
        self.reasoner = Scripted(deterministic=deterministic)
        self.log = PastLog(world.agent, PolicyEngine(load_bundle(bundle)), self.reasoner, world.held)
        self.used: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.wrong: list[tuple[tuple[str, ...], Verdicted, Verdict]] = []

    def calls(self) -> Calls:
        return Asked() if self.reasoner.deterministic else opened(MemoryWriter(), agent=self.world.agent)

    async def case(self, number: int, event: Event, script: Script) -> None:
        """Let the reasoner answer by a script, and look at what comes of it."""
        world = self.world
        self.reasoner.script = list(script.answers)
        record = self.log.input(event, headers_for(event, event_id=f"e-{number}", source="/test"))
        kept = self.log.state.documents.get(event.key())
        one = await self.log.take(record, calls=self.calls())
        said = parse(self.log.entries[-1].record.payload).predicate
        assert (said.outcome, said.decision_id) == (one.outcome, one.draft.decision_id)
        assert len(self.log.entries[-1].record.payload) <= MAX_PAYLOAD_BYTES
        assert len(said.proposals) <= MAX_PROPOSALS + 1
        assert said.approvals == ()
        self.ends[one.outcome.value] += 1
        if one.decision is None:
            assert one.outcome is Outcome.REJECTED, script.kinds
            assert one.rejection is not None
            # Whatever a proposal is, no code of ours may stumble over it.
            assert "own code failed" not in one.rejection.message or "raises" in script.kinds, script.kinds
            assert self.log.state.documents.get(event.key()) == kept
            return
        self.check(one, script)
        if one.decision.verdict is Verdict.ALLOW:
            world.done(event, one.decision.action, one.decision.parameters)
        else:
            assert self.log.state.documents.get(event.key()) == kept

    def check(self, one: Verdicted, script: Script) -> None:
        """The decision is an action of the agent, well-formed; whether the rules say of it what it says is kept."""
        decision, event = one.decision, one.decoded.event
        assert decision is not None
        assert event is not None
        actions = {action.action_name: action for action in self.world.agent.actions}
        made = actions[decision.action].model_validate_json(canonical.dumps(decision.parameters))
        assert made.model_dump(mode="json") == decision.parameters
        assert decision.verdict is VERDICT_OF[one.outcome]
        expected = self.world.rules(event, decision.action, decision.parameters)
        if decision.verdict is not expected:
            self.wrong.append((script.kinds, one, decision.verdict))
        assert not set(decision.approvers) - set(self.log.engine.bundle.approvers)


async def under_attack(
    name: str, tmp_path: Path, *, deterministic: bool, bundle: Path | None = None
) -> Attack:
    """A world after its share of attacks; journalled ones are others."""
    rng = random.Random(f"{SEED} {name}" if deterministic else f"{SEED} {name} journalled")
    world = WORLDS[name](rng, tmp_path)
    attack = Attack(world, bundle or shipped_bundle(world.agent.bundle), deterministic=deterministic)
    for number in range(CASES):
        event = world.event(number)
        answers = script(rng, world.agent, partial(world.honest, event), number=number)
        attack.used.update(answers.kinds)
        await attack.case(number, event, answers)
    return attack


@pytest.mark.parametrize("deterministic", [True, False], ids=["asked", "journalled"])
@pytest.mark.parametrize("name", WORLDS)
async def test_nothing_outside_of_policy_becomes_a_decision(
    name: str, tmp_path: Path, *, deterministic: bool
) -> None:
    attack = await under_attack(name, tmp_path, deterministic=deterministic)
    assert attack.wrong == []
    assert len(attack.log.entries) == CASES
    # A test in which the enemy has no chance, or nobody is ever allowed anything, would prove nothing.
    assert set(attack.used) == set(MAKERS)
    assert attack.ends[Outcome.DECIDED] > CASES // 10, attack.ends
    assert attack.ends[Outcome.DENIED] > CASES // 10, attack.ends
    assert attack.ends[Outcome.REJECTED], attack.ends
    # What was said of an enemy's proposals is said of them again.
    made = Backtest(attack.log.engine, old=attack.log.engine)
    for entry in attack.log.entries:
        made.add(past_of(entry))
    report = made.report()
    assert report.judged == report.unchanged == CASES - attack.ends[Outcome.REJECTED]
    assert (report.not_reproduced, report.other_policies) == (0, 0)


def without(rule: str, folder: Path) -> Path:
    """The shipped bundle that holds a rule, without it."""
    for name in shipped_bundles():
        source = shipped_bundle(name)
        for file in sorted(source.glob("*.cedar")):
            text = re.sub(rf'@id\("{re.escape(rule)}"\).*?;\n', "", file.read_text(), flags=re.DOTALL)
            if text != file.read_text():
                bundle = Path(shutil.copytree(source, folder / name))
                (bundle / file.name).write_text(text)
                return bundle
    raise AssertionError(f"got no {rule} in any bundle")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("disputes", "dispute.refund.above-disputed"),
        ("disputes", "dispute.once"),
        ("payments", "payment.frozen"),
        ("routing", "route.ship.out-of-stock"),
        ("after-sales", "order.own-orders-only"),
    ],
)
async def test_the_attacks_get_through_where_a_rule_is_missing(name: str, rule: str, tmp_path: Path) -> None:
    """They are no straw men: each of these rules is what stops one of them."""
    attack = await under_attack(name, tmp_path, deterministic=True, bundle=without(rule, tmp_path))
    assert attack.wrong
    assert Verdict.DENY not in {verdict for _, _, verdict in attack.wrong}
