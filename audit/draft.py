"""A record that is complete but for its place in the chain, and for who signs it.

A worker knows what it decided long before it knows `seq` and `prev`, which follow from what commits first, and its key
may be another one by then. A draft is checked when it is made, so that signing it later cannot fail
for what is in it. One that is too large only with the policy engine's errors and the alternatives that a reasoner names
goes without them, and then without what a shadow said: none of these must undo a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurat.audit import printing
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import Disclosure, Salts, veil
from jurat.audit.identity import IDENTITY_BYTES, Identity
from jurat.audit.record import (
    GENESIS,
    MAX_PAYLOAD_BYTES,
    DecisionRecord,
    check_coherence,
)
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.schemas.errors import CanonicalError, RecordInvalid

PLACE_BYTES: Final = len(f'"{GENESIS}"') + 17 + IDENTITY_BYTES
"""How much longer a payload gets when it is finished: `prev`, the digits of the largest `seq` and one, `identity`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked record without its place.

    Attributes:
        decision_id: the decision or rejection that it is about.
        disclosures: what belongs under the veil, where it is veiled.
    """

    decision_id: str
    _pieces: printing.Pieces
    disclosures: tuple[Disclosure, ...] = ()
    _bare_bytes: int = 0

    @property
    def room(self) -> int:
        """How many bytes longer the record might be, with its veil and without."""
        return MAX_PAYLOAD_BYTES - PLACE_BYTES - max(sum(map(len, self._pieces)), self._bare_bytes)

    def finish(self, head: ChainHead, identity: Identity | None = None) -> bytes:
        """Print the payload for this place in the chain, signed by who is named."""
        return printing.joined(self._pieces, seq=head.next_seq, prev=head.prev, identity=identity)


def draft(
    record: DecisionRecord, subject_name: str, subject_sha256: str, *, salts: Salts | None = None
) -> Draft:
    """Check a record and keep it for its place.

    Args:
        record: the record, with `seq` 0 and `prev` of zeros.
        subject_name: as for `jurat.audit.record.build`.
        subject_sha256: as for `jurat.audit.record.build`.
        salts: veils it with them; None leaves its values in it.

    Raises:
        RecordInvalid: it contradicts itself, does not fit the canonical profile, or is too large.
    """
    if (record.seq, record.prev, record.identity) != (0, GENESIS, None):
        raise RecordInvalid(
            "got a draft that has its place already, expected seq 0, prev of zeros and no identity"
        )
    check_coherence(record, subject_name, subject_sha256)
    try:
        made = Draft(record.decision_id, printing.pieces(record, subject_name, subject_sha256))
        if salts is not None and made.room >= 0:
            made = _veiled(made, record, subject_name, subject_sha256, salts)
    except CanonicalError as error:
        raise RecordInvalid(
            f"the record cannot be printed: {error}", decision_id=record.decision_id
        ) from error
    if made.room < 0:
        smaller = _smaller(record)
        if smaller is not None:
            return draft(smaller, subject_name, subject_sha256, salts=salts)
        raise RecordInvalid(
            f"got a record of {MAX_PAYLOAD_BYTES - made.room} bytes, expected at most {MAX_PAYLOAD_BYTES}",
            decision_id=record.decision_id,
        )
    return made


def _veiled(
    bare: Draft, record: DecisionRecord, subject_name: str, subject_sha256: str, salts: Salts
) -> Draft:
    """The draft with its veil; it must fit without one too, so that it can be read."""
    veiled = veil(record, subject_sha256, salts)
    made = printing.pieces(veiled.record, subject_name, veiled.subject_sha256, kind=printing.VEILED_TYPE)
    return Draft(record.decision_id, made, veiled.disclosures, MAX_PAYLOAD_BYTES - PLACE_BYTES - bare.room)


def _smaller(record: DecisionRecord) -> DecisionRecord | None:
    """The record without the next thing that it can go without; None when there is nothing more."""
    used = record.policy
    shadow = None if used is None else used.shadow
    told = any(judged.errors or judged.alternatives for judged in record.proposals)
    if told or (shadow is not None and shadow.errors):
        without = {"errors": (), "alternatives": ()}
        proposals = tuple([judged.model_copy(update=without) for judged in record.proposals])
        record = record.model_copy(update={"proposals": proposals})
        return record if shadow is None else _with_shadow(record, shadow.model_copy(update={"errors": ()}))
    return None if shadow is None else _with_shadow(record, None)


def _with_shadow(record: DecisionRecord, shadow: ShadowVerdict | None) -> DecisionRecord:
    used = record.policy
    policy = None if used is None else used.model_copy(update={"shadow": shadow})
    return record.model_copy(update={"policy": policy})
