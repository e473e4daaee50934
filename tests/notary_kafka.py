"""Notaries in this process on a real Kafka: made-up records, what was signed, and whether it is of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jurat.audit import checkpoint, note, tlog_policy
from jurat.audit.history import History, WitnessedHead
from jurat.audit.log import LogEntry
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree
from jurat.audit.notary import parse_resume
from jurat.audit.origin import Origin
from jurat.audit.tlog_policy import NONE, TlogPolicy
from jurat.schemas.codec import encode
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.streams import topics
from jurat.streams.audit_entries import entry_of
from jurat.streams.kafka import TopicPartition, admin_client, idempotent_producer
from jurat.streams.metrics import Meters
from jurat.streams.notary import NotaryConfig, NotaryWorker
from jurat.streams.notary_reading import Published, history, latest_checkpoints
from jurat.streams.replay import replay
from tests.command import Shell
from tests.notary_stage import KEY, TIME, InMemoryWitness

ORG = "example.com"
NOBODY = TlogPolicy((), {}, {}, NONE)


def notary_of(
    shell: Shell,
    *,
    policy: TlogPolicy = NOBODY,
    witnesses: tuple[InMemoryWitness, ...] = (),
    until_idle_s: float | None = None,
    org: str = ORG,
    key: LogKey = KEY,
) -> NotaryWorker:
    config = NotaryConfig(
        org=org,
        key=key,
        policy=policy,
        witnesses=witnesses,
        clock=lambda: TIME,
        until_idle_s=until_idle_s,
        meters=Meters("notary"),
    )
    return NotaryWorker(shell.connection, config)


def record(number: int) -> SignedRecord:
    return SignedRecord(
        chain="made-up/topic/0",
        payload_type="application/vnd.in-toto+json",
        payload=b"%d" % number,
        signatures=(Signature(keyid="did:key:z6Mk", sig=bytes(64)),),
    )


async def write(shell: Shell, numbers: range, *, partition: int = 0) -> None:
    """Records of nobody: a notary does not look at signatures."""
    topic = shell.connection.topic(topics.AUDIT.name)
    async with idempotent_producer(shell.connection) as producer:
        sent = [await producer.send(topic, encode(record(n)), partition=partition) for n in numbers]
        await asyncio.gather(*sent)


async def trees(shell: Shell) -> dict[int, Tree]:
    """The trees of the log, built here."""
    found = {number: Tree() for number in range(topics.AUDIT.partitions)}
    async for one in replay(shell.connection, [shell.connection.topic(topics.AUDIT.name)]):
        entry = entry_of(one, None)
        assert isinstance(entry, LogEntry)
        found[one.partition].append(entry.leaf())
    return found


async def policy_for(shell: Shell, key: LogKey, *, org: str = ORG) -> TlogPolicy:
    async with admin_client(shell.connection) as client:
        cluster_id = (await client.describe_cluster())["cluster_id"]
    topic = shell.connection.topic(topics.AUDIT.name)
    names = [str(Origin(org, cluster_id, topic, number)) for number in range(topics.AUDIT.partitions)]
    lines = [f"log {vkey}\n" for name in names for vkey in key.log_vkeys(name)]
    return tlog_policy.parse("".join([*lines, "quorum none\n"]).encode())


async def heads_of(shell: Shell, policy: TlogPolicy) -> list[WitnessedHead]:
    """The history, read as an auditor reads it."""
    read, heads = History(policy), []
    named = {party.key.name for party in policy.logs}
    async for signed in history(shell.connection):
        head = read.add(signed)
        if checkpoint.parse(note.parse(signed).text).origin in named:
            assert head is not None
            heads.append(head)
    return heads


def check(heads: list[WitnessedHead], found: dict[int, Tree], *, whole: bool = True) -> None:
    """Every head is of the tree that was built beside, and the last ones of all of it."""
    for head in heads:
        assert head.root == found[head.partition].root(head.size), head
    if whole:
        last = {head.partition: head.size for head in heads if head.size}
        assert last == {number: tree.size for number, tree in found.items() if tree.size}


async def grown(shell: Shell) -> list[Published]:
    """The latest checkpoints of logs that hold something: an empty log has one, too."""
    return [one for one in await latest_checkpoints(shell.connection) if one.head.size]


async def covered(shell: Shell, sizes: dict[int, int]) -> bool:
    return {one.origin.partition: one.head.size for one in await grown(shell)} == sizes


async def behind_the_offset(shell: Shell) -> int:
    """How many leaves the group's offset stands behind."""
    source = TopicPartition(shell.connection.topic(topics.AUDIT.name), 0)
    async with admin_client(shell.connection) as client:
        found = await client.list_consumer_group_offsets(
            shell.connection.group("notary"), partitions=[source]
        )
    at = found[source]
    return parse_resume(at.metadata, offset=at.offset, key=KEY)[1].size


@asynccontextmanager
async def signing(worker: NotaryWorker) -> AsyncIterator[None]:
    """A notary for the length of a block."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait({task}, timeout=60)
    await task
