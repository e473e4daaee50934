"""The notary on a real Kafka: what it signs is what stands there, across kills and beside another one; forks end it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit import checkpoint, history, merkle, note, origin, tiles, tlog_policy
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.history import History, WitnessedHead
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree
from jurat.audit.tlog_policy import TlogPolicy
from jurat.audit.witness import Witness
from jurat.audit.witness_store import WitnessStore
from jurat.cli.notary import command
from jurat.schemas.errors import LogForked, NoteInvalid
from jurat.streams import notary_cosigning, notary_leading, notary_partition, topics
from jurat.streams.committing import Transactions
from jurat.streams.kafka import TopicPartition, admin_client, idempotent_producer
from jurat.streams.metrics import Meters
from jurat.streams.notary import NotaryWorker
from jurat.streams.notary_reading import history as published_history
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.witness_http import WitnessServer
from tests.command import Shell
from tests.loopback import HOST
from tests.notary_kafka import (
    ORG,
    behind_the_offset,
    check,
    covered,
    grown,
    heads_of,
    notary_of,
    policy_for,
    signing,
    trees,
    write,
)
from tests.notary_stage import KEY, InMemoryWitness, policy_of, signed_by
from tests.runtime_stage import Thinking, delete, publish_many, running, until, worker_of

pytestmark = pytest.mark.integration

IDLE_S = 0.2
"""A notary ends by itself where it is at the end of its logs, has published all of them, and waited for so long."""


@asynccontextmanager
async def witnessed(folder: Path, logs: str) -> AsyncIterator[Path]:
    """Two witnesses over HTTP, and the policy that wants both."""
    lines, known = logs, tlog_policy.parse(f"{logs}quorum none\n".encode()).logs
    async with AsyncExitStack() as stack:
        for name in ("one.example", "two.example"):
            key = LogKey(merkle.leaf_hash(name.encode()))
            witness = Witness(name, key, [party.key for party in known])
            store = stack.enter_context(WitnessStore(folder / name, witness))
            server = WitnessServer(witness, store, clock=time.time)
            port = await stack.enter_async_context(server.listening(HOST, 0))
            short = name.removesuffix(".example")
            for kind, vkey in zip("em", key.witness_vkeys(name), strict=True):
                lines += f"witness {short}-{kind} {vkey} http://{HOST}:{port}\n"
            lines += f"group {short} any {short}-e {short}-m\n"
        policy = folder / "witnesses.policy"
        policy.write_text(f"{lines}group both all one two\nquorum both\n")
        yield policy


async def test_what_workers_wrote_is_signed_and_witnessed_across_kills_and_beside_another_notary(
    shell: Shell, tmp_path: Path
) -> None:
    await ensure_topics(shell.connection, [topics.AUDIT, topics.PAYMENTS, *topics.OF_THE_NOTARY])
    logs = await asyncio.to_thread(jurat, shell, "init", "--org", ORG)
    began = int(time.time())
    async with witnessed(tmp_path, logs) as file:
        policy = tlog_policy.parse(file.read_bytes())
        assert len(policy.logs) == 2 * topics.AUDIT.partitions
        before = await _sign_across_kills(shell, file, policy)
    found, heads = await trees(shell), await heads_of(shell, policy)
    check(heads, found)
    assert all(head.time is not None and began <= head.time <= time.time() for head in heads)
    for one in before:
        later = next(head for head in reversed(heads) if head.partition == one.partition)
        proof = found[one.partition].consistency(one.size, later.size)
        merkle.verify_consistency(one.size, later.size, one.root, later.root, proof)
    await _files_verify(shell, tmp_path, policy, found)


async def _sign_across_kills(shell: Shell, file: Path, policy: TlogPolicy) -> list[WitnessedHead]:
    """What was signed when the first notary was killed."""
    run = ("notary", "run", "--org", ORG, "--witness-policy", str(file))
    first, second = shell.start(*run), shell.start(*run)
    left = [second]
    try:
        async with running(worker_of(shell, Thinking())):
            await publish_many(shell, range(60), customers=20)
            await until(lambda: _some(shell), within_s=60)
            first.kill()
            first.wait()
            before = [head for head in await heads_of(shell, policy) if head.size]
            left.append(shell.start(*run))
            await publish_many(shell, range(60, 120), customers=20)
            await until(lambda: _all_covered(shell, 120), within_s=60)
    finally:
        first.kill()
        for process in left:
            process.send_signal(signal.SIGTERM)
        codes = [await asyncio.to_thread(process.wait, 60) for process in left]
    assert codes == [0, 0]
    return before


async def _some(shell: Shell) -> bool:
    return bool(await grown(shell))


async def _all_covered(shell: Shell, records: int) -> bool:
    sizes = {number: tree.size for number, tree in (await trees(shell)).items() if tree.size}
    return sum(sizes.values()) == records and await covered(shell, sizes)


async def _files_verify(shell: Shell, folder: Path, policy: TlogPolicy, found: dict[int, Tree]) -> None:
    kept = folder / "history.jsonl"
    await asyncio.to_thread(jurat, shell, "history", "--output", str(kept))
    read = History(policy)
    for number, line in enumerate(kept.read_bytes().splitlines(keepends=True), start=1):
        read.add(history.parse_line(line, number))
    assert {one: head.size for one, head in read.latest.items() if head.size} == {
        number: tree.size for number, tree in found.items() if tree.size
    }
    for _ in range(2):  # the second time, what stands there is compared
        await asyncio.to_thread(jurat, shell, "tiles", "--output", str(folder / "tiles"))
    places = list((folder / "tiles").rglob("checkpoint"))
    assert len(places) == len(read.latest)
    for place in places:
        seen = policy.check(place.read_bytes())
        tree = tiles.read(lambda path, at=place.parent: (at / path).read_bytes(), seen.head)  # type: ignore[misc]
        assert tree.root() == found[origin.parse(seen.head.origin).partition].root()
    place = next(one for one in places if found[origin.parse(_head(one).origin).partition].size > 1)
    entry = next(one for one in (place.parent / "tile" / "entries").rglob("*") if one.is_file())
    entry.write_bytes(entry.read_bytes()[::-1])
    with pytest.raises(LogForked, match="rewritten since"):
        await asyncio.to_thread(jurat, shell, "tiles", "--output", str(folder / "tiles"))


def jurat(shell: Shell, *words: str) -> str:
    """What `jurat notary` prints, in this process: starting another one takes longer than what it does."""
    done = CliRunner().invoke(
        command, words, env=shell.environment, catch_exceptions=False, standalone_mode=False
    )
    return done.stdout


def _head(place: Path) -> Checkpoint:
    return checkpoint.parse(note.parse(place.read_bytes()).text)


async def test_witnesses_sign_from_where_they_are(shell: Shell) -> None:
    """One is away, comes back and gets its proof, across restarts; what lacks the quorum is published all the same."""
    await ensure_topics(shell.connection, [topics.AUDIT])
    logs = await policy_for(shell, KEY)
    policy = replace(policy_of(("w1", "w2"), quorum="2"), logs=logs.logs)
    near, far = InMemoryWitness("w1"), InMemoryWitness("w2")
    await write(shell, range(10))
    await notary_of(shell, policy=policy, witnesses=(near, far), until_idle_s=IDLE_S).run()
    far.away = True
    await write(shell, range(10, 30))
    await notary_of(shell, policy=policy, witnesses=(near, far), until_idle_s=IDLE_S).run()
    assert await behind_the_offset(shell) == 10, "a proof for who is away begins there"
    far.away = False
    await write(shell, range(30, 35))
    await notary_of(shell, policy=policy, witnesses=(near, far), until_idle_s=IDLE_S).run()
    read = History(policy)
    heads = [read.add(signed) async for signed in published_history(shell.connection)]
    told = [None if head is None else head.size for head in heads]
    assert [size for size in told if size != 0] == [10, None, 35]
    assert held(near) == held(far)
    assert await behind_the_offset(shell) == 35
    check(await heads_of(shell, logs), await trees(shell))


async def test_a_witness_too_far_behind_is_led_back(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    await ensure_topics(shell.connection, [topics.AUDIT])
    monkeypatch.setattr(notary_partition, "MAX_KEPT_LEAVES", 20)
    monkeypatch.setattr(notary_cosigning, "AGAIN_S", 0.1)
    monkeypatch.setattr(notary_leading, "STEP_LEAVES", 15)
    near, far = InMemoryWitness("w1"), InMemoryWitness("w2")
    worker = notary_of(shell, policy=await policy_for(shell, KEY), witnesses=(near, far))
    async with signing(worker):
        await write(shell, range(5))
        await until(lambda: sizes_of(near) == sizes_of(far) == [5])
        far.away = True
        await write(shell, range(5, 65))
        await until(lambda: sizes_of(near) == [65])
        await until(behind_the_base(shell, 65))
        far.away, far.asked = False, []
        await until(lambda: sizes_of(far) == [65])
        assert {5, 20, 35, 50} <= set(far.asked)
        await write(shell, range(65, 70))
        await until(lambda: sizes_of(near) == sizes_of(far) == [70])
    assert held(near) == held(far)


def held(witness: InMemoryWitness) -> dict[str, Checkpoint]:
    """What it saw of logs that hold something."""
    return {name: head for name, head in witness.seen.items() if head.size}


def sizes_of(witness: InMemoryWitness) -> list[int]:
    return [head.size for head in held(witness).values()]


def behind_the_base(shell: Shell, size: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return await behind_the_offset(shell) == size

    return is_so


@pytest.fixture
async def signed(shell: Shell) -> Checkpoint:
    """A log of five records, whose notary has ended."""
    await ensure_topics(shell.connection, [topics.AUDIT])
    await write(shell, range(5))
    await notary_of(shell, until_idle_s=IDLE_S).run()
    (one,) = await grown(shell)
    assert one.head.size == 5
    return one.head


async def forge(shell: Shell, head: Checkpoint) -> None:
    """What somebody may do who has the key, and may write to the topic."""
    topic = shell.connection.topic(topics.CHECKPOINTS.name)
    async with idempotent_producer(shell.connection) as producer:
        await producer.send_and_wait(topic, signed_by(head), key=head.origin.encode(), partition=0)


async def move_offset(shell: Shell, by: int) -> None:
    """What somebody may do who may commit offsets of the group: what stands beside it stays as it was."""
    source = TopicPartition(shell.connection.topic(topics.AUDIT.name), 0)
    group = shell.connection.group(notary_partition.GROUP)
    async with admin_client(shell.connection) as client:
        at = (await client.list_consumer_group_offsets(group, partitions=[source]))[source]
    mover = Transactions(
        shell.connection, transactional_id="mover", group=notary_partition.GROUP, meters=Meters("mover")
    )
    await mover.fence()
    try:
        await mover.commit([], {source: (at.offset + by, at.metadata)})
    finally:
        await mover.stop()


async def test_an_offset_that_others_moved_leaves_no_record_out_and_another_key_signs_nothing(
    shell: Shell, signed: Checkpoint
) -> None:
    await write(shell, range(5, 8))
    await move_offset(shell, 2)
    await notary_of(shell, until_idle_s=IDLE_S).run()
    (one,) = await grown(shell)
    assert (one.head.size, one.head.root) == (8, (await trees(shell))[0].root())
    assert one.head.size > signed.size
    with pytest.raises(LogForked, match="or this is another key"):
        await notary_of(shell, until_idle_s=IDLE_S, key=LogKey(bytes(32))).run()


async def test_what_strangers_write_to_the_topics_stops_nobody(
    shell: Shell, signed: Checkpoint, tmp_path: Path
) -> None:
    async with idempotent_producer(shell.connection) as producer:
        for topic in topics.OF_THE_NOTARY:
            for key in (b"a stranger's", signed.origin.encode()):
                name = shell.connection.topic(topic.name)
                await producer.send_and_wait(name, b"nonsense", key=key, partition=0)
    (one,) = await grown(shell)
    assert one.head == signed
    kept = tmp_path / "history.jsonl"
    with pytest.raises(NoteInvalid, match="got 2 records that are no checkpoints"):
        await asyncio.to_thread(jurat, shell, "history", "--output", str(kept))
    heads = [
        checkpoint.parse(note.parse(history.parse_line(line, 1)).text)
        for line in kept.read_bytes().splitlines()
    ]
    assert [head for head in heads if head.size] == [signed]
    await write(shell, range(5, 8))
    await notary_of(shell, until_idle_s=IDLE_S).run()
    (one,) = await grown(shell)
    assert one.head.size == 8


async def test_a_fork_of_another_who_has_the_key_ends_that_log_and_no_other(
    shell: Shell, signed: Checkpoint
) -> None:
    worker = notary_of(shell)
    ended = signing(worker)
    await ended.__aenter__()
    await write(shell, range(5, 8))
    await until(lambda: covered(shell, {0: 8}))
    await forge(shell, replace(signed, root=bytes(32)))
    await write(shell, range(3), partition=1)
    await until(lambda: covered(shell, {0: 5, 1: 3}))
    await until(lambda: closed(worker) == [0])
    with pytest.raises(LogForked, match="somebody else has the key"):
        await ended.__aexit__(None, None, None)


def closed(worker: NotaryWorker) -> list[int]:
    status = worker._config.meters.status
    return [] if status is None else [one.partition for one in status.partitions if not one.open]


async def test_a_log_that_was_made_anew_is_refused(shell: Shell, signed: Checkpoint) -> None:
    await delete(shell, topics.AUDIT.name)
    await ensure_topics(shell.connection, [topics.AUDIT])
    await write(shell, range(100, 103))
    with pytest.raises(LogForked, match="its end was cut"):
        await notary_of(shell, until_idle_s=IDLE_S).run()
    await write(shell, range(103, 110))
    with pytest.raises(LogForked, match="rewritten"):
        await notary_of(shell, until_idle_s=IDLE_S).run()
    # What an operator may do then: begin another log of what there is, under another name.
    await notary_of(shell, until_idle_s=IDLE_S, org="b.example.com").run()
    sizes = {one.origin.org: one.head.size for one in await grown(shell)}
    assert sizes == {ORG: 5, "b.example.com": 10}
    check(await heads_of(shell, await policy_for(shell, KEY, org="b.example.com")), await trees(shell))
