"""Reading evidence back: what is sealed on `audit.evidence`, opened with the data keys that still stand.

Rules upheld here: read without a group and with `read_committed`; what is held in memory is bounded, the rest spills;
an entry whose data key is gone is as good as gone; one that is there and does not open is an error, never left out.
Not here: writing it (`evidence.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from jurat.audit.disclosure import Disclosure, parse_disclosures
from jurat.audit.keys import Trust
from jurat.audit.subject_erasure import RECORD_KEY, verify_erasure
from jurat.audit.subject_keys import (
    DISCLOSURES,
    EvidenceKey,
    MasterKey,
    SubjectKeyName,
    handle_of,
    open_sealed,
    parse_evidence_key,
    parse_subject_key,
)
from jurat.schemas.errors import AuditError, DisclosureInvalid, TopicMissing
from jurat.streams import topics
from jurat.streams.kafka import Connection
from jurat.streams.replay import replay
from jurat.streams.store import SpillingStore

HELD_BYTES: Final = 64 * 1024 * 1024
"""Sealed disclosures, and as much of wrapped keys, that are held in memory before they spill: some 20,000 records."""


class Evidence:
    """Sealed evidence and wrapped keys as they stood on their topics when they were read. Close it.

    Args:
        master: opens the data keys.
    """

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._sealed = SpillingStore(max_bytes=HELD_BYTES)
        self._wrapped = SpillingStore(max_bytes=HELD_BYTES)

    def close(self) -> None:
        """Let go of what was spilled."""
        self._sealed.close()
        self._wrapped.close()

    def put_key(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of `audit.subject-keys`.

        Raises:
            DisclosureInvalid: its key is none.
        """
        _put(self._wrapped, parse_subject_key(key).encode(), value)

    def put_evidence(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of `audit.evidence`.

        Raises:
            DisclosureInvalid: its key is none.
        """
        _put(self._sealed, parse_evidence_key(key).encode(), value)

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """The disclosures of a record; None where they, or the key that opens them, are gone or another master's.

        Raises:
            DisclosureInvalid: they stand there and do not open, or are no disclosures.
        """
        opened = self.content(EvidenceKey(decision_id))
        return None if opened is None else parse_disclosures(opened)

    def content(self, key: EvidenceKey) -> bytes | None:
        """What was sealed under a key; None where it, or the key that opens it, is gone or another master's.

        Raises:
            DisclosureInvalid: it stands there and does not open.
        """
        sealed = self._sealed.get(key.encode())
        if sealed is None:
            return None
        name = SubjectKeyName(handle_of(sealed), key.decision_id)
        wrapped = self._wrapped.get(name.encode())
        if wrapped is None or not self._master.has_wrapped(wrapped):
            return None
        return open_sealed(sealed, self._master.unwrap(wrapped, name), key)


def _put(store: SpillingStore, key: str, value: bytes | None) -> None:
    if value is None:
        store.delete(key)
    else:
        store.put(key, value)


async def read_evidence(
    connection: Connection, master: MasterKey, *, texts: bool = False, only: str | None = None
) -> Evidence:
    """Read what stands on the topics of evidence now.

    Args:
        connection: the cluster and namespace.
        master: the master key.
        texts: whether texts are read beside disclosures.
        only: the decision that it is about; None reads all.

    Raises:
        StreamError: Kafka refused.
    """
    evidence = Evidence(master)
    try:
        for topic in (topics.SUBJECT_KEYS, topics.EVIDENCE):
            async with aclosing(replay(connection, [connection.topic(topic.name)])) as records:
                async for record in records:
                    with suppress(
                        DisclosureInvalid
                    ):  # nobody's evidence: it must not keep readers from the rest
                        _take(evidence, topic, record.key, record.value, texts=texts, only=only)
    except TopicMissing:
        return evidence  # no worker veils its records here
    except BaseException:
        evidence.close()
        raise
    return evidence


def _take(
    evidence: Evidence,
    topic: topics.Topic,
    key: bytes | None,
    value: bytes | None,
    *,
    texts: bool,
    only: str | None,
) -> None:
    if topic is topics.SUBJECT_KEYS:
        if only in (None, parse_subject_key(key).decision_id):
            evidence.put_key(key, value)
        return
    name = parse_evidence_key(key)
    if only in (None, name.decision_id) and (texts or name.what == DISCLOSURES):
        evidence.put_evidence(key, value)


async def read_statements(connection: Connection) -> AsyncGenerator[bytes, None]:
    """The envelopes of what stands as statements of erasures now; nothing is verified.

    Raises:
        StreamError: Kafka refused.
    """
    try:
        async with aclosing(replay(connection, [connection.topic(topics.TRUST.name)])) as records:
            async for record in records:
                if record.key == RECORD_KEY and record.value is not None:
                    yield record.value
    except TopicMissing:
        return


async def read_erased(connection: Connection, trust: Trust) -> dict[str, bytes]:
    """The decisions whose erasure somebody stated who may, each with the statement; what does not hold counts nothing.

    Raises:
        StreamError: Kafka refused.
    """
    erased: dict[str, bytes] = {}
    async with aclosing(read_statements(connection)) as statements:
        async for envelope in statements:
            with suppress(AuditError):
                erased.update(dict.fromkeys(verify_erasure(envelope, trust).said.decisions, envelope))
    return erased
