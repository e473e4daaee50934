"""A log of past decisions, made by the worker's own decider in memory: what tests of backtests read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.log import Fault, LogEntry
from jurat.policies import PolicyEngine
from jurat.policies.backtest_past import NotJudged, PastDecision
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.schemas.errors import Retryable
from jurat.schemas.model import Event, Model
from jurat.streams.asking import Calls
from jurat.streams.deciding import Decider, Verdicted
from jurat.streams.documents import Document, digest_of
from jurat.streams.kafka import KafkaRecord
from jurat.streams.past_decisions import past_decision, place_of, read
from jurat.streams.state import PartitionState
from jurat.streams.tables import Tables
from tests.deciding_stage import Asked
from tests.golden.audit import sample_log

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STEP = timedelta(seconds=1)
AUDIT = "audit.decisions"
NOT_SIGNED = (Signature(keyid="nobody", sig=b""),)
"""A backtest does not look at signatures, so these logs have none worth the name."""


@dataclass
class HeldTables:
    """The seam to Kafka's views: what is held is all there is."""

    held: Mapping[tuple[str, str], Model]
    documents: dict[tuple[str, str], Document] = field(default_factory=dict)

    def get(self, view: str, key: str, *, partition: int) -> Document | None:
        model = self.held.get((view, key))
        if model is None:
            return None
        if (view, key) not in self.documents:
            self.documents[view, key] = Document(model, view, partition, 0, digest_of(model))
        return self.documents[view, key]

    async def caught_up(self, timeout_s: float = 5.0, *, partition: int) -> bool:
        return True


@dataclass
class PastLog:
    """One agent's decisions, each with its record in a log of one partition.

    Attributes:
        made: how every input ended, in order.
        entries: their records.
    """

    agent: Agent[Any]
    engine: PolicyEngine
    reasoner: Reasoner
    held: Mapping[tuple[str, str], Model] = field(default_factory=dict)
    made: list[Verdicted] = field(default_factory=list)
    entries: list[LogEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topic = self.agent.topic
        self.head = ChainHead()
        self.state = PartitionState(
            self.agent.state_model,
            input_topic=self.topic,
            timer_topic=f"timers.{self.agent.name}",
            partition=0,
        )
        self.decider = Decider(
            agent=self.agent,
            reasoner=self.reasoner,
            engine=self.engine,
            tables=cast("Tables", HeldTables(self.held)),
            cluster_id=sample_log.CLUSTER,
            clock=lambda: BEGIN + len(self.made) * STEP,
            code="jurat test",
        )

    def decide(self, events: Iterable[Event]) -> PastLog:
        """Decide these events, one after the other."""
        asyncio.run(self._decide(list(events)))
        return self

    async def _decide(self, events: list[Event]) -> None:
        for event in events:
            await self.take(
                self.input(event, headers_for(event, event_id=f"e-{len(self.made)}", source="/test"))
            )

    def input(self, event: Event, headers: Iterable[tuple[str, bytes]]) -> KafkaRecord:
        """The next input."""
        offset = len(self.made)
        return KafkaRecord(self.topic, 0, offset, 0, event.key().encode(), encode(event), tuple(headers))

    async def take(self, record: KafkaRecord, *, calls: Calls | None = None) -> Verdicted:
        """Decide one input and write its record down."""
        try:
            one = await self.decider.decide(record, self.state, calls=Asked() if calls is None else calls)
        except Retryable as error:
            one = self.decider.given_up(record, error, self.state, attempts=1)  # as a worker does in the end
        payload = one.draft.finish(self.head)
        signed = SignedRecord(
            chain=f"{self.agent.name}/{self.topic}/0",
            payload_type="application/vnd.in-toto+json",
            payload=payload,
            signatures=NOT_SIGNED,
        )
        self.entries.append(LogEntry(AUDIT, 0, len(self.entries), 0, signed))
        self.head = self.head.extend(payload)
        self.made.append(one)
        return one


def past_of(entry: LogEntry | Fault) -> PastDecision | NotJudged:
    """What a backtest makes of an entry."""
    record = read(entry, Unveiler())
    return record if isinstance(record, NotJudged) else past_decision(record, place_of(entry))
