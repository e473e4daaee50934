"""Approvals, budgets and bundles that change, at once: what is judged again counts once, under what is active then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache

from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.audit import dsse
from jurat.audit.approval import Answer, answer_to
from jurat.audit.chain import ChainHead
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord, Outcome, parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict
from jurat.policies import PolicyEngine
from jurat.policies.bundle import bundle_of
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.decision import Verdict
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams.deciding import Decider
from jurat.streams.kafka import KafkaRecord
from jurat.streams.metrics import Meters
from jurat.streams.past_decisions import past_decision
from jurat.streams.shadow import Shadow
from jurat.streams.state import USAGE, Entry, PartitionState
from jurat.streams.verdicted import Verdicted
from tests.approval_stage import signer, trust
from tests.budget_stage import dispute
from tests.deciding_stage import NOW, PARTITION, Asked, FakeTables, decider
from tests.policy_stage import shop_that_denies, shop_with
from tests.shop import shop_engine
from tests.unit.test_streams_usage import Refunds

AGENT = DISPUTE_MEDIATOR.name
INPUT, OWN = "marketplace.disputes", f"timers.{AGENT}"
TRUST = Trust((TrustedKey(AGENT, signer(AGENT).keyid),), trust().approvers)
BUYER = "c-1"
HOUR = timedelta(hours=1)


@cache
def engine_of(comment: str) -> PolicyEngine:
    """The shop's rules under another digest; or a bundle that denies everything."""
    files: Mapping[str, bytes] = shop_with(comment) if comment else shop_that_denies()
    return PolicyEngine(bundle_of("shop", files))


def fresh() -> PartitionState:
    return PartitionState(
        DISPUTE_MEDIATOR.state_model, input_topic=INPUT, timer_topic=OWN, partition=PARTITION
    )


@dataclass
class Desk:
    """One partition of the mediator, whose reasoner refunds all; and its log, signed."""

    engine: PolicyEngine = field(default_factory=shop_engine)
    shadow: PolicyEngine | None = None
    now: datetime = NOW
    state: PartitionState = field(default_factory=fresh)
    offsets: dict[str, int] = field(default_factory=dict)
    heads: dict[str, ChainHead] = field(default_factory=dict)
    log: list[LogEntry] = field(default_factory=list)
    changelog: list[Entry] = field(default_factory=list)

    @property
    def decider(self) -> Decider:
        agent = replace(DISPUTE_MEDIATOR, views=(), reads=lambda _event: ())
        reasoner = Refunds()
        reasoner.go.set()
        made = decider(agent, reasoner=reasoner, engine=self.engine, tables=FakeTables())
        shadow = None if self.shadow is None else Shadow(self.shadow, Meters(AGENT))
        return replace(made, clock=lambda: self.now, trust=lambda: TRUST, shadow=shadow)

    async def take(self, event: Event, topic: str = INPUT) -> tuple[Verdicted, DecisionRecord]:
        offset = self.offsets[topic] = self.offsets.get(topic, -1) + 1
        headers = tuple(headers_for(event, event_id=f"{topic}-{offset}", source="/test"))
        record = KafkaRecord(topic, PARTITION, offset, 0, BUYER.encode(), encode(event), headers)
        result = await self.decider.decide(record, self.state, calls=Asked())
        payload = result.draft.finish(self.heads.get(topic, ChainHead()))
        self.heads[topic] = self.heads.get(topic, ChainHead()).extend(payload)
        said = parse(payload).predicate
        envelope = await dsse.sign(payload, signer(AGENT), chain=said.chain)
        self.log.append(LogEntry("audit.decisions", PARTITION, len(self.log), 0, envelope))
        self.changelog += result.changelog
        return result, said

    async def escalate(self) -> ApprovalRequested:
        """Two refunds of 400.00 fit into a day's 1000.00; people are asked about the third."""
        for number, outcome in enumerate((Outcome.DECIDED, Outcome.DECIDED, Outcome.ESCALATED)):
            result, said = await self.take(dispute(f"d-{number}", BUYER, 40_000))
            assert said.outcome is outcome
            assert used(said) == (number * 40_000, 40_000 if outcome is Outcome.DECIDED else 0)
        assert result.asked is not None
        assert result.asked.request is not None
        return result.asked.request

    async def answer(self, request: ApprovalRequested, answer: Answer) -> tuple[Verdicted, DecisionRecord]:
        event = await answer_to(
            request,
            answer,
            approver="alice",
            role="payments-lead",
            why="looked at it",
            at=self.now,
            signer=signer("alice"),
        )
        return await self.take(event, OWN)

    def verdict(self) -> tuple[LogVerdict, str | None]:
        verifier = Verifier(TRUST)
        for entry in self.log:
            verifier.add(entry)
        report = verifier.report()
        return report.verdict, None if report.first_fault is None else report.first_fault.reason

    def kill(self) -> None:
        """The worker is killed: what is known now is what the changelog says."""
        self.state = fresh()
        for key, value in self.changelog:
            if key.startswith(USAGE):
                self.state.usage.restore(key.removeprefix(USAGE), value)
            elif key.startswith("approval/"):
                self.state.waiting.restore(key.rpartition("/")[2], value)


def used(record: DecisionRecord) -> tuple[int, int]:
    assert record.policy is not None
    (budget,) = record.policy.budgets
    assert (budget.budget, budget.key) == ("refunds_day", BUYER)
    return budget.used, budget.taken


def took(one: Verdicted) -> int:
    return sum(key.startswith(USAGE) and value is not None for key, value in one.changelog)


async def test_what_is_approved_is_judged_on_what_is_used_by_then_and_takes_once() -> None:
    desk = Desk()
    request = await desk.escalate()
    await desk.take(dispute("d-small", BUYER, 5_000))  # something is decided while people think
    desk.kill()
    result, said = await desk.answer(request, Answer.GRANT)
    assert said.outcome is Outcome.DECIDED
    assert used(said) == (85_000, 40_000)
    assert took(result) == 1
    desk.kill()
    _result, after = await desk.take(dispute("d-after", BUYER, 5_000))
    assert used(after) == (125_000, 0)
    assert after.outcome is Outcome.ESCALATED
    assert desk.verdict() == (LogVerdict.VALID, None)


async def test_what_leaves_the_window_while_people_think_does_not_count() -> None:
    desk = Desk()
    desk.now -= 2 * HOUR
    for name in ("d-a", "d-b"):
        await desk.take(dispute(name, BUYER, 40_000))
    desk.now += 2 * HOUR
    result, _said = await desk.take(dispute("d-c", BUYER, 40_000))
    assert result.asked is not None
    assert result.asked.request is not None
    desk.now += 23 * HOUR
    _result, said = await desk.answer(result.asked.request, Answer.GRANT)
    assert (said.outcome, used(said)) == (Outcome.DECIDED, (0, 40_000))
    assert desk.verdict() == (LogVerdict.VALID, None)


async def test_a_refusal_and_a_time_out_judge_nothing_and_take_nothing() -> None:
    for ends in ("refused", "timed out"):
        desk = Desk()
        request = await desk.escalate()
        if ends == "refused":
            result, said = await desk.answer(request, Answer.REFUSE)
        else:
            desk.now += 24 * HOUR
            (due,) = desk.state.take_due(desk.now)
            fired = TimerFired(
                agent=AGENT, event_key=due.key, name=due.name, due_at=due.due_at, set_by=due.set_by
            )
            result, said = await desk.take(fired, OWN)
        assert said.outcome is Outcome.DENIED
        assert said.policy is not None
        assert said.policy.budgets == ()
        assert "usage" in said.policy.input["context"], "what was judged when people were asked"
        assert took(result) == 0
        assert getattr(past_decision(said, "here"), "why", "").startswith("people refused it")
        _result, after = await desk.take(dispute("d-after", BUYER, 1_000))
        assert used(after)[0] == (80_000 if ends == "refused" else 0)
        assert desk.verdict() == (LogVerdict.VALID, None)


async def test_the_bundle_that_is_active_when_people_answer_judges_and_counts() -> None:
    desk = Desk()
    request = await desk.escalate()
    desk.engine = engine_of("activated since")
    result, said = await desk.answer(request, Answer.GRANT)
    assert said.outcome is Outcome.ESCALATED, "the approval was of other policies: people are asked anew"
    assert said.policy is not None
    assert said.policy.digest == desk.engine.digest != request.policy_digest
    assert (used(said), took(result)) == ((80_000, 0), 0)
    assert result.asked is not None
    assert result.asked.request is not None
    assert result.asked.request.policy_digest == desk.engine.digest
    _result, granted = await desk.answer(result.asked.request, Answer.GRANT)
    assert (granted.outcome, used(granted)) == (Outcome.DECIDED, (80_000, 40_000))
    assert desk.verdict() == (LogVerdict.VALID, None)


async def test_a_shadow_is_told_the_same_and_takes_nothing() -> None:
    plain, beside = Desk(), Desk(shadow=engine_of("in the shadow"))
    for desk in (plain, beside):
        await desk.answer(await desk.escalate(), Answer.GRANT)
        assert desk.verdict() == (LogVerdict.VALID, None)
    assert beside.changelog == plain.changelog
    records = [parse(entry.record.payload).predicate for entry in beside.log]
    for record in records:
        assert record.policy is not None
        assert record.policy.shadow is not None
        assert record.policy.shadow.digest == engine_of("in the shadow").digest
        assert (record.policy.shadow.verdict, record.policy.shadow.errors) == (
            record.proposals[-1].verdict,
            (),
        )


async def test_a_shadow_that_denies_everything_leaves_budgets_as_they_are() -> None:
    desk = Desk(shadow=engine_of(""))
    _result, said = await desk.answer(await desk.escalate(), Answer.GRANT)
    assert (said.outcome, used(said)) == (Outcome.DECIDED, (80_000, 40_000))
    assert said.policy is not None
    assert said.policy.shadow is not None
    assert said.policy.shadow.verdict is Verdict.DENY
