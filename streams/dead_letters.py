"""Dead letters: inputs that could not be decided, as they came, with the reason in headers.

Rules upheld here: the names below are ours, an input that brings them loses them, so that nobody can send in what looks
like a letter, a short one, or its resolution. Not here: reading letters and resolving them (`dead_letter_box.py`).

The value, key and headers are the original ones; these headers are added:

======================  =====================================================
`jurat-error`           class of the error
`jurat-reason`          what was got, what was expected
`jurat-topic`           full name of the topic that it came from
`jurat-partition`       partition, in decimal
`jurat-offset`          offset, in decimal
`jurat-truncated`       only where it was too large to keep: its bytes, in decimal
======================  =====================================================

A record may be larger than any that we can write, as brokers bound what is compressed. Of such a one the beginning is
kept, without its own headers; the audit record has the digest of the whole value.

What became of a letter is a record of its own, on the same partition; see `docs/spec/event-encoding.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurat.streams.kafka import KafkaRecord
from jurat.streams.kafka_producer import MAX_REQUEST_BYTES

ERROR: Final = "jurat-error"
REASON: Final = "jurat-reason"
TOPIC: Final = "jurat-topic"
PARTITION: Final = "jurat-partition"
OFFSET: Final = "jurat-offset"
TRUNCATED: Final = "jurat-truncated"
RESOLVED: Final = "jurat-resolved"
LETTER: Final = "jurat-letter"
BY: Final = "jurat-by"
AT: Final = "jurat-at"
OURS: Final = frozenset((ERROR, REASON, TOPIC, PARTITION, OFFSET, TRUNCATED, RESOLVED, LETTER, BY, AT))

MAX_LETTER_BYTES: Final = MAX_REQUEST_BYTES - 64 * 1024
"""The largest original that is kept whole; the rest is for our headers and Kafka's own framing."""

KEPT_VALUE_BYTES: Final = 64 * 1024
KEPT_KEY_BYTES: Final = 1024
MAX_REASON_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is written to the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(record: KafkaRecord, *, error: str, reason: str) -> DeadLetter:
    """The letter about a record."""
    ours = {
        ERROR: error,
        REASON: reason[:MAX_REASON_CHARS],
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
    }
    size = record.size
    kept = original_headers(record)
    key, value = record.key, record.value
    if size > MAX_LETTER_BYTES:
        ours[TRUNCATED] = str(size)
        kept = []
        key = key and key[:KEPT_KEY_BYTES]
        value = value and value[:KEPT_VALUE_BYTES]
    if key is None and value is None:
        value = (
            b""  # the client writes no record without both; the audit record tells that there was no value
        )
    return DeadLetter(key, value, [*kept, *((name, text.encode()) for name, text in ours.items())])


def original_headers(record: KafkaRecord) -> list[tuple[str, bytes]]:
    """The headers of a record without ours."""
    return [(name, value) for name, value in record.headers if name not in OURS]
