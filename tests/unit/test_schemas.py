"""Events: what the models refuse, and that every encoding carries them unchanged."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import fastavro
import pytest
from pydantic import ValidationError

from jurat.schemas import avro, avsc, catalogue
from jurat.schemas.cloudevents import Attributes, headers_for, parse_time, read_headers
from jurat.schemas.codec import MAX_EVENT_BYTES, decode, encode, schema_name
from jurat.schemas.commerce import AfterSalesRequested, PaymentFailed
from jurat.schemas.decision import InputRef, decision_id
from jurat.schemas.errors import DecodeError, EnvelopeError, SchemaError, UnknownSchema
from jurat.schemas.model import Event, Money
from tests.examples import DECISION, EXAMPLES, WHEN
from tests.tree import ROOT

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def by_type(event: Event) -> str:
    return type(event).__name__


def test_there_is_an_example_of_every_event_type() -> None:
    assert {type(example) for example in EXAMPLES} == set(catalogue.EVENTS)


@pytest.mark.parametrize("event", EXAMPLES, ids=by_type)
def test_an_event_survives_every_encoding(event: Event) -> None:
    assert decode(encode(event)) == event
    assert decode(encode(event), expected=type(event)) == event
    assert decode(event.model_dump_json().encode(), expected=type(event)) == event


@pytest.mark.parametrize("event", EXAMPLES, ids=by_type)
def test_a_plain_avro_reader_reads_it_with_the_checked_in_schema(event: Event) -> None:
    schema = json.loads((ROOT / "schemas" / "avro" / f"{event.event_type()}.avsc").read_text())
    value = encode(event)
    assert value[:2] == b"\xc3\x01"
    read = fastavro.schemaless_reader(io.BytesIO(value[10:]), fastavro.parse_schema(schema))
    assert isinstance(read, dict)
    assert str(read[event.key_field]) == event.key()


def test_the_checked_in_schemas_are_those_of_the_models() -> None:
    folder = ROOT / "schemas" / "avro"
    on_disk = {path.name: path.read_text() for path in folder.iterdir()}
    assert on_disk == avsc.rendered(), "run: .venv/bin/python -m jurat.schemas.avsc schemas/avro"


def test_the_fingerprint_is_the_one_of_the_avro_specification() -> None:
    # Avro 1.12, "Schema Fingerprints": the CRC-64-AVRO of "int" is 7275d51a3f395c8f; single-object encoding
    # writes it little-endian.
    assert avro.fingerprint_of_text('"int"') == bytes.fromhex("7275d51a3f395c8f")[::-1]


def test_models_are_frozen_strict_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DECISION.id = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="valid integer"):
        Money.model_validate({"amount_minor": "5", "currency": "EUR"})
    with pytest.raises(ValidationError, match="not permitted"):
        Money.model_validate({"amount_minor": 5, "currency": "EUR", "scale": 2})
    with pytest.raises(ValidationError, match="pattern"):
        Money.model_validate({"amount_minor": 5, "currency": "euro"})


@pytest.mark.parametrize(
    ("value", "expected", "error", "said"),
    [
        (None, None, DecodeError, "without a value"),
        (b"", None, DecodeError, "0 bytes"),
        (b"hello", None, DecodeError, "starts with 6865"),
        (b"\xc3\x01" + bytes(8), None, UnknownSchema, "0000000000000000"),
        (b"\xc3\x01abc", None, UnknownSchema, "616263"),
        (encode(DECISION)[:-1], None, DecodeError, "not an Avro"),
        (encode(DECISION) + b"\0", None, DecodeError, "1 bytes after the end"),
        (encode(DECISION), PaymentFailed, DecodeError, "envelope that says jurat.commerce.PaymentFailed"),
        (b"\x00\x00\x00\x00\x07rest", None, UnknownSchema, "JURAT_SCHEMA_REGISTRY_URL"),
        (b'{"a":1}', None, DecodeError, "ce_type"),
        (b'{"a":1}', PaymentFailed, DecodeError, "payment_id: Field required"),
        (b"{nonsense", PaymentFailed, DecodeError, "Invalid JSON"),
        (b"{" + b" " * MAX_EVENT_BYTES, PaymentFailed, DecodeError, "expected at most"),
    ],
)
def test_bad_values_are_refused_with_a_reason(
    value: bytes | None, expected: type[Event] | None, error: type[SchemaError], said: str
) -> None:
    with pytest.raises(error, match=said):
        decode(value, expected=expected)


def test_avro_values_are_checked_by_the_model_too() -> None:
    good = PaymentFailed(
        payment_id="p",
        order_id="o",
        customer_id="c",
        payment_method_id="m",
        amount=Money(amount_minor=1, currency="EUR"),
        failure_code="do_not_honor",
        attempt=1,
        fraud_score=0,
    )
    out = io.BytesIO()
    values = good.model_dump() | {"fraud_score": 101}
    fastavro.schemaless_writer(out, fastavro.parse_schema(avro.schema_of(PaymentFailed)), values)
    with pytest.raises(DecodeError, match="fraud_score: Input should be less than or equal to 100"):
        decode(encode(good)[:10] + out.getvalue())


def test_free_json_must_be_canonical_in_avro() -> None:
    request = AfterSalesRequested(request_id="r", customer_id="c", action="a", args={"k": 10})
    with pytest.raises(DecodeError, match="another form"):
        decode(encode(request).replace(b'{"k":10}', b'{"k":1 }'))


def test_free_json_that_could_not_be_hashed_is_refused_at_once() -> None:
    with pytest.raises(SchemaError, match=r"float 1.5 at \$.k"):
        AfterSalesRequested(request_id="r", customer_id="c", action="a", args={"k": 1.5})
    text = b'{"request_id":"r","customer_id":"c","action":"a","args":{"k":1.5}}'
    with pytest.raises(DecodeError, match="float"):
        decode(text, expected=AfterSalesRequested)


def test_the_schema_is_named_for_the_record() -> None:
    assert schema_name(encode(DECISION)) == "avro:" + avro.fingerprint_of(type(DECISION)).hex()
    assert schema_name(b"\x00\x00\x00\x00\x07rest") == "registry:7"
    assert schema_name(b'{"a":1}') == "json"
    assert schema_name(b"junk") is None
    assert schema_name(None) is None


class TwoSchemas:
    """A registry that knows two schemas."""

    def __init__(self, *events: type[Event]) -> None:
        self._events = dict(enumerate(events, start=258))

    def id_of(self, event: type[Event]) -> int:
        return next(number for number, known in self._events.items() if known is event)

    def event_of(self, schema_id: int) -> type[Event]:
        if schema_id not in self._events:
            raise UnknownSchema(f"no schema {schema_id}")
        return self._events[schema_id]


def test_with_a_registry_the_confluent_wire_format_is_written_and_read() -> None:
    ids = TwoSchemas(PaymentFailed, type(DECISION))
    value = encode(DECISION, ids=ids)
    assert value[:5] == b"\x00\x00\x00\x01\x03"
    assert decode(value, ids=ids) == DECISION
    assert decode(encode(DECISION), ids=ids) == DECISION, "values from before the registry stay readable"
    with pytest.raises(UnknownSchema, match="no schema 9"):
        decode(b"\x00\x00\x00\x00\x09" + value[5:], ids=ids)


def test_headers_are_cloudevents_in_binary_mode() -> None:
    headers = headers_for(
        DECISION, event_id="e-1", source="/shop", time=WHEN, subject="o-1", traceparent=TRACE
    )
    assert headers == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"jurat.decisions.Decision"),
        ("ce_time", b"2026-01-31T12:00:00.123456Z"),
        ("ce_subject", b"o-1"),
        ("content-type", b"application/avro"),
        ("traceparent", TRACE.encode()),
    ]
    assert read_headers(headers) == Attributes(
        id="e-1",
        source="/shop",
        type="jurat.decisions.Decision",
        time=WHEN,
        subject="o-1",
        content_type="application/avro",
        traceparent=TRACE,
    )


GOOD = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t"}


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_a_missing_attribute_is_named(missing: str) -> None:
    with pytest.raises(EnvelopeError, match=f"without {missing}"):
        read_headers([(name, value) for name, value in GOOD.items() if name != missing])


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (("ce_id", b"2"), "ce_id twice"),
        (("CE_ID", b"2"), "ce_id twice"),
        (("ce_time", b"yesterday"), "RFC 3339"),
        (("ce_time", b"2026-01-31T12:00:00"), "without a zone"),
        (("ce_subject", b"\xff"), "not UTF-8"),
        (("ce_subject", b"x" * 2001), "2001 characters"),
    ],
)
def test_malformed_attributes_are_refused(added: tuple[str, bytes], said: str) -> None:
    with pytest.raises(EnvelopeError, match=said):
        read_headers([*GOOD.items(), added])


def test_other_versions_of_cloudevents_are_refused() -> None:
    with pytest.raises(EnvelopeError, match=r"'0\.3', expected '1\.0'"):
        read_headers((GOOD | {"ce_specversion": b"0.3"}).items())


def test_headers_of_others_are_ignored_and_a_broken_trace_is_dropped() -> None:
    read = read_headers([*GOOD.items(), ("x-other", b"\xff"), ("x-other", b"2"), ("traceparent", b"junk")])
    assert read.traceparent is None
    assert read_headers([*GOOD.items(), ("ce_traceparent", TRACE.encode())]).traceparent == TRACE


def test_times_are_compared_in_utc() -> None:
    assert parse_time("2026-01-31T13:00:00+01:00") == datetime(
        2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))
    )


def test_a_decision_id_depends_on_every_part() -> None:
    where = InputRef(topic="t", partition=1, offset=2)
    first = decision_id("a", where, cluster_id="c")
    # printf 'a\nc\nt\n1\n2\n' | sha256sum
    assert first == "dec_03dd2179e5ad500a44401fd8a542661d"
    others = {
        decision_id("b", where, cluster_id="c"),
        decision_id("a", where, cluster_id="d"),
        decision_id("a", InputRef(topic="u", partition=1, offset=2), cluster_id="c"),
        decision_id("a", InputRef(topic="t", partition=2, offset=2), cluster_id="c"),
        decision_id("a", InputRef(topic="t", partition=1, offset=3), cluster_id="c"),
        decision_id("a", InputRef(topic="t", partition=12, offset=2), cluster_id="c"),
        first,
    }
    assert len(others) == 7
