"""The writer of Avro bodies: its bytes are those of a general Avro library with the same schema."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, ClassVar

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas import avro, canonical
from jurat.schemas.avro_writer import writer
from jurat.schemas.errors import SchemaError
from jurat.schemas.model import Event, FreeJson, Model, Money, Timestamp
from tests.examples import EXAMPLES


class Colour(StrEnum):
    """Two of them, so that places matter."""

    RED = "red"
    BLUE = "blue"


class Part(Model):
    """A record within a record."""

    name: str
    colour: Colour | None


class Everything(Event):
    """A field of every type that events may have."""

    namespace: ClassVar[str] = "test"
    key_field: ClassVar[str] = "text"

    text: str
    number: int
    flag: bool
    raw: bytes
    moment: Timestamp
    colour: Colour
    maybe: int | None
    part: Part
    again: Part | None
    colours: tuple[Colour, ...]
    parts: tuple[Part, ...]
    counts: dict[str, int]
    prices: dict[str, Money]
    free: FreeJson


def by_type(event: Event) -> str:
    return type(event).__name__


def generally(event: Event) -> bytes:
    """The bytes that fastavro writes for the event."""
    values = event.model_dump()
    for name, info in type(event).model_fields.items():
        if info.annotation == dict[str, Any]:
            values[name] = canonical.dumps(values[name]).decode()
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(avro.schema_of(type(event))), values)
    return out.getvalue()


@pytest.mark.parametrize("event", EXAMPLES, ids=by_type)
def test_every_event_is_written_as_a_general_library_writes_it(event: Event) -> None:
    assert avro.write(event) == generally(event)


ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
LONGS = st.integers(-(2**63), 2**63 - 1)
PARTS = st.builds(Part, name=st.text(), colour=st.none() | st.sampled_from(Colour))
MONEY = st.builds(Money, amount_minor=st.integers(-1000, 1000), currency=st.just("EUR"))


@given(
    st.builds(
        Everything,
        text=st.text() | st.text(min_size=600),
        number=LONGS,
        flag=st.booleans(),
        raw=st.binary() | st.binary(min_size=1100, max_size=1200),
        moment=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES),  # noqa: DTZ001 - bounds
        colour=st.sampled_from(Colour),
        maybe=st.none() | LONGS,
        part=PARTS,
        again=st.none() | PARTS,
        colours=st.lists(st.sampled_from(Colour)).map(tuple),
        parts=st.lists(PARTS, max_size=3).map(tuple),
        counts=st.dictionaries(st.text(), LONGS, max_size=3),
        prices=st.dictionaries(st.text(), MONEY, max_size=3),
        free=st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.text()),
    )
)
def test_every_type_is_written_as_a_general_library_writes_it(event: Everything) -> None:
    assert avro.write(event) == generally(event)
    assert avro.read(Everything, avro.write(event)) == event


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_what_64_bits_cannot_hold_is_refused(number: int) -> None:
    class One(Event):
        """One number."""

        namespace: ClassVar[str] = "test"
        key_field: ClassVar[str] = "number"
        number: int

    with pytest.raises(SchemaError, match="64 bits"):
        avro.write(One(number=number))


def test_moments_are_microseconds_since_the_epoch() -> None:
    out = bytearray()
    schema = {"type": "long", "logicalType": "timestamp-micros"}
    field = {"name": "at", "type": schema}
    write = writer({"type": "record", "name": "One", "namespace": "test", "fields": [field]})

    class At(Model):
        """A moment."""

        at: Timestamp

    write(out, At(at=datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)))
    assert bytes(out) == b"\x01", "minus one, in zigzag"


@pytest.mark.parametrize("kind", ["float", ["string", "null"], {"type": "fixed", "size": 4, "name": "x"}])
def test_a_type_outside_the_table_has_no_writer(kind: object) -> None:
    with pytest.raises(SchemaError, match="expected one of the types"):
        writer(
            {"type": "record", "name": "One", "namespace": "test", "fields": [{"name": "x", "type": kind}]}
        )
