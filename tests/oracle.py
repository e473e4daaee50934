"""The oracle: what must hold on Kafka after any run, however often its workers were killed.

Read as any subscriber would (`read_committed`), it says of one agent:

1. every input has exactly one terminal record, and every record has an input;
2. every decided, denied or escalated record has exactly one decision event, with the digest that the record names,
   and every decision event has its record;
3. every rejected record has exactly one dead letter;
4. decisions about one key appear in the order of its inputs;
5. signatures and chains hold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from jurat.agents.agent import Agent
from jurat.audit import dsse
from jurat.audit.chain import ChainHead, check_link
from jurat.audit.keys import Trust
from jurat.audit.record import DecisionRecord, Outcome, parse, parse_uri
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import JuratError
from jurat.streams import topics
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.replay import replay

Place = tuple[str, int, int]


@dataclass
class Findings:
    """What the oracle saw; `faults` is empty when everything holds."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: list[Decision] = field(default_factory=list)
    dead_letters: list[KafkaRecord] = field(default_factory=list)
    records: dict[Place, DecisionRecord] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def examine(connection: Connection, agent: Agent[Any], trust: Trust) -> Findings:
    """Read everything that concerns an agent and say what does not hold."""
    found = Findings()
    inputs = [record async for record in replay(connection, [connection.topic(agent.topic)])]
    found.inputs = len(inputs)
    digests = await _examine_records(connection, agent, trust, found)
    await _examine_decisions(connection, agent, found, digests)
    letters = [r async for r in replay(connection, [connection.topic(topics.dead_letters(agent.name).name)])]
    found.dead_letters = letters
    places = {(record.topic, record.partition, record.offset) for record in inputs}
    for missing in sorted(places - set(found.records)):
        found.faults.append(f"no record of the input {missing}")
    for unfounded in sorted(set(found.records) - places):
        found.faults.append(f"a record of {unfounded}, which is no input")
    lettered = Counter(_origin(letter) for letter in letters)
    rejected = {place for place, record in found.records.items() if record.outcome is Outcome.REJECTED}
    if lettered != Counter(rejected):
        found.faults.append(f"dead letters {lettered - Counter(rejected)} or rejections do not match")
    _examine_order(inputs, found)
    return found


async def _examine_records(
    connection: Connection, agent: Agent[Any], trust: Trust, found: Findings
) -> dict[str, str]:
    heads: dict[str, ChainHead] = defaultdict(ChainHead)
    digests: dict[str, str] = {}
    async for raw in replay(connection, [connection.topic(topics.AUDIT.name)]):
        envelope = decode(raw.value, expected=SignedRecord)
        assert isinstance(envelope, SignedRecord)
        try:
            payload = dsse.verify(envelope, trust).payload
            statement = parse(payload)
            if statement.predicate.agent != agent.name:
                continue
            check_link(heads[statement.predicate.chain], statement.predicate)
        except JuratError as error:
            found.faults.append(f"audit record {raw.partition}/{raw.offset}: {error}")
            continue
        record = statement.predicate
        heads[record.chain] = heads[record.chain].extend(payload)
        at = parse_uri(record.inputs[0].uri)
        place = (at.topic, at.partition, at.offset)
        if place in found.records:
            found.faults.append(f"two records of the input {place}")
        found.records[place] = record
        found.outcomes[record.outcome.value] += 1
        if record.outcome.has_decision:
            digests[record.decision_id] = statement.subject[0].digest.sha256
    return digests


async def _examine_decisions(
    connection: Connection, agent: Agent[Any], found: Findings, digests: dict[str, str]
) -> None:
    seen: Counter[str] = Counter()
    async for raw in replay(connection, [connection.topic(topics.decisions(agent.name).name)]):
        decision = decode(raw.value, expected=Decision)
        assert isinstance(decision, Decision)
        found.decisions.append(decision)
        seen[decision.id] += 1
        if digests.get(decision.id) != sha256(raw.value or b"").hexdigest():
            found.faults.append(f"the decision {decision.id} is not the one that was recorded")
    found.faults += [
        f"the decision {name} appears {count} times" for name, count in seen.items() if count > 1
    ]
    found.faults += [
        f"the decision {name} was recorded but not published" for name in sorted(set(digests) - set(seen))
    ]


def _examine_order(inputs: list[KafkaRecord], found: Findings) -> None:
    key_of = {(r.topic, r.partition, r.offset): r.key for r in inputs}
    last: dict[tuple[str, int, bytes | None, str], int] = {}
    for decision in found.decisions:
        at = decision.input
        lane = (at.topic, at.partition, key_of.get((at.topic, at.partition, at.offset)), decision.subject)
        if at.offset <= last.get(lane, -1):
            found.faults.append(f"the decision about {at} came after a later one of its key")
        last[lane] = at.offset


def _origin(letter: KafkaRecord) -> Place:
    headers = dict(letter.headers)
    return (
        headers["jurat-topic"].decode(),
        int(headers["jurat-partition"]),
        int(headers["jurat-offset"]),
    )
