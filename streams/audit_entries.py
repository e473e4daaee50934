"""Records of the audit topic as entries of the log: the one place that says which of them are leaves.

Rules upheld here: what is no signed record, in the bytes that a worker writes, is told and is no leaf. Nothing is
verified. Not here: reading the topic, and what is made of entries.

Specified in `docs/spec/log.md`.
"""

from __future__ import annotations

from typing import Protocol

from jurat.audit.log import Fault, LogEntry, Place
from jurat.schemas.codec import SchemaIds, decode, encode
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import SchemaError


class OnTopic(Protocol):
    """What is read of a record on a topic."""

    @property
    def topic(self) -> str:
        """Its topic's full name."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def offset(self) -> int:
        """Its offset."""
        ...

    @property
    def timestamp_ms(self) -> int:
        """Kafka's time of it, in milliseconds since 1970."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value."""
        ...


def entry_of(record: OnTopic, ids: SchemaIds | None) -> LogEntry | Fault:
    """Read one record of the audit topic; a `Fault` where it is no leaf.

    Args:
        record: as it stands on the topic.
        ids: a Schema Registry's ids, if one is configured; without it, the bytes have one form.
    """
    place = Place(record.topic, record.partition, record.offset)
    try:
        event = decode(record.value, expected=SignedRecord, ids=ids)
    except SchemaError as error:
        return Fault(place, f"not a signed record: {error}")
    if not isinstance(event, SignedRecord):
        return Fault(place, f"not a signed record but a {event.event_type()}")
    if ids is None and encode(event) != record.value:
        return Fault(place, "a signed record, but not in the bytes that a worker writes")
    return LogEntry(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        record=event,
    )
