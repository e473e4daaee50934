"""The one module that imports aiokafka: connections, clients with jurat's settings, and its errors in our words.

Rules upheld here: every reader is `read_committed`; every writer waits for all in-sync replicas; nobody commits
offsets automatically; names carry the namespace. Not here: what is read or written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from jurat.schemas.errors import (
    BrokerUnreachable,
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    StreamError,
    TopicMissing,
)

__all__ = [
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
    "record_of",
    "stop_quietly",
    "table_consumer",
    "transactional_producer",
]

log = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_MS: Final = 15_000
"""An abandoned transaction hides everything behind it from every reader for this long."""

SESSION_TIMEOUT_MS: Final = 6_000
"""A dead worker's partitions move on after this long; the smallest that brokers allow by default."""

HEARTBEAT_MS: Final = 1_500
FETCH_MAX_WAIT_MS: Final = 100
METADATA_MAX_AGE_MS: Final = 10_000
"""A worker hears this soon that its topic was made anew; with the client's five minutes it would sit there."""

REQUEST_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_S: Final = 10.0
"""How long to try to reach any broker before saying so."""

STOP_S: Final = 5.0
"""How long a client may take to leave: less than what orchestrators wait before they kill."""

MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
"""As large as the largest record we write: a dead letter with its headers."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a Kafka cluster, and under which namespace.

    Attributes:
        bootstrap_servers: `host:port`, several separated by commas.
        namespace: prefix of every topic, group and transactional id; empty for none.
    """

    bootstrap_servers: str
    namespace: str = ""

    def name(self, plain: str) -> str:
        """A topic, group or transactional id with the namespace."""
        return f"{self.namespace}.{plain}" if self.namespace else plain

    def topic(self, plain: str) -> str:
        """A topic's full name."""
        return self.name(plain)

    def group(self, plain: str) -> str:
        """A consumer group's full name."""
        return self.name(plain)

    def plain(self, full: str) -> str:
        """A name without the namespace."""
        return full.removeprefix(f"{self.namespace}.") if self.namespace else full


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
        """Bytes of key and value: what the record costs in memory, roughly."""
        return len(self.key or b"") + len(self.value or b"")


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


def group_consumer(connection: Connection, *, group: str) -> AIOKafkaConsumer:
    """A consumer for a worker: it joins a group, and offsets are committed in transactions only."""
    return AIOKafkaConsumer(
        bootstrap_servers=connection.bootstrap_servers,
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
    return AIOKafkaConsumer(
        bootstrap_servers=connection.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


def idempotent_producer(connection: Connection) -> AIOKafkaProducer:
    """A producer whose retries write nothing twice."""
    return AIOKafkaProducer(
        bootstrap_servers=connection.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


def transactional_producer(connection: Connection, *, transactional_id: str) -> AIOKafkaProducer:
    """A producer that fences every earlier one with the same transactional id."""
    return AIOKafkaProducer(
        bootstrap_servers=connection.bootstrap_servers,
        acks="all",
        transactional_id=connection.name(transactional_id),
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        max_request_size=MAX_REQUEST_BYTES,
        max_batch_size=MAX_REQUEST_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


async def stop_quietly(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client within a bound, whatever the broker does: what matters was said before.

    A client whose broker is gone may raise, hang, or be ended by a cancellation of its own.
    """
    try:
        await asyncio.wait_for(client.stop(), STOP_S)
    except (KafkaError, TimeoutError, OSError) as error:
        log.info("a client did not stop cleanly: %r", error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # it is we who are cancelled


@asynccontextmanager
async def admin_client(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for the time of a block.

    Raises:
        BrokerUnreachable: no broker answered.
    """
    client = AIOKafkaAdminClient(
        bootstrap_servers=connection.bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    try:
        with in_our_words(connection):
            await asyncio.wait_for(client.start(), CONNECT_TIMEOUT_S)
            yield client
    finally:
        await client.close()


async def describe_topic_partitions(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each of these topics has; topics that do not exist are left out."""
    return {name: shape.partitions for name, shape in (await describe_topic_shapes(client, names)).items()}


async def describe_topic_shapes(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicShape]:
    """How each of these topics is laid out; topics that do not exist are left out."""
    existing = set(await client.list_topics())
    wanted = [name for name in names if name in existing]
    if not wanted:
        return {}
    described = await client.describe_topics(wanted)
    return {
        topic["topic"]: TopicShape(
            partitions=len(topic["partitions"]),
            replicas=min((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
        )
        for topic in described
    }


@contextmanager
def in_our_words(connection: Connection) -> Iterator[None]:
    """Turn the client's errors into ours, with what to do about them."""
    where = connection.bootstrap_servers
    try:
        yield
    except (KafkaConnectionError, TimeoutError) as error:
        raise BrokerUnreachable(
            f"got no answer from a Kafka broker at {where}; start one with `jurat broker up`, or check"
            " JURAT_BOOTSTRAP_SERVERS",
            bootstrap_servers=where,
        ) from error
    except UnknownTopicOrPartitionError as error:
        raise TopicMissing(
            f"a topic that is needed does not exist at {where}; run `jurat topics apply`"
        ) from error
    except (ProducerFenced, InvalidProducerEpoch) as error:
        raise PartitionFenced("another worker took this partition over") from error
    except MessageSizeTooLargeError as error:
        raise RecordTooLarge(f"the broker at {where} refused a record as too large: {error}") from error
    except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
        raise NotAuthorized(
            f"the broker at {where} does not authorize this: {error!r}; check the ACLs"
        ) from error
    except KafkaError as error:
        if error.retriable:
            raise BrokerUnreachable(
                f"the broker at {where} asks to be tried again later: {error!r}", bootstrap_servers=where
            ) from error
        raise StreamError(f"the broker at {where} answered with an error: {error!r}") from error
