"""The state documents of one partition, or its memories: hot ones as models, all as bytes, in bounded memory.

Rules upheld here: what cannot be written to the changelog is not held; what is held is what the changelog would bring
back, byte for byte. Not here: the changelog itself and its other entries (`state.py`), where the bytes go when there
are many (`store.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from jurat.schemas import canonical
from jurat.schemas.errors import InputRejected
from jurat.schemas.model import Model
from jurat.streams.store import MODEL_COST, Hot, SpillingStore

MAX_DOCUMENT_BYTES: Final = 512 * 1024
"""Half of Kafka's default record limit: a document that cannot be written must not be held."""

STATE_BYTES: Final = 8 * 1024 * 1024
"""What the documents of one partition may take as bytes before they spill: some 17,000 of 300 bytes. A worker with six
partitions takes 48 MiB at most, with 64 half a GiB."""

HOT_BYTES: Final = 4 * 1024 * 1024
"""What the documents used last may take as models: some 1,300 of 300 bytes, more keys than a partition has in work."""


class KeyedState:
    """Documents by key.

    Args:
        model: the class of the documents; None for an agent without state, for which nothing is kept.
        max_bytes: what they may take in memory as bytes; above it they spill.
        max_hot_bytes: what those used last may take as models.
        folder: see `SpillingStore`.
    """

    def __init__(
        self,
        model: type[Model] | None,
        *,
        max_bytes: int = STATE_BYTES,
        max_hot_bytes: int = HOT_BYTES,
        folder: Callable[[], Path] | None = None,
    ) -> None:
        self._model = model
        self._hot: Hot[Model] = Hot(max_hot_bytes)
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

    def get(self, key: str) -> Model | None:
        """The document of a key."""
        document = self._hot.get(key)
        if document is None and self._model is not None:
            value = self._all.get(key)
            if value is not None:
                document = self._model.model_validate_json(value)
                self._hot.put(key, document, cost=len(value) * MODEL_COST)
        return document

    def put(self, key: str, document: Model) -> bytes:
        """Set a document.

        Returns:
            The value of the changelog record that must be committed with the decision.

        Raises:
            JuratError, TypeError: as `printed`; nothing was set.
        """
        value = self.printed(key, document)
        self._all.put(key, value)  # after printing it: what cannot be written must not be held
        self._hot.put(key, document, cost=len(value) * MODEL_COST)
        return value

    def printed(self, key: str, document: Model) -> bytes:
        """Print a document as the changelog would hold it, and set nothing.

        Raises:
            CanonicalError: the document has no canonical form.
            InputRejected: the document is too large to be written.
            TypeError: it is of another class than is kept here.
        """
        if self._model is None or type(document) is not self._model:
            declared = "none" if self._model is None else self._model.__name__
            raise TypeError(f"got a state document of class {type(document).__name__}, expected {declared}")
        value = canonical.dumps(document.model_dump(mode="json"))
        if len(value) > MAX_DOCUMENT_BYTES:
            raise InputRejected(
                f"got a decision after which the state of {key!r} takes {len(value)} bytes, expected at most"
                f" {MAX_DOCUMENT_BYTES}"
            )
        return value

    def restore(self, key: str, value: bytes | None) -> None:
        """Take over an entry of the changelog; None forgets the key.

        Raises:
            ValidationError: (pydantic's) the value is not a document of ours; nothing was set.
        """
        if self._model is None:
            return
        if value is None:
            self.delete(key)
        else:
            self._hot.drop(key)
            # Checked now, though it is parsed again when it is used: a partition must not open on what it cannot read.
            self._model.model_validate_json(value)
            self._all.put(key, value)

    def delete(self, key: str) -> None:
        """Forget the document of a key; a tombstone of it must be committed."""
        self._hot.drop(key)
        self._all.delete(key)

    def close(self) -> None:
        """Forget everything; the changelog has it."""
        self._hot.clear()
        self._all.close()
