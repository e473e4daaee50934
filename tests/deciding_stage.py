"""What the tests of deciding share: an agent, its tables and judges in memory, and one input taken to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from jurat.agents.agent import Action, Agent, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.kernel import Use
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall, ToolResult
from jurat.audit.chain import ChainHead
from jurat.audit.record import DecisionRecord, Outcome, Statement, parse
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.canonical import JsonObject
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.model import Event, Model
from jurat.streams.asking import used
from jurat.streams.deciding import Decider
from jurat.streams.documents import Document, digest_of
from jurat.streams.kafka import KafkaRecord
from jurat.streams.state import PartitionState
from jurat.streams.tables import Tables
from jurat.streams.verdicted import Verdicted
from tests.shop import profile, shop_engine

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY = "c-1"
PARTITION = 2


class Kept(Model):
    """A state that counts."""

    count: int
    ratio: float | None = None


class FakeTables:
    """The seam to Kafka's views: documents by (view, key), some of which appear only at the topics' end."""

    def __init__(self, *, late: bool = False, reaches_the_end: bool = True) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.late: dict[tuple[str, str], Document] = {}
        self.reaches_the_end = reaches_the_end
        self.waits = 0
        held = Document(profile(orders=3), "context.customers", 1, 5, digest_of(profile(orders=3)))
        (self.late if late else self.documents)["customers", KEY] = held

    def get(self, view: str, key: str, *, partition: int) -> Document | None:
        assert partition == PARTITION
        return self.documents.get((view, key))

    async def caught_up(self, timeout_s: float = 5.0, *, partition: int) -> bool:
        assert partition == PARTITION
        self.waits += 1
        self.documents |= self.late
        return self.reaches_the_end


class Asked:
    """The seam to the journal: asks the reasoner, and keeps how it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[InputRef, str, int, int]] = []

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,
        decision_id: str,
        attempt: int,
        ask: int,
    ) -> Proposal | ToolCall | None:
        self.calls.append((where, decision_id, attempt, ask))
        return await reasoner.propose(request)

    async def use(self, use: Use, *, where: InputRef, decision_id: str, attempt: int, ask: int) -> ToolResult:
        self.calls.append((where, decision_id, attempt, ask))
        return await used(use)


class Says:
    """A judge with one answer."""

    digest = "0" * 64
    version = "fake"
    bundle = SimpleNamespace(objectives={})

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def judge(self, request: PolicyRequest) -> Judgement:
        resource: JsonObject = {"type": request.resource.entity_type, "id": request.resource.id}
        return Judgement(self.verdict, ("p.one",), ("because",), normalised={"resource": resource})


def failed() -> PaymentFailed:
    return PaymentFailed.model_validate(
        {
            "payment_id": "pay-1",
            "order_id": "o-1",
            "customer_id": KEY,
            "payment_method_id": "card-1",
            "amount": {"amount_minor": 1_999, "currency": "EUR"},
            "failure_code": "insufficient_funds",
            "attempt": 1,
            "fraud_score": 3,
        }
    )


def record_of(event: Event) -> KafkaRecord:
    headers = tuple(headers_for(event, event_id="e-1", source="/test", traceparent=TRACE))
    return KafkaRecord("commerce.payments", PARTITION, 7, 0, event.key().encode(), encode(event), headers)


def counting(_situation: Situation[Any], _action: Action) -> Kept:
    return Kept(count=1)


STATEFUL = replace(PAYMENT_RETRIER, state_model=Kept, effect=counting)


def decider(
    agent: Agent[Any] = STATEFUL,
    *,
    reasoner: Reasoner | None = None,
    engine: object | None = None,
    tables: FakeTables | None = None,
) -> Decider:
    return Decider(
        agent=agent,
        reasoner=reasoner or HeuristicReasoner(),
        engine=cast("PolicyEngine", engine or shop_engine()),
        tables=cast("Tables", tables or FakeTables()),
        cluster_id="cluster",
        clock=lambda: NOW,
        code="jurat test",
    )


def fresh_state(model: type[Model] | None = Kept) -> PartitionState:
    return PartitionState(
        model, input_topic="commerce.payments", timer_topic="timers.payment-retrier", partition=PARTITION
    )


async def ended(one: Decider, event: Event | None = None) -> tuple[Verdicted, DecisionRecord, PartitionState]:
    """Decide an event with fresh state; the draft must finish and say the same as the rest."""
    state = fresh_state(one.agent.state_model)
    result = await one.decide(record_of(event or failed()), state, calls=Asked())
    statement: Statement = parse(result.draft.finish(ChainHead()))
    assert (result.decision is None) == (result.decision_value is None)
    assert (result.rejection is not None) == (statement.predicate.outcome is Outcome.REJECTED)
    return result, statement.predicate, state


async def rejected(one: Decider, error: str) -> Verdicted:
    """Decide an event, which must end rejected, for this error, with the state as it was."""
    result, record, state = await ended(one)
    assert record.outcome is Outcome.REJECTED
    assert result.rejection is not None
    assert result.rejection.error == error
    assert (result.decision, result.changelog, state.documents.get(KEY)) == (None, (), None)
    assert record.policy is None
    return result


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_arguments: object) -> Any:
        raise error

    return fail


WITHOUT_FALLBACK = replace(STATEFUL, fallback=lambda _situation: None)
