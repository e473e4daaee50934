"""Sending what a person signed to an agent, as an input on the agent's own topic.

Rules upheld here: it goes to the partition that is named, so that it reaches the worker that holds what it is about.
Not here: what is signed (`jurat.audit`), and what an agent makes of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from typing import Final

from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import SchemaIds, encode
from jurat.schemas.decision import InputRef, decision_id
from jurat.schemas.errors import BrokerUnreachable
from jurat.schemas.forgetting import ForgetRequested
from jurat.streams import topics
from jurat.streams.kafka import Connection, admin_client, idempotent_producer, in_our_words, stop_quietly

ACKNOWLEDGED_S: Final = 30.0
"""How long the broker may take to acknowledge it; the client itself tries for ever."""


async def cluster_id_of(connection: Connection) -> str:
    """The Kafka cluster's id.

    Raises:
        StreamError: Kafka refused.
    """
    async with admin_client(connection) as client:
        return str((await client.describe_cluster())["cluster_id"])


async def send_signed(
    connection: Connection,
    event: ApprovalAnswered | ForgetRequested,
    *,
    partition: int,
    about: str,
    subject: str,
    at: datetime,
    ids: SchemaIds | None = None,
) -> str:
    """Send it.

    Args:
        connection: the cluster and namespace.
        event: the signed event.
        partition: the number of the partition that holds what it is about.
        about: first part of the event's id; the rest comes from what was signed.
        subject: the CloudEvents subject.
        at: the present moment.
        ids: a Schema Registry's ids, if one is configured.

    Returns:
        The decision id under which its audit record will stand.

    Raises:
        StreamError: Kafka refused.
    """
    topic = connection.topic(topics.timers(event.agent).name)
    cluster_id = await cluster_id_of(connection)
    headers = headers_for(
        event,
        event_id=f"{about}/{hashlib.sha256(event.payload).hexdigest()[:32]}",
        source="/approvers",
        time=at,
        subject=subject,
    )
    producer = idempotent_producer(connection)
    try:
        with in_our_words(connection):
            await producer.start()
            async with asyncio.timeout(ACKNOWLEDGED_S):
                written = await producer.send_and_wait(
                    topic,
                    encode(event, ids=ids),
                    key=event.key().encode(),
                    partition=partition,
                    headers=headers,
                )
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"got no acknowledgement from {connection.bootstrap_servers} for {ACKNOWLEDGED_S:.0f} s; it may or may not"
            " have been written. Send it again when the broker is back: a second one does nothing"
        ) from error
    finally:
        await stop_quietly(producer)
    where = InputRef(topic=topic, partition=partition, offset=written.offset)
    return decision_id(event.agent, where, cluster_id=cluster_id)
