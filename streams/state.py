"""The state of one input partition: documents by key and the head of the audit chain, restored from a changelog.

The changelog is the compacted topic `state.<agent>`, same partition number as the input. It is written in the
transaction that commits the decision, so that decisions, state and offsets move together or not at all.

=========================  ==========================================================
record key                 value (canonical JSON)
=========================  ==========================================================
`state/<topic>/<key>`      the agent's state document of this event key
`chain/<topic>`            `{"next_offset":…,"next_seq":…,"prev":…}` after the last commit
=========================  ==========================================================
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from jurat.audit.chain import ChainHead
from jurat.schemas import canonical
from jurat.schemas.errors import InputRejected, StreamError
from jurat.schemas.model import Count, Model
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.reading import read_to_end

MAX_DOCUMENT_BYTES: Final = 512 * 1024
"""Half of Kafka's default record limit: a document that cannot be written must not be held."""

STATE_PREFIX: Final = "state/"
CHAIN_PREFIX: Final = "chain/"


class _ChainEntry(Model):
    next_offset: Count
    next_seq: Count
    prev: str


class PartitionState:
    """Documents and chain head of one input partition.

    Attributes:
        head: where the next audit record goes, as of the last commit.
        next_offset: the input offset after the last committed one; 0 before the first commit.
    """

    def __init__(self, model: type[Model] | None, *, input_topic: str) -> None:
        self._model = model
        self._input_topic = input_topic
        self._documents: dict[str, Model] = {}
        self.head = ChainHead()
        self.next_offset = 0

    async def restore(self, connection: Connection, changelog: TopicPartition) -> None:
        """Read the changelog to its end.

        Raises:
            StreamError: an entry of the changelog is not ours; deciding on would be guessing.
        """
        async for record in read_to_end(connection, [changelog]):
            self._restore_one(record)

    def get(self, key: str) -> Model | None:
        """The state document of an event key."""
        return self._documents.get(key)

    def put(self, key: str, document: Model) -> tuple[bytes, bytes]:
        """Set a document; returns the changelog record that must be committed with the decision.

        Raises:
            CanonicalError: the document has no canonical form; nothing was set.
            InputRejected: the document is too large to be written; nothing was set.
        """
        value = canonical.dumps(document.model_dump(mode="json"))
        if len(value) > MAX_DOCUMENT_BYTES:
            raise InputRejected(
                f"got a decision after which the state of {key!r} takes {len(value)} bytes, expected at most"
                f" {MAX_DOCUMENT_BYTES}"
            )
        self._documents[key] = document  # after printing it: what cannot be written must not be held
        return f"{STATE_PREFIX}{self._input_topic}/{key}".encode(), value

    def chain_entry(self, head: ChainHead, next_offset: int) -> tuple[bytes, bytes]:
        """The changelog record of a chain head."""
        entry = _ChainEntry(next_offset=next_offset, next_seq=head.next_seq, prev=head.prev)
        return f"{CHAIN_PREFIX}{self._input_topic}".encode(), canonical.dumps(entry.model_dump())

    def committed(self, head: ChainHead, next_offset: int) -> None:
        """Take over what a transaction has committed."""
        self.head = head
        self.next_offset = next_offset

    def _restore_one(self, record: KafkaRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        state_prefix = f"{STATE_PREFIX}{self._input_topic}/"
        try:
            if key == f"{CHAIN_PREFIX}{self._input_topic}" and record.value is not None:
                entry = _ChainEntry.model_validate_json(record.value)
                self.committed(ChainHead(entry.next_seq, entry.prev), entry.next_offset)
            elif key.startswith(state_prefix) and self._model is not None:
                if record.value is None:
                    self._documents.pop(key.removeprefix(state_prefix), None)
                else:
                    document = self._model.model_validate_json(record.value)
                    self._documents[key.removeprefix(state_prefix)] = document
        except ValidationError as error:
            raise StreamError(
                f"the changelog {record.topic}, partition {record.partition}, offset {record.offset} holds an entry"
                " that this release cannot read; it was written by another release or by somebody else",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
            ) from error
