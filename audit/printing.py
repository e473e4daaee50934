"""The bytes of a statement: canonical JSON, cut where `identity`, `prev` and `seq` stand, to be filled in later.

Rules upheld here: the bytes are those of `canonical.dumps` over the statement as JSON types, whichever way they were
made; a value outside the profile is refused. A record is printed as it stands, without plain dicts made of it first:
its own fields are typed, so only the objects of free form (`parameters`, `input`) are looked at. What does not fit
there takes the long way, which finds a JSON form for it or says what is wrong.

Not here: what a record must say (`record`), its place in the chain (`draft`, `chain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import orjson

from jurat.audit.identity import Identity
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError
from jurat.schemas.model import Model

if TYPE_CHECKING:
    from jurat.audit.record import DecisionRecord

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:jurat:decision-record:v1"
VEILED_TYPE: Final = "urn:jurat:veiled-decision-record:v1"
"""Of a record in which commitments stand for what is personal; see `jurat.audit.disclosure`."""

INPUT_DEPTH: Final = 3
"""Where `predicate.policy.input` stands in a statement."""

PARAMETERS_DEPTH: Final = 4
"""Where `predicate.proposals[].parameters` stands in a statement."""

SOMETIMES: Final = ("alternatives", "budgets", "call", "fallback", "reasoner", "shadow", "tools")
"""Members of the parts of a record that are left out where there is nothing in them; not of the record itself."""

Pieces = tuple[bytes, bytes, bytes, bytes]
"""A statement's bytes before the member `identity`, from there to the value of `prev`, between that and the value of
`seq`, and after that."""

_HEAD: Final = b'{"_type":' + orjson.dumps(STATEMENT_TYPE) + b',"predicate":'
_TAILS: Final = {
    kind: b',"predicateType":' + orjson.dumps(kind) + b',"subject":' for kind in (PREDICATE_TYPE, VEILED_TYPE)
}
_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def pieces(
    record: DecisionRecord, subject_name: str, subject_sha256: str, *, kind: str = PREDICATE_TYPE
) -> Pieces:
    """Print a statement around a record; the record's own `identity`, `seq` and `prev` are left out.

    Args:
        record: the record.
        subject_name: what it is about.
        subject_sha256: digest of that.
        kind: `PREDICATE_TYPE` or `VEILED_TYPE`.

    Raises:
        CanonicalError: it is outside the canonical JSON profile.
    """
    values: Mapping[str, object] = record.__dict__
    if not _fits(record):
        values = record.model_dump(mode="json")
        canonical.check(statement_of(values, subject_name, subject_sha256, kind=kind))
    first, before, between, after = _names(type(record))
    try:
        return (
            _HEAD + _printed(values, first)[:-1],
            b"," + _printed(values, before)[1:-1] + b',"prev":',
            b"," + _printed(values, between)[1:-1] + b',"seq":',
            b"".join(
                (
                    b",",
                    _printed(values, after)[1:],
                    _TAILS[kind],
                    _subject(subject_name, subject_sha256),
                    b"}",
                )
            ),
        )
    except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
        raise CanonicalError(f"a value cannot be printed as canonical JSON: {error}") from error


def whole(
    record: DecisionRecord, subject_name: str, subject_sha256: str, *, kind: str = PREDICATE_TYPE
) -> bytes:
    """Print a statement around a record that has its place: the same bytes, in one go.

    The arguments are those of `pieces`.

    Raises:
        CanonicalError: it is outside the canonical JSON profile.
    """
    if not _fits(record):
        made = pieces(record, subject_name, subject_sha256, kind=kind)  # the long way, which may find a form
        return joined(made, seq=record.seq, prev=record.prev, identity=record.identity)
    try:
        statement = statement_of(_members(record), subject_name, subject_sha256, kind=kind)
        return orjson.dumps(statement, default=_fields, option=_OPTIONS)
    except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
        raise CanonicalError(f"a value cannot be printed as canonical JSON: {error}") from error


def joined(made: Pieces, *, seq: int, prev: str, identity: Identity | None = None) -> bytes:
    """Fill in the place, and who signs it.

    Raises:
        CanonicalError: `seq` is no number of a chain.
    """
    if type(seq) is not int or not 0 <= seq <= canonical.MAX_INTEGER:
        raise CanonicalError(f"got the seq {seq!r}, expected the number of a record in its chain")
    first, before, between, after = made
    signed = b"" if identity is None else b',"identity":' + canonical.dumps(identity.model_dump())
    return b"%b%b%b%b%b%d%b" % (first, signed, before, canonical.dumps(prev), between, seq, after)


def statement_of(
    predicate: Mapping[str, object], subject_name: str, subject_sha256: str, *, kind: str = PREDICATE_TYPE
) -> dict[str, object]:
    """The in-toto statement around a record, as JSON types."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject_name, "digest": {"sha256": subject_sha256}}],
        "predicateType": kind,
        "predicate": predicate,
    }


def _fits(record: DecisionRecord) -> bool:
    used = record.policy
    if used is not None and not canonical.fits(used.input, depth=INPUT_DEPTH):
        return False
    return all(canonical.fits(judged.parameters, depth=PARAMETERS_DEPTH) for judged in record.proposals)


@cache
def _names(model: type[Model]) -> tuple[tuple[str, ...], ...]:
    """The names of a record's fields around `identity`, `prev` and `seq`, in the order of their printing."""
    names = sorted(model.model_fields)
    cuts = [names.index(name) for name in ("identity", "prev", "seq")]
    return tuple([tuple(names[a + 1 : b]) for a, b in pairwise((-1, *cuts, len(names)))])


def _printed(values: Mapping[str, object], names: Iterable[str]) -> bytes:
    return orjson.dumps({name: values[name] for name in names}, default=_fields, option=_OPTIONS)


def _members(record: DecisionRecord) -> Mapping[str, object]:
    """The record's own members: `identity` is left out where there is none, all others stand there."""
    values: dict[str, object] = record.__dict__
    return values if record.identity is not None else {n: one for n, one in values.items() if n != "identity"}


def _subject(name: str, sha256: str) -> bytes:
    return orjson.dumps([{"digest": {"sha256": sha256}, "name": name}], option=_OPTIONS)


def _fields(value: object) -> dict[str, object]:
    sometimes = _SOMETIMES_OF.get(type(value))
    if sometimes is None:
        sometimes = _learn(value)
    fields = value.__dict__
    for name in sometimes:
        if not fields[name]:
            return {name: one for name, one in fields.items() if one or name not in SOMETIMES}
    return fields


_SOMETIMES_OF: Final[dict[type, tuple[str, ...]]] = {}
"""By model, which of its members are left out where there is nothing in them: asked for every part of every record."""


def _learn(value: object) -> tuple[str, ...]:
    if not isinstance(value, Model):
        raise TypeError(f"got a {type(value).__name__}, expected JSON types")
    found = tuple(name for name in SOMETIMES if name in type(value).model_fields)
    return _SOMETIMES_OF.setdefault(type(value), found)
