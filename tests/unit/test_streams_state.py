"""The changelog of a partition: what is restored, what is refused, what is forgotten."""

from __future__ import annotations

import pytest

from jurat.audit.chain import ChainHead
from jurat.schemas.errors import CanonicalError, StreamError
from jurat.schemas.model import Model
from jurat.streams import state as state_module
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.state import PartitionState

INPUT = "ns.commerce.payments"
HEAD = ChainHead(12, "ab" * 32)


class Kept(Model):
    """A state that counts."""

    count: int
    ratio: float | None = None


def fresh(model: type[Model] | None = Kept) -> PartitionState:
    return PartitionState(model, input_topic=INPUT)


async def restored(
    monkeypatch: pytest.MonkeyPatch, entries: list[tuple[bytes | None, bytes | None]], into: PartitionState
) -> PartitionState:
    async def read(_connection: Connection, partitions: list[TopicPartition]):  # type: ignore[no-untyped-def]
        for offset, (key, value) in enumerate(entries):
            yield KafkaRecord(partitions[0].topic, partitions[0].partition, offset, 0, key, value)

    monkeypatch.setattr(state_module, "read_to_end", read)
    await into.restore(Connection("nowhere:1"), TopicPartition("state.x", 4))
    return into


async def test_what_was_put_and_committed_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = fresh()
    entries = [
        writer.put("c/1", Kept(count=1)),
        writer.put("c-2", Kept(count=2)),
        writer.put("c/1", Kept(count=3)),
    ]
    entries.append(writer.chain_entry(HEAD, 99))
    reader = await restored(monkeypatch, list(entries), fresh())
    assert (reader.get("c/1"), reader.get("c-2")) == (Kept(count=3), Kept(count=2))
    assert (reader.head, reader.next_offset) == (HEAD, 99)


async def test_nothing_restored_is_a_fresh_start(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = await restored(monkeypatch, [], fresh())
    assert (reader.head, reader.next_offset, reader.get("c-1")) == (ChainHead(), 0, None)


async def test_a_tombstone_forgets_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    key, value = fresh().put("c-1", Kept(count=1))
    reader = await restored(monkeypatch, [(key, value), (key, None), (key + b"0", None)], fresh())
    assert reader.get("c-1") is None


async def test_entries_of_another_input_topic_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = PartitionState(Kept, input_topic="other")
    entries = [other.put("c-1", Kept(count=1)), other.chain_entry(HEAD, 99)]
    reader = await restored(monkeypatch, list(entries), fresh())
    assert (reader.get("c-1"), reader.next_offset) == (None, 0)


STATE_KEY = f"state/{INPUT}/c-1".encode()
CHAIN_KEY = f"chain/{INPUT}".encode()


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
    state.put("c-1", Kept(count=1))
    with pytest.raises(CanonicalError):
        state.put("c-1", Kept(count=2, ratio=0.5))
    assert state.get("c-1") == Kept(count=1)


def test_an_aborted_transaction_moves_neither_head_nor_offset() -> None:
    state = fresh()
    state.chain_entry(HEAD, 99)
    assert (state.head, state.next_offset) == (ChainHead(), 0)
    state.committed(HEAD, 99)
    assert (state.head, state.next_offset) == (HEAD, 99)
