"""What the tests of approvals share: people with keys, a judge that asks roles, and one decision taken to its ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

from jurat.agents.agent import Agent
from jurat.audit.approval import Answer, answer_to
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import parse_any, unveil
from jurat.audit.ed25519 import SigningKey
from jurat.audit.keys import PemSigner, Trust, TrustedApprover
from jurat.audit.record import APPROVAL_OF, DecisionRecord, Outcome
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.canonical import JsonObject
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.decision import Verdict
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from jurat.streams.deciding import Decider
from jurat.streams.evidence import Vault
from jurat.streams.kafka import KafkaRecord
from jurat.streams.state import Entry, PartitionState
from jurat.streams.verdicted import Verdicted
from tests.deciding_stage import KEY, NOW, PARTITION, STATEFUL, Asked, decider, failed, fresh_state, record_of

TIMERS = "timers.payment-retrier"
PEOPLE = {
    "alice": ("payments-lead",),
    "bob": ("fraud-desk",),
    "carol": ("fraud-desk", "payments-lead"),
    "mallory": ("logistics-lead",),
    "dora": ("data-protection",),
}


def signer(name: str) -> PemSigner:
    return PemSigner(SigningKey(sha256(f"test key of {name}".encode()).digest()))


def trust(people: Iterable[str] = PEOPLE) -> Trust:
    return Trust((), tuple(TrustedApprover(one, signer(one).keyid, PEOPLE[one]) for one in people))


@dataclass
class Wants:
    """A judge that wants these roles, and then says what it is told."""

    roles: tuple[str, ...] = ("payments-lead",)
    then: Verdict = Verdict.ALLOW
    digest: str = "1" * 64
    version: str = "fake"
    bundle: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(objectives={}))
    asked: list[PolicyRequest] = field(default_factory=list)

    def judge(self, request: PolicyRequest) -> Judgement:
        self.asked.append(request)
        missing = tuple(sorted(set(self.roles) - request.approvals))
        seen: JsonObject = {
            "resource": {"type": f"Jurat::{request.resource.entity_type}", "id": request.resource.id},
            "context": {"approvals": sorted(request.approvals)},  # type: ignore[dict-item]  # list is invariant
        }
        verdict = Verdict.ESCALATE if missing else self.then
        policies = tuple(f"ask.{role}" for role in missing) or ("grant",)
        reasons = tuple(f"Ask {role}" for role in missing) or ("It may",)
        return Judgement(verdict, policies, reasons, missing, normalised=seen)


@dataclass
class Desk:
    """One partition of an agent, and the people who answer it."""

    judge: Wants = field(default_factory=Wants)
    agent: Agent[Any] = STATEFUL
    trust: Trust = field(default_factory=trust)
    now: datetime = NOW
    offset: int = 0
    state: PartitionState = field(default_factory=fresh_state)
    heads: dict[str, ChainHead] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)
    changelog: list[Entry] = field(default_factory=list)
    vault: Vault | None = None

    @property
    def decider(self) -> Decider:
        made = decider(self.agent, engine=cast("PolicyEngine", self.judge))
        return replace(made, clock=lambda: self.now, trust=lambda: self.trust, vault=self.vault)

    async def take(self, record: KafkaRecord) -> tuple[Verdicted, DecisionRecord]:
        """Decide an input; what it says and what its record says agree."""
        result = await self.decider.decide(record, self.state, calls=Asked())
        payload = result.draft.finish(self.heads.get(record.topic, ChainHead()))
        self.heads[record.topic] = self.heads.get(record.topic, ChainHead()).extend(payload)
        self.payloads.append(payload)
        self.changelog += result.changelog
        statement = parse_any(payload)
        said = (unveil(statement, result.draft.disclosures) if statement.is_veiled else statement).predicate
        assert (result.decision is not None) == said.outcome.has_decision
        assert (result.rejection is not None) == (said.outcome is Outcome.REJECTED)
        return result, said

    async def escalate(self) -> ApprovalRequested:
        """A payment that people are asked about."""
        result, said = await self.take(record_of(failed()))
        assert said.outcome is Outcome.ESCALATED
        assert result.asked is not None
        assert result.asked.request is not None
        return result.asked.request

    async def answer(
        self,
        request: ApprovalRequested,
        answer: Answer,
        name: str,
        *,
        role: str | None = None,
        why: str = "looked at it",
        at: datetime | None = None,
    ) -> ApprovalAnswered:
        return await answer_to(
            request,
            answer,
            approver=name,
            role=role or PEOPLE[name][0],
            why=why,
            at=at or self.now,
            signer=signer(name),
        )

    async def grant(
        self, request: ApprovalRequested, name: str, **said: str
    ) -> tuple[Verdicted, DecisionRecord]:
        return await self.send(await self.answer(request, Answer.GRANT, name, **said))  # type: ignore[arg-type]

    async def refuse(
        self, request: ApprovalRequested, name: str, **said: str
    ) -> tuple[Verdicted, DecisionRecord]:
        return await self.send(await self.answer(request, Answer.REFUSE, name, **said))  # type: ignore[arg-type]

    async def send(self, event: Event, *, topic: str = TIMERS) -> tuple[Verdicted, DecisionRecord]:
        """An event on the agent's own topic."""
        return await self.take(self.on_own_topic(event, topic=topic))

    def on_own_topic(self, event: Event, *, topic: str = TIMERS) -> KafkaRecord:
        headers = tuple(headers_for(event, event_id=f"a-{self.offset}", source="/approvers"))
        self.offset += 1
        return KafkaRecord(topic, PARTITION, self.offset - 1, 0, KEY.encode(), encode(event), headers)

    async def wait(self, time: timedelta) -> list[tuple[Verdicted, DecisionRecord]]:
        """Let time pass; the time-outs that are due come in."""
        self.now += time
        ended = []
        for due in self.state.take_due(self.now):
            self.changelog.append((f"{due.prefix}commerce.payments/{due.entry}", due.value))
            fired = TimerFired(
                agent=STATEFUL.name, event_key=due.key, name=due.name, due_at=due.due_at, set_by=due.set_by
            )
            ended.append(await self.send(fired))
        return ended

    def kill(self) -> None:
        """The worker is killed: what is known now is what the changelog says."""
        self.state = fresh_state()
        for key, value in self.changelog:
            kind, _, name = key.partition("/commerce.payments/")
            if kind == "approval":
                self.state.waiting.restore(name, value)
            elif kind == "state":
                self.state.documents.restore(name, value)
            elif kind == "memory":
                self.state.memories.restore(name, value)


def refused(ended: tuple[Verdicted, DecisionRecord], why: str, *, of: str | None = None) -> None:
    """It ended rejected, for this reason, and its record names the decision."""
    result, record = ended
    assert record.outcome is Outcome.REJECTED
    assert result.rejection is not None
    assert why in result.rejection.message
    assert (result.decision, result.changelog, result.asked) == (None, (), None)
    named = [read.key for read in record.context if read.name == APPROVAL_OF]
    assert len(named) == 1
    assert of is None or named == [of]
