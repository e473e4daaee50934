"""Avro schemas derived from the models, and bytes written and read with them.

Rules upheld here: the model is the source, the `.avsc` files beside it are derived (a test regenerates them); every
field keeps its model's name; only types that Avro and canonical JSON both carry exactly are accepted. This is the one
module that imports fastavro. Framing (which schema wrote these bytes) is `codec.py`.

==================  =====================================================
model               Avro
==================  =====================================================
str                 string
int                 long
bool                boolean
bytes               bytes
datetime            long, logicalType timestamp-micros
StrEnum             enum
tuple of X          array of X
dict of str to X    map of X
FreeJson            string (canonical JSON)
Model               record
X or None           union of null and X, default null
==================  =====================================================

Source: Apache Avro 1.12 specification, https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import io
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import fastavro
from fastavro.schema import SchemaParseException, fingerprint, parse_schema, to_parsing_canonical_form
from pydantic import AwareDatetime, ValidationError

from jurat.schemas.avro_writer import Write, writer
from jurat.schemas.errors import DecodeError, SchemaError, UnknownSchema
from jurat.schemas.model import Event, FreeJson, Model

E = TypeVar("E", bound=Event)

AvroSchema = dict[str, Any]
"""An Avro schema in its JSON form."""

FINGERPRINT_BYTES = 8
"""Length of a CRC-64-AVRO fingerprint."""

MAX_PLACE_CHARS = 100
"""Of one part of a field's path in a message; our own names are shorter."""

_PRIMITIVES: Mapping[type, object] = {
    str: "string",
    int: "long",
    bool: "boolean",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
    AwareDatetime: {"type": "long", "logicalType": "timestamp-micros"},
}


@dataclass(frozen=True, slots=True)
class Written:
    """Under which schema bytes were written.

    Attributes:
        event: the event that they hold.
        lacks: how many of its last fields that schema did not have yet; 0 for the present one.
    """

    event: type[Event]
    lacks: int = 0


@cache
def schema_of(event: type[Event], lacks: int = 0) -> AvroSchema:
    """Derive the Avro schema of an event model, or the one from before its last `lacks` fields came.

    Raises:
        SchemaError: a field has a type that Avro cannot carry exactly.
    """
    schema = _record(event, f"jurat.{event.namespace}", set())
    if not isinstance(schema, dict):
        raise SchemaError(f"got {event.__name__} derived as {schema!r}, expected a record")
    fields: list[object] = schema["fields"]
    return {**schema, "fields": fields[: len(fields) - lacks]}


def _record(model: type[Model], namespace: str, named: set[str]) -> object:
    name = f"{namespace}.{model.__name__}"
    if name in named:
        return name
    named.add(name)
    fields = []
    for field_name, info in model.model_fields.items():
        where = f"{name}.{field_name}"
        annotation = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        kind = _type(annotation, namespace, named, where)
        field: dict[str, object] = {"name": field_name, "type": kind}
        if isinstance(kind, list):
            field["default"] = None
        elif not info.is_required():
            field["default"] = _default(info.default, where)
        fields.append(field)
    doc = (model.__doc__ or "").strip().splitlines()
    return {
        "type": "record",
        "name": model.__name__,
        "namespace": namespace,
        "doc": doc[0] if doc else "",
        "fields": fields,
    }


def _default(value: object, where: str) -> object:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple) and not value:
        return []
    if isinstance(value, str | int | bool):
        return value
    raise SchemaError(f"got the default {value!r} at {where}, expected a string, an integer, a boolean or ()")


def _type(annotation: Any, namespace: str, named: set[str], where: str) -> object:
    if annotation == FreeJson:
        return "string"
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0], namespace, named, where)
    if isinstance(annotation, type) and annotation in _PRIMITIVES:
        return _PRIMITIVES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _enum(annotation, namespace, named)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _record(annotation, namespace, named)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        inner = next(arg for arg in args if arg is not type(None))
        return ["null", _type(inner, namespace, named, where)]
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _type(args[0], namespace, named, where)}
    if origin is dict and _bare(args[0]) is str:
        return {"type": "map", "values": _type(args[1], namespace, named, where)}
    raise SchemaError(
        f"got the type {annotation!r} at {where}, expected one of the table in jurat.schemas.avro"
    )


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _enum(enum: type[StrEnum], namespace: str, named: set[str]) -> object:
    name = f"{namespace}.{enum.__name__}"
    if name in named:
        return name
    named.add(name)
    return {
        "type": "enum",
        "name": enum.__name__,
        "namespace": namespace,
        "symbols": [member.value for member in enum],
    }


@cache
def _parsed(event: type[Event], lacks: int) -> AvroSchema:
    parsed = parse_schema(schema_of(event, lacks))
    if not isinstance(parsed, dict):
        raise SchemaError(f"the schema of {event.__name__} did not parse as a record")
    return parsed


@cache
def _writer(event: type[Event]) -> Write:
    return writer(schema_of(event))


@cache
def fingerprint_of(event: type[Event], lacks: int = 0) -> bytes:
    """The CRC-64-AVRO fingerprint of an event's schema, in the byte order of single-object encoding."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema_of(event, lacks)), "CRC-64-AVRO"))


def write(event: Event) -> bytes:
    """Write an event's Avro body, without framing.

    Raises:
        SchemaError: a number beyond the 64 bits of an Avro long.
    """
    out = bytearray()
    try:
        _writer(type(event))(out, event)
    except OverflowError as error:
        raise SchemaError(
            f"got a {event.event_type()} with an integer beyond 64 bits, expected one that Avro can carry"
        ) from error
    return bytes(out)


def read(event: type[E], body: bytes, *, lacks: int = 0) -> E:
    """Read an Avro body with the event's own schema; fields that it lacks get their defaults.

    Raises:
        DecodeError: too short, too long, or values that the model refuses.
    """
    source = io.BytesIO(body)
    try:
        value = fastavro.schemaless_reader(source, _parsed(event, lacks), None)
    except (EOFError, ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise DecodeError(
            f"got {len(body)} bytes that are not an Avro {event.event_type()}: {error!r}"
        ) from error
    if source.tell() != len(body):
        raise DecodeError(
            f"got {len(body) - source.tell()} bytes after the end of an Avro {event.event_type()}, expected none"
        )
    try:
        return event.model_validate(value, strict=False)  # Avro has typed the values; tuples arrive as lists
    except ValidationError as error:
        raise DecodeError(f"got a {event.event_type()} that breaks its contract: {explain(error)}") from error
    except SchemaError as error:
        raise DecodeError(f"got a {event.event_type()} that breaks its contract: {error}") from error


def explain(error: ValidationError) -> str:
    """Say in one line what a model refused: field, expectation; never the offending value."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in faults[:5])


def _place(path: tuple[int | str, ...]) -> str:
    # Unknown fields and keys of maps are named by whoever sent them, at any length.
    return ".".join(str(part)[:MAX_PLACE_CHARS] for part in path) or "value"


def fingerprint_of_text(schema: str) -> bytes:
    """The CRC-64-AVRO fingerprint of a schema given as JSON text, in the byte order of single-object encoding.

    Raises:
        UnknownSchema: not an Avro schema.
    """
    try:
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(json.loads(schema)), "CRC-64-AVRO"))
    except (ValueError, KeyError, TypeError, SchemaParseException) as error:
        raise UnknownSchema(f"got something that is not an Avro schema: {error!r}") from error
