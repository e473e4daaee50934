"""The Schema Registry client over real HTTP on the loopback: asked once, remembered, and every bad answer refused."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator

import fastavro
import pytest

from jurat.schemas.avro import Written
from jurat.schemas.codec import decode, encode
from jurat.schemas.decision import Decision
from jurat.schemas.errors import ConfigurationError, DecodeError, StreamError, UnknownSchema
from jurat.streams.schema_registry import UNKNOWN_FOR_S, SchemaRegistry
from tests.examples import DECISION, EXAMPLES
from tests.registry_server import FIRST_ID, RegistryServer, registry_server

FAILED = next(event for event in EXAMPLES if type(event).__name__ == "PaymentFailed")


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        yield running


@pytest.fixture
def registry(server: RegistryServer) -> Iterator[SchemaRegistry]:
    client = SchemaRegistry(server.url + "/")
    yield client
    client.close()


def test_a_schema_is_registered_once_under_its_events_name(
    server: RegistryServer, registry: SchemaRegistry
) -> None:
    assert [registry.id_of(Decision) for _ in range(3)] == [FIRST_ID] * 3
    assert server.requests == [("POST", "/subjects/jurat.decisions.Decision/versions")]
    assert registry.event_of(FIRST_ID) == Written(Decision)
    assert len(server.requests) == 1, "what was registered is not asked for"


def test_an_id_is_looked_up_once(server: RegistryServer, registry: SchemaRegistry) -> None:
    writer = SchemaRegistry(server.url)
    number = writer.id_of(Decision)
    writer.close()
    server.requests.clear()
    assert [registry.event_of(number) for _ in range(3)] == [Written(Decision)] * 3
    assert server.requests == [("GET", f"/schemas/ids/{number}")]


def test_an_unknown_id_is_remembered(server: RegistryServer, registry: SchemaRegistry) -> None:
    for _ in range(3):
        with pytest.raises(UnknownSchema, match="77"):
            registry.event_of(77)
    assert server.requests == [("GET", "/schemas/ids/77")]


def test_an_unknown_id_is_asked_for_again_after_a_while(server: RegistryServer) -> None:
    now = [100.0]
    client = SchemaRegistry(server.url, clock=lambda: now[0])
    for now[0] in (100.0, 100.0 + UNKNOWN_FOR_S - 0.1):
        with pytest.raises(UnknownSchema):
            client.event_of(FIRST_ID)
    assert len(server.requests) == 1
    writer = SchemaRegistry(server.url)
    assert writer.id_of(Decision) == FIRST_ID
    writer.close()
    now[0] = 100.0 + UNKNOWN_FOR_S
    assert client.event_of(FIRST_ID) == Written(Decision)
    client.close()


@pytest.mark.parametrize(
    "schema",
    [
        '{"type":"record","name":"Stranger","fields":[]}',
        '"string"',
        'syntax = "proto3"; message M {}',
        '{"type":"nope"}',
        "[]",
        "null",
        "7",
    ],
)
def test_a_schema_of_somebody_else_is_refused_and_remembered(
    server: RegistryServer, registry: SchemaRegistry, schema: str
) -> None:
    server.schemas[5] = schema
    for _ in range(2):
        with pytest.raises(UnknownSchema, match=r"5|schema"):
            registry.event_of(5)
    assert len(server.requests) == 1


def test_the_same_schema_in_another_spelling_is_known(
    server: RegistryServer, registry: SchemaRegistry
) -> None:
    number = registry.id_of(Decision)
    server.schemas[9] = json.dumps(json.loads(server.schemas[number]), indent=4, sort_keys=True)
    assert registry.event_of(9) == Written(Decision)


@pytest.mark.parametrize(
    "instead",
    [
        (500, b'{"error_code":50001}'),
        (401, b""),
        (422, b'{"error_code":42201,"message":"invalid schema"}'),
        (200, b"<html>"),
        (200, b""),
        (200, b"\xff"),
        (200, b"[1]"),
        (200, b"{}"),
        (200, b'{"id":"many"}'),
        (200, b'{"id":-1}'),
        (200, b'{"id":4294967296}'),
        (302, b""),
    ],
)
def test_a_bad_answer_to_a_registration_is_an_error_of_ours(
    server: RegistryServer, registry: SchemaRegistry, instead: tuple[int, bytes]
) -> None:
    server.instead = instead
    with pytest.raises(StreamError, match="Schema Registry"):
        registry.id_of(Decision)
    server.instead = None
    assert registry.id_of(Decision) == FIRST_ID, "a bad answer is not remembered"


@pytest.mark.parametrize("instead", [(500, b""), (200, b"<html>"), (200, b"[1]")])
def test_a_bad_answer_to_a_lookup_is_an_error_of_ours_and_not_remembered(
    server: RegistryServer, registry: SchemaRegistry, instead: tuple[int, bytes]
) -> None:
    number = FIRST_ID
    writer = SchemaRegistry(server.url)
    writer.id_of(Decision)
    writer.close()
    server.instead = instead
    with pytest.raises(StreamError, match="Schema Registry"):
        registry.event_of(number)
    server.instead = None
    assert registry.event_of(number) == Written(Decision)


def test_a_registry_that_does_not_answer_is_an_error_of_ours() -> None:
    with socket.socket() as taken:  # bound but not listening: nobody else gets the port, nobody answers
        taken.bind(("127.0.0.1", 0))
        client = SchemaRegistry(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StreamError, match="did not answer"):
            client.id_of(Decision)
        client.close()


@pytest.mark.parametrize("url", ["registry:8081", "", "ftp://h", "http://", "http://[::1", "http://h:port"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError):
        SchemaRegistry(url)


def test_values_in_the_wire_format_come_back_and_plain_avro_reads_them(
    server: RegistryServer, registry: SchemaRegistry
) -> None:
    value = encode(DECISION, ids=registry)
    assert value[:1] == b"\x00"
    number = int.from_bytes(value[1:5], "big")
    assert number == FIRST_ID
    schema = fastavro.parse_schema(json.loads(server.schemas[number]))
    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    assert isinstance(read, dict)
    assert read["id"] == DECISION.id
    assert decode(value, expected=Decision, ids=registry) == DECISION


def test_an_id_of_another_event_than_the_envelope_names_is_refused(registry: SchemaRegistry) -> None:
    with pytest.raises(DecodeError, match="PaymentFailed"):
        decode(encode(FAILED, ids=registry), expected=Decision, ids=registry)
