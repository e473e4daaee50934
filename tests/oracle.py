"""The oracle: what must hold on Kafka after any run, however often its workers were killed.

Read as any subscriber would (`read_committed`), it says of one agent:

1. every input, an event of its topic or a timer that fired, has exactly one terminal record, and every record has an
   input;
2. every decided, denied or escalated record has exactly one decision event, with the digest that the record names,
   and every decision event has its record;
3. every rejected record has exactly one dead letter;
4. inputs of one key are decided in their order: in the chain, and where subscribers read;
5. a duplicate names an earlier input of the same partition with the same source and id, which did not end rejected;
6. signatures hold, and each chain is whole, one for each input partition;
7. nothing is parked any more;
8. every escalated input that is no dry run waits for people or was concluded once, what waits is what is asked, and
   approvals in records prove themselves.

The seventh holds of a run that has ended: nothing of it waits for a moment to come.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from jurat.agents.agent import Agent
from jurat.audit import dsse
from jurat.audit.approval import check_recorded
from jurat.audit.chain import ChainHead, check_link
from jurat.audit.coordinates import chain_name, parse_uri
from jurat.audit.keys import Trust
from jurat.audit.record import DecisionRecord, Outcome, concluded, parse
from jurat.schemas.approvals import ApprovalRequested
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import JuratError
from jurat.streams import topics
from jurat.streams.kafka import Connection, KafkaRecord, admin_client, describe_topic_partitions
from jurat.streams.replay import replay

Place = tuple[str, int, int]

DUPLICATE_OF = "duplicate-of"
"""The name under which a duplicate's record says which input it repeats."""


@dataclass
class Findings:
    """What the oracle saw; `faults` is empty when everything holds.

    Attributes:
        inputs: how many inputs there are, fired timers included.
        events: the inputs themselves, by their place.
        outcomes: how many ended how.
        decisions: the decision events, as subscribers read them.
        dead_letters: the letters.
        records: the audit record of each input.
        state: the live entries of the agent's changelog, by (partition, key).
        faults: what does not hold, in words.
    """

    inputs: int = 0
    events: dict[Place, KafkaRecord] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: list[Decision] = field(default_factory=list)
    dead_letters: list[KafkaRecord] = field(default_factory=list)
    records: dict[Place, DecisionRecord] = field(default_factory=dict)
    state: dict[tuple[int, str], bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def examine(connection: Connection, agent: Agent[Any], trust: Trust) -> Findings:
    """Read everything that concerns an agent and say what does not hold."""
    found = Findings()
    inputs = await _read(connection, agent.topic, topics.timers(agent.name).name)
    found.inputs = len(inputs)
    found.events = {_place(record): record for record in inputs}
    digests = await _examine_records(connection, agent, trust, found)  # 1, 6
    await _examine_decisions(connection, agent, found, digests)  # 2
    await _examine_letters(connection, agent, found)  # 3
    _examine_order(found)  # 4
    _examine_duplicates(found)  # 5
    await _examine_state(connection, agent, found)  # 7
    await _examine_approvals(connection, agent, trust, found)  # 8
    return found


def repeats(found: Findings) -> list[str]:
    """Events of one source and id that were decided more than once; none in a run shorter than the window."""
    first: dict[tuple[str, int, bytes, bytes], Place] = {}
    faults = []
    for place, record in sorted(found.records.items()):
        event = found.events.get(place)
        if event is None or not record.outcome.has_decision:
            continue
        lane = (event.topic, event.partition, *_identity(event))
        if lane in first:
            faults.append(f"the inputs {first[lane]} and {place} are the same event, and both were decided")
        first.setdefault(lane, place)
    return faults


async def _read(connection: Connection, *names: str) -> list[KafkaRecord]:
    """Everything on those of the topics that exist."""
    wanted = [connection.topic(name) for name in names]
    async with admin_client(connection) as client:
        existing = await describe_topic_partitions(client, wanted)
    return [record async for record in replay(connection, [name for name in wanted if name in existing])]


async def _examine_records(
    connection: Connection, agent: Agent[Any], trust: Trust, found: Findings
) -> dict[str, str]:
    heads: dict[str, ChainHead] = defaultdict(ChainHead)
    digests: dict[str, str] = {}
    last: dict[tuple[str, int, bytes | None], int] = {}
    for raw in await _read(connection, topics.AUDIT.name):
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
            _examine_place(place, found, last)
    for missing in sorted(set(found.events) - set(found.records)):
        found.faults.append(f"no record of the input {missing}")
    for unfounded in sorted(set(found.records) - set(found.events)):
        found.faults.append(f"a record of {unfounded}, which is no input")
    for chain in sorted(set(heads) - {chain_name(agent.name, at[0], at[1]) for at in found.events}):
        found.faults.append(f"a chain {chain}, which belongs to no partition with inputs")
    return digests


def _examine_place(place: Place, found: Findings, last: dict[tuple[str, int, bytes | None], int]) -> None:
    """Of a decided record in the order of its chain: is it the next one of its key?"""
    event = found.events.get(place)
    if event is None or event.key is None:
        return
    lane = (*place[:2], event.key)
    if place[2] <= last.get(lane, -1):
        found.faults.append(f"the record of {place} came after a later one of its key")
    last[lane] = max(place[2], last.get(lane, -1))


async def _examine_decisions(
    connection: Connection, agent: Agent[Any], found: Findings, digests: dict[str, str]
) -> None:
    seen: Counter[str] = Counter()
    for raw in await _read(connection, topics.decisions(agent.name).name):
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


async def _examine_letters(connection: Connection, agent: Agent[Any], found: Findings) -> None:
    # What became of a letter stands on the same topic; a letter has an error, a resolution has none.
    written = await _read(connection, topics.dead_letters(agent.name).name)
    found.dead_letters = [one for one in written if "jurat-error" in dict(one.headers)]
    lettered = Counter(_origin(letter) for letter in found.dead_letters)
    rejected = Counter(place for place, record in found.records.items() if record.outcome is Outcome.REJECTED)
    for place, count in sorted((lettered - rejected).items()):
        found.faults.append(f"{count} dead letter(s) too many of the input {place}")
    for place in sorted(rejected - lettered):
        found.faults.append(f"the input {place} was rejected without a dead letter")


def _examine_order(found: Findings) -> None:
    last: dict[tuple[str, int, bytes | None, str], int] = {}
    for decision in found.decisions:
        at = decision.input
        event = found.events.get((at.topic, at.partition, at.offset))
        lane = (at.topic, at.partition, event.key if event else None, decision.subject)
        if at.offset <= last.get(lane, -1):
            found.faults.append(f"the decision about {at} came after a later one of its key")
        last[lane] = at.offset


def _examine_duplicates(found: Findings) -> None:
    for place, record in sorted(found.records.items()):
        named = [read for read in record.context if read.name == DUPLICATE_OF]
        if record.outcome.value != "duplicate":
            if named:
                found.faults.append(f"the record of {place} names a first one, but is no duplicate")
            continue
        if len(named) != 1 or named[0].uri is None:
            found.faults.append(f"the duplicate {place} names {len(named)} first inputs, expected one")
            continue
        at = parse_uri(named[0].uri)
        first = (at.topic, at.partition, at.offset)
        why = _no_duplicate(found, place, first, key=named[0].key, digest=named[0].sha256)
        if why:
            found.faults.append(f"the duplicate {place} names {first} as the first: {why}")


def _no_duplicate(found: Findings, place: Place, first: Place, *, key: str, digest: str | None) -> str | None:
    """Why the one is no duplicate of the other; None where it is."""
    one, other = found.events.get(place), found.events.get(first)
    if one is None or other is None:
        return "there is no such input"
    if place[:2] != first[:2] or place[2] <= first[2]:
        return "it is not earlier in the same partition"
    if _identity(one) != _identity(other):
        return f"{_identity(one)} is not {_identity(other)}"
    if digest != sha256(other.value or b"").hexdigest():
        return "its value has another digest"
    ended = found.records.get(first)
    if ended is None or ended.decision_id != key:
        return f"it has another decision than {key}"
    if ended.outcome is Outcome.REJECTED or ended.outcome.value == "duplicate":
        return f"it ended as {ended.outcome.value}"
    return None


async def _examine_state(connection: Connection, agent: Agent[Any], found: Findings) -> None:
    for record in await _read(connection, topics.state(agent.name).name):
        at = (record.partition, (record.key or b"").decode(errors="replace"))
        if record.value is None:
            found.state.pop(at, None)
        else:
            found.state[at] = record.value
    found.faults += [f"still parked: {key}" for _partition, key in _below("parked/", found.state)]


async def _examine_approvals(
    connection: Connection, agent: Agent[Any], trust: Trust, found: Findings
) -> None:
    asked: dict[str, bytes] = {}
    for raw in await _read(connection, topics.APPROVAL_REQUESTS.name):
        name = (raw.key or b"").decode()
        if raw.value is None:
            asked.pop(name, None)
        else:
            asked[name] = raw.value
    requests = {name: decode(value, expected=ApprovalRequested) for name, value in asked.items()}
    ours = {name for name, one in requests.items() if getattr(one, "agent", None) == agent.name}
    waiting = {key.rpartition("/")[2] for _partition, key in _below("approval/", found.state)}
    found.faults += [f"{name} waits, but is not asked about" for name in sorted(waiting - ours)]
    found.faults += [f"{name} is asked about, but does not wait" for name in sorted(ours - waiting)]
    conclusions: Counter[Place] = Counter()
    for place, record in sorted(found.records.items()):
        try:
            check_recorded(record, trust)
        except JuratError as error:
            found.faults.append(f"the approvals of {place}: {error}")
        at = concluded(record)
        if at is not None and record.outcome in (Outcome.DECIDED, Outcome.DENIED):
            conclusions[at.topic, at.partition, at.offset] += 1
    escalated = {
        (one.input.topic, one.input.partition, one.input.offset): one.id
        for one in found.decisions
        if one.verdict is Verdict.ESCALATE and one.effective and one.concludes is None
    }
    for place, name in sorted(escalated.items()):
        ends = conclusions.pop(place, 0) + (name in waiting)
        if ends != 1:
            found.faults.append(f"the escalated {place} was concluded {ends} times, or waits though it was")
    found.faults += [f"{place} was concluded, but not escalated" for place in sorted(conclusions)]


def _below(prefix: str, state: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(at for at in state if at[1].startswith(prefix))


def _place(record: KafkaRecord) -> Place:
    return (record.topic, record.partition, record.offset)


def _identity(event: KafkaRecord) -> tuple[bytes, bytes]:
    """Source and id of an event, as its headers say."""
    headers = dict(event.headers)
    return headers.get("ce_source", b""), headers.get("ce_id", b"")


def _origin(letter: KafkaRecord) -> Place:
    headers = dict(letter.headers)
    return (
        headers["jurat-topic"].decode(),
        int(headers["jurat-partition"]),
        int(headers["jurat-offset"]),
    )
