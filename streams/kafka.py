"""Kafka clients with jurat's settings; with the other `kafka_*.py` all that imports aiokafka.

Rules upheld here: every reader is `read_committed`; every writer waits for all in-sync replicas; nobody commits
offsets automatically; names carry the namespace; every client uses the connection's security, and says why it was
refused, which the library keeps to itself. Not here: what is read or written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.partitioner import murmur2
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from jurat.streams import refused
from jurat.streams.connection import Connection
from jurat.streams.kafka_batches import pass_over_emptied_batches
from jurat.streams.kafka_consumer import Consumer
from jurat.streams.kafka_ending import STOP_S, hang_up, stop_quietly, to_its_end
from jurat.streams.kafka_errors import in_our_words
from jurat.streams.kafka_producer import MAX_REQUEST_BYTES, REQUEST_TIMEOUT_MS, Producer
from jurat.streams.kafka_security import client_security, start_client
from jurat.streams.refused import Operation, Resource

__all__ = [
    "MAX_REQUEST_BYTES",
    "STOP_S",
    "AIOKafkaAdminClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "ConfigResource",
    "ConfigResourceType",
    "Connection",
    "ConsumerRebalanceListener",
    "KafkaError",
    "KafkaRecord",
    "NewTopic",
    "OffsetAndMetadata",
    "TopicAlreadyExistsError",
    "TopicPartition",
    "TopicShape",
    "admin_client",
    "describe_topic_partitions",
    "describe_topic_shapes",
    "group_consumer",
    "idempotent_producer",
    "in_our_words",
    "partition_of_key",
    "record_of",
    "stop_quietly",
    "table_consumer",
    "transactional_producer",
]

pass_over_emptied_batches()

TRANSACTION_TIMEOUT_MS: Final = 15_000
"""An abandoned transaction hides everything behind it from every reader for this long."""

SESSION_TIMEOUT_MS: Final = 6_000
"""A dead worker's partitions move on after this long; the smallest that brokers allow by default."""

HEARTBEAT_MS: Final = 1_500
FETCH_MAX_WAIT_MS: Final = 100
METADATA_MAX_AGE_MS: Final = 10_000
"""A worker hears this soon that its topic was made anew; with the client's five minutes it would sit there."""

CONNECT_TIMEOUT_S: Final = 10.0
"""How long to try to reach any broker before saying so."""


@dataclass(frozen=True, slots=True)
class TopicShape:
    """How a topic is laid out.

    Attributes:
        partitions: how many it has.
        replicas: how many brokers hold each partition; of the partition with the fewest.
    """

    partitions: int
    replicas: int


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """One record as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of key, value, and names and values of headers: what the record costs in memory, roughly."""
        headers = sum(len(name.encode()) + len(value) for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


def record_of(record: ConsumerRecord[bytes, bytes]) -> KafkaRecord:
    """Take what we need of a client's record."""
    return KafkaRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple((name, value or b"") for name, value in record.headers),
    )


def partition_of_key(key: bytes | None, partitions: int) -> int:
    """The partition that every Kafka client's default partitioner chooses for a key; 0 for none."""
    return 0 if key is None else (murmur2(key) & 0x7FFFFFFF) % partitions


_SILENT: Final = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
"""What the client says of a broker that does not answer."""


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc]  # the client ships without types
    """An admin client that says why it may not connect, and never creates a topic by asking for it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(
            bootstrap_servers=connection.bootstrap_servers,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **client_security(connection),
        )
        self._connection = connection

    async def start(self) -> None:
        await start_client(super().start, self._connection)

    async def close(self) -> None:
        self._closed = True
        await to_its_end(hang_up(self._client))

    async def describe_topics(self, topics: Sequence[str] | None = None) -> Any:
        """What one broker knows; a topic that is new to it may be known to others, so that these are asked too."""
        described = {one["topic"]: one for one in await super().describe_topics(topics)}
        for broker in self._client.cluster.brokers():
            unknown = [
                name
                for name, one in described.items()
                if one["error_code"] == UnknownTopicOrPartitionError.errno
            ]
            if not unknown:
                break
            with suppress(*_SILENT):  # the others answer for it
                answer = await self._get_cluster_metadata(unknown, node_id=broker.nodeId)
                described |= {one["topic"]: one for one in answer.to_object()["topics"]}
        hidden = [
            name
            for name, one in described.items()
            if one["error_code"] == TopicAuthorizationFailedError.errno
        ]
        if hidden:
            raise refused.not_authorized(self._connection, Operation.DESCRIBE, Resource.TOPIC, hidden)
        return list(described.values())

    async def _get_cluster_metadata(
        self, topics: Sequence[str] | None = None, *, node_id: int | None = None
    ) -> Any:
        request = MetadataRequest(topics, allow_auto_topic_creation=False)
        try:
            return await self._send_request(request, node_id)
        except _SILENT:
            if node_id is not None:
                raise
            # Any broker may be asked; the client picks one that may have died since it heard of it.
            for broker in self._client.cluster.brokers():
                with suppress(*_SILENT):
                    return await self._send_request(request, broker.nodeId)
            raise


def group_consumer(connection: Connection, *, group: str) -> AIOKafkaConsumer:
    """A consumer for a worker: it joins a group, and offsets are committed in transactions only."""
    return Consumer(
        connection,
        group_id=connection.group(group),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )


def table_consumer(connection: Connection) -> AIOKafkaConsumer:
    """A consumer without a group: it assigns partitions itself and reads from where it is told."""
    return Consumer(
        connection,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


def idempotent_producer(connection: Connection) -> AIOKafkaProducer:
    """A producer whose retries write nothing twice."""
    return Producer(connection, enable_idempotence=True, linger_ms=5)


def transactional_producer(connection: Connection, *, transactional_id: str) -> AIOKafkaProducer:
    """A producer that fences every earlier one with the same transactional id."""
    return Producer(
        connection,
        transactional_id=connection.name(transactional_id),
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        max_batch_size=MAX_REQUEST_BYTES,
    )


@asynccontextmanager
async def admin_client(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for the time of a block.

    Raises:
        BrokerUnreachable: no broker answered.
        NotAuthenticated: the broker does not know us, or we do not trust it.
    """
    client = _Admin(connection)
    try:
        with in_our_words(connection):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.start()
            yield client
    finally:
        await client.close()


async def describe_topic_partitions(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each of these topics has; topics that do not exist are left out."""
    return {name: shape.partitions for name, shape in (await describe_topic_shapes(client, names)).items()}


async def describe_topic_shapes(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicShape]:
    """How each of these topics is laid out; topics that do not exist are left out.

    Raises:
        NotAuthorized: some of them may not be asked for.
    """
    if not names:
        return {}
    shapes: dict[str, TopicShape] = {}
    for topic in await client.describe_topics(list(names)):
        name, code = topic["topic"], topic["error_code"]
        if code not in (0, UnknownTopicOrPartitionError.errno):
            raise for_code(code)(name)
        if not code:
            replicas = min((len(partition["replicas"]) for partition in topic["partitions"]), default=0)
            shapes[name] = TopicShape(partitions=len(topic["partitions"]), replicas=replicas)
    return shapes
