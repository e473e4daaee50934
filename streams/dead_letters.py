"""Dead letters: inputs that could not be decided, as they came, with the reason in headers.

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
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurat.streams.kafka import MAX_REQUEST_BYTES, KafkaRecord

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
    """The letter about a record; headers of an earlier letter are replaced."""
    ours = {
        "jurat-error": error,
        "jurat-reason": reason[:MAX_REASON_CHARS],
        "jurat-topic": record.topic,
        "jurat-partition": str(record.partition),
        "jurat-offset": str(record.offset),
    }
    size = record.size + sum(len(name.encode()) + len(value) for name, value in record.headers)
    kept = [(name, value) for name, value in record.headers if name not in ours]
    key, value = record.key, record.value
    if size > MAX_LETTER_BYTES:
        ours["jurat-truncated"] = str(size)
        kept = []
        key = key and key[:KEPT_KEY_BYTES]
        value = value and value[:KEPT_VALUE_BYTES]
    if key is None and value is None:
        value = (
            b""  # the client writes no record without both; the audit record tells that there was no value
        )
    return DeadLetter(key, value, [*kept, *((name, text.encode()) for name, text in ours.items())])
