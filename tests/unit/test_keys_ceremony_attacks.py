"""What goes wrong in a ceremony, by malice or by chance: nothing is lost, replaced or signed unseen."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jurat.audit.credential import (
    STATEMENT_TYPE,
    AgentCredential,
    SessionCredential,
    parse_payload,
    print_seconds,
)
from jurat.audit.credential_issue import issue, opened, request
from jurat.audit.dsse import print_envelope
from jurat.audit.key_store import KeyKind, load_key
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, read_log, read_root, read_statement
from jurat.audit.trust_log import TrustLog
from jurat.cli import keys_agent
from jurat.cli.keys_ceremony import Ceremony
from jurat.schemas.errors import StatementInvalid
from jurat.schemas.moments import parse_moment
from tests.ceremony_stage import AGENT, begun, jurat, log_of, pending
from tests.trust_stage import key


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JURAT_TRUST_ROOT", "JURAT_KEYS_PASSPHRASE", "JURAT_KEYS_DIR", "JURAT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    return begun(tmp_path / "acme")


def test_a_signature_that_somebody_made_up_begins_no_log(tmp_path: Path) -> None:
    keyids = [jurat(tmp_path / name, "init", "--root", name).split()[-1] for name in ("alice", "bob")]
    jurat(tmp_path / "alice", "root", "alice", keyids[1], "--org", "acme", "--threshold", "2")
    sent = pending(tmp_path / "alice")
    payload, (true,) = opened(read_statement(sent)[0])
    forged = true.model_copy(update={"sig": bytes(64)})
    sent.write_bytes(print_envelope(payload, payload_type=STATEMENT_TYPE, signatures=[forged]) + b"\n")
    jurat(tmp_path / "bob", "sign", str(sent), answer="y\n", code=1)
    assert not (tmp_path / "bob" / ROOT_FILE).exists()


def test_a_root_that_is_trusted_is_not_replaced(
    acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = tmp_path / "auditor"
    auditor.mkdir()
    shutil.copy(acme / ROOT_FILE, auditor / ROOT_FILE)
    words = ("root", "mallory", "--org", "acme", "--threshold", "1")
    assert "another root is trusted already" in jurat(auditor, *words, code=1)
    assert (auditor / ROOT_FILE).read_bytes() == (acme / ROOT_FILE).read_bytes()
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(acme / ROOT_FILE))
    assert "unset JURAT_TRUST_ROOT" in jurat(tmp_path / "other", *words, code=1)


def topic_of(folder: Path) -> tuple[TrustLog, list[bytes]]:
    """What stands on the topic once the log here was published, without Kafka."""
    log, lines = read_log(folder / LOG_FILE, read_root(folder / ROOT_FILE))
    Ceremony(folder).take_over(log, lines)
    return log, list(lines)


def with_session(folder: Path, topic: tuple[TrustLog, list[bytes]]) -> None:
    """A worker takes a session."""
    log, lines = topic
    parent = log.credentials_of(load_key(folder, AGENT, KeyKind.AGENT).keyid)[0]
    above = parent.statement
    assert isinstance(above, AgentCredential)
    asked = asyncio.run(request("session", key("session 1"), name=AGENT, parent=parent.digest))
    expiry = print_seconds(parse_moment(above.not_before) + timedelta(hours=2))
    told = {"after": log.head, "expiry": expiry, "not_before": above.not_before, "scope": above.scope}
    made = SessionCredential.model_validate(asked.model_dump() | told)
    lines.append(asyncio.run(issue(made, [load_key(folder, AGENT, KeyKind.AGENT)])))
    log.add(lines[-1])


def test_what_is_made_here_is_taken_though_workers_had_sessions_meanwhile(acme: Path) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o")
    log, lines = topic_of(acme)
    with_session(acme, (log, lines))
    jurat(acme, "issue", AGENT, "--owner", "p")
    jurat(acme, "issue", "dunning", "--owner", "o")
    jurat(acme, "revoke", load_key(acme, "dunning", KeyKind.AGENT).keyid, "--reason", "r")
    _here, mine = read_log(acme / LOG_FILE, read_root(acme / ROOT_FILE))
    for line in mine[3:]:
        log.add(line)
    assert log.head.size == 7


def test_nothing_that_was_made_meanwhile_is_lost(acme: Path) -> None:
    log, lines = topic_of(acme)
    jurat(acme, "issue", AGENT, "--owner", "o")
    with pytest.raises(StatementInvalid, match=r"1 statements that are not on the topic.*move .* away"):
        Ceremony(acme).take_over(log, lines)
    assert log_of(acme).head.size == 3


def test_two_ceremonies_at_once_lose_nothing(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Barrier(2)
    signing = keys_agent.key_of

    def together(*words: Any) -> Any:
        started.wait(10)
        return signing(*words)

    monkeypatch.setattr(keys_agent, "key_of", together)
    with ThreadPoolExecutor() as pool:
        done = [
            pool.submit(
                keys_agent.issue_.main, [name, "--owner", "o", "--keys", str(acme)], standalone_mode=False
            )
            for name in (AGENT, "dunning")
        ]
        for one in done:
            one.result()
    assert log_of(acme).head.size == 4


def test_the_next_root_builds_on_what_is_on_the_topic(acme: Path) -> None:
    topic_of(acme)
    jurat(acme, "issuer", "second")
    assert "jurat keys publish" in jurat(acme, "root", "bob", "carol", "--threshold", "1", code=1)
    topic_of(acme)
    jurat(acme, "root", "bob", "carol", "--threshold", "1")
    payload, _signatures = opened(read_root(acme / ROOT_FILE))
    assert (parse_payload(payload), log_of(acme).root[0].version) == (log_of(acme).root[0], 2)


def test_a_key_under_another_passphrase_stops_nobody(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_PASSPHRASE", "correct horse")
    jurat(acme, "init", "--root", "aaron")
    monkeypatch.delenv("JURAT_KEYS_PASSPHRASE")
    said = jurat(acme, "issuer", "second")
    assert "passed over" in said
    assert "aaron.root.pem" in said
    assert log_of(acme).head.size == 3


def test_numbers_out_of_all_bounds_are_told(acme: Path) -> None:
    words = ("issue", AGENT, "--owner", "o")
    assert "expected one such as" in jurat(acme, *words, "--limit", f"context.a={'9' * 5_000}", code=2)
    assert "--days" in jurat(acme, *words, "--days", "9999999999", code=2)


def test_a_root_that_is_none_is_told_with_its_file(
    acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o")
    line = (acme / LOG_FILE).read_bytes().split(b"\n")[1]
    for name, data, said in (
        ("garbage", b"x", "garbage holds no statement of a trust log"),
        ("other", line, "other: got a statement of the type 'issuer', expected a root"),
        ("missing", None, "missing cannot be read.*--trust-root or JURAT_TRUST_ROOT"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        monkeypatch.setenv("JURAT_TRUST_ROOT", str(tmp_path / name))
        assert re.search(said, jurat(acme, "list", code=1))


def test_an_issuer_that_ended_is_told(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = datetime.now(UTC) + timedelta(days=366)
    monkeypatch.setattr(Ceremony, "__post_init__", lambda self: self.__dict__.update(secret=None, now=later))
    assert "ended at" in jurat(acme, "issue", AGENT, "--owner", "o", code=1)
