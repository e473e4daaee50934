"""Events: what the models refuse, and that every encoding carries them unchanged."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import fastavro
import pytest
from pydantic import ValidationError

from jurat.schemas import avro, avsc, canonical, catalogue
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

    def event_of(self, schema_id: int) -> avro.Written:
        if schema_id not in self._events:
            raise UnknownSchema(f"no schema {schema_id}")
        return avro.Written(self._events[schema_id])


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


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31 12:00:00-05:30", "2026-01-31T17:30:00+00:00"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000+00:00"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456+00:00"),
        ("2026-01-31T12:00:00.123456999Z", "2026-01-31T12:00:00.123456+00:00"),
    ],
)
def test_moments_of_rfc_3339_are_read(text: str, same: str) -> None:
    assert parse_time(text) == datetime.fromisoformat(same)


NO_MOMENTS = (
    "2026-W05-6T12:00:00Z",
    "20260131T120000Z",
    "2026-01-31T12:00:00,5Z",
    "2026-01-31T12:00Z",
    "2026-01-31T12Z",
    "2026-01-31",
    "2026-01-31T12:00:00",
    "2026-01-31T12:00:00.Z",
    "2026-01-31T12:00:00.1234567890Z",
    "2026-01-31T12:00:00+0100",
    "2026-01-31T12:00:00+01:00:30",
    "2026-01-31T24:00:00Z",
    "2026-01-31T23:59:60Z",
    "2026-02-30T12:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "2026-01-31T12:00:00Z\n",
    "\u0662026-01-31T12:00:00Z",
    "1700000000",
    "",
)


@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_moment_is_refused_in_envelopes_and_in_json(text: str) -> None:
    with pytest.raises(EnvelopeError, match="got the time"):
        parse_time(text)
    fields = json.loads(DECISION.model_dump_json()) | {"decided_at": text}
    with pytest.raises(DecodeError, match="decided_at: Value error, got the time"):
        decode(json.dumps(fields).encode(), expected=type(DECISION))


def test_a_number_is_no_moment_and_a_text_is_none_outside_json() -> None:
    fields = json.loads(DECISION.model_dump_json()) | {"decided_at": 1_700_000_000}
    with pytest.raises(DecodeError, match="decided_at"):
        decode(json.dumps(fields).encode(), expected=type(DECISION))
    with pytest.raises(ValidationError, match="decided_at"):
        type(DECISION).model_validate(DECISION.model_dump() | {"decided_at": "2026-01-31T12:00:00Z"})


REQUEST = b'{"request_id":"r","customer_id":"c","action":"a","args":{"k":1}}'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (REQUEST.replace(b'"action":"a"', b'"action":"b","action":"a"'), "'action' more than once"),
        (REQUEST.replace(b'{"k":1}', b'{"k":1,"k":2}'), "'k' more than once"),
        (REQUEST.replace(b'"action"', b'"\\u0061ction":"b","action"'), "'action' more than once"),
        (REQUEST.replace(b'{"k":1}', b'{"k":NaN}'), "got NaN"),
        (REQUEST.replace(b'{"k":1}', b'{"k":-Infinity}'), "got -Infinity"),
        (REQUEST.replace(b'{"k":1}', b'{"k":' + b"[" * 100_000 + b"}"), "nested too deeply"),
        (REQUEST.replace(b'{"k":1}', b'{"k":' + b"9" * 5_000 + b"}"), "Invalid JSON"),
        (REQUEST.decode().encode("utf-16-le"), "Invalid JSON"),
    ],
)
def test_json_that_readers_take_differently_is_refused(value: bytes, said: str) -> None:
    assert decode(REQUEST, expected=AfterSalesRequested).key() == "c"
    with pytest.raises(DecodeError, match=said):
        decode(value, expected=AfterSalesRequested)


class Wide(Event):
    """An event whose model bounds nothing."""

    namespace = "test"
    key_field = "id"

    id: str
    number: int


def test_an_integer_that_avro_cannot_carry_is_an_error_of_ours() -> None:
    assert avro.read(Wide, avro.write(Wide(id="w", number=2**63 - 1))).number == 2**63 - 1
    with pytest.raises(SchemaError, match="beyond 64 bits"):
        avro.write(Wide(id="w", number=2**63))


def changed(name: str, fields: dict[str, object]) -> dict[str, object]:
    """The fields of an example, some of them changed."""
    return next(example for example in EXAMPLES if by_type(example) == name).model_dump() | fields


MONEY = {"amount_minor": 1, "currency": "EUR"}
VARIANT = {"item_id": "i", "options": {}, "available": True, "price": MONEY}


@pytest.mark.parametrize(
    ("name", "field", "good", "bad"),
    [
        ("WarehouseReported", "stock", {"k" * 200: -1}, {"k" * 201: 1}),
        ("WarehouseReported", "stock", {"~ !": 2**53 - 1}, {"k": 2**53}),
        ("WarehouseReported", "stock", {}, {"": 1}),
        ("WarehouseReported", "stock", {"a": 1}, {"\u00e4": 1}),
        ("WarehouseReported", "stock", {"a": 1}, {"a\n": 1}),
        (
            "WarehouseReported",
            "stock",
            {str(n): 1 for n in range(10_000)},
            {str(n): 1 for n in range(10_001)},
        ),
        ("WarehouseReported", "x_km", 100_000, 100_001),
        ("WarehouseReported", "y_km", -100_000, -100_001),
        ("WarehouseReported", "region", "r" * 200, "r" * 201),
        ("OrderPlaced", "x_km", -100_000, 2**63),
        ("CustomerRegistered", "given_name", "n" * 200, "n" * 201),
        ("CustomerRegistered", "family_name", "n" * 200, "n" * 201),
        ("CustomerRegistered", "email", "e" * 254, "e" * 255),
        ("ProductListed", "name", "\u00e4" * 200, "n" * 201),
        ("ProductListed", "variants", (), (VARIANT | {"options": {"\u00e4": "x"}},)),
        ("ProductListed", "variants", (VARIANT,), (VARIANT | {"options": {"size": "x" * 201}},)),
        ("ProductListed", "variants", (VARIANT,), (VARIANT | {"options": {str(n): "" for n in range(51)}},)),
        ("ProductListed", "variants", (VARIANT,) * 1_000, (VARIANT,) * 1_001),
        ("OrderCancelled", "reason", "r" * 4_000, "r" * 4_001),
        ("OrderDispatched", "tracking_ids", ("t" * 200,), ("t" * 201,)),
        ("OrderDelivered", "item_ids", ("i",) * 200, ("i",) * 201),
    ],
)
def test_what_ends_in_documents_is_bounded(name: str, field: str, good: object, bad: object) -> None:
    event = catalogue.by_name(f"jurat.commerce.{name}")
    accepted = event.model_validate(changed(name, {field: good}))
    assert decode(encode(accepted)) == accepted
    canonical.dumps(accepted.model_dump(mode="json"))
    with pytest.raises(ValidationError, match=field):
        event.model_validate(changed(name, {field: bad}))


def test_a_name_that_somebody_chose_is_cut_in_a_message() -> None:
    value = REQUEST.replace(b'"action"', b'"' + b"x" * 9_000 + b'":1,"action"')
    with pytest.raises(DecodeError) as refused:
        decode(value, expected=AfterSalesRequested)
    assert len(str(refused.value)) < 300


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
