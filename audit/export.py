"""The export file: one line per record, a DSSE envelope with its coordinates. Pure: lines in, entries out.

Rules upheld here: a line is canonical JSON and has one spelling (parse then print is identity); `lineSha256`
catches accidents to what no signature covers (coordinates, outer time) and proves nothing by itself.

Specified in `docs/spec/log-export.md`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Final, NamedTuple

from pydantic import Field, ValidationError

from jurat.audit.log import LogEntry
from jurat.audit.reasoning import Sha256Hex
from jurat.audit.record import MAX_PAYLOAD_BYTES
from jurat.schemas import b64, canonical
from jurat.schemas.envelope import MAX_SIGNATURES, Signature, SignedRecord
from jurat.schemas.errors import CanonicalError, RecordInvalid
from jurat.schemas.model import Count, Identifier, Model
from jurat.schemas.one_form import reader

MAX_LINE_BYTES = 4 * MAX_PAYLOAD_BYTES
"""A payload in base64 and everything else fit in well under this."""

_SEAL = "lineSha256"
_ENTRY_FIELDS = frozenset(
    {"chain", "offset", "partition", "payload", "payloadType", "signatures", "timestampMs", "topic", _SEAL}
)
_DECISION_FIELDS = frozenset({"offset", "partition", "topic", "value", _SEAL})


class Kind(NamedTuple):
    """What a file is, by its first line: one of the two marks is there, whichever bit of the line was changed.

    Attributes:
        what: in words.
        start: how lines begin.
        member: what each has further on, and no line of another kind.
    """

    what: str
    start: bytes
    member: bytes


ENTRIES = Kind("an export of the audit log", b'{"chain":', b'"timestampMs":')
DECISIONS = Kind("an export of decision events", b'{"lineSha256":', b'"value":')


class _Line(Model):
    """A line, as nearly all are; which of them are refused, and why, `parse_entry` finds out member by member."""

    chain: Identifier
    seal: Annotated[Sha256Hex, Field(alias=_SEAL)]
    offset: Count
    partition: Count
    payload: bytes
    payload_type: Annotated[str, Field(alias="payloadType")]
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)]
    timestamp_ms: Annotated[Count, Field(alias="timestampMs")]
    topic: str


_READ: Final = reader(_Line)


def print_entry(entry: LogEntry) -> bytes:
    """Print one record as a line, without the line feed."""
    record = entry.record
    return _seal(
        {
            "chain": record.chain,
            "offset": entry.offset,
            "partition": entry.partition,
            "payload": b64.encode(record.payload),
            "payloadType": record.payload_type,
            "signatures": [{"keyid": each.keyid, "sig": b64.encode(each.sig)} for each in record.signatures],
            "timestampMs": entry.timestamp_ms,
            "topic": entry.topic,
        }
    )


def parse_entry(line: bytes, number: int) -> LogEntry:
    """Read one line.

    Args:
        line: the line's bytes, with or without its line feed.
        number: its number in the file, from 1, for messages.

    Raises:
        RecordInvalid: not exactly what `print_entry` prints.
    """
    text = line.removesuffix(b"\n")
    read = _READ(text) if len(line) <= MAX_LINE_BYTES else None
    if read is None or not _is_sealed(text, read.seal):
        return parse_entry_slowly(line, number)
    signatures = tuple([Signature(keyid=each.keyid, sig=each.sig) for each in read.signatures])
    return LogEntry(
        topic=read.topic,
        partition=read.partition,
        offset=read.offset,
        timestamp_ms=read.timestamp_ms,
        record=SignedRecord(
            chain=read.chain, payload_type=read.payload_type, payload=read.payload, signatures=signatures
        ),
        line=number,
    )


def parse_entry_slowly(line: bytes, number: int) -> LogEntry:
    """Read one line as `parse_entry` does, member by member, and say which of them is wrong."""
    fields = _unseal(line, number, _ENTRY_FIELDS)
    signatures = fields["signatures"]
    if not isinstance(signatures, list):
        raise _refuse(number, "signatures is not a list")
    try:
        record = SignedRecord(
            chain=_text(fields, "chain", number),
            payload_type=_text(fields, "payloadType", number),
            payload=_decode(_text(fields, "payload", number), number),
            signatures=tuple(_parse_signature(each, number) for each in signatures),
        )
    except ValidationError as error:
        raise _refuse(number, "chain or signatures are out of bounds") from error
    return LogEntry(
        topic=_text(fields, "topic", number),
        partition=_count(fields, "partition", number),
        offset=_count(fields, "offset", number),
        timestamp_ms=_count(fields, "timestampMs", number),
        record=record,
        line=number,
    )


def print_decision(topic: str, partition: int, offset: int, *, value: bytes) -> bytes:
    """Print one decision event as a line of a decision export: coordinates and the value's bytes."""
    return _seal({"offset": offset, "partition": partition, "topic": topic, "value": b64.encode(value)})


def parse_decision(line: bytes, number: int) -> tuple[str, int, int, bytes]:
    """Read one line of a decision export.

    Returns:
        Topic, partition, offset and the value's bytes.

    Raises:
        RecordInvalid: not exactly what `print_decision` prints.
    """
    fields = _unseal(line, number, _DECISION_FIELDS)
    return (
        _text(fields, "topic", number),
        _count(fields, "partition", number),
        _count(fields, "offset", number),
        _decode(_text(fields, "value", number), number),
    )


def _seal(fields: dict[str, object]) -> bytes:
    return canonical.dumps({**fields, _SEAL: sha256(canonical.dumps(fields)).hexdigest()})


def _unseal(line: bytes, number: int, expected: frozenset[str]) -> canonical.JsonObject:
    if len(line) > MAX_LINE_BYTES:
        raise _refuse(number, f"it has {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    try:
        fields = canonical.loads_object(line.removesuffix(b"\n"))
    except CanonicalError as error:
        raise _refuse(number, str(error)) from error
    if fields.keys() != expected:
        odd = ", ".join(sorted(fields.keys() ^ expected))[:200]
        raise _refuse(number, f"fields missing or unknown: {odd}")
    if not _is_sealed(line.removesuffix(b"\n"), str(fields.pop(_SEAL))):
        raise _refuse(number, f"{_SEAL} does not match the rest: the line was changed after it was written")
    return fields


def _is_sealed(line: bytes, seal: str) -> bool:
    # The line is canonical, so the rest of it is what is left without the seal: no text holds this, as quotes in texts
    # are escaped.
    before, _seal, after = line.partition(b'"%b":"%b",' % (_SEAL.encode(), seal.encode()))
    return sha256(before + after).hexdigest() == seal


def _parse_signature(value: canonical.JsonValue, number: int) -> Signature:
    if not isinstance(value, dict) or value.keys() != {"keyid", "sig"}:
        raise _refuse(number, "a signature has other fields than keyid and sig")
    return Signature(keyid=_text(value, "keyid", number), sig=_decode(_text(value, "sig", number), number))


def _decode(text: str, number: int) -> bytes:
    try:
        return b64.decode(text)
    except ValueError as error:
        raise _refuse(number, "a value is not base64 in its one form") from error


def _text(fields: canonical.JsonObject, name: str, number: int) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _refuse(number, f"{name} is not a string")
    return value


def _count(fields: canonical.JsonObject, name: str, number: int) -> int:
    value = fields[name]
    if type(value) is not int or value < 0:
        raise _refuse(number, f"{name} is not an integer from 0")
    return value


def _refuse(number: int, reason: str) -> RecordInvalid:
    return RecordInvalid(f"line {number} is not a line of a log export: {reason}", line=number)
