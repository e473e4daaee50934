"""Where the time of one decision goes: the worker's own pieces, called one after the other on a run's records.

Rules upheld here: the objects are those of the worker (decoder, views read from the topics, reasoner, engine, journal,
writer, signer), the inputs are the orders of a run; each piece's time is the median over the inputs, which an
interruption does not move. Not here: the client's work on Kafka, which is the bare loop's figure.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Final, TypeVar

from benchmarks.stage import BenchmarkFailedError, Stage, records_of
from benchmarks.throughput import AGENT
from jurat.agents.agent import Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.draft import draft
from jurat.audit.key_store import load_signer
from jurat.audit.keys import Signing
from jurat.audit.record import GENESIS, DecisionRecord, parse
from jurat.policies.bundle import load_bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import shipped_bundle
from jurat.policies.request import PolicyRequest
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.model import Model
from jurat.streams import topics
from jurat.streams.deciding import Decider
from jurat.streams.decoding import decode_record
from jurat.streams.journal import Journal, JournalWriter
from jurat.streams.kafka import KafkaRecord
from jurat.streams.metrics import Meters
from jurat.streams.outputs import Writer
from jurat.streams.state import PartitionState
from jurat.streams.tables import Tables
from jurat.streams.verdicted import Verdicted

R = TypeVar("R")
Piece = tuple[str, float]
"""What it does, and its median microseconds per decision; indented, it is a part of the last one that is not."""

INDENT: Final = "  "
UNNAMED: Final = INDENT + "what has no line of its own"
WARM_UP: Final = 20
"""Decisions before the clock starts: schemas are parsed and caches filled at the first one of a process."""

CLUSTER: Final = "benchmarks"


class _Clock:
    """Times pieces by name."""

    def __init__(self) -> None:
        self._times_ns: dict[str, list[int]] = {}

    @property
    def pieces(self) -> list[Piece]:
        return [(name, median(times_ns) / 1000) for name, times_ns in self._times_ns.items()]

    def note(self, name: str, began_ns: int) -> None:
        self._times_ns.setdefault(name, []).append(time.perf_counter_ns() - began_ns)

    def call(self, name: str, work: Callable[[], R]) -> R:
        began_ns = time.perf_counter_ns()
        result = work()
        self.note(name, began_ns)
        return result

    async def wait(self, name: str, work: Callable[[], Awaitable[R]]) -> R:
        began_ns = time.perf_counter_ns()
        result = await work()
        self.note(name, began_ns)
        return result


async def measure(stage: Stage, *, count: int) -> list[Piece]:
    """Time the pieces over the first `count` orders of a stage that a worker has decided."""
    orders = [record async for record in records_of(stage, topics.ORDERS)][: count + WARM_UP]
    tables = Tables(stage.connection, AGENT.views, input_topic=AGENT.topic)
    await tables.start()
    try:
        for number in sorted({order.partition for order in orders}):
            await tables.open_partition(number)
        bench = _Bench(stage, tables)
        for order in orders[:WARM_UP]:
            await bench.time(_Clock(), order)
        clock = _Clock()
        for order in orders[WARM_UP:]:
            await bench.time(clock, order)
    finally:
        await tables.stop()
    return clock.pieces


def report(pieces: Sequence[Piece], *, worker_us: float | None, bare_us: float | None) -> list[str]:
    """Print the table; the rest is what the worker needs beyond its pieces and the bare loop's work.

    Args:
        pieces: from `measure`.
        worker_us: the worker's processor microseconds per input; None where its run was too short to tell.
        bare_us: the bare loop's.
    """
    rows = list(_rows(pieces))
    known = sum(us for name, us in rows if not name.startswith(INDENT))
    total, title = known, "these pieces"
    if worker_us is not None and bare_us is not None:
        total, title = worker_us, "the worker, processor time"
        rows += [("Kafka, as the bare loop does it", bare_us), ("the rest", worker_us - known - bare_us)]
    return [
        "breakdown: time per decision (indented: part of the line above)",
        *(f"  {name:44}{us:>9.1f} us{us / total:>7.0%}" for name, us in rows),
        f"  {title:44}{total:>9.1f} us",
    ]


def _rows(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces, and after the parts of each what is left of it."""
    left: float | None = None
    for name, us in pieces:
        part = name.startswith(INDENT)
        if not part and left is not None:
            yield UNNAMED, left
        left = us if not part or left is None else left - us
        yield name, us
    if left is not None:
        yield UNNAMED, left


class _Bench:
    """The worker's objects, without its loop."""

    def __init__(self, stage: Stage, tables: Tables) -> None:
        self._stage = stage
        self._signer = load_signer(stage.keys, AGENT.name)
        self._partitions: dict[int, tuple[PartitionState, Journal]] = {}
        self._decider = Decider(
            agent=AGENT,
            reasoner=HeuristicReasoner(),
            engine=PolicyEngine(load_bundle(shipped_bundle(AGENT.bundle))),
            tables=tables,
            cluster_id=CLUSTER,
            clock=lambda: datetime.now(UTC),
            code="benchmarks",
        )

    async def time(self, clock: _Clock, order: KafkaRecord) -> None:
        """Time what is done about one order."""
        if order.partition not in self._partitions:
            self._partitions[order.partition] = self._open(order)
        state, journal = self._partitions[order.partition]
        verdicted = await clock.wait(
            "decide: record in, decision event out", lambda: self._decider.decide(order, state, calls=journal)
        )
        await self._time_deciding(clock, order, verdicted)
        await self._time_writing(clock, order, verdicted)

    def _open(self, order: KafkaRecord) -> tuple[PartitionState, Journal]:
        connection = self._stage.connection
        state = PartitionState(
            AGENT.state_model,
            input_topic=order.topic,
            timer_topic=connection.topic(topics.timers(AGENT.name).name),
            partition=order.partition,
        )
        # The heuristic reasoner is not journalled, so that this one never writes.
        journal = Journal(
            connection,
            agent=AGENT,
            partition=order.partition,
            writer=JournalWriter(connection, agent=AGENT.name),
            clock=self._decider.clock,
            meters=Meters(AGENT.name),
            partitions=lambda: 1,
        )
        return state, journal

    async def _time_deciding(self, clock: _Clock, order: KafkaRecord, verdicted: Verdicted) -> None:
        decider = self._decider
        decoded = clock.call(INDENT + "decode headers and Avro", lambda: decode_record(order))
        event, now, decision = decoded.event, datetime.now(UTC), verdicted.decision
        if not isinstance(event, OrderPlaced) or decision is None:
            raise BenchmarkFailedError(
                f"got no order, or no decision, at offset {order.offset} of {order.topic}"
            )
        documents = clock.call(
            INDENT + "look up and digest what is read", lambda: self._look_up(event, order.partition)
        )
        situation = Situation(event, now, decoded.occurred_at, documents)
        aims = decider.engine.bundle.objectives.get(AGENT.name)
        request = ProposalRequest(AGENT, situation, objectives=aims)
        proposal = await clock.wait(
            INDENT + "propose (heuristic reasoner)",
            lambda: decider.reasoner.propose(request),
        )
        if not isinstance(proposal, Proposal):
            raise BenchmarkFailedError(f"got no proposal about offset {order.offset} of {order.topic}")
        seen = clock.call(INDENT + "state the facts", lambda: AGENT.judged(situation, proposal.action))
        request = PolicyRequest(AGENT.name, proposal.action.action_name, seen.resource, seen.facts, now)
        clock.call(INDENT + "judge (normalise, Cedar)", lambda: decider.engine.judge(request))
        clock.call(INDENT + "encode the decision event", lambda: encode(decision))
        statement = parse(verdicted.draft.finish(ChainHead()))
        fields = {name: getattr(statement.predicate, name) for name in DecisionRecord.model_fields} | {
            "seq": 0,
            "prev": GENESIS,
        }
        subject = statement.subject[0]
        clock.call(
            INDENT + "draft the record (model, checks)",
            lambda: draft(DecisionRecord(**fields), subject.name, subject.digest.sha256),
        )

    async def _time_writing(self, clock: _Clock, order: KafkaRecord, verdicted: Verdicted) -> None:
        head = ChainHead()
        writer = Writer(
            connection=self._stage.connection,
            agent=AGENT.name,
            partition=order.partition,
            signing=lambda: Signing(self._signer),
            cluster_id=CLUSTER,
            ids=None,
        )
        await clock.wait("write: draft in, records out", lambda: writer.about(verdicted, head))
        payload = clock.call(INDENT + "print it in its place", lambda: verdicted.draft.finish(head))
        chain = parse(payload).predicate.chain
        signed = await clock.wait(
            INDENT + "sign it (DSSE, Ed25519)", lambda: dsse.sign(payload, self._signer, chain=chain)
        )
        clock.call(INDENT + "encode the signed record", lambda: encode(signed))
        clock.call(INDENT + "extend the chain", lambda: head.extend(payload))
        clock.call(
            INDENT + "headers of both",
            lambda: [
                headers_for(
                    signed,
                    event_id=verdicted.draft.decision_id,
                    source=f"/agents/{AGENT.name}",
                    time=verdicted.at,
                    subject=chain,
                    traceparent=verdicted.traceparent,
                )
                for _ in range(2)
            ],
        )

    def _look_up(self, event: OrderPlaced, partition: int) -> dict[tuple[str, str], Model | None]:
        documents: dict[tuple[str, str], Model | None] = {}
        for lookup in AGENT.reads(event):
            found = self._decider.tables.get(lookup.view, lookup.key, partition=partition)
            documents[lookup.view, lookup.key] = found.model if found and found.sha256 else None
        return documents
