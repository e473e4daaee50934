"""Models as Cedar's JSON: what an agent declared, in the only types that Cedar and canonical JSON share.

Rules upheld here: integers stay below 2**53, so that the record of an input can be signed; moments become
UTC with milliseconds, finer parts cut off; None leaves the attribute out; sets are sorted, each element
once; a float has no form. Not here: which types a schema may have (`cedar_schema.py`), which is checked when
the schema is generated.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from jurat.schemas.canonical import MAX_INTEGER

if TYPE_CHECKING:
    from jurat.schemas.canonical import JsonObject, JsonValue

MAX_RECORD_DEPTH = 16
"""Records within records: declared by hand, so deeper ones are a loop."""

MAX_PRINTED = 300
"""Characters of a hostile value that an error repeats."""


class UnfitError(ValueError):
    """A value that cannot be put before a policy."""


def record(model: BaseModel, *, without: str = "", depth: int = 0) -> JsonObject:
    """A model's fields as a Cedar record.

    Raises:
        UnfitError: a field holds something that Cedar or canonical JSON has no form for.
    """
    if depth > MAX_RECORD_DEPTH:
        raise UnfitError(f"got records nested deeper than {MAX_RECORD_DEPTH}")
    fields: JsonObject = {}
    # Without the attribute protocol: this is the engine's hottest loop.
    values: dict[str, Any] = model.__dict__
    for name in type(model).__pydantic_fields__:
        if name == without:
            continue
        value: Any = values.get(name)
        kind = type(value)
        if kind is str or kind is bool or (kind is int and -MAX_INTEGER <= value <= MAX_INTEGER):
            fields[name] = value
        elif kind is datetime:
            fields[name] = instant(value)
        elif value is not None:
            fields[name] = _value(value, name, depth)
    return fields


def instant(moment: datetime) -> JsonValue:
    """A moment as Cedar's `datetime`.

    Raises:
        UnfitError: it has no zone, or is outside the years 1 to 9999 in UTC.
    """
    if moment.tzinfo is not UTC:
        if moment.utcoffset() is None:
            raise UnfitError("got a datetime without a zone, expected one with a zone")
        try:
            moment = moment.astimezone(UTC)
        except OverflowError as error:
            raise UnfitError("got a datetime outside of the years 1 to 9999 in UTC") from error
    text = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return {"__extn": {"fn": "datetime", "arg": f"{text}Z"}}


def printable(text: str) -> str:
    """Text cut to a bounded length, with what is not Unicode escaped; idempotent."""
    return text.encode("utf-8", "backslashreplace").decode()[:MAX_PRINTED]


def _value(value: object, name: str, depth: int) -> JsonValue:
    match value:
        case Enum(value=str() as text):
            return str(text)
        case str():
            return str.__str__(value)
        case datetime():
            return instant(value)
        case timedelta():
            return {"__extn": {"fn": "duration", "arg": f"{value // timedelta(milliseconds=1)}ms"}}
        case tuple() | frozenset():
            return _texts(value, name)
        case BaseModel():
            return record(value, depth=depth + 1)
        case int():
            raise UnfitError(
                f"got an integer of {value.bit_length()} bits in {name}, expected one below 2**53"
            )
    raise UnfitError(f"got a {type(value).__name__} in {name}, which policies cannot see")


def _texts(values: tuple[object, ...] | frozenset[object], name: str) -> JsonValue:
    texts: set[str] = set()
    for value in values:
        if not isinstance(value, str):
            raise UnfitError(f"got a {type(value).__name__} within {name}, expected strings")
        texts.add(str(value.value) if isinstance(value, Enum) else str.__str__(value))
    return [*sorted(texts)]
