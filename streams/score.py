"""Playing worlds: an agent and the static rule beside it, in the same world with the same draws.

Rules upheld here: whoever is scored is driven through the kernel, with policies, budgets, state and memory as a worker
has them, and so is the rule; an action counts only where the policies allowed it; that it was within policy is checked
by a second engine, loaded anew, from the recorded input; what is denied, escalated or cannot be proposed is nobody's
action. Not here: Kafka, approvals (what is escalated waits for ever), and what a world is worth (`score_world.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jurat.agents.agent import Action, Situation
from jurat.agents.kernel import Decided, Use
from jurat.agents.memory import NOTHING, Memory, remember
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, ToolResult
from jurat.policies.engine import PolicyEngine
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import InputRejected, ReasonerError
from jurat.schemas.model import Model
from jurat.streams.asking import driven, used
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.usage import Counted, PartitionUsage


class Rule:
    """A world's static rule as a reasoner: one proposal for an input, and no second thoughts.

    Args:
        rule: what it does in a situation; None where it leaves it.
    """

    def __init__(self, rule: Callable[[Situation[Any]], Action | None]) -> None:
        self._rule = rule

    @property
    def name(self) -> str:
        """`rule`."""
        return "rule"

    @property
    def deterministic(self) -> bool:
        """True: it is a function of the situation."""
        return True

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        """Propose what the rule says, once."""
        action = None if request.refused else self._rule(request.situation)
        return None if action is None else Proposal(action, "as the rule says")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One run of a world.

    Attributes:
        tally: what it came to.
        decided: inputs whose action was allowed.
        escalated: inputs that a person would have to decide.
        denied: inputs whose every proposal was refused.
        rejected: inputs for which nothing could be proposed.
        failed: inputs for which the reasoner failed, whatever came of the agent's own fallback.
        breaches: actions that were done though the second engine does not allow them; anything but 0 is a fault.
    """

    tally: Tally
    decided: int
    escalated: int
    denied: int
    rejected: int
    failed: int
    breaches: int


async def play(world: World, *, seed: int, cases: int, by: Reasoner, engines: Engines) -> Played:
    """Play a world once.

    Args:
        world: the world.
        seed: another seed is another run.
        cases: how many cases happen; each may take several events.
        by: who proposes.
        engines: the policies of the world's agent, twice.

    Raises:
        JuratError: the reasoner needs what it has not, for example a setting.
    """
    stand = _Stand(world, by, engines)
    run = world.play(seed, cases)
    try:
        step = next(run)
        while True:
            step = run.send(await stand.meet(step))
    except StopIteration as end:
        return Played(
            tally=end.value,
            decided=stand.counts[Verdict.ALLOW],
            escalated=stand.counts[Verdict.ESCALATE],
            denied=stand.counts[Verdict.DENY],
            rejected=stand.rejected,
            failed=stand.failed,
            breaches=stand.breaches,
        )


@dataclass(frozen=True, slots=True)
class Engines:
    """Two engines of one bundle: one judges, the other checks what was judged."""

    judge: PolicyEngine
    check: PolicyEngine


@dataclass(slots=True)
class _Stand:
    """What stands of an agent in memory between two steps."""

    world: World
    by: Reasoner
    engines: Engines
    usage: PartitionUsage = field(default_factory=lambda: PartitionUsage(partition=0))
    states: dict[str, Model] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    rejected: int = 0
    failed: int = 0
    breaches: int = 0
    inputs: int = 0

    async def meet(self, step: Step) -> Action | None:
        """Learn from a step and decide it; the action that was done, if any."""
        agent, key = self.world.agent, step.event.key()
        where = InputRef(topic=agent.topic, partition=0, offset=self.inputs)
        self.inputs += 1
        teaches = agent.remembers.from_events.get(type(step.event)) if agent.remembers else None
        if teaches is not None:
            known = self.memories.get(key, NOTHING)
            learned = teaches(step.event, step.at)
            self.memories[key] = remember(known, learned, source=where, learned_at=step.at)
        if not agent.decides(step.event):
            return None
        seen: Situation[Any] = Situation(
            event=step.event,
            now=step.at,
            occurred_at=step.at,
            documents=step.documents,
            state=self.states.get(key),
            memory=self.memories.get(key, NOTHING),
        )
        try:
            decided = await self._reason(seen, key)
        except (InputRejected, ReasonerError):
            self.rejected += 1
            return None
        judgement = decided.chosen.judgement
        self.counts[judgement.verdict] += 1
        if judgement.verdict is not Verdict.ALLOW:
            return None
        self.breaches += self.engines.check.rejudge(judgement.normalised).verdict is not Verdict.ALLOW
        action = decided.chosen.proposal.action
        self.usage.take(judgement.charges, where=where, at=step.at)
        if agent.effect is not None:
            self.states[key] = agent.effect(seen, action)
        if agent.remembers is not None:
            taught = agent.remembers.from_decisions(seen, action)
            self.memories[key] = remember(seen.memory, taught, source=where, learned_at=step.at)
        return action

    async def _reason(self, seen: Situation[Any], key: str) -> Decided:
        engine = self.engines.judge
        failures: list[ReasonerError] = []

        async def propose(request: ProposalRequest, _ask: int) -> Proposal | ToolCall | None:
            try:
                return await self.by.propose(request)
            except ReasonerError as error:
                failures.append(error)
                raise

        async def use(step: Use, _ask: int) -> ToolResult:
            return await used(step)

        judge = Counted(engine, self.usage, key)
        try:
            return await driven(self.world.agent, engine, judge, seen, propose=propose, use=use)
        finally:
            self.failed += bool(failures)
