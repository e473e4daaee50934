"""Creating and comparing topics: what is declared in `topics.py` against what the cluster has.

Rules upheld here: nothing is ever deleted; a topic's partitions and replicas are never changed; `ensure_topics` only
creates what is missing, `apply` also corrects settings, and keeps those of a topic that somebody else made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from jurat.agents.agent import Agent, ContextTable
from jurat.schemas.errors import StreamError, TopicMismatch
from jurat.streams import topics
from jurat.streams.kafka import (
    AIOKafkaAdminClient,
    ConfigResource,
    ConfigResourceType,
    Connection,
    NewTopic,
    admin_client,
    describe_topic_partitions,
    describe_topic_shapes,
    in_our_words,
)
from jurat.streams.refused import Operation, Resource, not_authorized
from jurat.streams.topic_checks import check_joined
from jurat.streams.topics import Topic

MAX_REPLICATION: Final = 3
"""Three replicas survive the loss of one broker while two still agree; more costs writes and gains little."""

TOPIC_ALREADY_EXISTS: Final = 36
NOT_ALLOWED: Final = (29, 31)
"""Kafka's TOPIC_AUTHORIZATION_FAILED and CLUSTER_AUTHORIZATION_FAILED."""

SOURCES_SINCE_VERSION: Final = 1
"""Of DescribeConfigs responses: the first that tells where a setting comes from."""

SET_ON_TOPIC: Final = 1
"""Kafka's DYNAMIC_TOPIC_CONFIG: the source of a setting that was made for this topic, not inherited."""

VISIBLE_ATTEMPTS: Final = 50
VISIBLE_WAIT_S: Final = 0.1
"""A new topic reaches every broker within five seconds, or something is wrong."""


class ChangeKind(StrEnum):
    """What differs between declaration and cluster."""

    MISSING = "missing"
    SETTING = "setting"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    """Fewer replicas than the cluster could hold; only told: moving data is the operator's choice."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `wanted` is what the declaration says, `found` what the cluster has."""

    kind: ChangeKind
    topic: str
    setting: str
    found: str
    wanted: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """A topic's setting: `own` when it was made for this topic, not inherited."""

    value: str | None
    own: bool


async def diff_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[Change, ...]:
    """Compare the declared topics with the cluster's."""
    async with admin_client(connection) as client:
        return await _diff(client, connection, topics)


async def apply_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[Change, ...]:
    """Create missing topics and correct settings; other settings made for a topic stay as they are.

    Returns:
        What was changed, and topics with few replicas (`ChangeKind.REPLICATION`), which were left as they are.

    Raises:
        TopicMismatch: a topic has another number of partitions; nothing is changed then.
        NotAuthorized: an ACL is missing; the message names it.
        StreamError: the broker refused, or does not tell which settings were made for a topic.
    """
    async with admin_client(connection) as client:
        changes = await _diff(client, connection, topics)
        _refuse_partitions(changes)
        await _create(client, connection, _missing(connection, topics, changes))
        declared: dict[str, dict[str, str]] = {}
        for change in changes:
            if change.kind is ChangeKind.SETTING:
                declared.setdefault(change.topic, {})[change.setting] = change.wanted
        for name, wanted in declared.items():
            await _alter(client, connection, name, wanted)
        return changes


async def ensure_agent_topics(connection: Connection, agent: Agent[Any]) -> tuple[str, ...]:
    """Create what is missing of the topics that an agent reads and writes.

    An input topic that exists may have any number of partitions: what belongs to each of them is laid out like it.

    Returns:
        The full names of the topics that were created.

    Raises:
        TopicMismatch: a topic has another number of partitions than that, or what is joined by key has; nothing is
            created then.
        NotAuthorized: topics may not be asked for, or one is missing and may not be created.
    """
    read = {agent.topic, topics.POLICIES.name, *(name for view in agent.views for name in view.topics)}
    shared = {topic.name: topic for topic in topics.shared() if topic.name in read}
    input_topic = connection.topic(agent.topic)
    async with admin_client(connection) as client:
        found = await describe_topic_partitions(client, [input_topic])
    if input_topic in found:
        shared.pop(agent.topic, None)
        count = found[input_topic]
    else:
        count = shared[agent.topic].partitions if agent.topic in shared else topics.DEFAULT_PARTITIONS
    joined = {name for view in agent.views if isinstance(view, ContextTable) for name in view.topics} - {
        agent.topic
    }
    if joined:
        full = {name: connection.topic(name) for name in joined}
        async with admin_client(connection) as client:
            there = await describe_topic_partitions(client, sorted(full.values()))
        counts = {name: there.get(name, shared[plain].partitions) for plain, name in full.items()}
        check_joined(
            input_topic,
            {input_topic: count, **counts},
            views=[view.name for view in agent.views if isinstance(view, ContextTable)],
        )
    own = [
        topic if topic in topics.OF_ALL_AGENTS else replace(topic, partitions=count)
        for topic in topics.of_agent(agent.name)
    ]
    return await ensure_topics(connection, [*shared.values(), *own])


async def ensure_topics(connection: Connection, topics: Sequence[Topic]) -> tuple[str, ...]:
    """Create those of the topics that do not exist yet; leave the others as they are.

    Returns:
        The full names of the topics that were created.

    Needs the ACL Create only where something is missing.

    Raises:
        TopicMismatch: a topic has another number of partitions than declared.
        NotAuthorized: a topic may not be asked for, or is missing and may not be created.
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
    found = await describe_topic_shapes(client, names)
    possible = await _replication(client)
    settings = await _settings(client, connection, sorted(found))
    changes: list[Change] = []
    for topic in topics:
        name = connection.topic(topic.name)
        shape = found.get(name)
        changes += _compare_partitions(connection, topic, None if shape is None else shape.partitions)
        if shape is None:
            continue
        # Of its own replicas: brokers that came later, or are down now, hold none of it.
        changes += [
            Change(ChangeKind.SETTING, name, key, found_value, wanted)
            for key, wanted in sorted(topic.configs(replication=shape.replicas).items())
            if (found_value := _value(settings[name], key)) != wanted
        ]
        if shape.replicas < possible:
            changes.append(
                Change(ChangeKind.REPLICATION, name, "replicas", str(shape.replicas), str(possible))
            )
    return tuple(changes)


def _value(settings: Mapping[str, _Setting], key: str) -> str:
    return (settings[key].value if key in settings else None) or ""


async def _replication(client: AIOKafkaAdminClient) -> int:
    return min(MAX_REPLICATION, len((await client.describe_cluster())["brokers"]))


async def _settings(
    client: AIOKafkaAdminClient, connection: Connection, names: Sequence[str]
) -> dict[str, dict[str, _Setting]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    settings: dict[str, dict[str, _Setting]] = {}
    for response in await client.describe_configs(resources):
        if response.API_VERSION < SOURCES_SINCE_VERSION:
            raise StreamError(
                f"the broker answers DescribeConfigs in version {response.API_VERSION}, expected"
                f" {SOURCES_SINCE_VERSION} or later (Kafka 1.1), which tells where a setting comes from"
            )
        for resource in response.resources:
            code, message, _kind, name, entries = resource[:5]
            if code in NOT_ALLOWED:
                raise not_authorized(connection, Operation.DESCRIBE_CONFIGS, Resource.TOPIC, names)
            if code:
                raise StreamError(f"the broker does not show the settings of {name}: error {code} {message}")
            # Name, value, read only, source, sensitive, and from here on synonyms.
            settings[name] = {
                entry[0]: _Setting(value=entry[1], own=entry[3] == SET_ON_TOPIC) for entry in entries
            }
    return settings


async def _alter(
    client: AIOKafkaAdminClient, connection: Connection, name: str, wanted: Mapping[str, str]
) -> None:
    # The request replaces every setting of the topic (the client has no incremental one), so that what somebody
    # else set goes into it too.
    configs: dict[str, str] = {}
    for key, setting in (await _settings(client, connection, [name]))[name].items():
        if setting.own and key not in wanted:
            if setting.value is None:
                raise StreamError(
                    f"the broker hides the value of {key} of {name}, so that setting {', '.join(sorted(wanted))} would"
                    " lose it; remove that setting, or make the change with kafka-configs --alter",
                    topic=name,
                )
            configs[key] = setting.value
    configs |= wanted
    response = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
    for answer in response:
        for code, message, *_rest in answer.resources:
            if code in NOT_ALLOWED:
                raise not_authorized(connection, Operation.ALTER_CONFIGS, Resource.TOPIC, [name])
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
        refused = [name for name, code, *_message in response.topic_errors if code in NOT_ALLOWED]
        if refused:
            raise not_authorized(connection, Operation.CREATE, Resource.TOPIC, refused)
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
