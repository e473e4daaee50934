"""What is sealed beside a veiled record: its disclosures, and the texts whose digests it names.

Rules upheld here: a text is kept for one decision alone, up to a bound; what is not at hand any more (a model's answer
that the journal or a cache gave back) or is too large is not written, and its digest stands all the same; each record's
evidence has a data key of its own, so that nothing of it is remembered when it is written. Not here: how it is sealed
(`jurat.audit.subject_keys`), reading it (`evidence_reading.py`), erasing it (`subject_desk.py`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from jurat.audit.disclosure import Disclosure, print_disclosures
from jurat.audit.subject_keys import (
    KEY_BYTES,
    MAX_CONTENT_BYTES,
    NONCE_BYTES,
    EvidenceKey,
    MasterKey,
    SubjectKeyName,
    seal,
)
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError
from jurat.schemas.model import Model

MAX_TEXTS_BYTES: Final = 1024 * 1024
"""What one decision may keep until it is committed: several prompts of some 20 KB, and the documents behind them. Ten
thousand decisions in flight stay within what a worker has."""


class Texts:
    """What was read, asked and answered in one decision, by its digest, within `MAX_TEXTS_BYTES`."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}
        self._room = MAX_TEXTS_BYTES

    @property
    def held(self) -> Mapping[str, bytes]:
        """The texts by their hex SHA-256."""
        return self._held

    def keep(self, data: bytes) -> None:
        """Keep a text, if there is room for it."""
        if len(data) <= min(self._room, MAX_CONTENT_BYTES):
            digest = hashlib.sha256(data).hexdigest()
            if self._held.setdefault(digest, data) is data:
                self._room -= len(data)

    def keep_model(self, model: Model | None) -> None:
        """Keep the canonical JSON of a model, which is what records name its digest of."""
        if model is not None:
            try:
                self.keep(canonical.dumps(model.model_dump(mode="json")))
            except CanonicalError:
                return  # no record names a digest of what has no canonical form


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record to be written to `audit.evidence` or `audit.subject-keys`."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals what belongs to veiled records.

    Attributes:
        master: under which data keys are wrapped.
        draw: gives random bytes for salts, nonces and data keys: those of the operating system.
    """

    master: MasterKey = field(repr=False)
    draw: Callable[[int], bytes] = secrets.token_bytes

    def seal(
        self, decision_id: str, subject: str, disclosures: tuple[Disclosure, ...], texts: Mapping[str, bytes]
    ) -> tuple[Sealed, list[Sealed]]:
        """Seal the evidence of one record.

        Args:
            decision_id: the record's.
            subject: the id of whom it is about.
            disclosures: all of them.
            texts: what is at hand of the texts that the record names, by their digests.

        Returns:
            The wrapped data key, and the evidence: the disclosures first.
        """
        handle = self.master.handle(subject)
        data_key, name = self.draw(KEY_BYTES), SubjectKeyName(handle, decision_id)
        wrapped = self.master.wrap(data_key, name, nonce=self.draw(NONCE_BYTES))

        def sealed(key: EvidenceKey, content: bytes) -> Sealed:
            value = seal(content, data_key, key, handle=handle, nonce=self.draw(NONCE_BYTES))
            return Sealed(key.encode().encode(), value)

        evidence = [sealed(EvidenceKey(decision_id), print_disclosures(disclosures))]
        for one in disclosures:
            text = texts.get(one.value) if isinstance(one.value, str) else None
            if text is not None:
                evidence.append(sealed(EvidenceKey(decision_id, one.commitment()), text))
        return Sealed(name.encode().encode(), wrapped), evidence


def subject_of(key: bytes | None, decision_id: str) -> str:
    """The id of whom an input is about: its record key; without one it is about nobody else's subject."""
    return decision_id if key is None else key.decode(errors="replace")
