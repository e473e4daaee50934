"""Where the time of one decision goes: the worker's own pieces, called one after the other on a run's records.

Rules upheld here: the objects are those of the worker (decoder, views read from the topics, reasoner, engine, signer),
the inputs are the orders of a run and the records are the ones that it signed; each piece's time is the median over
the inputs, which an interruption does not move. Not here: the client's work on Kafka, which is the bare loop's figure.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Final, TypeVar

from benchmarks.stage import BenchmarkFailedError, Stage, records_of
from benchmarks.throughput import AGENT
from jurat.agents.agent import Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.reasoner import ProposalRequest
from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.draft import draft
from jurat.audit.key_store import load_signer
from jurat.audit.keys import Signer
from jurat.audit.record import GENESIS, DecisionRecord, parse
from jurat.policies.bundle import load_bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import shipped_bundle
from jurat.policies.request import PolicyRequest
from jurat.schemas.codec import decode, encode
from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.model import Model
from jurat.streams import topics
from jurat.streams.deciding import Decider
from jurat.streams.decoding import decode_record
from jurat.streams.kafka import KafkaRecord
from jurat.streams.state import PartitionState
from jurat.streams.tables import Tables

R = TypeVar("R")
Piece = tuple[str, float]
"""What it does, and its median microseconds per decision."""

INDENT: Final = "  "
WARM_UP: Final = 20
"""Decisions before the clock starts: schemas are parsed and caches filled at the first one of a process."""


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
    orders = [record async for record in records_of(stage, topics.ORDERS)]
    signed = [decode(record.value) async for record in records_of(stage, topics.AUDIT)]
    payloads = [record.payload for record in signed if isinstance(record, SignedRecord)]
    signer = load_signer(stage.keys, AGENT.name)
    tables = Tables(stage.connection, AGENT.views)
    await tables.start()
    try:
        decider = Decider(
            agent=AGENT,
            reasoner=HeuristicReasoner(),
            engine=PolicyEngine(load_bundle(shipped_bundle(AGENT.bundle))),
            tables=tables,
            cluster_id="benchmarks",
            clock=lambda: datetime.now(UTC),
            code="benchmarks",
        )
        cold, clock = _Clock(), _Clock()
        for number, (order, payload) in enumerate(zip(orders, payloads, strict=True)):
            if number == count + WARM_UP:
                break
            noted = cold if number < WARM_UP else clock
            await _time_deciding(noted, decider, order)
            await _time_recording(noted, signer, payload)
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
    (whole_decide, *_), parts = pieces, [us for name, us in pieces if name.startswith(INDENT)]
    others = [(name, us) for name, us in pieces[1:] if not name.startswith(INDENT)]
    known = whole_decide[1] + sum(us for _name, us in others)
    rows = [
        *(piece for piece in pieces if piece not in others),
        (INDENT + "what has no line of its own", whole_decide[1] - sum(parts)),
        *others,
    ]
    total, title = known, "these pieces"
    if worker_us is not None and bare_us is not None:
        total, title = worker_us, "the worker, processor time"
        rows += [("Kafka, as the bare loop does it", bare_us), ("the rest", worker_us - known - bare_us)]
    return [
        "breakdown: time per decision (indented: part of the line above)",
        *(f"  {name:44}{us:>9.1f} us{us / total:>7.0%}" for name, us in rows),
        f"  {title:44}{total:>9.1f} us",
    ]


async def _time_deciding(clock: _Clock, decider: Decider, order: KafkaRecord) -> None:
    state = PartitionState(None, input_topic=order.topic)
    verdicted = await clock.wait(
        "decide: record in, decision event out", lambda: decider.decide(order, state)
    )
    decoded = clock.call(INDENT + "decode headers and Avro", lambda: decode_record(order))
    event, now = decoded.event, datetime.now(UTC)
    if not isinstance(event, OrderPlaced) or verdicted.decision is None:
        raise BenchmarkFailedError(f"got no order, or no decision, at offset {order.offset} of {order.topic}")
    documents = clock.call(
        INDENT + "look up and digest what is read", lambda: _look_up(decider.tables, event)
    )
    situation = Situation(event, now, decoded.occurred_at, documents)
    proposal = await clock.wait(
        INDENT + "propose (heuristic reasoner)",
        lambda: decider.reasoner.propose(ProposalRequest(AGENT, situation)),
    )
    if proposal is None:
        raise BenchmarkFailedError(f"got no proposal about offset {order.offset} of {order.topic}")
    seen = clock.call(INDENT + "state the facts", lambda: AGENT.judged(situation, proposal.action))
    request = PolicyRequest(AGENT.name, proposal.action.action_name, seen.resource, seen.facts, now)
    clock.call(INDENT + "judge (normalise, Cedar)", lambda: decider.engine.judge(request))
    decision = verdicted.decision
    clock.call(INDENT + "encode the decision event", lambda: encode(decision))


def _look_up(tables: Tables, event: OrderPlaced) -> dict[tuple[str, str], Model | None]:
    documents: dict[tuple[str, str], Model | None] = {}
    for lookup in AGENT.reads(event):
        found = tables.get(lookup.view, lookup.key)
        documents[lookup.view, lookup.key] = found.model if found and found.sha256 else None
    return documents


async def _time_recording(clock: _Clock, signer: Signer, payload: bytes) -> None:
    statement = parse(payload)
    fields = {name: getattr(statement.predicate, name) for name in DecisionRecord.model_fields} | {
        "seq": 0,
        "prev": GENESIS,
    }
    subject = statement.subject[0]
    made = clock.call(
        INDENT + "draft the record (model, checks)",
        lambda: draft(DecisionRecord(**fields), subject.name, subject.digest.sha256),
    )
    head = ChainHead()
    clock.call("print it in its place, extend the chain", lambda: head.extend(made.finish(head)))
    signed = await clock.wait(
        "sign it (DSSE, Ed25519)", lambda: dsse.sign(payload, signer, chain=statement.predicate.chain)
    )
    clock.call("encode the signed record", lambda: encode(signed))
