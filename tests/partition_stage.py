"""What the tests of an open partition share: everything around it in memory, so that only its own logic runs.

The seams are those of `Opened` and `Shared`: a decider that takes as long as it is told, transactions that keep what
they are given, a journal of nothing. Offsets, lanes, parking, timers, budgets and batches are the real ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.chain import ChainHead
from jurat.audit.record import Outcome
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import JuratError
from jurat.streams import partition as partition_module
from jurat.streams.committing import Output
from jurat.streams.deciding import Decider
from jurat.streams.intake import Budget
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.metrics import Meters
from jurat.streams.opening import Opened, Shared
from jurat.streams.partition import PartitionProcessor
from jurat.streams.retries import RetryPolicy
from jurat.streams.state import Entry, PartitionState
from jurat.streams.timers import Due
from jurat.streams.tracing import OFF
from jurat.streams.verdicted import Verdicted

INPUT = "commerce.payments"
TIMERS = "timers.payment-retrier"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def record(
    offset: int, key: str | None = "c-1", *, topic: str = INPUT, partition: int = 0, size: int = 1
) -> KafkaRecord:
    """An input; its value is as large as told."""
    return KafkaRecord(topic, partition, offset, 0, None if key is None else key.encode(), b"x" * size)


def many(offsets: range, keys: int, *, first_key: int = 0) -> list[KafkaRecord]:
    """Inputs of so many keys in turn."""
    return [record(offset, f"k-{first_key + offset % keys}") for offset in offsets]


@dataclass(frozen=True)
class Told:
    """How an input ended, as far as a partition looks."""

    decoded: Any
    outcome: Outcome = Outcome.DECIDED
    changelog: tuple[Entry, ...] = ()
    rejection: object = None
    traceparent: str | None = None


def told(
    one: KafkaRecord, outcome: Outcome = Outcome.DECIDED, *, changelog: tuple[Entry, ...] = ()
) -> Verdicted:
    where = InputRef.model_construct(topic=one.topic, partition=one.partition, offset=one.offset)
    return cast("Verdicted", Told(SimpleNamespace(record=one, where=where), outcome, changelog))


Behaviour = Callable[[KafkaRecord, int], Awaitable[None]]


class FakeDecider:
    """Decides by doing as told; knows what was in work at once."""

    agent = replace(PAYMENT_RETRIER, timers=lambda _situation, _action: {})
    cluster_id = "cluster"
    ids = None
    vault = None

    def __init__(self) -> None:
        self.behaviour: Behaviour | None = None
        self.in_work: Counter[bytes | None] = Counter()
        self.most = 0
        self.began: list[tuple[str, int, int]] = []
        self.ended: list[tuple[str, int]] = []
        self.skew = timedelta()
        self.given = 0
        self.changes: tuple[Entry, ...] = ()

    def clock(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time()) + self.skew

    async def decide(
        self, one: KafkaRecord, _state: PartitionState, *, calls: object, attempt: int
    ) -> Verdicted:
        lane = b"%d/%b" % (one.partition, one.key or b"")
        self.in_work[lane] += 1
        assert self.in_work[lane] == 1, f"two of {lane!r} at once"
        self.most = max(self.most, self.in_work.total())
        self.began.append((one.topic, one.offset, attempt))
        try:
            if self.behaviour is not None:
                await self.behaviour(one, attempt)
        finally:
            self.in_work[lane] -= 1
        self.ended.append((one.topic, one.offset))
        return told(one, changelog=self.changes)

    def given_up(
        self, one: KafkaRecord, _error: JuratError, _state: PartitionState, *, attempts: int
    ) -> Verdicted:
        self.given += 1
        self.ended.append((one.topic, one.offset))
        return told(one, Outcome.REJECTED)


@dataclass(frozen=True)
class Committed:
    """One transaction."""

    outputs: tuple[Output, ...]
    offsets: Mapping[TopicPartition, tuple[int, str]]

    @property
    def ends(self) -> list[tuple[str, int]]:
        """The inputs that ended, in the order of their records."""
        return [(one.topic, int(one.value or b"")) for one in self.outputs if one.key == b"record"]


class FakeTransactions:
    """Keeps what it is given, unless it is told to fail; nothing is committed before the gate is open, as it is."""

    transactional_id = "fake"

    def __init__(self) -> None:
        self.log: list[Committed] = []
        self.failure: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.open = True

    async def commit(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> None:
        assert self.open, "committed after the producer was stopped"
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.log.append(Committed(tuple(outputs), dict(offsets)))

    async def stop(self) -> None:
        self.open = False


class FakeJournal:
    """A journal of no calls."""

    def __init__(self) -> None:
        self.forgotten: list[int] = []

    def tombstones(self, where: InputRef) -> list[bytes]:
        return [b"call/%d" % where.offset]

    def forget(self, where: InputRef) -> None:
        self.forgotten.append(where.offset)


class FakeWriter:
    """Writes one line for each thing."""

    async def about(self, one: Verdicted, head: ChainHead) -> tuple[list[Output], ChainHead]:
        place = one.decoded.record
        line = Output(place.topic, place.partition, b"record", b"%d" % place.offset)
        return [line], ChainHead(head.next_seq + 1, head.prev)

    def entry(self, entry: Entry) -> Output:
        return Output("state", 0, entry[0].encode(), entry[1])

    def tombstone(self, key: bytes) -> Output:
        return Output("journal", 0, key, None)

    def fired(self, due: Due, *, input_topic: str, at: datetime) -> list[Output]:
        return [
            Output(TIMERS, 0, due.key.encode(), due.name.encode()),
            self.entry((f"{due.prefix}{input_topic}/{due.entry}", due.value)),
        ]


@dataclass
class Stage:
    """A worker's partitions without Kafka."""

    monkeypatch: pytest.MonkeyPatch
    max_in_flight: int = 1_000
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(attempts=3, base_s=0.01, cap_s=0.01))
    decider: FakeDecider = field(default_factory=FakeDecider)

    def __post_init__(self) -> None:
        self.awake = True
        self.budget = Budget(self.max_in_flight)
        self.meters = Meters("payment-retrier")
        self.transactions: dict[int, FakeTransactions] = defaultdict(FakeTransactions)
        self.states: dict[int, PartitionState] = {}
        self.journal = FakeJournal()
        self.shared = Shared(
            connection=Connection("nowhere:1"),
            decider=cast("Decider", self.decider),
            signing=cast("Any", None),
            calls=cast("Any", None),
            budget=self.budget,
            meters=self.meters,
            retry=self.retry,
            draw=lambda: 0.5,
            tracing=OFF,
            partitions=lambda: 1,
            awake=lambda: self.awake,
        )
        self.monkeypatch.setattr(partition_module, "open_partition", self._open)

    def state(self, number: int) -> PartitionState:
        """What the partition remembers when it is opened; once it is, what it remembers now."""
        if number not in self.states:
            self.states[number] = PartitionState(
                None, input_topic=INPUT, timer_topic=TIMERS, partition=number
            )
        return self.states[number]

    async def _open(self, number: int, _shared: Shared, *, check_ours: Callable[[], None]) -> Opened:
        check_ours()
        return Opened(
            cast("Any", self.transactions[number]),
            self.state(number),
            cast("Any", self.journal),
            cast("Any", FakeWriter()),
            [],
        )

    @asynccontextmanager
    async def partition(self, number: int = 0) -> AsyncIterator[PartitionProcessor]:
        """An open, running partition; at the end nothing of it may be left."""
        one = PartitionProcessor(number, self.shared)
        await one.open()
        task = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        try:
            yield one
        finally:
            await one.abandon()
            await asyncio.wait({task}, timeout=WITHIN_S)
            assert task.done(), "run() did not end"
            task.cancelled() or task.exception()

    def ends(self, number: int = 0) -> list[tuple[str, int]]:
        """The inputs whose end is committed, in the order of their records."""
        return [end for one in self.transactions[number].log for end in one.ends]

    def changelog(self, number: int = 0) -> dict[str, bytes]:
        """The live entries of the changelog."""
        held: dict[str, bytes] = {}
        for one in self.transactions[number].log:
            for output in one.outputs:
                if output.topic == "state" and output.key is not None:
                    if output.value is None:
                        held.pop(output.key.decode(), None)
                    else:
                        held[output.key.decode()] = output.value
        return held


WITHIN_S = 60.0
"""All of it takes milliseconds on an idle machine; a bound only ends a test that hangs."""


async def until(
    true: Callable[[], bool], *, within_s: float = WITHIN_S, why: str = "it did not come about"
) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(why)
