"""`jurat memory show`: what it prints of a memory, now and as of a moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jurat.agents.catalogue import AGENTS
from jurat.agents.memory import NOTHING, Learned, Memory, remember
from jurat.audit.forgetting import DATA_PROTECTION, parse_statement, verify_forget
from jurat.audit.key_store import init_approver
from jurat.audit.keys import Trust, TrustedApprover
from jurat.cli import memory as memory_cli
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import KeyNotFound, StreamError
from jurat.schemas.forgetting import ForgetRequested
from jurat.streams import forget_desk, memory_reading
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


def test_the_only_agent_that_remembers_need_not_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def read_memory(_connection: Connection, agent: str, _topic: str, _key: str) -> Memory:
        asked.append(agent)
        return LATER

    monkeypatch.setattr(memory_cli, "read_memory", read_memory)
    words = ["show", "c-1", "--bootstrap-servers", "nowhere:1"]
    several = CliRunner().invoke(memory_cli.command, words)
    assert several.exit_code == 2
    assert "these remember: dunning, notifier, retention, upgrade-adviser" in several.stderr
    monkeypatch.setattr(memory_cli, "AGENTS", {name: AGENTS[name] for name in ("ranker", "retention")})
    assert CliRunner().invoke(memory_cli.command, words).exit_code == 0
    assert asked == ["retention"]


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


def test_where_nothing_was_learned_by_then_it_may_have_been_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = ("--as-of", "2026-03-02T08:59:59Z")
    for memory in (NOTHING, LATER):
        code, out, err = shown(monkeypatch, memory, *before)
        assert (code, "nothing is remembered" in out, "forgotten since" in err) == (0, True, True)
        _, out, _ = shown(monkeypatch, memory, *before, "--json")
        assert json.loads(out)["whole"] is False


Call = Callable[..., tuple[Result, list[tuple[int, ForgetRequested]]]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`jurat memory forget c-1`, where the changelog has these values of the entry; and what was sent, to where."""
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    for name in ("JURAT_KEYS_PASSPHRASE", "JURAT_SCHEMA_REGISTRY_URL", "JURAT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*values: tuple[int, bytes | None], name: str = "dora") -> Any:
        sent: list[tuple[int, ForgetRequested]] = []

        async def replay(_connection: Connection, topics: list[str]):  # type: ignore[no-untyped-def]
            for offset, (partition, value) in enumerate(values):
                yield KafkaRecord(topics[0], partition, offset, 0, b"memory/commerce.payments/c-1", value)

        async def cluster_id_of(_connection: Connection) -> str:
            return "cluster"

        async def send_signed(
            _connection: Connection, event: ForgetRequested, *, partition: int, **_named: object
        ) -> str:
            sent.append((partition, event))
            return f"dec_{partition}"

        monkeypatch.setattr(memory_reading, "replay", replay)
        monkeypatch.setattr(forget_desk, "cluster_id_of", cluster_id_of)
        monkeypatch.setattr(forget_desk, "send_signed", send_signed)
        words = ["forget", "c-1", "--agent", "payment-retrier", "--as", name]
        return CliRunner().invoke(memory_cli.command, [*words, "--bootstrap-servers", "nowhere:1"]), sent

    return invoke


def test_a_request_is_signed_for_each_partition_that_remembers(call: Call, tmp_path: Path) -> None:
    keyid, _ = init_approver(tmp_path, "dora")
    trust = Trust((), (TrustedApprover("dora", keyid, (DATA_PROTECTION,)),))
    values = [(2, BEFORE), (4, BEFORE), (2, LATER)]
    printed = [(number, memory.model_dump_json().encode()) for number, memory in values]
    result, sent = call(*printed, (5, b"{}"), (5, None))
    assert result.exit_code == 0
    assert [number for number, _ in sent] == [2, 4]
    assert "forget 2 facts of c-1" in result.stdout
    assert "forget 1 fact of c-1" in result.stdout
    assert "jurat audit show dec_2" in result.stderr
    for (_, event), memory in zip(sent, (LATER, BEFORE), strict=True):
        said = verify_forget(event, trust).said
        assert (said.agent, said.cluster, said.topic) == ("payment-retrier", "cluster", "commerce.payments")
        assert (said.event_key, said.until) == ("c-1", memory.facts[-1].learned_at)
        assert parse_statement(event.payload) == said


def test_where_nothing_is_remembered_nothing_is_sent(call: Call, tmp_path: Path) -> None:
    init_approver(tmp_path, "dora")
    for values in ((), ((2, BEFORE.model_dump_json().encode()), (2, None))):
        result, sent = call(*values)
        assert (result.exit_code, sent) == (0, [])
        assert result.stdout == "nothing is remembered of c-1; nothing was sent\n"
        assert "the agent payment-retrier as it is now remembers nothing; these do: " in result.stderr


def test_what_cannot_be_signed_or_read_is_said(call: Call, tmp_path: Path) -> None:
    held = (2, BEFORE.model_dump_json().encode())
    result, sent = call(held)
    assert (type(result.exception), sent) == (KeyNotFound, [])
    init_approver(tmp_path, "dora")
    result, sent = call(held, (2, b"no memory"))
    assert (type(result.exception), sent) == (StreamError, [])
