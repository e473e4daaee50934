"""Publishing bundles and activating them: the writer's side of the topic of policies.

The protocol of a change (the numbers come back in the code):

1. **Fence.** A producer with the transactional id `policies` starts: whoever else is at it can commit nothing from now
   on, and what they left open is aborted.
2. **Read** the topic to its end. Only we can add to it now, so what we read is all.
3. **Check.** A bundle that is there is not written again. An activation is one of a bundle that is there, and that is
   fit to judge; where nothing would change, nothing is written.
4. **Write** one signed record in one transaction. Its `seq` is one above the one that holds.

Rules upheld here: nothing is signed that a reader would refuse: the key must be trusted, here, for policies. Not here:
what readers check (`policy_log.py`), what workers make of it (`policy_feed.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from jurat.audit.dsse import seal
from jurat.audit.keys import Purpose, Signer, Trust
from jurat.policies.cedar_schema import ActionDeclaration
from jurat.policies.publication import (
    ACTIVATION_TYPE,
    BUNDLE_TYPE,
    Activation,
    PublishedBundle,
    bundle_key,
    parse_bundle,
    print_activation,
    print_bundle,
)
from jurat.policies.trial import try_bundle
from jurat.schemas.errors import (
    AuditError,
    BundleError,
    ConfigurationError,
    PartitionFenced,
    PolicyError,
    StreamError,
)
from jurat.schemas.moments import print_moment
from jurat.streams import topics
from jurat.streams.kafka import (
    AIOKafkaProducer,
    Connection,
    KafkaRecord,
    TopicPartition,
    admin_client,
    in_our_words,
    stop_quietly,
    transactional_producer,
)
from jurat.streams.policy_log import PolicyLog
from jurat.streams.reading import partitions_of, read_to_end
from jurat.streams.topic_admin import ensure_topics

TRANSACTIONAL_ID: Final = "policies"

WRITE_S: Final = 30.0
"""How long a write may take: the client itself tries for ever."""

MAX_REFUSED_TOLD: Final = 20
"""Records that were refused, as far as they are told one by one; the others are counted."""


class Mode(StrEnum):
    """What an activated bundle does."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that must not be obeyed, and why."""

    offset: int
    error: AuditError | PolicyError

    def __str__(self) -> str:
        return f"offset {self.offset}: {type(self.error).__name__}: {self.error}"


@dataclass(slots=True)
class Survey:
    """What stands on the topic.

    Attributes:
        bundles: the digests of the bundles that verify.
        wanted: the bundle that was asked for, if it is there.
        refused: records that do not verify, the first of them.
        refusals: how many there are.
    """

    log: PolicyLog
    bundles: set[str] = field(default_factory=set)
    wanted: PublishedBundle | None = None
    refused: list[Refused] = field(default_factory=list)
    refusals: int = 0

    def take(self, record: KafkaRecord, trust: Trust, *, wanted: str | None = None) -> None:
        """Read one record; what is refused is kept beside."""
        try:
            taken = self.log.take(record, trust)
        except (AuditError, PolicyError) as error:
            self.refusals += 1
            if len(self.refused) < MAX_REFUSED_TOLD:
                self.refused.append(Refused(record.offset, error))
            return
        if isinstance(taken, PublishedBundle):
            self.bundles.add(taken.digest)
            if taken.digest == wanted:
                self.wanted = taken


def policies_partition(connection: Connection) -> TopicPartition:
    """Where policies stand."""
    return TopicPartition(connection.topic(topics.POLICIES.name), 0)


async def survey(connection: Connection, trust: Trust, *, wanted: str | None = None) -> Survey:
    """Read the topic to its end.

    Args:
        connection: the cluster and namespace.
        trust: who may sign policies.
        wanted: digest of a bundle to bring along.

    Raises:
        TopicMissing: there is no topic of policies.
        StreamError: Kafka refused.
    """
    await partitions_of(connection, [policies_partition(connection).topic])
    async with admin_client(connection) as client:
        cluster_id = (await client.describe_cluster())["cluster_id"]
    return await read_survey(connection, trust, cluster_id=cluster_id, wanted=wanted)


async def read_survey(
    connection: Connection, trust: Trust, *, cluster_id: str, wanted: str | None = None
) -> Survey:
    """As `survey`, where the cluster's id is known and the topic is there."""
    where = policies_partition(connection)
    found = Survey(PolicyLog(cluster_id=cluster_id, topic=where.topic))
    async with aclosing(read_to_end(connection, [where])) as records:
        async for record in records:
            found.take(record, trust, wanted=wanted)
    return found


async def enforced(connection: Connection, trust: Trust, name: str) -> tuple[PublishedBundle | None, int]:
    """The bundle that is active under a name; None where workers judge by the one that comes with them.

    Returns:
        The bundle, and how many records do not verify under this trust: another one may be active by them.

    Raises:
        TopicMissing: there is no topic of policies.
        BundleError: it is not on the topic, so that no worker can take it.
        StreamError: Kafka refused.
    """
    surveyed = await survey(connection, trust)
    newest = surveyed.log.newest(name)
    if newest is None or newest.activation.enforce is None:
        return None, surveyed.refusals
    digest = newest.activation.enforce
    found = await survey(connection, trust, wanted=digest)
    if found.wanted is None:
        raise BundleError(f"{name} {digest} is active, but its bundle is not on the topic: publish it again")
    return found.wanted, surveyed.refusals


class PolicyPublisher:
    """One person at work on the policies of a cluster.

    Args:
        connection: the cluster and namespace.
        signer: the key that signs.
        trust: the trusted keys; the signer's is one of them.

    Raises:
        KeyNotFound: the key is not trusted for policies.
    """

    def __init__(self, connection: Connection, *, signer: Signer, trust: Trust) -> None:
        self._by = trust.find(signer.keyid, purpose=Purpose.POLICIES).agent
        self._connection = connection
        self._signer = signer
        self._trust = trust

    async def publish(self, files: Mapping[str, bytes]) -> bool:
        """Publish a bundle that loads.

        Returns:
            Whether it was written; False where it stood there already.

        Raises:
            BundleError: it is too large for one record.
            PartitionFenced: somebody else began to publish or activate, and goes on.
            StreamError: Kafka refused.
        """
        payload = print_bundle(files)
        digest = parse_bundle(payload).digest
        async with self._change(digest) as change:  # 1, 2
            if change.found.wanted is not None:  # 3
                return False
            sealed = await seal(payload, self._signer, payload_type=BUNDLE_TYPE)
            await change.write(bundle_key(digest), sealed)  # 4
        return True

    async def activate(
        self,
        name: str,
        digest: str,
        *,
        mode: Mode,
        agents: Mapping[str, Iterable[ActionDeclaration]],
        at: datetime,
    ) -> tuple[Activation, bool]:
        """Activate a bundle that was published.

        Enforcing a bundle ends whatever shadow there is; a shadow stands beside what is enforced.

        Args:
            name: the name by which agents know their bundle.
            digest: the bundle's.
            mode: whether it decides.
            agents: every agent that has a bundle of this name, with its actions.
            at: the present moment.

        Returns:
            The activation that holds now, and whether it was written; False where it held before.

        Raises:
            BundleError: it is not published, or does not load.
            BundleUnfit: it fails its own cases, or does not cover an agent.
            ConfigurationError: it decides already, and cannot be its own shadow.
            PartitionFenced: somebody else began to publish or activate, and goes on.
            StreamError: Kafka refused.
        """
        async with self._change(digest) as change:  # 1, 2
            if change.found.wanted is None:  # 3
                raise BundleError(
                    f"got {digest} to activate, which is not on {change.where.topic}; publish it first:"
                    " jurat policy publish BUNDLE",
                    digest=digest,
                )
            try_bundle(name, change.found.wanted, digest=digest, agents=agents)
            newest = change.found.log.newest(name)
            holding = None if newest is None else newest.activation
            enforced = None if holding is None else holding.enforce
            if mode is Mode.SHADOW and enforced == digest:
                raise ConfigurationError(
                    f"got {digest} to be a shadow, but it decides already, expected another one"
                )
            wanted = (digest, None) if mode is Mode.ENFORCE else (enforced, digest)
            if holding is not None and (holding.enforce, holding.shadow) == wanted:
                return holding, False
            activation = Activation(
                bundle=name,
                cluster=change.found.log.cluster_id,
                topic=change.where.topic,
                seq=1 if holding is None else holding.seq + 1,
                enforce=wanted[0],
                shadow=wanted[1],
                at=print_moment(at),
            )
            sealed = await seal(print_activation(activation), self._signer, payload_type=ACTIVATION_TYPE)
            await change.write(activation.key, sealed)  # 4
        return activation, True

    @asynccontextmanager
    async def _change(self, digest: str) -> AsyncIterator[_Change]:
        where = policies_partition(self._connection)
        await ensure_topics(self._connection, [topics.POLICIES])
        producer = transactional_producer(self._connection, transactional_id=TRANSACTIONAL_ID)
        try:
            with in_our_words(self._connection):
                await producer.start()  # 1
            yield _Change(
                self._connection, where, producer, await survey(self._connection, self._trust, wanted=digest)
            )
        except PartitionFenced as error:
            raise PartitionFenced(
                f"somebody else began to publish or activate policies on {where.topic}, and goes on; nothing was done"
                " here. `jurat policy active` shows what came of it"
            ) from error
        finally:
            await stop_quietly(producer)


@dataclass(frozen=True, slots=True)
class _Change:
    """The topic while only we can write to it."""

    connection: Connection
    where: TopicPartition
    producer: AIOKafkaProducer
    found: Survey

    async def write(self, key: str, value: bytes) -> None:
        try:
            with in_our_words(self.connection, topic=self.where.topic):
                async with asyncio.timeout(WRITE_S):
                    await self.producer.begin_transaction()
                    await self.producer.send_and_wait(
                        self.where.topic, value, key=key.encode(), partition=self.where.partition
                    )
                    await self.producer.commit_transaction()
        except PartitionFenced:
            raise
        except StreamError as error:
            # The producer is stopped with what it began: what was not committed, a reader never sees.
            raise type(error)(
                f"it is not known whether {key} was written: {error}. `jurat policy active` shows it",
                **error.details,
            ) from error
