"""From a record to an event: what is refused, by which name, and what a refusal still says about the record."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import MAX_EVENT_BYTES, encode
from jurat.schemas.model import Event
from jurat.streams.dead_letters import KEPT_KEY_BYTES, KEPT_VALUE_BYTES, MAX_LETTER_BYTES, dead_letter
from jurat.streams.decoding import decode_record
from jurat.streams.kafka import KafkaRecord
from tests.examples import EXAMPLES, WHEN

FAILED = next(event for event in EXAMPLES if type(event).__name__ == "PaymentFailed")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TAKEN = datetime(2026, 5, 1, tzinfo=UTC)


def record_of(event: Event, *, time: datetime | None = WHEN, traceparent: str | None = None) -> KafkaRecord:
    """A record as our publisher writes it."""
    return KafkaRecord(
        topic="commerce.payments",
        partition=2,
        offset=7,
        timestamp_ms=int(TAKEN.timestamp() * 1000),
        key=event.key().encode(),
        value=encode(event),
        headers=tuple(headers_for(event, event_id="e-1", source="/test", time=time, traceparent=traceparent)),
    )


GOOD = record_of(FAILED)
PLAIN = tuple(header for header in GOOD.headers if header[0] != "content-type")


def with_header(name: str, value: bytes) -> tuple[tuple[str, bytes], ...]:
    return (*(header for header in GOOD.headers if header[0] != name), (name, value))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_type_comes_back(event: Event) -> None:
    decoded = decode_record(record_of(event))
    assert decoded.error is None
    assert decoded.event == event


def test_json_is_accepted_where_the_envelope_names_the_type() -> None:
    decoded = decode_record(replace(GOOD, value=FAILED.model_dump_json().encode(), headers=PLAIN))
    assert decoded.event == FAILED


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        (replace(GOOD, value=None), "DecodeError", "without a value"),
        (replace(GOOD, value=b""), "DecodeError", "starts with nothing"),
        (replace(GOOD, value=b"{" + b" " * MAX_EVENT_BYTES), "DecodeError", str(MAX_EVENT_BYTES)),
        (replace(GOOD, value=b"{not json"), "DecodeError", "JSON"),
        (replace(GOOD, value=b'{"payment_id":7}'), "DecodeError", "payment_id"),
        (replace(GOOD, value=b"\xff\xfe\x00"), "DecodeError", "fffe"),
        (replace(GOOD, value=(GOOD.value or b"")[:-1]), "DecodeError", "PaymentFailed"),
        (replace(GOOD, value=(GOOD.value or b"") + b"\x00"), "DecodeError", "after the end"),
        (replace(GOOD, value=b"\xc3\x01" + bytes(20)), "UnknownSchema", "0000000000000000"),
        (replace(GOOD, value=b"\x00\x00\x00\x00\x07rest"), "UnknownSchema", "JURAT_SCHEMA_REGISTRY_URL"),
        (replace(GOOD, value=encode(EXAMPLES[0])), "DecodeError", type(EXAMPLES[0]).__name__),
        (replace(GOOD, headers=()), "EnvelopeError", "ce_specversion"),
        (replace(GOOD, headers=(*GOOD.headers, ("CE_ID", b"again"))), "EnvelopeError", "twice"),
        (replace(GOOD, headers=with_header("ce_id", b"")), "EnvelopeError", "ce_id"),
        (replace(GOOD, headers=with_header("ce_id", b"x" * 201)), "EnvelopeError", "201"),
        (replace(GOOD, headers=with_header("ce_source", b"\xff")), "EnvelopeError", "UTF-8"),
        (replace(GOOD, headers=with_header("ce_time", b"yesterday")), "EnvelopeError", "yesterday"),
        (replace(GOOD, headers=with_header("ce_specversion", b"0.3")), "EnvelopeError", "0.3"),
        (replace(GOOD, headers=with_header("ce_type", b"nobody.knows")), "UnknownSchema", "nobody.knows"),
        (replace(GOOD, key=None), "DecodeError", "without a key"),
        (replace(GOOD, key=b"another"), "DecodeError", "customer_id"),
        (replace(GOOD, key=b""), "DecodeError", "customer_id"),
    ],
)
def test_what_is_refused_says_why(broken: KafkaRecord, error: str, said: str) -> None:
    decoded = decode_record(broken)
    assert decoded.event is None
    assert type(decoded.error).__name__ == error
    assert said in str(decoded.error)


def test_the_key_in_a_refusal_is_not_repeated() -> None:
    """A key is somebody's id: it stays out of messages and logs."""
    assert "secret" not in str(decode_record(replace(GOOD, key=b"secret")).error)


def test_an_envelope_that_could_be_read_is_kept_when_the_value_cannot() -> None:
    decoded = decode_record(replace(GOOD, value=b"{"))
    named = decoded.described("cluster")
    assert (named.event_id, named.event_type) == ("e-1", "jurat.commerce.PaymentFailed")
    assert named.schema_id == "json"


def test_a_record_without_an_envelope_is_still_named_by_its_place_and_digest() -> None:
    value = GOOD.value or b""
    named = decode_record(replace(GOOD, headers=())).described("cluster")
    assert named.uri == "kafka://cluster/commerce.payments/2/7"
    assert (named.event_id, named.event_type) == (None, None)
    assert named.sha256 == hashlib.sha256(value).hexdigest()
    assert named.schema_id == "avro:" + value[2:10].hex()


def test_it_happened_when_the_envelope_says_else_when_kafka_took_it() -> None:
    assert decode_record(GOOD).occurred_at == WHEN
    assert decode_record(record_of(FAILED, time=None)).occurred_at == TAKEN
    assert decode_record(replace(GOOD, headers=())).occurred_at - TAKEN < timedelta(seconds=1)


def test_a_trace_is_carried_and_a_broken_one_is_dropped() -> None:
    carried = decode_record(record_of(FAILED, traceparent=TRACE)).attributes
    dropped = decode_record(record_of(FAILED, traceparent="00-zz")).attributes
    assert carried is not None
    assert carried.traceparent == TRACE
    assert dropped is not None
    assert dropped.traceparent is None


def test_a_dead_letter_keeps_the_headers_and_replaces_its_own() -> None:
    again = replace(GOOD, headers=(("x", b"1"), ("x", b"2"), ("jurat-error", b"old")))
    headers = dead_letter(again, error="DecodeError", reason="got \N{SNOWMAN}").headers
    assert headers[:2] == [("x", b"1"), ("x", b"2")]
    assert [value for name, value in headers if name == "jurat-error"] == [b"DecodeError"]
    assert dict(headers)["jurat-reason"].decode() == "got \N{SNOWMAN}"
    assert (dict(headers)["jurat-topic"], dict(headers)["jurat-offset"]) == (b"commerce.payments", b"7")


def test_a_dead_letter_larger_than_any_record_keeps_the_beginning() -> None:
    large = replace(GOOD, value=b"v" * MAX_LETTER_BYTES, key=b"k" * 5000)
    letter = dead_letter(large, error="DecodeError", reason="r" * 10_000)
    assert letter.value == b"v" * KEPT_VALUE_BYTES
    assert letter.key == b"k" * KEPT_KEY_BYTES
    headers = dict(letter.headers)
    assert int(headers["jurat-truncated"]) > MAX_LETTER_BYTES
    assert not [name for name in headers if not name.startswith("jurat-")]
    size = sum(len(name) + len(value) for name, value in letter.headers)
    assert len(letter.key) + len(letter.value) + size < MAX_LETTER_BYTES
    whole = dead_letter(replace(large, value=b"v" * 1000), error="e", reason="r")
    assert "jurat-truncated" not in dict(whole.headers)
    assert whole.value == b"v" * 1000


def test_a_dead_letter_of_a_record_with_nothing_can_be_written() -> None:
    letter = dead_letter(replace(GOOD, key=None, value=None), error="e", reason="r")
    assert (letter.key, letter.value) == (None, b"")
