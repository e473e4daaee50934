"""`jurat memory show`: what it prints of a memory, now and as of a moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from jurat.agents.memory import NOTHING, Learned, Memory, remember
from jurat.cli import memory as memory_cli
from jurat.schemas.decision import InputRef
from jurat.streams import memory_reading
from jurat.streams.documents import digest_of
from jurat.streams.kafka import Connection, KafkaRecord

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SOURCE = InputRef(topic="commerce.payments", partition=2, offset=7)
BEFORE = remember(
    NOTHING, (Learned("failure", "\x1b[31mred", NOW, "payments"),), source=SOURCE, learned_at=NOW
)
LATER = remember(
    BEFORE,
    (Learned("failure", True, NOW, "payments"),),
    source=SOURCE.model_copy(update={"offset": 8}),
    learned_at=NOW + timedelta(minutes=1),
)


def shown(monkeypatch: pytest.MonkeyPatch, memory: Memory, *options: str) -> tuple[int, str, str]:
    async def replay(connection: Connection, topics: list[str]):  # type: ignore[no-untyped-def]
        assert topics == [connection.topic("state.payment-retrier")]
        key = f"memory/{connection.topic('commerce.payments')}/c-1".encode()
        yield KafkaRecord(topics[0], 2, 0, 0, key, b"{}")
        yield KafkaRecord(topics[0], 2, 1, 0, key + b"1", b"no memory")
        yield KafkaRecord(topics[0], 2, 2, 0, key, memory.model_dump_json().encode())

    monkeypatch.setattr(memory_reading, "replay", replay)
    arguments = ["show", "c-1", "--agent", "payment-retrier", "--bootstrap-servers", "nowhere:1", *options]
    result = CliRunner().invoke(memory_cli.command, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_it_shows_facts_with_their_source_and_escapes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = shown(monkeypatch, LATER)
    assert code == 0
    assert "commerce.payments/2/7" in out
    assert "commerce.payments/2/8" in out
    assert "\x1b" not in out
    assert f"sha256 {digest_of(LATER)}" in out


def test_as_of_is_what_stood_then(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = shown(monkeypatch, LATER, "--as-of", "2026-03-02T09:00:00Z", "--json")
    said = json.loads(out)
    assert (code, said["sha256"], said["whole"]) == (0, digest_of(BEFORE), True)
    assert Memory.model_validate_json(json.dumps(said["memory"])) == BEFORE


def test_it_says_so_where_history_was_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = LATER.model_copy(update={"trimmed_at": NOW + timedelta(minutes=1)})
    code, _, err = shown(monkeypatch, trimmed, "--as-of", "2026-03-02T09:00:00Z")
    assert (code, "left out for want of room" in err) == (0, True)
    _, out, _ = shown(monkeypatch, trimmed, "--as-of", "2026-03-02T09:00:00Z", "--json")
    assert json.loads(out)["whole"] is False


def test_a_bad_moment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = shown(monkeypatch, LATER, "--as-of", "yesterday")
    assert (code, "RFC 3339" in err) == (2, True)


def test_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, _ = shown(monkeypatch, NOTHING)
    assert "nothing is remembered" in out
    assert digest_of(NOTHING) in out
