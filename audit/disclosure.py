"""Veiled records: a commitment stands where a value may be personal, and the value in a disclosure apart. Pure.

Rules upheld here: a commitment is the SHA-256 of a disclosure, which holds 128 random bits beside the value, so that
nobody finds the value by trying all there are; a disclosure names its place, so that it stands for nothing else; a
record is unveiled whole or not at all, and what comes of it is checked as any record is. The signature is over the
veiled record: it holds with the disclosures and without them.

Specified in `docs/spec/disclosure.md`. Not here: which places are veiled (`disclosure_places.py`), where disclosures
are kept (`evidence.py`). Source: RFC 9901, sections 4.2 and 9.3, for salted disclosures and their salts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from jurat.audit import printing
from jurat.audit.disclosure_places import Kind, swapped
from jurat.audit.record import MAX_PAYLOAD_BYTES, DecisionRecord, Statement, parse, parse_signed
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, DisclosureInvalid, RecordInvalid

SALT_BYTES: Final = 16
"""128 bits, as RFC 9901 recommends (section 9.3)."""

MAX_DISCLOSURES: Final = 4_096
"""Disclosures of one record: more places than a record of `MAX_PAYLOAD_BYTES` has."""

MAX_DISCLOSED_BYTES: Final = 4 * MAX_PAYLOAD_BYTES
"""All disclosures of a record: each value once, as in the record, and a salt and a name beside it."""

_TEXT: Final = "veiled:"
_OBJECT: Final = "..."
_FILL: Final = "0" * 64
"""A signature's place takes 128 digits: those of the commitment come first."""

_SALT: Final = re.compile(r"[0-9a-f]{32}")
_PLACE: Final = re.compile(r"[a-z_0-9/]{1,120}")
_COMMITMENT: Final = re.compile(r"[0-9a-f]{64}")

Salts = Callable[[int], bytes]
"""Gives so many random bytes."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A value, its place in the record, and the salt that keeps it from being guessed.

    Attributes:
        salt: 16 random bytes in hex.
        place: the members on the way to it, parted by `/`.
        value: JSON.
    """

    salt: str
    place: str
    value: Any

    def encode(self) -> bytes:
        """Print it: the canonical JSON of salt, place and value.

        Raises:
            CanonicalError: the value is outside the profile.
        """
        return canonical.dumps([self.salt, self.place, self.value])

    def commitment(self) -> str:
        """The lower-case hex SHA-256 of its bytes."""
        return sha256(self.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Veiled:
    """A veiled record, and what belongs under the veil.

    Attributes:
        record: with commitments in place of values.
        subject_sha256: the commitment to the subject's digest.
        disclosures: one for each commitment.
    """

    record: DecisionRecord
    subject_sha256: str
    disclosures: tuple[Disclosure, ...]


def veil(record: DecisionRecord, subject_sha256: str, salts: Salts) -> Veiled:
    """Put a commitment in every place that may be personal.

    Args:
        record: a record whose values stand in it.
        subject_sha256: digest of what it is about.
        salts: where salts come from: each is used once.

    Raises:
        CanonicalError: a value is outside the canonical JSON profile.
    """
    made: list[Disclosure] = []

    def commit(place: str, kind: Kind, value: Any) -> Any:
        one = Disclosure(salts(SALT_BYTES).hex(), place, value)
        made.append(one)
        return _printed(one.commitment(), kind)

    veiled, subject = swapped(record, subject_sha256, commit)
    return Veiled(veiled, subject, tuple(made))


def parse_any(payload: bytes) -> Statement:
    """Read a payload, veiled or not; of a veiled one, the values are commitments (`Statement.is_veiled`).

    Raises:
        RecordInvalid: as `jurat.audit.record.parse`, or a value stands where a veiled record has a commitment.
    """
    statement = parse_signed(payload)
    if statement.is_veiled:
        commitments(statement)
    return statement


def commitments(statement: Statement) -> dict[str, str]:
    """The commitments of a veiled statement by their place.

    Raises:
        RecordInvalid: something else stands in one of these places, or one commitment stands in two.
    """
    found: dict[str, str] = {}

    def note(place: str, kind: Kind, value: Any) -> Any:
        found[place] = _read(place, kind, value)
        return value

    record = statement.predicate
    swapped(record, statement.subject[0].digest.sha256, note)
    if len(set(found.values())) != len(found):
        raise RecordInvalid(
            "got a veiled record with one commitment in two places", decision_id=record.decision_id
        )
    return found


def unveil(statement: Statement, disclosures: Iterable[Disclosure]) -> Statement:
    """The statement with its values in place.

    Args:
        statement: a veiled one, as `parse_any` returns it.
        disclosures: exactly those of this record.

    Raises:
        DisclosureInvalid: one is missing, is one too many, or is not what the record commits to.
        RecordInvalid: the values make no record.
    """
    record = statement.predicate
    by_place: dict[str, Disclosure] = {}
    for one in disclosures:
        if one.place in by_place:
            raise _refused(record, f"two disclosures of {one.place}")
        by_place[one.place] = one

    def put(place: str, kind: Kind, value: Any) -> Any:
        one = by_place.pop(place, None)
        if one is None:
            raise _refused(record, f"no disclosure of {place}")
        if one.commitment() != _read(place, kind, value):
            raise _refused(record, f"a disclosure of {place} that the record does not commit to")
        if not isinstance(one.value, dict if kind is Kind.OBJECT else str):
            raise _refused(record, f"a disclosure of {place} that holds another type")
        return one.value

    subject = statement.subject[0]
    try:
        plain, subject_sha256 = swapped(record, subject.digest.sha256, put)
        if by_place:
            raise _refused(record, f"a disclosure of {min(by_place)}, where the record has no commitment")
        payload = printing.whole(plain, subject.name, subject_sha256)
    except CanonicalError as error:
        raise _refused(record, f"a value that is outside the canonical JSON profile: {error}") from error
    return parse(payload)


def print_disclosures(disclosures: Iterable[Disclosure]) -> bytes:
    """Print the disclosures of a record: a canonical JSON list, each of its elements a disclosure.

    Raises:
        CanonicalError: a value is outside the profile.
    """
    return canonical.dumps([[one.salt, one.place, one.value] for one in disclosures])


def parse_disclosures(data: bytes) -> tuple[Disclosure, ...]:
    """Read what `print_disclosures` prints.

    Raises:
        DisclosureInvalid: it is anything else.
    """
    if len(data) > MAX_DISCLOSED_BYTES:
        raise DisclosureInvalid(
            f"got disclosures of {len(data)} bytes, expected at most {MAX_DISCLOSED_BYTES}"
        )
    try:
        listed = canonical.loads(data)
    except CanonicalError as error:
        raise DisclosureInvalid(f"got disclosures that are not canonical JSON: {error}") from error
    if not isinstance(listed, list) or len(listed) > MAX_DISCLOSURES:
        raise DisclosureInvalid(f"got no list of disclosures, expected one of at most {MAX_DISCLOSURES}")
    read = []
    for one in listed:
        match one:
            case [str(salt), str(place), value] if _SALT.fullmatch(salt) and _PLACE.fullmatch(place):
                read.append(Disclosure(salt, place, value))
            case _:
                raise DisclosureInvalid(
                    "got something else among disclosures, expected a salt of 32 hex digits, a place and a value"
                )
    return tuple(read)


def _printed(commitment: str, kind: Kind) -> Any:
    match kind:
        case Kind.DIGEST:
            return commitment
        case Kind.TEXT:
            return _TEXT + commitment
        case Kind.OBJECT:
            return {_OBJECT: commitment}
        case Kind.SIGNATURE:
            return commitment + _FILL


def _read(place: str, kind: Kind, value: Any) -> str:
    match kind, value:
        case Kind.DIGEST, str():
            found = value
        case Kind.TEXT, str():
            found = value.removeprefix(_TEXT)
        case Kind.OBJECT, {"...": str(inner)}:
            found = inner
        case Kind.SIGNATURE, str():
            found = value[:64]
        case _:
            found = ""
    if not _COMMITMENT.fullmatch(found) or _printed(found, kind) != value:
        raise RecordInvalid(f"got a value at {place} of a veiled record, expected a commitment")
    return found


def _refused(record: DecisionRecord, what: str) -> DisclosureInvalid:
    return DisclosureInvalid(
        f"got {what}, expected exactly the disclosures that were made with the record",
        decision_id=record.decision_id,
    )
