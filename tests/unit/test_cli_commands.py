"""The command line without Kafka: durations, messages, rows, and what becomes of errors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import click
import pytest
from click.testing import CliRunner

from jurat.cli import publish
from jurat.cli.main import COMMANDS, entry
from jurat.cli.options import DURATION
from jurat.cli.subscribe import as_json_line, as_row, explained
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError, DecodeError, JuratError, SchemaError, StreamError
from jurat.schemas.model import Event
from jurat.streams.decoding import Decoded, decode_record
from jurat.streams.kafka import Connection
from jurat.streams.schema_registry import SchemaRegistry
from jurat.streams.topic_admin import Change, ChangeKind
from tests.command import JURAT
from tests.examples import DECISION, EXAMPLES
from tests.unit.test_streams_decoding import record_of

FAILED = next(event for event in EXAMPLES if type(event).__name__ == "PaymentFailed")
GOOD_LINE = FAILED.model_dump_json().encode() + b"\n"


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("200ms", 0.2), ("2m", 120.0), ("1.5h", 5400.0), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "s", "-5s", "5 s", "5sec", "1e3s", "5s\n", "\u0665s", ""])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.UsageError, match="expected a duration"):
        DURATION.convert(text, None, None)


class FakePublisher:
    """The seam to Kafka: keeps what it is given, or fails as told."""

    published: list[tuple[Event, str]]
    failure: JuratError | None = None

    def __init__(self, connection: Connection, *, source: str, ids: object = None) -> None:
        type(self).published = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def publish(self, event: Event, *, event_id: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.published.append((event, event_id))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakePublisher]:
    async def nothing(*_: object) -> None:
        return None

    for name in ("JURAT_NAMESPACE", "JURAT_SCHEMA_REGISTRY_URL"):
        monkeypatch.delenv(name, raising=False)
    fresh = type("Fresh", (FakePublisher,), {})
    monkeypatch.setattr(publish, "Publisher", fresh)
    monkeypatch.setattr(publish, "ensure_topics", nothing)
    return fresh


def run_publish(lines: bytes, *words: str) -> Any:
    arguments = ["publish", "commerce.payments", *words, "--bootstrap-servers", "nowhere:1"]
    return CliRunner().invoke(entry, arguments, input=lines)


BAD_LINES = (
    b"{not json\n",
    b"[]\n",
    b'"text"\n',
    b"{}\n",
    b"\xff\xfe\n",
    GOOD_LINE.replace(b'"attempt":2', b'"attempt":"2"'),
    GOOD_LINE.replace(b'"attempt":2', b'"attempt":2,"extra":1'),
    GOOD_LINE.replace(b'"attempt":2', b'"attempt":' + b"9" * 40),
    GOOD_LINE.replace(b'"c-1"', b'""'),
    GOOD_LINE.replace(b'"attempt":2', b'"attempt":3,"attempt":2'),
    b"[" * 100_000 + b"\n",
)


def test_bad_lines_are_named_by_number_and_the_rest_goes_on(fake: type[FakePublisher]) -> None:
    done = run_publish(b"".join((GOOD_LINE, b"\n", *BAD_LINES, GOOD_LINE)), "--type", "PaymentFailed")
    assert done.exit_code == 1, done.output
    said = done.stderr.splitlines()
    assert [line.split(":")[0] for line in said[:-1]] == [f"line {n}" for n in range(3, 3 + len(BAD_LINES))]
    assert all("not a jurat.commerce.PaymentFailed: " in line for line in said[:-1])
    assert said[-1] == f"2 published to commerce.payments, {len(BAD_LINES)} bad"
    assert [event for event, _ in fake.published] == [FAILED, FAILED]
    assert len({event_id for _, event_id in fake.published}) == 2


def test_an_integer_beyond_64_bits_and_what_avro_cannot_carry_are_bad_lines(
    fake: type[FakePublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = next(event for event in EXAMPLES if type(event).__name__ == "WarehouseReported")
    lines = [json.dumps(report.model_dump(mode="json") | {"stock": {"i": n}}).encode() for n in (1, 2**63)]
    arguments = ["publish", "commerce.warehouses", "--bootstrap-servers", "nowhere:1"]
    done = CliRunner().invoke(entry, arguments, input=b"\n".join(lines))
    assert done.exit_code == 1, done.output
    assert "line 2: " in done.stderr
    assert "1 published" in done.stderr

    def refuse(_event: Event) -> bytes:
        raise SchemaError("beyond 64 bits")

    monkeypatch.setattr(publish.avro, "write", refuse)
    with pytest.raises(DecodeError, match="cannot be written as Avro: beyond 64 bits"):
        publish._parse(type(FAILED), GOOD_LINE)


@pytest.mark.parametrize("line", BAD_LINES)
def test_what_is_wrong_with_a_line_is_no_unknown_schema(line: bytes) -> None:
    with pytest.raises(DecodeError):
        publish._parse(type(FAILED), line)


def test_on_error_stop_stops_before_the_bad_line(fake: type[FakePublisher]) -> None:
    done = run_publish(GOOD_LINE + b"{}\n" + GOOD_LINE, "--type", "PaymentFailed", "--on-error", "stop")
    assert done.exit_code == 1
    assert "line 2: " in done.stderr
    assert len(fake.published) == 1


def test_good_lines_end_with_exit_code_0(fake: type[FakePublisher]) -> None:
    assert run_publish(GOOD_LINE, "--type", "jurat.commerce.PaymentFailed").exit_code == 0


def test_a_fault_of_kafka_is_not_a_bad_line(fake: type[FakePublisher]) -> None:
    """It would be reported once for each line of the rest, as if the lines were to blame."""
    fake.failure = StreamError("the broker is away")
    done = run_publish(GOOD_LINE * 3, "--type", "PaymentFailed")
    assert isinstance(done.exception, StreamError)
    assert "line 1" not in done.stderr


@pytest.mark.parametrize(
    ("topic", "type_name", "said"),
    [
        ("commerce.nothing", None, "commerce.orders"),
        ("commerce.payments", None, "PaymentFailed"),
        ("commerce.payments", "OrderPlaced", "not published to commerce.payments"),
        ("commerce.payments", "Nonsense", "expected one of"),
        ("decisions.after-sales", None, "expected one of"),
    ],
)
def test_what_cannot_be_published_says_what_can(topic: str, type_name: str | None, said: str) -> None:
    arguments = ["publish", topic, "--bootstrap-servers", "nowhere:1"]
    done = CliRunner().invoke(entry, [*arguments, *(["--type", type_name] if type_name else [])], input=b"")
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


def test_an_empty_source_is_refused_as_no_reader_would_take_it(fake: type[FakePublisher]) -> None:
    done = run_publish(GOOD_LINE, "--type", "PaymentFailed", "--source", "")
    assert done.exit_code == 2
    assert not getattr(fake, "published", [])


def test_a_decision_without_policies_is_explained_by_its_sentence() -> None:
    bare = DECISION.model_copy(update={"policies": (), "reasons": ("no policy permits it",)})
    assert explained(bare) == ["no policy permits it"]
    assert explained(DECISION) == ["cancel.only-pending: Only a pending order can be cancelled"]
    assert "no policy permits it" in as_row(decode_record(record_of(bare)), bare)


def test_a_decision_of_somebody_else_with_too_few_reasons_still_prints() -> None:
    odd = DECISION.model_copy(update={"policies": ("a", "b"), "reasons": ("one",)})
    row = as_row(decode_record(record_of(odd)), odd)
    assert "one" in row
    assert "b" in row


@pytest.mark.parametrize("verdict", list(Verdict))
def test_rows_of_every_verdict(verdict: Verdict) -> None:
    one = DECISION.model_copy(update={"verdict": verdict, "effective": False})
    row = as_row(decode_record(record_of(one)), one)
    assert verdict.value in row
    assert "dry run" in row


def test_a_row_is_one_line_without_terminal_commands_whatever_its_subject_says() -> None:
    """A subject comes from whoever publishes: it must not paint another verdict over this one."""
    sly = DECISION.model_copy(update={"subject": "o-1\r\nallow    \x1b[2J\x1b]0;x\x07 o-2\u009b1m"})
    row = click.unstyle(as_row(decode_record(record_of(sly)), sly))
    assert not [character for character in row if not character.isprintable()]


def test_json_lines_hold_what_subscribers_rely_on() -> None:
    line = json.loads(as_json_line(decode_record(record_of(DECISION)), DECISION))
    expected = {"id", "request_id", "verdict", "policies", "action", "parameters", "agent", "input"}
    assert expected <= set(line)
    other = json.loads(as_json_line(decode_record(record_of(FAILED)), FAILED))
    assert (other["topic"], other["partition"], other["offset"]) == ("commerce.payments", 2, 7)
    assert (other["id"], other["type"]) == ("e-1", "jurat.commerce.PaymentFailed")
    assert other["data"]["payment_id"] == "pay-1"
    without = decode_record(replace(record_of(FAILED), headers=()))
    assert "id" not in json.loads(as_json_line(without, FAILED))


def jurat(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JURAT_")}
    return subprocess.run(
        [JURAT, *words], capture_output=True, text=True, env=kept | variables, timeout=180, check=False
    )


def test_every_command_has_its_help() -> None:
    for name in COMMANDS:
        done = CliRunner().invoke(entry, [name, "--help"])
        assert done.exit_code == 0, (name, done.output)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_help_of_a_group_breaks_off(name: str) -> None:
    command = entry.get_command(click.Context(entry), name)
    if isinstance(command, click.Group):
        said = CliRunner().invoke(command, ["--help"], terminal_width=80).output
        assert "..." not in said.partition("Commands:")[2]


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(entry, ["nonsense"]).exit_code == 2


def test_an_error_of_ours_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = jurat("topics", "diff", JURAT_STATE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("jurat: no Kafka is known")


@pytest.mark.parametrize("servers", ["nonsense", "127.0.0.1:99999"])
def test_a_malformed_address_is_one_line(servers: str) -> None:
    done = jurat("topics", "diff", "--bootstrap-servers", servers)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "host:port" in done.stderr


def test_a_broker_that_is_not_there_is_one_line_and_soon() -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for words in (
            ["topics", "diff"],
            ["subscribe", "commerce.orders"],
            ["publish", "marketplace.searches"],
        ):
            done = jurat(*words, "--bootstrap-servers", address)
            assert done.returncode == 1, words
            (line,) = done.stderr.splitlines()
            assert line.startswith("jurat: got no answer from a Kafka broker at ")
            assert address in line


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("words", [["subscribe", "commerce.orders"], ["context"]])
def test_a_registrys_connections_are_closed_at_the_end(
    words: list[str], failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SchemaRegistry] = []
    closed: list[SchemaRegistry] = []

    def end(ids: object) -> None:
        assert made == [ids]
        assert not closed
        if failing:
            raise StreamError("the broker is away")

    async def nothing(*_: object, ids: object, **__: object) -> AsyncGenerator[Decoded, None]:
        end(ids)
        for one in ():
            yield one

    class Registry(SchemaRegistry):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            made.append(self)

        def close(self) -> None:
            super().close()
            closed.append(self)

    monkeypatch.setenv("JURAT_SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("jurat.streams.schema_registry.SchemaRegistry", Registry)
    monkeypatch.setattr("jurat.cli.subscribe.subscribe", nothing)
    monkeypatch.setattr("jurat.streams.context.run_context", lambda *_, ids: end(ids))
    done = CliRunner().invoke(entry, [*words, "--bootstrap-servers", "nowhere:1", "--namespace", ""])
    assert isinstance(done.exception, StreamError) is failing, done.output
    assert len(closed) == 1
    assert closed == made


CLIENTS = ("aiokafka", "faust", "fastavro", "cedarpy", "httpx")


def test_help_loads_no_client() -> None:
    """What is imported at start is waited for at every call."""
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from jurat.cli.main import entry\n"
        "done = CliRunner().invoke(entry, ['--help'])\n"
        "assert done.exit_code == 0, done.output\n"
        f"print([name for name in {CLIENTS!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert done.stdout.strip() == "[]"
    said = jurat("--help").stdout
    assert all(name in said for name in COMMANDS)


def test_an_error_of_settings_is_no_usage_error() -> None:
    done = CliRunner().invoke(entry, ["topics", "diff", "--bootstrap-servers", "h:1", "--namespace", "a b"])
    assert isinstance(done.exception, ConfigurationError)


def test_what_a_cluster_says_of_its_topics_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = "[red]:smile:[/red]\x1b[2J"
    change = Change(ChangeKind.SETTING, "commerce.orders", "cleanup.policy", found=found, wanted="delete")

    async def differ(_connection: Connection, _topics: object) -> tuple[Change, ...]:
        return (change,)

    monkeypatch.setattr("jurat.cli.topics.diff_topics", differ)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        entry, ["topics", "diff", "--bootstrap-servers", "127.0.0.1:1"]
    )
    assert result.exit_code == 1, result.output
    assert "[red]:smile:[/red]\\x1b[2J" in result.output
