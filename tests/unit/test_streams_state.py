"""The changelog of a partition: what is restored, what is refused, what is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jurat.agents.memory import Fact, Memory
from jurat.audit.chain import ChainHead
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import CanonicalError, StreamError
from jurat.schemas.model import Model
from jurat.streams import state as state_module
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.offsets import OffsetMap
from jurat.streams.state import CHAIN, MEMORY, PARKED, SEEN, STATE, TIMER, Entry, PartitionState
from jurat.streams.timers import Standing

INPUT = "ns.commerce.payments"
TIMERS = "ns.timers.payment-retrier"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HEAD = ChainHead(12, "ab" * 32)


class Kept(Model):
    """A state that counts."""

    count: int
    ratio: float | None = None


def fresh(model: type[Model] | None = Kept) -> PartitionState:
    return PartitionState(model, input_topic=INPUT, timer_topic=TIMERS, partition=4)


async def restored(
    monkeypatch: pytest.MonkeyPatch, entries: list[tuple[bytes | None, bytes | None]], into: PartitionState
) -> PartitionState:
    async def read(_connection: Connection, partitions: list[TopicPartition], *, progress: object):  # type: ignore[no-untyped-def]
        for offset, (key, value) in enumerate(entries):
            yield KafkaRecord(partitions[0].topic, partitions[0].partition, offset, 0, key, value)

    monkeypatch.setattr(state_module, "read_to_end", read)
    read_entries = await into.restore(Connection("nowhere:1"), TopicPartition("state.x", 4), now=NOW)
    assert read_entries == len(entries)
    return into


def put(state: PartitionState, key: str, document: Model) -> tuple[bytes, bytes | None]:
    """Set a document; the changelog's record about it."""
    return f"{STATE}{state.input_topic}/{key}".encode(), state.documents.put(key, document)


def chain(state: PartitionState, topic: str, head: ChainHead) -> tuple[bytes, bytes | None]:
    """The changelog's record of a source as it is now."""
    return raw(state.sources[topic].entry(head))


def raw(entry: Entry) -> tuple[bytes, bytes | None]:
    return entry[0].encode(), entry[1]


async def test_what_was_put_and_committed_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = fresh()
    entries = [
        put(writer, "c/1", Kept(count=1)),
        put(writer, "c-2", Kept(count=2)),
        put(writer, "c/1", Kept(count=3)),
    ]
    writer.sources[INPUT].offsets = OffsetMap(99, {101, 103})
    entries.append(chain(writer, INPUT, HEAD))
    writer.sources[TIMERS].offsets = OffsetMap(7)
    entries.append(chain(writer, TIMERS, ChainHead(3, "cd" * 32)))
    reader = await restored(monkeypatch, entries, fresh())
    assert (reader.documents.get("c/1"), reader.documents.get("c-2")) == (Kept(count=3), Kept(count=2))
    main, timers = reader.sources[INPUT], reader.sources[TIMERS]
    assert (main.head, main.offsets.low, main.offsets.is_done(101), len(main.offsets)) == (HEAD, 99, True, 2)
    assert (timers.head, timers.offsets.low) == (ChainHead(3, "cd" * 32), 7)
    assert main.partition == TopicPartition(INPUT, 4)


async def test_nothing_restored_is_a_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = await restored(monkeypatch, [], fresh())
    for source in reader.sources.values():
        assert (source.head, source.offsets.low, len(source.offsets)) == (ChainHead(), 0, 0)
    assert (reader.documents.get("c-1"), len(reader.timers), len(reader.parking)) == (None, 0, 0)


async def test_a_tombstone_forgets_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    key, value = put(fresh(), "c-1", Kept(count=1))
    reader = await restored(monkeypatch, [(key, value), (key, None), (key + b"0", None)], fresh())
    assert reader.documents.get("c-1") is None


async def test_a_tombstone_forgets_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    key, value = chain(fresh(), INPUT, HEAD)
    reader = await restored(monkeypatch, [(key, value), (key, None)], fresh())
    assert reader.sources[INPUT].head == ChainHead()


async def test_entries_of_another_input_topic_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = PartitionState(Kept, input_topic="other", timer_topic="timers.other", partition=4)
    other.sources["other"].offsets = OffsetMap(99)
    parked = other.parking.park(KafkaRecord("other", 4, 7, 0, b"c-1", b"{}"), attempt=1, due=NOW)
    entries = [
        put(other, "c-1", Kept(count=1)),
        chain(other, "other", HEAD),
        raw((f"{PARKED}{parked.suffix}", parked.printed())),
        raw((f"{TIMER}other/c-1", other.timers.replace("c-1", standing(t=NOW)))),
        raw((f"{SEEN}other/0", b"whatever it is")),
    ]
    reader = await restored(monkeypatch, entries, fresh())
    assert (reader.documents.get("c-1"), reader.sources[INPUT].offsets.low) == (None, 0)
    assert (len(reader.parking), len(reader.timers)) == (0, 0)


def standing(**timers: datetime) -> Standing:
    return Standing(set_by=InputRef(topic=INPUT, partition=4, offset=3), timers=timers)


async def test_timers_parked_inputs_and_seen_ids_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = fresh()
    record = KafkaRecord(INPUT, 4, 7, 1_000, b"c-1", b"\x00\xff", (("ce_id", b"e-1"), ("ce_id", b"\xff")))
    fired = KafkaRecord(TIMERS, 4, 7, 1_000, b"c-2", None)
    parked = [
        writer.parking.park(record, attempt=2, due=NOW + timedelta(seconds=9)),
        writer.parking.park(fired, attempt=1, due=NOW),
    ]
    writer.seen.remember("/test", "e-0", offset=6, sha256="ab" * 32, timestamp_ms=1_000)
    entries = [raw((f"{PARKED}{one.suffix}", one.printed())) for one in parked]
    entries.append(raw((f"{TIMER}{INPUT}/c/1", writer.timers.replace("c/1", standing(a=NOW, b=NOW)))))
    entries += [raw((f"{SEEN}{INPUT}/{name}", value)) for name, value in writer.seen.flush()]
    writer.sources[INPUT].offsets = OffsetMap(9)
    entries.append(chain(writer, INPUT, HEAD))
    reader = await restored(monkeypatch, entries, fresh())
    assert reader.parking.take_due(NOW) == [parked[1]]
    assert reader.parking.take_due(NOW + timedelta(seconds=9)) == [parked[0]], (
        "bytes, headers and count are as they were"
    )
    assert sorted((due.key, due.name) for due in reader.timers.take_due(NOW)) == [("c/1", "a"), ("c/1", "b")]
    seen = reader.seen.first("/test", "e-0", timestamp_ms=1_000)
    assert seen is not None
    assert (seen.offset, seen.sha256) == (6, "ab" * 32)
    at = InputRef(topic=INPUT, partition=4, offset=7)
    assert not reader.ended(at), "it is parked"
    assert reader.ended(InputRef(topic=INPUT, partition=4, offset=8))
    assert not reader.ended(InputRef(topic=INPUT, partition=4, offset=9))
    assert not reader.ended(InputRef(topic="other", partition=4, offset=1))


async def test_what_was_parked_and_ended_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fresh().parking.park(KafkaRecord(INPUT, 4, 7, 0, b"c-1", b"{}"), attempt=1, due=NOW)
    key, value = raw((f"{PARKED}{one.suffix}", one.printed()))
    reader = await restored(monkeypatch, [(key, value), (key, None)], fresh())
    assert len(reader.parking) == 0


STATE_KEY = f"state/{INPUT}/c-1".encode()
CHAIN_KEY = f"chain/{INPUT}".encode()
PARKED_KEY = f"parked/{INPUT}/7".encode()
TIMER_KEY = f"timer/{INPUT}/c-1".encode()
PARKED_VALUE = (
    b'{"attempt":1,"due":"2026-03-02T09:00:00Z","headers":[],"key":"Yw==","order":0,'
    b'"timestamp_ms":0,"value":"e30="}'
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (STATE_KEY, b"not json"),
        (STATE_KEY, b""),
        (STATE_KEY, b'{"count":"1"}'),
        (STATE_KEY, b'{"count":1,"later":true}'),
        (STATE_KEY, b"\xff\xfe"),
        (CHAIN_KEY, b"{}"),
        (CHAIN_KEY, b'{"next_offset":-1,"next_seq":0,"prev":""}'),
        (CHAIN_KEY, b'{"next_offset":1.5,"next_seq":0,"prev":""}'),
        (CHAIN_KEY, b'{"done":"bAA","next_offset":1,"next_seq":0,"prev":""}'),
        (PARKED_KEY, b"{}"),
        (PARKED_KEY, PARKED_VALUE.replace(b"e30=", b"e3 0=")),
        (PARKED_KEY, PARKED_VALUE.replace(b'"attempt":1', b'"attempt":-1')),
        (PARKED_KEY.replace(b"/7", b"/x"), PARKED_VALUE),
        (TIMER_KEY, b'{"set_by":{"offset":3,"partition":4,"topic":"t"},"timers":{}}'),
        (
            TIMER_KEY,
            b'{"set_by":{"offset":3,"partition":4,"topic":"t"},"timers":{"a":"2026-03-02T09:00:00"}}',
        ),
        (f"seen/{INPUT}/7".encode(), b"{}"),
    ],
)
async def test_an_entry_that_is_not_ours_stops_the_restore(
    monkeypatch: pytest.MonkeyPatch, key: bytes, value: bytes
) -> None:
    with pytest.raises(StreamError, match="another release") as refused:
        await restored(monkeypatch, [(b"chain/other", b"{}"), (key, value)], fresh())
    assert refused.value.details == {"topic": "state.x", "partition": 4, "offset": 1}


def test_a_document_that_cannot_be_written_is_not_held() -> None:
    state = fresh()
    state.documents.put("c-1", Kept(count=1))
    with pytest.raises(CanonicalError):
        state.documents.put("c-1", Kept(count=2, ratio=0.5))
    assert state.documents.get("c-1") == Kept(count=1)


def test_printing_a_chain_moves_nothing() -> None:
    """A transaction may be aborted: what it would have written is not what holds."""
    state = fresh()
    name, _value = state.sources[INPUT].entry(HEAD)
    assert name == f"{CHAIN}{INPUT}"
    assert (state.sources[INPUT].head, state.sources[INPUT].offsets.low) == (ChainHead(), 0)


async def test_a_memory_comes_back_and_a_tombstone_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = InputRef(topic=INPUT, partition=4, offset=1)
    fact = Fact(name="a", value=True, since=NOW, learned_at=NOW, source=source, purpose="p")
    writer = fresh(None)
    entries = [
        raw((f"{MEMORY}{INPUT}/{key}", writer.memories.put(key, Memory(facts=(fact,)))))
        for key in ("c/1", "c-2")
    ]
    reader = await restored(monkeypatch, [*entries, (entries[1][0], None)], fresh(None))
    assert (reader.memories.get("c/1"), reader.memories.get("c-2")) == (Memory(facts=(fact,)), None)
    with pytest.raises(StreamError, match="offset 0 holds an entry"):
        await restored(monkeypatch, [(entries[0][0], b'{"facts":1}')], fresh(None))
