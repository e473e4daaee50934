"""From a root to a session on a real Kafka: issued, used, renewed, verified with the root alone; and revoked."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from jurat.audit import dsse
from jurat.audit.key_store import KeyKind, load_key
from jurat.audit.record import DecisionRecord, parse
from jurat.audit.standing import Standing, standing
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, read_log, read_root
from jurat.audit.trust_log import TrustLog
from jurat.cli.audit import command as audit_command
from jurat.cli.keys import command
from jurat.running import identity_of
from jurat.schemas.codec import decode
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError, CredentialInvalid, KeyNotFound, SignatureInvalid
from jurat.streams import topics
from jurat.streams.kafka import idempotent_producer
from jurat.streams.replay import replay
from jurat.streams.trust_session import SessionKeeper
from jurat.streams.trust_topic import read_trust
from jurat.streams.worker import Worker, WorkerConfig
from tests.command import Shell
from tests.runtime_stage import ALLOWS, EAGER, PLAIN, Sent, Thinking, failed, prepare, publish, until

pytestmark = pytest.mark.integration

NAME = PLAIN.name


async def jurat(shell: Shell, *words: str, kafka: bool = False) -> str:
    """A command of `jurat keys`, in the shell's key folder."""
    at = [
        "--bootstrap-servers",
        shell.connection.bootstrap_servers,
        "--namespace",
        shell.connection.namespace,
    ]
    every = [*words, "--keys", str(shell.keys), *(at if kafka else [])]
    done = await asyncio.to_thread(CliRunner().invoke, command, every)
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


async def issued(shell: Shell, *words: str) -> None:
    scope = ("--owner", "team@acme", "--namespace", shell.connection.namespace, *words)
    await jurat(shell, "issue", NAME, *scope)
    await jurat(shell, "publish", kafka=True)


def worker_of(shell: Shell) -> tuple[Worker, SessionKeeper]:
    signer, session = identity_of(PLAIN, shell.connection, shell.keys)
    assert session is not None
    config = WorkerConfig(
        agent=PLAIN,
        reasoner=Thinking(),
        engine=ALLOWS,
        signer=signer,
        clock=lambda: datetime.now(UTC),
        code="jurat test",
        retry=EAGER,
        session=session,
    )
    return Worker(shell.connection, config), session


async def records(shell: Shell) -> list[tuple[SignedRecord, DecisionRecord]]:
    found = []
    async with aclosing(replay(shell.connection, [shell.connection.topic(topics.AUDIT.name)])) as log:
        async for record in log:
            envelope = cast("SignedRecord", decode(record.value or b""))
            found.append((envelope, parse(envelope.payload).predicate))
    return found


async def verified(shell: Shell) -> dict[str, Any]:
    """What `jurat audit verify` says with the root alone; without witnesses nothing tells when a record was made."""
    words = ["verify", "--json", "--bootstrap-servers", shell.connection.bootstrap_servers]
    words += ["--namespace", shell.connection.namespace]
    done = await asyncio.to_thread(CliRunner().invoke, audit_command, words)
    return dict(json.loads(done.stdout))


def now() -> int:
    return int(datetime.now(UTC).timestamp())


async def test_a_workers_records_verify_with_the_root_alone(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(shell)
    await jurat(shell, "root", "alice", "bob", "carol", "--org", "acme", "--threshold", "2")
    await jurat(shell, "issuer", "payments")
    await jurat(shell, "publish", kafka=True)
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(shell.keys / ROOT_FILE))
    root = read_root(Path(shell.keys / ROOT_FILE))
    with pytest.raises(KeyNotFound, match="has no credential"):
        await worker_of(shell)[0].run()
    await issued(shell, "--action", "give_up")
    with pytest.raises(ConfigurationError, match=r"does not allow the actions .*retry"):
        await worker_of(shell)[0].run()
    await issued(shell)

    producer = idempotent_producer(shell.connection)
    await producer.start()
    await producer.send_and_wait(shell.connection.topic(topics.TRUST.name), b"garbage")
    await producer.stop()

    worker, session = worker_of(shell)
    task = asyncio.create_task(worker.run())
    try:
        await publish(shell, [Sent(failed(number, f"c-{number}"), f"e-{number}") for number in range(20)])
        await until(lambda: worker.committed_records == 20)
        await session._renew()
        await publish(shell, [Sent(failed(number, f"c-{number}"), f"e-{number}") for number in range(20, 30)])
        await until(lambda: worker.committed_records == 30)

        read = await read_trust(shell.connection, root)
        assert [one.offset for one in read.refused] == [4]
        trust = read.log.trust()
        assert len(trust.keys) == 2
        assert load_key(shell.keys, NAME, KeyKind.AGENT).keyid not in trust.by_keyid
        signed = await records(shell)
        for envelope, record in signed:
            by = dsse.verify(envelope, trust).key
            assert standing(by, record, witnessed_at=now()) is Standing.GOOD
            assert standing(by, record, witnessed_at=None) is Standing.UNPROVEN
        sessions = [record.identity.credential for _envelope, record in signed if record.identity]
        assert sorted(map(sessions.count, set(sessions))) == [10, 20]

        monkeypatch.setenv("JURAT_KEYS_DIR", str(shell.keys))
        assert read_log(shell.keys / LOG_FILE, root)[0].head.size < read.log.head.size, "sessions are new"
        report = await verified(shell)
        assert (report["verdict"], report["faults"], report["records"]) == ("UNPROVEN", 0, 30)
        await jurat(shell, "fetch", kafka=True)

        cut = TrustLog(root)
        for line in read.lines[:-2]:
            cut.add(line)
        with pytest.raises(SignatureInvalid, match="unknown key"):
            dsse.verify(signed[0][0], cut.trust())

        assert read_log(shell.keys / LOG_FILE, root)[0].head == read.log.head
        keyid = load_key(shell.keys, NAME, KeyKind.AGENT).keyid
        await jurat(shell, "revoke", keyid, "--reason", "the laptop was lost", "--issuer", "payments")
        await jurat(shell, "publish", kafka=True)
        with pytest.raises(CredentialInvalid, match="was revoked"):
            await asyncio.wait_for(task, 60)
        after = (await read_trust(shell.connection, root)).log.trust()
        by = dsse.verify(signed[0][0], after).key
        with pytest.raises(CredentialInvalid, match="was revoked"):
            standing(by, signed[0][1], witnessed_at=now() + 60)
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=60)
    with pytest.raises(KeyNotFound, match="has no credential"):
        await worker_of(shell)[0].run()
