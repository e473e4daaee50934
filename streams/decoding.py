"""From a record to what an agent can decide: envelope, event, or the reason why it is neither."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jurat.audit.record import Input
from jurat.schemas import catalogue
from jurat.schemas.cloudevents import Attributes, read_headers
from jurat.schemas.codec import SchemaIds, decode, schema_name
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import DecodeError, SchemaError
from jurat.schemas.model import Event
from jurat.streams.kafka import KafkaRecord


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record, its envelope and its event; `error` says why one of them is missing.

    Attributes:
        where: where the record stands.
    """

    record: KafkaRecord
    attributes: Attributes | None
    event: Event | None
    error: SchemaError | None
    where: InputRef = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: every step of a decision asks for it.
        record = self.record
        where = InputRef(topic=record.topic, partition=record.partition, offset=record.offset)
        object.__setattr__(self, "where", where)

    @property
    def occurred_at(self) -> datetime:
        """When it happened: the envelope's time, else when Kafka took the record."""
        if self.attributes is not None and self.attributes.time is not None:
            return self.attributes.time
        return datetime.fromtimestamp(self.record.timestamp_ms / 1000, UTC)

    def described(self, cluster_id: str) -> Input:
        """The input as the audit record names it."""
        record = self.record
        return Input(
            uri=f"kafka://{cluster_id}/{record.topic}/{record.partition}/{record.offset}",
            event_id=self.attributes.id if self.attributes else None,
            event_type=self.attributes.type if self.attributes else None,
            sha256=hashlib.sha256(record.value or b"").hexdigest(),
            schema_id=schema_name(record.value),
        )


def decode_record(record: KafkaRecord, *, ids: SchemaIds | None = None) -> Decoded:
    """Read a record's envelope and event; never raises for what a publisher may have sent."""
    attributes: Attributes | None = None
    try:
        attributes = read_headers(record.headers)
        expected = catalogue.by_name(attributes.type)
        event = decode(record.value, expected=expected, ids=ids)
        if record.key != event.key().encode():
            raise DecodeError(
                f"got {'a record without a key' if record.key is None else 'another record key'}, expected the"
                f" event's {expected.key_field} as the key: order and state are kept per key"
            )
    except SchemaError as error:
        return Decoded(record, attributes, None, error)
    return Decoded(record, attributes, event, None)
