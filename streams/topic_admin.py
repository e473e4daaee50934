"""Creating and comparing topics: what is declared in `topics.py` against what the cluster has.

Rules upheld here: nothing is ever deleted; a topic's partitions are never changed; `ensure_topics` only creates what
is missing, `apply` also corrects settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams.kafka import (
    AIOKafkaAdminClient,
    ConfigResource,
    ConfigResourceType,
    Connection,
    NewTopic,
    admin_client,
    describe_topic_partitions,
    in_our_words,
)
from jurat.streams.topics import Topic

MAX_REPLICATION: Final = 3
"""Three replicas survive the loss of one broker while two still agree; more costs writes and gains little."""

TOPIC_ALREADY_EXISTS: Final = 36
VISIBLE_ATTEMPTS: Final = 50
VISIBLE_WAIT_S: Final = 0.1
"""A new topic reaches every broker within five seconds, or something is wrong."""


class ChangeKind(StrEnum):
    """What differs between declaration and cluster."""

    MISSING = "missing"
    SETTING = "setting"
    PARTITIONS = "partitions"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `wanted` is what the declaration says, `found` what the cluster has."""

    kind: ChangeKind
    topic: str
    setting: str
    found: str
    wanted: str


async def diff_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[Change, ...]:
    """Compare the declared topics with the cluster's."""
    async with admin_client(connection) as client:
        return await _diff(client, connection, topics)


async def apply_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[Change, ...]:
    """Create missing topics and correct settings.

    Returns:
        What was changed.

    Raises:
        TopicMismatch: a topic has another number of partitions; nothing is changed then.
    """
    async with admin_client(connection) as client:
        changes = await _diff(client, connection, topics)
        _refuse_partitions(changes)
        await _create(client, connection, _missing(connection, topics, changes))
        wrong = {change.topic for change in changes if change.kind is ChangeKind.SETTING}
        replication = await _replication(client)
        for topic in topics:
            name = connection.topic(topic.name)
            if name in wrong:
                await _alter(client, name, topic.configs(replication=replication))
        return changes


async def ensure_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[str, ...]:
    """Create those of the topics that do not exist yet; leave the others as they are.

    Returns:
        The full names of the topics that were created.

    Raises:
        TopicMismatch: a topic has another number of partitions than declared.
    """
    async with admin_client(connection) as client:
        names = [connection.topic(topic.name) for topic in topics]
        found = await describe_topic_partitions(client, names)
        changes = [
            change
            for topic in topics
            for change in _compare_partitions(connection, topic, found.get(connection.topic(topic.name)))
        ]
        _refuse_partitions(changes)
        missing = _missing(connection, topics, changes)
        await _create(client, connection, missing)
        return tuple(connection.topic(topic.name) for topic in missing)


def _compare_partitions(connection: Connection, topic: Topic, found: int | None) -> list[Change]:
    name = connection.topic(topic.name)
    if found is None:
        return [Change(ChangeKind.MISSING, name, "partitions", "", str(topic.partitions))]
    if found != topic.partitions:
        return [Change(ChangeKind.PARTITIONS, name, "partitions", str(found), str(topic.partitions))]
    return []


def _refuse_partitions(changes: Sequence[Change]) -> None:
    wrong = [change for change in changes if change.kind is ChangeKind.PARTITIONS]
    if wrong:
        said = ", ".join(f"{change.topic} has {change.found}, expected {change.wanted}" for change in wrong)
        raise TopicMismatch(
            f"topics with another number of partitions than declared: {said}; jurat does not repartition, as keys"
            " would move: use another namespace, or recreate the topic if its data may go",
            topics=[change.topic for change in wrong],
        )


def _missing(connection: Connection, topics: Sequence[Topic], changes: Sequence[Change]) -> list[Topic]:
    names = {change.topic for change in changes if change.kind is ChangeKind.MISSING}
    return [topic for topic in topics if connection.topic(topic.name) in names]


async def _diff(
    client: AIOKafkaAdminClient, connection: Connection, topics: Sequence[Topic]
) -> tuple[Change, ...]:
    names = [connection.topic(topic.name) for topic in topics]
    found = await describe_topic_partitions(client, names)
    replication = await _replication(client)
    settings = await _settings(client, sorted(found))
    changes: list[Change] = []
    for topic in topics:
        name = connection.topic(topic.name)
        changes += _compare_partitions(connection, topic, found.get(name))
        if name in found:
            changes += [
                Change(ChangeKind.SETTING, name, key, settings[name].get(key, ""), wanted)
                for key, wanted in sorted(topic.configs(replication=replication).items())
                if settings[name].get(key, "") != wanted
            ]
    return tuple(changes)


async def _replication(client: AIOKafkaAdminClient) -> int:
    return min(MAX_REPLICATION, len((await client.describe_cluster())["brokers"]))


async def _settings(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    settings: dict[str, dict[str, str]] = {}
    for response in await client.describe_configs(resources):
        for resource in response.resources:
            code, message, _kind, name, entries = resource[:5]
            if code:
                raise StreamError(f"the broker does not show the settings of {name}: error {code} {message}")
            settings[name] = {entry[0]: entry[1] for entry in entries}
    return settings


async def _alter(client: AIOKafkaAdminClient, name: str, configs: dict[str, str]) -> None:
    response = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
    for answer in response:
        for code, message, *_rest in answer.resources:
            if code:
                raise StreamError(f"the broker refused the settings of {name}: error {code} {message}")


async def _create(client: AIOKafkaAdminClient, connection: Connection, topics: Sequence[Topic]) -> None:
    if not topics:
        return
    replication = await _replication(client)
    wanted = [
        NewTopic(
            connection.topic(topic.name),
            topic.partitions,
            replication,
            topic_configs=topic.configs(replication=replication),
        )
        for topic in topics
    ]
    with in_our_words(connection):
        response = await client.create_topics(wanted)
        for name, code, *message in response.topic_errors:
            # Somebody else created it in between: that is what was wanted.
            if code not in (0, TOPIC_ALREADY_EXISTS):
                raise StreamError(f"the broker did not create {name}: error {code} {message}", topic=name)
        for _attempt in range(VISIBLE_ATTEMPTS):
            found = await describe_topic_partitions(client, [topic.name for topic in wanted])
            if len(found) == len(wanted):
                return
            await asyncio.sleep(VISIBLE_WAIT_S)
    raise StreamError(
        f"topics were created but are not visible after {VISIBLE_ATTEMPTS * VISIBLE_WAIT_S:.0f} s"
    )
