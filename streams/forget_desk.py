"""Asking an agent to forget a subject: a signed request to each partition that remembers it.

Rules upheld here: a request is made of what is remembered now, and goes to the partition that remembers it; where
nothing is remembered nothing is sent. Not here: what is signed (`jurat.audit.forgetting`), and what the agent does with
it (`forgetting.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jurat.audit.forgetting import request_to_forget, statement_of
from jurat.audit.keys import Signer
from jurat.schemas.codec import SchemaIds
from jurat.streams.kafka import Connection
from jurat.streams.memory_reading import read_memories
from jurat.streams.signed_input import cluster_id_of, send_signed


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was sent.

    Attributes:
        facts: how many facts it asks to forget, ended ones included.
        record: the decision id under which its audit record will stand.
    """

    facts: int
    record: str


async def ask_to_forget(
    connection: Connection,
    agent: str,
    key: str,
    *,
    input_topic: str,
    signer: Signer,
    at: datetime,
    ids: SchemaIds | None = None,
) -> tuple[Asked, ...]:
    """Ask an agent to forget what it remembers of an event key.

    Args:
        connection: the cluster and namespace.
        agent: the agent's name.
        key: the event key, the subject.
        input_topic: full name of the topic that it listens to.
        signer: the key of who asks.
        at: the present moment.
        ids: a Schema Registry's ids, if one is configured.

    Returns:
        What was asked: one request for each partition that remembers the key, which is one where publishers agree on a
        partitioner; none where nothing is remembered.

    Raises:
        StreamError: Kafka refused, or the memory cannot be read.
        RecordInvalid: the key is longer than an event key may be.
    """
    memories = await read_memories(connection, agent, input_topic, key)
    if not memories:
        return ()
    cluster = await cluster_id_of(connection)
    asked = []
    for partition, memory in sorted(memories.items()):
        payload = statement_of(
            agent=agent,
            cluster=cluster,
            event_key=key,
            learned_until=max(fact.learned_at for fact in memory.facts),
            topic=input_topic,
        )
        request = await request_to_forget(payload, signer)
        record = await send_signed(
            connection, request, partition=partition, about="forget", subject=key, at=at, ids=ids
        )
        asked.append(Asked(len(memory.facts), record))
    return tuple(asked)
