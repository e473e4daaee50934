"""An honest log with everything that is known beside it, for attacks to be mounted on.

The records of one agent come from the worker's own decider and the shop's policies, signed and chained as a worker
does; those of the other from the golden log. Beside them: heads that witnesses vouched for, and the inputs that stood
there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from jurat.audit import dsse
from jurat.audit import standing as standings
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import parse_uri
from jurat.audit.input_manifest import InputsHeld, stretches
from jurat.audit.keys import PemSigner, Trust, TrustedKey
from jurat.audit.log import LogEntry, WitnessedHead
from jurat.audit.merkle import Frontier
from jurat.audit.record import DecisionRecord, Outcome, build, parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_record import StandingOf
from jurat.audit.verifier_report import Report
from jurat.policies import shipped_bundle
from jurat.streams.rejudging import Rejudging, bundles_in
from tests.golden.audit import sample_log
from tests.past_log import PastLog
from tests.shop import shop_engine
from tests.unit.test_policies_backtest import ALONE, FullRefund, dispute

AGENT: Final = "dispute-mediator"
OTHER: Final = "after-sales"
TOPIC: Final = "marketplace.disputes"
SECONDS: Final = 1_767_323_000
"""When witnesses saw the first record; one more for each that follows."""

CENTS: Final = (5_000, 7_500, 60_000, 10_000, 70_000, 12_500)
"""Amounts of disputes: two are above what the shop's policies allow without people."""

OTHERS: Final = 4


def signer(agent: str) -> PemSigner:
    return sample_log.signer(agent)


@cache
def trust() -> Trust:
    return Trust(tuple(TrustedKey(agent, signer(agent).keyid) for agent in (AGENT, OTHER)))


@cache
def entries() -> tuple[LogEntry, ...]:
    """Partition 0: the agent's disputes. Partition 1: the other agent's requests."""
    disputes = [dispute(number, cents) for number, cents in enumerate(CENTS)]
    made = PastLog(ALONE, shop_engine(), FullRefund()).decide(disputes).entries
    own = [resigned(entry, by=AGENT) for entry in made]
    others = [replace(entry, partition=1) for entry in sample_log.log(2 * OTHERS) if entry.partition == 0]
    return (*own, *others)


def resigned(entry: LogEntry, *, by: str = AGENT, payload: bytes | None = None) -> LogEntry:
    """The entry, signed by that agent's key; with another payload where one is given."""
    signed = asyncio.run(dsse.sign(payload or entry.record.payload, signer(by), chain=entry.record.chain))
    return replace(entry, record=signed)


def rechained(
    log: Iterable[LogEntry], change: Callable[[int, DecisionRecord], DecisionRecord] | None = None
) -> list[LogEntry]:
    """What only the agents themselves can do: every record changed and signed anew, in chains that hold."""
    heads: dict[str, ChainHead] = {}
    made: list[LogEntry] = []
    for number, entry in enumerate(log):
        statement = parse(entry.record.payload)
        record = statement.predicate if change is None else change(number, statement.predicate)
        head = heads.get(record.chain, ChainHead())
        record = record.model_copy(update={"seq": head.next_seq, "prev": head.prev})
        subject = statement.subject[0]
        name = record.decision_id if record.outcome.has_decision else record.inputs[0].uri
        payload = build(record, name, subject.digest.sha256)
        heads[record.chain] = head.extend(payload)
        made.append(resigned(entry, by=record.agent, payload=payload))
    return made


def changed(number: int, **update: Any) -> Callable[[int, DecisionRecord], DecisionRecord]:
    """Another value for fields of one record."""
    return lambda at, record: record.model_copy(update=update) if at == number else record


def record(entry: LogEntry) -> DecisionRecord:
    return parse(entry.record.payload).predicate


def heads(log: Sequence[LogEntry], *, every: int = 2) -> tuple[WitnessedHead, ...]:
    """A witnessed checkpoint after every second record, and after the last."""
    trees: dict[int, Frontier] = {}
    found: list[WitnessedHead] = []
    sizes = {number: sum(entry.partition == number for entry in log) for number in (0, 1)}
    for entry in log:
        tree = trees.setdefault(entry.partition, Frontier())
        tree.append(entry.leaf())
        if tree.size % every == 0 or tree.size == sizes[entry.partition]:
            found.append(WitnessedHead(entry.partition, tree.size, tree.root(), SECONDS + tree.size))
    return tuple(found)


def inputs() -> tuple[InputsHeld, ...]:
    """What stood before the two agents."""
    return (
        *stretches(range(len(CENTS)), agent=AGENT, topic=TOPIC, partition=0, first=0, end=len(CENTS)),
        *stretches(
            range(OTHERS), agent=OTHER, topic=sample_log.INPUT_TOPIC, partition=0, first=0, end=OTHERS
        ),
    )


@cache
def rejudging() -> Rejudging:
    return Rejudging(bundles_in([shipped_bundle("shop")]))


def verify(
    log: Sequence[LogEntry],
    *,
    witnessed: Iterable[WitnessedHead] | None = None,
    held: Iterable[InputsHeld] = (),
    standing: StandingOf = standings.standing,
    trusted: Trust | None = None,
    rejudge: Rejudging | None = None,
) -> Report:
    """Verify with everything: the policies are always evaluated again."""
    verifier = Verifier(
        trusted or trust(), witnessed=witnessed, rejudge=rejudge or rejudging(), standing=standing
    )
    for entry in log:
        verifier.add(entry)
    for one in held:
        verifier.add_inputs(one)
    return verifier.report()


def offset_of(entry: LogEntry) -> int:
    return parse_uri(record(entry).inputs[0].uri).offset


def outcomes() -> list[Outcome]:
    return [record(entry).outcome for entry in entries()]
