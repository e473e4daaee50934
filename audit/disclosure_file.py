"""The lines of a file of disclosures: those of one record each, or the statement of an erasure. Pure.

Rules upheld here: a line is canonical JSON and has one spelling; disclosures prove themselves by the record, and a
statement by its signature, so nothing else guards a line. Not here: the records (`export.py`).

Specified in `docs/spec/disclosure.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from jurat.audit.disclosure import (
    MAX_DISCLOSED_BYTES,
    Disclosure,
    parse_disclosures,
    print_disclosures,
)
from jurat.audit.subject_erasure import PAYLOAD_TYPE
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, DisclosureInvalid

MAX_LINE_BYTES: Final = MAX_DISCLOSED_BYTES + 128
"""The disclosures of one record, and its id."""

_DECISION: Final = re.compile(r"dec_[0-9a-f]{32}")


def print_line(decision_id: str, disclosures: Iterable[Disclosure]) -> bytes:
    """Print the disclosures of a record as a line, without the line feed."""
    listed = canonical.loads(print_disclosures(disclosures))
    return canonical.dumps({"decision_id": decision_id, "disclosures": listed})


def parse_line(line: bytes, number: int) -> tuple[str, tuple[Disclosure, ...]] | bytes:
    """Read a line.

    Args:
        line: with or without its line feed.
        number: its number in the file, from 1, for messages.

    Returns:
        The decision's id and its disclosures; or the envelope of an erasure, still to be verified.

    Raises:
        DisclosureInvalid: it is neither.
    """
    data = line.removesuffix(b"\n")
    if len(data) > MAX_LINE_BYTES:
        raise _refuse(number, f"it has more than {MAX_LINE_BYTES} bytes")
    try:
        fields = canonical.loads_object(data)
    except CanonicalError as error:
        raise _refuse(number, str(error)) from error
    if fields.get("payloadType") == PAYLOAD_TYPE:
        return data
    name = fields.get("decision_id")
    if (
        fields.keys() != {"decision_id", "disclosures"}
        or not isinstance(name, str)
        or not _DECISION.fullmatch(name)
    ):
        raise _refuse(number, "its members are not decision_id and disclosures")
    try:
        return name, parse_disclosures(canonical.dumps(fields["disclosures"]))
    except DisclosureInvalid as error:
        raise _refuse(number, str(error)) from error


def _refuse(number: int, reason: str) -> DisclosureInvalid:
    return DisclosureInvalid(f"line {number} is none of a file of disclosures: {reason}", line=number)
