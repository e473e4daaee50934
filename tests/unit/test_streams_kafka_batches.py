"""Readers and what compaction leaves: batches without records."""

from __future__ import annotations

import struct

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

import jurat.streams.kafka  # noqa: F401 - whoever imports it reads what compaction leaves

HEADER = struct.Struct(">qiibIhiqqqhii")
"""Offset, length, leader epoch, magic, CRC, attributes, last offset, two timestamps, producer, its epoch, its sequence,
count of records."""

FRAME, CHECKED_FROM = 12, 21
TRANSACTIONAL, CONTROL = 0x10, 0x20
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"
PRODUCER = 7


def batch(offset: int, *, key: bytes | None, marker: bool = False) -> bytes:
    """One batch with one record, or with none where the key is None."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=1,
        producer_id=PRODUCER,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1_000,
    )
    builder.append(0, timestamp=1_000, key=key, value=b"value", headers=[])
    built = bytes(builder.build())
    fields = list(HEADER.unpack_from(built))
    body = b"" if key is None else built[HEADER.size :]
    fields[0], fields[1] = offset, HEADER.size - FRAME + len(body)
    fields[5] = TRANSACTIONAL | (CONTROL if marker else 0)
    fields[12] = len(body) and 1
    fields[4] = calc_crc32c(HEADER.pack(*fields)[CHECKED_FROM:] + body)
    return HEADER.pack(*fields) + body


def read(*batches: bytes, aborted: list[tuple[int, int]] | None = None) -> tuple[list[bytes], int]:
    """The keys that a subscriber sees, and where it goes on."""
    records = PartitionRecords(
        TopicPartition("t", 0), MemoryRecords(b"".join(batches)), aborted, 0, None, None, True, READ_COMMITTED
    )
    return [record.key for record in records], records.next_fetch_offset


def test_a_marker_that_compaction_emptied_is_passed_over() -> None:
    found = read(batch(0, key=None, marker=True), batch(1, key=b"a"), batch(2, key=COMMIT, marker=True))
    assert found == ([b"a"], 3)


def test_an_emptied_batch_at_the_end_is_passed_over() -> None:
    assert read(batch(0, key=b"a"), batch(1, key=None), batch(2, key=None, marker=True)) == ([b"a"], 3)


def test_what_was_aborted_stays_unseen() -> None:
    found = read(
        batch(0, key=None, marker=True),
        batch(1, key=b"aborted"),
        batch(2, key=ABORT, marker=True),
        batch(3, key=b"a"),
        batch(4, key=COMMIT, marker=True),
        aborted=[(PRODUCER, 1)],
    )
    assert found == ([b"a"], 5)
