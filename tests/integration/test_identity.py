"""From a root to a worker's session on a real Kafka: issued, used, verified with the root alone; and revoked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from jurat.audit import dsse
from jurat.audit.credential import AgentCredential, Issuer, Revocation, print_seconds
from jurat.audit.credential_issue import issue, request
from jurat.audit.identity import EMPTY_HEAD, TrustHead
from jurat.audit.key_store import KeyKind, load_key
from jurat.audit.keys import Signer
from jurat.audit.record import DecisionRecord, parse
from jurat.audit.standing import Standing, standing
from jurat.audit.trust_log import TrustLog
from jurat.schemas.codec import decode
from jurat.schemas.envelope import SignedRecord
from jurat.schemas.errors import ConfigurationError, CredentialInvalid, KeyNotFound, SignatureInvalid
from jurat.streams import topics
from jurat.streams.kafka import idempotent_producer
from jurat.streams.replay import replay
from jurat.streams.trust_session import SessionKeeper, needs
from jurat.streams.trust_topic import TrustRead, publish_statements, read_trust
from jurat.streams.worker import Worker, WorkerConfig
from tests.command import Shell
from tests.runtime_stage import ALLOWS, EAGER, PLAIN, Sent, Thinking, failed, prepare, publish, until
from tests.trust_stage import key, root, signed

pytestmark = pytest.mark.integration

NAME = PLAIN.name
ROOT = signed(root(EMPTY_HEAD), "alice", "bob")


def stamp(**offset: float) -> str:
    return print_seconds(datetime.now(UTC) + timedelta(**offset))


async def issuer(after: TrustHead, log: TrustLog) -> Issuer:
    asked = await request("issuer", key("issuer"), name="payments", parent=log.root[1])
    return Issuer(
        after=after, not_before=stamp(hours=-1), expiry=stamp(days=300), **asked.model_dump(exclude={"type"})
    )


async def credential(shell: Shell, signer: Signer, found: TrustRead, **changed: Any) -> AgentCredential:
    parent = next(one.digest for one in found.log.statements if isinstance(one.statement, Issuer))
    asked = await request("agent", signer, name=NAME, parent=parent)
    return AgentCredential(
        after=found.log.head,
        not_before=stamp(minutes=-30),
        expiry=stamp(days=30),
        owner="team@acme",
        scope=needs(PLAIN, shell.connection).model_copy(update=changed),
        **asked.model_dump(exclude={"type"}),
    )


async def publish_one(shell: Shell, statement: Any, *names: str) -> TrustRead:
    line = await issue(statement, [key(name) for name in names])
    return await publish_statements(shell.connection, ROOT, [line])


def worker_of(shell: Shell, signer: Signer) -> Worker:
    config = WorkerConfig(
        agent=PLAIN,
        reasoner=Thinking(),
        engine=ALLOWS,
        signer=signer,
        clock=lambda: datetime.now(UTC),
        code="jurat test",
        retry=EAGER,
        session=SessionKeeper(shell.connection, PLAIN, signer=signer, root=ROOT),
    )
    return Worker(shell.connection, config)


async def records(shell: Shell) -> list[tuple[SignedRecord, DecisionRecord]]:
    found = []
    async with aclosing(replay(shell.connection, [shell.connection.topic(topics.AUDIT.name)])) as log:
        async for record in log:
            envelope = cast("SignedRecord", decode(record.value or b""))
            found.append((envelope, parse(envelope.payload).predicate))
    return found


async def test_a_workers_records_verify_with_the_root_alone(shell: Shell) -> None:
    await prepare(shell)
    signer = load_key(shell.keys, NAME, KeyKind.AGENT)
    found = await publish_statements(shell.connection, ROOT, [ROOT])
    with pytest.raises(KeyNotFound, match="has no credential"):
        await worker_of(shell, signer).run()
    found = await publish_one(shell, await issuer(found.log.head, found.log), "alice", "carol")
    narrow = await credential(shell, signer, found, inputs=(shell.connection.topic(PLAIN.topic),))
    found = await publish_one(shell, narrow, "issuer")
    with pytest.raises(ConfigurationError, match=r"does not allow the inputs .*timers"):
        await worker_of(shell, signer).run()
    found = await publish_one(shell, await credential(shell, signer, found), "issuer")

    producer = idempotent_producer(shell.connection)
    await producer.start()
    await producer.send_and_wait(shell.connection.topic(topics.TRUST.name), b"garbage")
    await producer.stop()

    worker = worker_of(shell, signer)
    task = asyncio.create_task(worker.run())
    try:
        await publish(shell, [Sent(failed(number, f"c-{number}"), f"e-{number}") for number in range(20)])
        await until(lambda: worker.committed_records == 20)

        read = await read_trust(shell.connection, ROOT)
        assert [one.offset for one in read.refused] == [4]
        trust = read.log.trust()
        (session,) = trust.keys
        assert session.keyid != signer.keyid
        for envelope, record in await records(shell):
            assert dsse.verify(envelope, trust).key == session
            assert standing(session, record, witnessed_at=int(datetime.now(UTC).timestamp())) is Standing.GOOD
            assert standing(session, record, witnessed_at=None) is Standing.UNPROVEN
        assert len(await records(shell)) == 20
        cut = TrustLog(ROOT)
        for line in read.lines[:-1]:
            cut.add(line)
        with pytest.raises(SignatureInvalid, match="unknown key"):
            dsse.verify((await records(shell))[0][0], cut.trust())

        revoked = Revocation(
            after=read.log.head,
            compromised_since=None,
            effective=stamp(),
            keyid=signer.keyid,
            reason="the laptop was lost",
        )
        after = await publish_one(shell, revoked, "issuer")
        with pytest.raises(CredentialInvalid, match="was revoked"):
            await asyncio.wait_for(task, 30)
        (session,) = after.log.trust().keys
        _envelope, record = (await records(shell))[0]
        with pytest.raises(CredentialInvalid, match="was revoked"):
            standing(session, record, witnessed_at=int(datetime.now(UTC).timestamp()) + 60)
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=30)
    with pytest.raises(KeyNotFound, match="has no credential"):
        await worker_of(shell, signer).run()
