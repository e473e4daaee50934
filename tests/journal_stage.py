"""What the tests of the journal share: an agent that does one thing, a reasoner that is paid, a journal in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from jurat.agents.agent import Action, Agent, Judged, Situation
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.policies.request import Entity, Facts
from jurat.schemas.commerce import OrderCancelled
from jurat.schemas.decision import InputRef
from jurat.schemas.model import Model
from jurat.streams import journal as journal_module
from jurat.streams.journal import EntryWriter, Journal
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition

NOW = datetime(2026, 11, 22, 16, 40, tzinfo=UTC)
TOPIC = "ns.commerce.orders"
PARTITION = 2
WHERE = InputRef(topic=TOPIC, partition=PARTITION, offset=7)
EVENT = OrderCancelled(order_id="o-1", customer_id="c-1", reason="changed my mind")


class Thing(Entity):
    entity_type: ClassVar[str] = "Thing"


class Number(Facts):
    number: int


class Do(Action):
    action_name: ClassVar[str] = "do"
    title: ClassVar[str] = "Do it"
    resource: ClassVar[type[Entity]] = Thing
    facts: ClassVar[type[Facts]] = Number

    number: int
    labels: tuple[str, ...] = ()


class Foreign(Do):
    action_name: ClassVar[str] = "foreign"


class Later(Do):
    """The same action in a release whose parameters are others."""

    amount: int


def doer(*actions: type[Action]) -> Agent[OrderCancelled]:
    return Agent(
        name="doer",
        listens={"commerce.orders": (OrderCancelled,)},
        subject=lambda event: event.order_id,
        actions=actions or (Do,),
        bundle="none",
        judged=lambda situation, _action: Judged(Thing(id=situation.event.order_id), Number(number=0)),
        candidates=lambda _situation: (),
    )


def request(
    agent: Agent[Any] | None = None, *, state: Model | None = None, event: OrderCancelled = EVENT
) -> ProposalRequest:
    return ProposalRequest(agent or doer(), Situation(event=event, now=NOW, occurred_at=NOW, state=state))


def proposal(number: int = 1) -> Proposal:
    return Proposal(Do(number=number, labels=("a", "ü")), f"because of {number}", 80, ("foreign",))


Answer = Proposal | Exception | None


class Paid:
    """A reasoner that is paid by the call; it gives the answers of a script, the last one for ever."""

    name = "paid"
    deterministic = False

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[ProposalRequest] = []

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def calls(self) -> int:
        return len(self.asked)


@dataclass
class Meters:
    """Counts, as a worker's metrics do."""

    counted: Counter[str] = field(default_factory=Counter)

    def reused_call(self) -> None:
        self.counted["reused"] += 1

    def possibly_paid_twice(self) -> None:
        self.counted["twice"] += 1

    @property
    def both(self) -> tuple[int, int]:
        """Calls used again, and calls possibly paid twice."""
        return self.counted["reused"], self.counted["twice"]


Log = list[tuple[bytes, bytes | None]]


@dataclass
class MemoryWriter:
    """A journal in memory; `before` may raise or wait before a record is written."""

    log: Log = field(default_factory=list)
    before: Callable[[], Any] | None = None

    async def write(self, partition: int, key: bytes, value: bytes) -> None:
        assert partition == PARTITION
        if self.before is not None:
            await self.before()
        self.log.append((key, value))


def clock() -> Callable[[], datetime]:
    """A second goes by each time somebody looks."""
    moments = (NOW + timedelta(seconds=n) for n in range(1_000_000))
    return lambda: next(moments)


def opened(
    writer: EntryWriter,
    *,
    agent: Agent[Any] | None = None,
    connection: Connection | None = None,
    meters: Meters | None = None,
    partitions: int = PARTITION + 1,
    check_ours: Callable[[], None] = lambda: None,
) -> Journal:
    return Journal(
        connection or Connection("nowhere:1", "ns"),
        agent=agent or doer(),
        partition=PARTITION,
        writer=writer,
        clock=clock(),
        meters=meters or Meters(),
        partitions=lambda: partitions,
        check_ours=check_ours,
    )


async def ask(
    journal: Journal,
    reasoner: Any,
    about: ProposalRequest | None = None,
    *,
    where: InputRef = WHERE,
    attempt: int = 1,
    number: int = 0,
) -> Proposal | None:
    return await journal.propose(
        reasoner, about or request(), where=where, decision_id="dec_1", attempt=attempt, ask=number
    )


class Restoring:
    """Opens journals on records in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    async def __call__(
        self,
        log: Sequence[tuple[bytes | None, bytes | None]],
        *,
        agent: Agent[Any] | None = None,
        meters: Meters | None = None,
        writer: EntryWriter | None = None,
    ) -> Journal:
        async def read(
            _connection: Connection, partitions: Sequence[TopicPartition], *, progress: object
        ) -> AsyncGenerator[KafkaRecord, None]:
            (partition,) = partitions
            assert partition == TopicPartition("ns.journal.doer", PARTITION)
            for offset, (key, value) in enumerate(log):
                yield KafkaRecord(partition.topic, partition.partition, offset, 0, key, value)

        self._monkeypatch.setattr(journal_module, "read_to_end", read)
        journal = opened(writer or MemoryWriter(), agent=agent, meters=meters)
        assert await journal.restore() == len(log)
        return journal
