"""The live part of the demo: the shop publishes, the agents decide, and every decision is read from Kafka.

Rules upheld here: the end is reached when every published input has its record, never when nothing came for a
while; every wait has a bound, and ends at once when a child dies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jurat import settings
from jurat.agents.catalogue import SHIPPED
from jurat.audit.record import DecisionRecord, parse
from jurat.cli.demo_board import Board, Decided
from jurat.cli.demo_stage import AGENT_NAMES, Stage, needed_topics
from jurat.schemas.codec import SchemaIds
from jurat.schemas.commerce import ProductListed, WarehouseReported
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import BrokerUnreachable, StreamError
from jurat.streams import topics
from jurat.streams.kafka import Connection, admin_client, in_our_words
from jurat.streams.publisher import Publisher
from jurat.streams.simulator import SimulatedEvent, simulate
from jurat.streams.simulator_publish import SOURCE, KafkaSink, NullSink, send_simulation
from jurat.streams.subscriber import subscribe
from jurat.streams.topic_admin import ensure_topics

EVENTS_PER_S: Final = 130
"""Slow enough to watch, fast enough that 300 orders take ten seconds."""

READY_WITHIN_S: Final = 90.0
"""The agents join their groups in a few seconds; on a machine under load, in far more."""

DECIDED_WITHIN_S: Final = 90.0
"""After the last event was published."""

LOOK_S: Final = 0.2

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Of the shop's own time: the same seed gives the same events on any day."""

_REFERENCE: Final = (ProductListed, WarehouseReported)
GROUPS: Final = (*AGENT_NAMES, "context")
STABLE: Final = "Stable"
"""Kafka's name for the state of a group whose members know their partitions."""


class Script:
    """What will happen in the shop.

    Args:
        seed: another seed is another shop.
        orders: how many orders are placed.
    """

    def __init__(self, *, seed: int, orders: int) -> None:
        events = [one for one in simulate(seed=seed, orders=orders, start=START) if not one.is_outcome]
        begin = next(
            (n for n, one in enumerate(events) if not isinstance(one.event, _REFERENCE)), len(events)
        )
        self.reference: Sequence[SimulatedEvent] = events[:begin]
        self.events: Sequence[SimulatedEvent] = events[begin:]
        self.published = Counter(topics.of_event(type(one.event)).name for one in events)

    @property
    def inputs(self) -> dict[str, int]:
        """How many inputs each agent will find on its topic."""
        return {name: self.published[SHIPPED[name].topic] for name in AGENT_NAMES}


class Reading:
    """Puts each decision event together with its record, as they come in any order."""

    def __init__(self, board: Board, expected: dict[str, int]) -> None:
        self._board = board
        self._expected = expected
        self._decisions: dict[str, Decision] = {}
        self._records: dict[str, DecisionRecord] = {}
        self.recorded: Counter[str] = Counter()
        self.shown: list[Decided] = []
        self.complete = asyncio.Event()

    async def follow(self, connection: Connection, topic: str, ids: SchemaIds | None) -> None:
        """Read a topic of decisions, or the audit topic, until cancelled.

        Raises:
            SchemaError: a record that no worker of this release writes.
        """
        async for one in subscribe(connection, topic, from_beginning=True, ids=ids):
            if one.error is not None:
                raise one.error
            if isinstance(one.event, Decision):
                self._decisions[one.event.id] = one.event
                self._put_together(one.event.id)
            elif isinstance(one.event, SignedRecord):
                self._note(parse(one.event.payload).predicate)

    def missing(self) -> str:
        """Which agents have inputs without a record, in words."""
        return ", ".join(
            f"{name} {count - self.recorded[name]} of {count}"
            for name, count in self._expected.items()
            if self.recorded[name] < count
        )

    def _note(self, record: DecisionRecord) -> None:
        self.recorded[record.agent] += 1
        if record.outcome.has_decision:
            self._records[record.decision_id] = record
            self._put_together(record.decision_id)
        self._look_for_the_end()

    def _put_together(self, decision_id: str) -> None:
        decision, record = self._decisions.get(decision_id), self._records.get(decision_id)
        if decision is None or record is None:
            return
        del self._decisions[decision_id], self._records[decision_id]
        decided = Decided(decision, record)
        self.shown.append(decided)
        self._board.add(decided)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if not self._records and not self._decisions and not self.missing():
            self.complete.set()


async def prepare(stage: Stage, script: Script) -> None:
    """Create the topics, start agents and context, and wait until they read.

    Raises:
        StreamError: a child died, or was not ready in time.
    """
    # The children need a second to load; the topics are there before they look for them.
    for name in AGENT_NAMES:
        stage.children.start(name, "worker", name, "--keys", str(stage.keys))
    stage.children.start("context", "context")
    await ensure_topics(stage.connection, needed_topics())
    await _publish(stage.connection, script.reference, rate_per_s=0)
    await _unless_a_child_dies(
        stage, _within(READY_WITHIN_S, _ready(stage.connection), "the agents are not ready")
    )


async def play(stage: Stage, script: Script, board: Board) -> list[Decided]:
    """Publish the events while the decisions are read and shown.

    Returns:
        The decisions in the order in which they were read.

    Raises:
        StreamError: a child died, or inputs have no record after `DECIDED_WITHIN_S`.
    """
    reading = Reading(board, script.inputs)
    ids = settings.schema_registry()
    names = [topics.AUDIT.name, *(topics.decisions(name).name for name in AGENT_NAMES)]

    async def show() -> None:
        await _publish(stage.connection, script.events, rate_per_s=EVENTS_PER_S)
        try:
            await asyncio.wait_for(reading.complete.wait(), DECIDED_WITHIN_S)
        except TimeoutError as error:
            raise StreamError(
                f"inputs without a record {DECIDED_WITHIN_S:.0f} s after the last event: {reading.missing()}"
            ) from error

    try:
        await _unless_a_child_dies(
            stage, show(), *(reading.follow(stage.connection, name, ids) for name in names)
        )
    finally:
        if ids is not None:
            ids.close()
    return reading.shown


async def _publish(connection: Connection, events: Iterable[SimulatedEvent], *, rate_per_s: int) -> None:
    registry = settings.schema_registry()
    try:
        async with Publisher(connection, source=SOURCE, ids=registry) as publisher:
            sink = KafkaSink(publisher)
            await send_simulation(iter(events), events=sink, outcomes=NullSink(), rate_per_s=rate_per_s)
    finally:
        if registry is not None:
            registry.close()


async def _ready(connection: Connection) -> None:
    """Wait until every group has members that know their partitions."""
    waiting = [connection.group(name) for name in GROUPS]
    async with admin_client(connection) as client:
        while waiting:
            try:
                with in_our_words(connection):
                    # One group a request: aiokafka 0.14 misreads an answer about several.
                    answers = [await client.describe_consumer_groups([name]) for name in waiting]
            except BrokerUnreachable:  # a fresh broker has no coordinator until the first group comes
                answers = []
            stable = {group[1] for (answer,) in answers for group in answer.groups if group[2] == STABLE}
            waiting = [name for name in waiting if name not in stable]
            await asyncio.sleep(LOOK_S)


async def _within(limit_s: float, work: Coroutine[Any, Any, None], what: str) -> None:
    try:
        await asyncio.wait_for(work, limit_s)
    except TimeoutError as error:
        raise StreamError(f"{what} after {limit_s:.0f} s; is the machine under load?") from error


async def _unless_a_child_dies(
    stage: Stage, work: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]
) -> None:
    """Do the work to its end; whatever else ends before, with an error, ends it too."""
    main = asyncio.create_task(work)
    others = [asyncio.create_task(one) for one in (*beside, _watch(stage))]
    try:
        done, _pending = await asyncio.wait((main, *others), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (main, *others):
            task.cancel()
        await asyncio.gather(main, *others, return_exceptions=True)


async def _watch(stage: Stage) -> None:
    while True:
        stage.children.check()
        await asyncio.sleep(LOOK_S)
