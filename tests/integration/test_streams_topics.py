"""Topics on a real Kafka: created, compared, corrected, and never repartitioned."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jurat.cli.topics import declared
from jurat.schemas.errors import TopicMismatch
from jurat.streams import topics
from jurat.streams.kafka import (
    ConfigResource,
    ConfigResourceType,
    Connection,
    NewTopic,
    admin_client,
    describe_topic_partitions,
)
from jurat.streams.topic_admin import Change, ChangeKind, apply_topics, diff_topics, ensure_topics
from tests.command import Shell
from tests.runtime_stage import until

pytestmark = pytest.mark.integration
THEIRS = {"compression.type": "gzip", "segment.ms": "3600000"}
SOME = (topics.ORDERS, topics.AUDIT, topics.state("x"), topics.dead_letters("x"))


async def partitions(connection: Connection) -> dict[str, int]:
    async with admin_client(connection) as client:
        return await describe_topic_partitions(client, [connection.topic(topic.name) for topic in SOME])


async def make(connection: Connection, name: str, count: int) -> None:
    async with admin_client(connection) as client:
        await client.create_topics([NewTopic(connection.topic(name), count, 1)])


async def eventually(connection: Connection, *, differences: int) -> tuple[Change, ...]:
    """What differs; a setting reaches the broker a moment after the controller took it."""
    found: list[tuple[Change, ...]] = []

    async def so_many() -> bool:
        found.append(await diff_topics(connection, SOME))
        return len(found[-1]) == differences

    await until(so_many)
    return found[-1]


async def test_missing_topics_are_named_then_made_as_declared(shell: Shell) -> None:
    missing = await diff_topics(shell.connection, SOME)
    assert {(change.kind, change.topic) for change in missing} == {
        (ChangeKind.MISSING, shell.connection.topic(topic.name)) for topic in SOME
    }
    assert await apply_topics(shell.connection, SOME) == missing
    assert await diff_topics(shell.connection, SOME) == ()
    assert await apply_topics(shell.connection, SOME) == ()
    assert await ensure_topics(shell.connection, SOME) == ()


async def test_a_wrong_setting_is_corrected_and_ensure_leaves_it_alone(shell: Shell) -> None:
    connection = shell.connection
    await ensure_topics(connection, SOME)
    name = connection.topic(topics.AUDIT.name)
    async with admin_client(connection) as client:
        wrong = {"cleanup.policy": "delete", "retention.ms": "1000", "retention.bytes": "-1"} | THEIRS
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=wrong)])
    expected = (ChangeKind.SETTING, name, "retention.ms", "1000", "-1")
    assert await ensure_topics(connection, SOME) == ()
    found = await eventually(connection, differences=1)
    assert [(c.kind, c.topic, c.setting, c.found, c.wanted) for c in found] == [expected]
    assert await apply_topics(connection, SOME) == found
    assert await eventually(connection, differences=0) == ()
    async with admin_client(connection) as client:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    now = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert {key: now[key] for key in THEIRS} == THEIRS, "what an operator set is not ours to take back"


async def test_another_number_of_partitions_is_refused_and_nothing_is_changed(shell: Shell) -> None:
    connection = shell.connection
    await make(connection, topics.AUDIT.name, 2)
    name = connection.topic(topics.AUDIT.name)
    for change_topics in (apply_topics, ensure_topics):
        with pytest.raises(TopicMismatch, match="has 2, expected 6") as refused:
            await change_topics(connection, SOME)
        assert name in str(refused.value)
        assert refused.value.details == {"topics": [name]}
    assert await partitions(connection) == {name: 2}, "nothing else was made"
    changes = await diff_topics(connection, [topics.AUDIT])
    assert ChangeKind.PARTITIONS in {change.kind for change in changes}


async def test_two_that_ensure_at_once_both_succeed(shell: Shell) -> None:
    for round_number in range(4):
        tenant = replace(shell.connection, namespace=f"{shell.connection.namespace}.{round_number}")
        made = await asyncio.gather(*(ensure_topics(tenant, SOME) for _ in range(3)))
        assert await partitions(tenant) == {tenant.topic(topic.name): 6 for topic in SOME}
        assert {name for names in made for name in names} == set(await partitions(tenant))


def test_the_command_says_what_differs_and_what_it_did(shell: Shell) -> None:
    count = len(declared())
    before = shell.run("topics", "diff", expect=1)
    assert before.stdout.count(b"missing") == count
    applied = shell.run("topics", "apply").stdout.decode()
    assert applied.count("created") == count
    assert f"{count} topics are as declared" in applied
    assert f"{count} topics are as declared" in shell.run("topics", "diff").stdout.decode()
    asyncio.run(_shrink(shell))
    refused = shell.run("topics", "apply", expect=1)
    (line,) = refused.stderr.decode().splitlines()
    assert line.startswith("jurat: ")
    assert "commerce.orders has 1, expected 6" in line


async def _shrink(shell: Shell) -> None:
    name = shell.connection.topic(topics.ORDERS.name)
    async with admin_client(shell.connection) as client:
        await client.delete_topics([name])
        while name in await client.list_topics():  # noqa: ASYNC110 - Kafka says when
            await asyncio.sleep(0.05)
    await make(shell.connection, topics.ORDERS.name, 1)
