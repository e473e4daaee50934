"""Erasing subjects: their data keys and evidence end, and a signed statement says so, in one transaction.

Rules upheld here: of each decision that is named everything goes at once, with the statement, or nothing; what is
erased already is not erased again, and nothing is stated twice. Not here: what is signed
(`jurat.audit.subject_erasure`), what agents remember (`forget_desk.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurat.audit.keys import Signer
from jurat.audit.subject_erasure import MAX_DECISIONS, RECORD_KEY, state_erasure, statement_of
from jurat.audit.subject_keys import (
    MasterKey,
    SubjectKeyName,
    parse_evidence_key,
    parse_subject_key,
    wrapped_under,
)
from jurat.schemas.errors import BrokerUnreachable, DisclosureInvalid, PartitionFenced, TopicMissing
from jurat.streams import topics
from jurat.streams.kafka import Connection, in_our_words, stop_quietly, transactional_producer
from jurat.streams.replay import replay
from jurat.streams.signed_input import cluster_id_of
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic

ERASER: Final = "subject-eraser"
"""The transactional id: who erases ends what another one left open, and two at once fence each other."""

TRANSACTION_S: Final = 60.0
"""How long one transaction may take, from becoming the owner; `MAX_DECISIONS` with their evidence are some thousand
tombstones. The client tries for ever."""


MAX_MASTERS: Final = 16
"""Master keys that are told apart: an operator ever has a few."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What stands of a subject.

    Attributes:
        keys: the record keys of their data keys, sorted by decision.
        evidence: the record keys of what these open, sorted.
        other_masters: names of other master keys under which data keys were wrapped, sorted: what they hide of
            these subjects cannot be told.
    """

    keys: tuple[SubjectKeyName, ...]
    evidence: tuple[str, ...]
    other_masters: tuple[str, ...] = ()

    @property
    def decisions(self) -> tuple[str, ...]:
        """The decisions whose evidence can be read, sorted."""
        return tuple(sorted({name.decision_id for name in self.keys}))


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Attributes:
        kept: what stood there before.
        statements: how many statements were made of it.
    """

    kept: Kept
    statements: int


async def kept_of(connection: Connection, master: MasterKey, subjects: Iterable[str]) -> Kept:
    """What stands of these subjects now.

    Args:
        connection: the cluster and namespace.
        master: the master key, which knows their handles.
        subjects: their ids.

    Raises:
        StreamError: Kafka refused.
    """
    wanted = frozenset(master.handle(subject) for subject in subjects)
    named: dict[SubjectKeyName, None] = {}
    others: set[str] = set()
    try:
        async with aclosing(replay(connection, [connection.topic(topics.SUBJECT_KEYS.name)])) as records:
            async for record in records:
                name = _subject_key(record.key)
                if name is None:
                    continue
                if len(others) < MAX_MASTERS:
                    others.add(wrapped_under(record.value or b""))
                if name.handle not in wanted:
                    continue
                if record.value is None:
                    named.pop(name, None)
                else:
                    named[name] = None
        decisions = {name.decision_id for name in named}
        evidence: dict[str, None] = {}
        async with aclosing(replay(connection, [connection.topic(topics.EVIDENCE.name)])) as records:
            async for record in records:
                key = _evidence_of(record.key, decisions)
                if key is not None and record.value is None:
                    evidence.pop(key, None)
                elif key is not None:
                    evidence[key] = None
    except TopicMissing:
        return Kept((), ())  # no worker veils its records here
    keys = tuple(sorted(named, key=lambda name: name.decision_id))
    return Kept(keys, tuple(sorted(evidence)), tuple(sorted(others - {"", master.name})))


def _subject_key(key: bytes | None) -> SubjectKeyName | None:
    try:
        return parse_subject_key(key)
    except DisclosureInvalid:
        return None  # nobody's: it opens nothing


def _evidence_of(key: bytes | None, decisions: set[str]) -> str | None:
    try:
        name = parse_evidence_key(key)
    except DisclosureInvalid:
        return None
    return name.encode() if name.decision_id in decisions else None


async def erase(
    connection: Connection, master: MasterKey, subjects: Iterable[str], *, signer: Signer, at: datetime
) -> Erased:
    """Destroy the data keys and evidence of subjects, and state it.

    Args:
        connection: the cluster and namespace.
        master: the master key, which knows their handles.
        subjects: their ids.
        signer: the key of who erases.
        at: the present moment.

    Returns:
        What stood there; where nothing did, nothing was written.

    Raises:
        StreamError: Kafka refused; what was not committed stands as before, and may be erased again.
    """
    kept = await kept_of(connection, master, subjects)
    if not kept.decisions:
        return Erased(kept, 0)
    await ensure_topics(connection, [topics.TRUST])
    cluster = await cluster_id_of(connection)
    topic, named = connection.topic(topics.AUDIT.name), kept.decisions
    batches = [named[start : start + MAX_DECISIONS] for start in range(0, len(named), MAX_DECISIONS)]
    for batch in batches:
        payload = statement_of(cluster=cluster, topic=topic, decisions=batch, at=at)
        statement = await state_erasure(payload, signer)
        await _write(
            connection, [*_tombstones(kept, frozenset(batch)), (topics.TRUST, RECORD_KEY, statement)]
        )
    return Erased(kept, len(batches))


def _tombstones(kept: Kept, decisions: Collection[str]) -> Iterator[tuple[Topic, bytes, None]]:
    for name in kept.keys:
        if name.decision_id in decisions:
            yield topics.SUBJECT_KEYS, name.encode().encode(), None
    for key in kept.evidence:
        if key.partition("/")[0] in decisions:
            yield topics.EVIDENCE, key.encode(), None


async def _write(connection: Connection, records: Iterable[tuple[Topic, bytes, bytes | None]]) -> None:
    """Write these in one transaction."""
    producer = transactional_producer(connection, transactional_id=ERASER)
    try:
        async with asyncio.timeout(TRANSACTION_S):
            with in_our_words(connection):
                await producer.start()
                await producer.begin_transaction()
                written = [
                    await producer.send(connection.topic(topic.name), value, key=key)
                    for topic, key, value in records
                ]
                await asyncio.gather(*written)
                await producer.commit_transaction()
    except PartitionFenced as error:
        raise PartitionFenced(
            "another erasure began before this one was done; what this one had not done yet stands as before. Erase"
            " again, one after the other: what is erased already is not erased twice"
        ) from error
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"got no end of an erasure from {connection.bootstrap_servers} within {TRANSACTION_S:.0f} s; it was done"
            " whole or not at all. Erase again: what is erased already is not erased twice"
        ) from error
    finally:
        await stop_quietly(producer)
