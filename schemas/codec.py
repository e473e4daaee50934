"""From an event to the bytes of a Kafka value and back.

Three framings, told apart by the first bytes (specified in `docs/spec/event-encoding.md`):

* `C3 01` + 8-byte fingerprint + Avro body: Avro single-object encoding, the default;
* `00` + 4-byte big-endian id + Avro body: Confluent wire format, when a Schema Registry is configured;
* `{`: JSON, accepted from publishers that have no Avro; then the type must be named by the caller.

Not here: asking a registry (`jurat.streams.schema_registry`).
"""

from __future__ import annotations

import json
from typing import NoReturn, Protocol, TypeVar

from pydantic import ValidationError

from jurat.schemas import avro, catalogue
from jurat.schemas.errors import DecodeError, SchemaError, UnknownSchema
from jurat.schemas.model import Event

E = TypeVar("E", bound=Event)

SINGLE_OBJECT_MARK = b"\xc3\x01"
CONFLUENT_MARK = b"\x00"
CONFLUENT_ID_BYTES = 4
MAX_EVENT_BYTES = 512 * 1024
"""Largest value that is read: half of Kafka's default record limit, so that a decision about it still fits."""

MAX_SHOWN_CHARS = 100
"""Of a key that somebody chose, in a message."""

AVRO_CONTENT_TYPE = "application/avro"
JSON_CONTENT_TYPE = "application/json"


class SchemaIds(Protocol):
    """What a Schema Registry knows: ids of schemas and the other way round."""

    def id_of(self, event: type[Event]) -> int:
        """The id under which this event's schema is registered."""
        ...

    def event_of(self, schema_id: int) -> avro.Written:
        """The event whose schema, the present or an earlier one, has this id; raises `UnknownSchema`."""
        ...


def encode(event: Event, *, ids: SchemaIds | None = None) -> bytes:
    """Write an event as a Kafka value.

    Args:
        event: the event.
        ids: a Schema Registry's ids; with them the Confluent wire format is written.
    """
    if ids is not None:
        return CONFLUENT_MARK + ids.id_of(type(event)).to_bytes(CONFLUENT_ID_BYTES, "big") + avro.write(event)
    return SINGLE_OBJECT_MARK + avro.fingerprint_of(type(event)) + avro.write(event)


def decode(
    value: bytes | None, *, expected: type[Event] | None = None, ids: SchemaIds | None = None
) -> Event:
    """Read an event from a Kafka value.

    Args:
        value: the bytes of the value; None (a tombstone) is refused.
        expected: the type that the envelope names; needed for JSON, checked for Avro.
        ids: a Schema Registry's ids, for values in the Confluent wire format.

    Raises:
        DecodeError: not an event, or not the expected one.
        UnknownSchema: written with a schema that is not known here.
    """
    if value is None:
        raise DecodeError("got a record without a value, expected an event")
    if len(value) > MAX_EVENT_BYTES:
        raise DecodeError(f"got a value of {len(value)} bytes, expected at most {MAX_EVENT_BYTES}")
    if value[:1] == b"{":
        return _decode_json(value, expected)
    written, start = _framed(value, ids)
    if expected is not None and written.event is not expected:
        raise DecodeError(
            f"got a value written as {written.event.event_type()} in an envelope that says {expected.event_type()}"
        )
    return avro.read(written.event, value[start:], lacks=written.lacks)


def decode_json(value: bytes, event: type[E]) -> E:
    """Read an event from JSON, strictly: each key once, UTF-8, numbers that JSON knows, and what the model says.

    Raises:
        DecodeError: it is not; the message names the field or key.
    """
    try:
        json.loads(value.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
        return event.model_validate_json(value)
    except ValidationError as error:
        raise DecodeError(f"got JSON that is not a {event.event_type()}: {avro.explain(error)}") from error
    except RecursionError as error:
        raise DecodeError(f"got JSON that is not a {event.event_type()}: nested too deeply") from error
    except ValueError as error:
        raise DecodeError(f"got JSON that is not a {event.event_type()}: Invalid JSON: {error}") from error
    except SchemaError as error:
        raise DecodeError(f"got JSON that is not a {event.event_type()}: {error}") from error


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Readers differ in which of two they take: what is judged here must be what others read.
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise DecodeError(
                f"got the key {key[:MAX_SHOWN_CHARS]!r} more than once in one object, expected it once"
            )
        found[key] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise DecodeError(f"got {text}, which is no JSON")


def schema_name(value: bytes | None) -> str | None:
    """Name how a value says it was written, for records: `avro:<fingerprint>`, `registry:<id>`, `json` or None."""
    if value is None:
        return None
    if value[:2] == SINGLE_OBJECT_MARK and len(value) >= len(SINGLE_OBJECT_MARK) + avro.FINGERPRINT_BYTES:
        return "avro:" + value[2 : 2 + avro.FINGERPRINT_BYTES].hex()
    if value[:1] == CONFLUENT_MARK and len(value) > CONFLUENT_ID_BYTES:
        return f"registry:{int.from_bytes(value[1 : 1 + CONFLUENT_ID_BYTES], 'big')}"
    return "json" if value[:1] == b"{" else None


def _framed(value: bytes, ids: SchemaIds | None) -> tuple[avro.Written, int]:
    if value[:2] == SINGLE_OBJECT_MARK:
        start = len(SINGLE_OBJECT_MARK) + avro.FINGERPRINT_BYTES
        return catalogue.by_fingerprint(value[len(SINGLE_OBJECT_MARK) : start]), start
    if value[:1] == CONFLUENT_MARK and len(value) > CONFLUENT_ID_BYTES:
        schema_id = int.from_bytes(value[1 : 1 + CONFLUENT_ID_BYTES], "big")
        if ids is None:
            raise UnknownSchema(
                f"got a value in the Confluent wire format (schema id {schema_id}) but no Schema Registry is"
                " configured; set JURAT_SCHEMA_REGISTRY_URL"
            )
        return ids.event_of(schema_id), 1 + CONFLUENT_ID_BYTES
    raise DecodeError(
        f"got a value of {len(value)} bytes that starts with {value[:2].hex() or 'nothing'}, expected Avro"
        " single-object encoding (c301), the Confluent wire format (00) or a JSON object"
    )


def _decode_json(value: bytes, expected: type[Event] | None) -> Event:
    if expected is None:
        raise DecodeError(
            "got JSON without a ce_type header, expected the event type to be named in the envelope"
        )
    return decode_json(value, expected)
