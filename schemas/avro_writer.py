"""Writers of Avro bodies, made once for each model from its schema: from a model's fields straight to bytes.

Rules upheld here: the bytes are those that fastavro writes for the model's dump with the same schema (a test compares
them); a number that 64 bits cannot hold is refused. Written by hand because it is called for every decision and every
record: a dump and a general writer cost three times as much. Not here: schemas and reading (`avro.py`).

Source: Apache Avro 1.12 specification, "Binary encoding",
https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jurat.schemas import canonical
from jurat.schemas.errors import SchemaError

Write = Callable[[bytearray, Any], None]
"""Appends the Avro form of a value."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MIN_LONG, _MAX_LONG = -(2**63), 2**63 - 1


def _varint(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


_SMALL: Final = tuple(_varint(number) for number in range(1024))
"""The numbers that lengths of texts and lists mostly are."""


def _long(out: bytearray, value: int) -> None:
    if 0 <= value < 1024:
        out += _SMALL[value]
    elif _MIN_LONG <= value <= _MAX_LONG:
        out += _varint(value)
    else:
        raise OverflowError(f"got an integer of {value.bit_length()} bits, expected one that fits into 64")


def _boolean(out: bytearray, value: bool) -> None:  # noqa: FBT001 - the value that is written
    out.append(1 if value else 0)


def _bytes(out: bytearray, value: bytes) -> None:
    size = len(value)
    out += _SMALL[size] if size < 1024 else _varint(size)
    out += value


def _text(out: bytearray, value: object) -> None:
    # A JSON object of free form has no Avro type of its own and travels as text.
    raw = value.encode() if isinstance(value, str) else canonical.dumps(value)
    size = len(raw)
    out += _SMALL[size] if size < 1024 else _varint(size)
    out += raw


def _moment(out: bytearray, value: datetime) -> None:
    _long(out, (value - _EPOCH) // _MICROSECOND)


_PRIMITIVES: Mapping[str, Write] = {"string": _text, "long": _long, "boolean": _boolean, "bytes": _bytes}


def writer(schema: Mapping[str, Any]) -> Write:
    """Make the writer of a record's schema, as `avro.schema_of` derives it.

    Raises:
        SchemaError: the schema has a type that is not in the table of `avro`.
    """
    return _writer(schema, {})


def _writer(schema: object, named: dict[str, Write]) -> Write:
    if isinstance(schema, str):
        found = _PRIMITIVES.get(schema) or named.get(schema)
        if found is not None:
            return found
    elif isinstance(schema, list) and len(schema) == 2 and schema[0] == "null":
        return _optional(_writer(schema[1], named))
    elif isinstance(schema, Mapping):
        match schema["type"]:
            case "record":
                return _record(schema, named)
            case "enum":
                made = _enum(schema["symbols"])
                named[f"{schema['namespace']}.{schema['name']}"] = made
                return made
            case "array":
                return _array(_writer(schema["items"], named))
            case "map":
                return _map(_writer(schema["values"], named))
            case "long" if schema.get("logicalType") == "timestamp-micros":
                return _moment
    raise SchemaError(f"got the schema {schema!r}, expected one of the types that jurat.schemas.avro derives")


def _record(schema: Mapping[str, Any], named: dict[str, Write]) -> Write:
    fields: list[tuple[str, Write]] = []

    def write(out: bytearray, value: Any) -> None:
        values = value.__dict__
        for name, put in fields:
            put(out, values[name])

    named[f"{schema['namespace']}.{schema['name']}"] = write
    fields += [(field["name"], _writer(field["type"], named)) for field in schema["fields"]]
    return write


def _optional(put: Write) -> Write:
    def write(out: bytearray, value: object) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(2)
            put(out, value)

    return write


def _enum(symbols: list[str]) -> Write:
    places = {symbol: _varint(place) for place, symbol in enumerate(symbols)}

    def write(out: bytearray, value: str) -> None:
        out += places[value]

    return write


def _array(put: Write) -> Write:
    def write(out: bytearray, value: tuple[object, ...]) -> None:
        if value:
            _long(out, len(value))
            for item in value:
                put(out, item)
        out.append(0)

    return write


def _map(put: Write) -> Write:
    def write(out: bytearray, value: dict[str, object]) -> None:
        if value:
            _long(out, len(value))
            for key, item in value.items():
                _text(out, key)
                put(out, item)
        out.append(0)

    return write
