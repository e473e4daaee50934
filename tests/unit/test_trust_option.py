"""Whom `jurat audit verify` trusts: a trust file, or a root with its log; offline."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jurat.audit import export
from jurat.audit.identity import EMPTY_HEAD
from jurat.audit.keys import Purpose, Trust, TrustedApprover, TrustedKey, print_trust
from jurat.audit.record import parse
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, write_log, write_root
from jurat.audit.trust_log import TrustLog
from jurat.cli import audit_verify, log_entries
from jurat.cli.audit import command
from jurat.cli.audit_examining import Raw, RawLine
from jurat.cli.trust_option import Trusted
from jurat.schemas.errors import StatementInvalid, TopicMissing
from jurat.streams import rejudging, trust_topic
from jurat.streams.kafka import Connection
from jurat.streams.trust_topic import TrustRead
from tests.trust_stage import AGENT, Settled, key, root, settled, signed
from tests.unit.test_attacks_identity import log_of


@pytest.fixture
def stage() -> Settled:
    return settled()


@pytest.fixture
def folder(stage: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export, a root and its trust log, as an auditor has them."""
    write_root(tmp_path / ROOT_FILE, stage.org.pin)
    write_log(tmp_path / LOG_FILE, stage.org.lines)
    (tmp_path / "audit.jsonl").write_bytes(
        b"".join(export.print_entry(entry) + b"\n" for entry in log_of(stage))
    )
    monkeypatch.delenv("JURAT_TRUST_ROOT", raising=False)
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path / "elsewhere"))
    return tmp_path


def verify(folder: Path, *words: str) -> Mapping[str, Any]:
    done = CliRunner().invoke(command, ["verify", str(folder / "audit.jsonl"), "--json", *words])
    assert done.stdout, done.output
    return dict(json.loads(done.stdout))


def refused(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(command, ["verify", str(folder / "audit.jsonl"), *words])
    assert done.exit_code == 2
    return done.output


def test_a_root_and_its_log_are_all_that_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--trust-root", str(folder / ROOT_FILE), "--trust-log", str(folder / LOG_FILE))
    report = verify(folder, *words)
    assert (report["verdict"], report["faults"], report["records"]) == ("UNPROVEN", 0, 4)
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(folder / ROOT_FILE))
    monkeypatch.setenv("JURAT_KEYS_DIR", str(folder))
    assert verify(folder) == report


def test_what_is_missing_is_said(folder: Path) -> None:
    root = ("--trust-root", str(folder / ROOT_FILE))
    assert "cannot be read" in refused(folder, *root)
    assert "without a root" in refused(folder, "--trust-log", str(folder / LOG_FILE))
    assert "there is no trust file" in refused(folder)
    (folder / LOG_FILE).write_bytes((folder / LOG_FILE).read_bytes().replace(b"A", b"B", 1))
    assert "line 1" in refused(folder, *root, "--trust-log", str(folder / LOG_FILE))


def test_pinned_keys_count_beside_a_root_only_where_they_are_named(folder: Path, stage: Settled) -> None:
    entries = log_of(stage, holder="pinned")
    (folder / "audit.jsonl").write_bytes(b"".join(export.print_entry(entry) + b"\n" for entry in entries))
    pinned = folder / "trust.json"
    pinned.write_bytes(print_trust(Trust((TrustedKey(AGENT, key("pinned").keyid),))))
    root = ("--trust-root", str(folder / ROOT_FILE), "--trust-log", str(folder / LOG_FILE))
    assert verify(folder, *root)["verdict"] == "INVALID"
    assert verify(folder, *root, "--trust", str(pinned))["verdict"] == "VALID"


def test_what_is_wrong_with_root_or_log_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = ("--trust-root", str(folder / ROOT_FILE))
    assert "jurat keys fetch, or name one: --trust-log FILE" in refused(folder, *named)
    wrong = folder / "wrong.json"
    wrong.write_bytes((folder / LOG_FILE).read_bytes().splitlines()[1])
    for word in (wrong, folder / "audit.jsonl"):
        told = refused(folder, "--trust-root", str(word), "--trust-log", str(folder / LOG_FILE))
        assert f"could not tell: {word}" in told
    write_root(wrong, signed(root(EMPTY_HEAD, org="other"), "alice", "bob"))
    told = refused(folder, "--trust-root", str(wrong), "--trust-log", str(folder / LOG_FILE))
    assert str(folder / LOG_FILE) in told
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(folder / "gone.json"))
    assert "gone.json" in refused(folder)


def test_a_trust_log_that_is_older_than_the_records_is_said(folder: Path, stage: Settled) -> None:
    """The session's credential is the fourth statement."""
    under = ("--trust-root", str(folder / ROOT_FILE), "--trust-log", str(folder / LOG_FILE))
    write_log(folder / LOG_FILE, stage.org.lines[:3])
    report = verify(folder, *under)
    assert report["verdict"] == "INVALID", (
        "a key without a credential is anybody's, whatever the record claims"
    )
    reason = report["firstFault"]["reason"]
    assert "no credential among the 3 statements of the trust log" in reason
    assert "jurat keys fetch, or --trust-log FILE; the record claims to know 4 statements" in reason
    assert "trust file" not in reason


def test_people_of_the_key_folder_count_beside_a_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_DIR", str(folder))
    publisher = TrustedKey("ops", key("ops").keyid, purpose=Purpose.POLICIES)
    person = TrustedApprover("bob", key("bob approves").keyid, ("fraud-desk",))
    pinned = Trust((TrustedKey(AGENT, key("pinned").keyid), publisher), (person,))
    (folder / "trust.json").write_bytes(print_trust(pinned))
    trusted = Trusted(None, folder / ROOT_FILE, None)
    for found in (trusted(), trusted.of_bundle()[0]):
        assert found.approvers == (person,)
        assert publisher in found.keys
        assert key("pinned").keyid not in found.by_keyid
    (folder / "named.json").write_bytes(print_trust(Trust((), ())))
    assert Trusted(folder / "named.json", folder / ROOT_FILE, None)().approvers == ()


def test_the_topic_of_trust_is_read_where_the_log_is_kafkas(
    folder: Path, stage: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JURAT_KEYS_DIR", str(folder))
    on_topic: list[bytes] = []

    async def read_topic(connection: Connection, root: bytes) -> TrustRead:
        found = TrustRead(TrustLog(root))
        for line in on_topic:
            found.log.add(line)
            found.lines.append(line)
        return found

    monkeypatch.setattr(trust_topic, "read_trust", read_topic)
    trusted, connect = Trusted(None, folder / ROOT_FILE, None), lambda: Connection("127.0.0.1:1")

    def size() -> int:
        found = asyncio.run(trusted.beside(None, connect))
        assert found is not None
        assert found[1].head.size == len(found[2])
        return len(found[2])

    on_topic[:] = stage.org.lines
    write_log(folder / LOG_FILE, stage.org.lines[:2])
    assert size() == 4, "the file is an older copy"
    on_topic[:] = stage.org.lines[:3]
    write_log(folder / LOG_FILE, stage.org.lines)
    assert size() == 4, "who cuts the topic takes nothing from who read it before"
    (folder / LOG_FILE).unlink()
    assert size() == 3
    before = list(stage.org.lines)
    stage.org.add(signed(stage.org.issuer("second"), "alice", "carol"))
    write_log(folder / LOG_FILE, stage.org.lines)
    forked = settled()
    forked.org.add(signed(forked.org.issuer("third"), "alice", "carol"))
    assert forked.org.lines[:4] == before
    on_topic[:] = forked.org.lines
    with pytest.raises(StatementInvalid, match="expected one to begin with the other"):
        asyncio.run(trusted.beside(None, connect))
    on_topic.clear()
    (folder / LOG_FILE).unlink()
    with pytest.raises(StatementInvalid, match="does not hold the root"):
        asyncio.run(trusted.beside(None, connect))

    async def no_topic(connection: Connection, root: bytes) -> TrustRead:
        raise TopicMissing("there is no such topic", topics=["audit.trust"])

    monkeypatch.setattr(trust_topic, "read_trust", no_topic)
    with pytest.raises(TopicMissing, match="--trust-log FILE"):
        asyncio.run(trusted.beside(None, connect))


def test_the_topic_of_trust_is_read_once_the_end_of_the_log_is_known(
    folder: Path, stage: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker begins while a verification runs: its session is read, as its records are."""
    order: list[str] = []

    async def read_topic(connection: Connection, root: bytes) -> TrustRead:
        order.append("trust")
        found = TrustRead(TrustLog(root))
        for line in stage.org.lines if "log" in order else stage.org.lines[:3]:
            found.log.add(line)
            found.lines.append(line)
        return found

    async def read_log(source: Path | None, connect: object) -> AsyncGenerator[Raw, None]:
        order.append("log")
        for number, line in enumerate((folder / "audit.jsonl").read_bytes().splitlines(keepends=True), 1):
            yield RawLine(number, line)

    monkeypatch.setattr(trust_topic, "read_trust", read_topic)
    for module in (audit_verify, log_entries):
        monkeypatch.setattr(module, "raw_entries", read_log)
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(folder / ROOT_FILE))
    at = ("--bootstrap-servers", "127.0.0.1:1")
    done = CliRunner().invoke(command, ["verify", "--json", *at])
    assert json.loads(done.stdout)["verdict"] == "UNPROVEN", done.output
    assert order == ["trust", "log", "trust"]
    order.clear()
    decision = parse(log_of(stage)[1].record.payload).predicate.decision_id
    told = CliRunner().invoke(command, ["show", decision, *at])
    assert (told.exit_code, "UNPROVEN: " in told.output, order) == (2, True, ["log", "trust"])
    order.clear()

    async def no_policies(connection: Connection, trust: Trust) -> dict[str, Mapping[str, bytes]]:
        raise TopicMissing("there is no such topic")

    monkeypatch.setattr(rejudging, "bundles_published", no_policies)
    made = CliRunner().invoke(command, ["bundle", "--output", str(folder / "b.zip"), *at])
    assert (made.exit_code, order) == (0, ["log", "trust"]), made.output
