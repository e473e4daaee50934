"""Documents of a view: folded from records, each with the record that last changed it, in bounded memory.

Rules upheld here: a document's digest is that of its canonical form, and these bytes are what is kept; a record that
cannot be folded changes nothing. Not here: which records there are (`tables.py`), and where bytes go (`store.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from jurat.agents.agent import ContextTable, View
from jurat.schemas import canonical
from jurat.schemas.model import Event, Model
from jurat.streams.kafka import KafkaRecord
from jurat.streams.store import MODEL_COST, Hot, SpillingStore

VIEW_BYTES: Final = 8 * 1024 * 1024
"""What the documents of a global table, or of one partition of a context table, may take as bytes before they spill:
some 17,000 of 300 bytes."""

HOT_BYTES: Final = 4 * 1024 * 1024
"""What those used last may take as models: some 1,300 of 300 bytes."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a view and the record that last changed it.

    Attributes:
        sha256: digest of the document's canonical form.
    """

    model: Model
    topic: str
    partition: int
    offset: int
    sha256: str


def digest_of(model: Model) -> str:
    """Digest of a model's canonical JSON form."""
    return hashlib.sha256(_printed(model)).hexdigest()


class Views(Protocol):
    """Where an agent looks documents up; `jurat.streams.tables.Tables` is what a worker has."""

    def get(self, view: str, key: str, *, partition: int) -> Document | None:
        """The document of a view, as far as it has been read, for an input of this partition."""
        ...

    async def caught_up(self, *, partition: int) -> bool:
        """Wait until everything that stands on the views' topics now has been read; False when that took too long."""
        ...

    async def open_partition(self, partition: int) -> None:
        """Have the documents at hand that inputs of this partition are joined with."""
        ...

    def close_partition(self, partition: int) -> None:
        """Forget them."""
        ...


class Documents:
    """The documents of one view, or of one partition of it.

    Args:
        view: the declaration.
        max_bytes: what they may take in memory as bytes; above it they spill.
        max_hot_bytes: what those used last may take as models.
        folder: see `SpillingStore`.
    """

    def __init__(
        self,
        view: View,
        *,
        max_bytes: int = VIEW_BYTES,
        max_hot_bytes: int = HOT_BYTES,
        folder: Callable[[], Path] | None = None,
    ) -> None:
        self._view = view
        self._hot: Hot[Document] = Hot(max_hot_bytes)
        self._all = SpillingStore(max_bytes=max_bytes, folder=folder)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def bytes_in_memory(self) -> int:
        """What the documents take in memory, roughly."""
        return self._all.bytes_in_memory + self._hot.bytes_held

    @property
    def spilled(self) -> bool:
        """Whether documents went to the disk."""
        return self._all.spilled

    def get(self, key: str) -> Document | None:
        """The document of a key."""
        document = self._hot.get(key)
        if document is None:
            value = self._all.get(key)
            if value is not None:
                document = self._read(value)
                self._hot.put(key, document, cost=len(value) * MODEL_COST)
        return document

    def fold(self, event: Event, keys: tuple[str, ...], record: KafkaRecord) -> None:
        """Fold an event into the documents of these keys.

        Raises:
            Exception: what the view's fold raises, or the document cannot be printed; nothing was changed.
        """
        folded = [(key, *self._folded(event, key, record)) for key in keys]
        for key, document, value in folded:
            self._all.put(key, value)
            self._hot.put(key, document, cost=len(value) * MODEL_COST)

    def delete(self, key: str) -> None:
        """Forget the document of a key."""
        self._hot.drop(key)
        self._all.delete(key)

    def close(self) -> None:
        """Forget everything; the topics have it."""
        self._hot.clear()
        self._all.close()

    def _folded(self, event: Event, key: str, record: KafkaRecord) -> tuple[Document, bytes]:
        known = self.get(key)
        model = self._view.fold(known.model if known else None, event, key)
        if type(model) is not self._view.document:
            raise TypeError(
                f"the view {self._view.name} folds a {type(model).__name__}, expected the"
                f" {self._view.document.__name__} that it declares"
            )
        printed = _printed(model)
        digest = hashlib.sha256(printed).hexdigest()
        document = Document(model, record.topic, record.partition, record.offset, digest)
        where = f"{record.topic}\n{record.partition}\n{record.offset}\n{digest}\n"
        return document, where.encode() + printed

    def _read(self, value: bytes) -> Document:
        topic, partition, offset, digest, printed = value.split(b"\n", 4)
        model = self._view.document.model_validate_json(printed)
        return Document(model, topic.decode(), int(partition), int(offset), digest.decode())


def keys_of(view: View, event: Event) -> tuple[str, ...]:
    """The keys of the documents of a view that an event concerns.

    Raises:
        TypeError: a context table names another key than the event's.
    """
    keys = view.keys(event)
    if isinstance(view, ContextTable) and any(key != event.key() for key in keys):
        raise TypeError(f"the context table {view.name} names another key than that of the event")
    return keys


def _printed(model: Model) -> bytes:
    return canonical.dumps(model.model_dump(mode="json"))
