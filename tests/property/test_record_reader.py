"""Records and lines that are read fast: the same as the long way reads, and nothing that it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from jurat.audit import export
from jurat.audit.disclosure import parse_any
from jurat.audit.identity import Identity, TrustHead
from jurat.audit.log import LogEntry
from jurat.audit.record import Outcome, Statement, build
from jurat.audit.record_reader import read_any, read_fast
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, RecordInvalid
from jurat.schemas.model import Model
from tests import veiled
from tests.golden.audit import sample_log

LOG: Final = sample_log.log(len(Outcome) * len(sample_log.AGENTS), outcomes=list(Outcome))
FULL: Final = veiled.full_record().model_copy(update={"approvals": ()})
IDENTITY: Final = Identity(credential="0c" * 32, trust=TrustHead(sha256="0d" * 32, size=3))


def printed(record: Any) -> bytes:
    return build(record, *sample_log.subject_of(record, 0))


PLAIN: Final = [
    *(entry.record.payload for entry in LOG),
    printed(FULL),
    printed(FULL.model_copy(update={"identity": IDENTITY})),
]
LONG_WAY: Final = [printed(veiled.full_record()), veiled.VeiledLog().entries[0].record.payload]
"""Of a record with approvals, and of a veiled one."""

LINES: Final = [export.print_entry(entry) for entry in LOG[:4]]
LEAVES: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.sampled_from(
        [2**53 - 1, 2**53, -(2**53), 1.5, 1.0, 1e300, "", "x", "ü", "x" * 201, "0" * 64, "A" * 64]
    ),
    st.sampled_from(
        ["0" * 64 + "\n", "\x00", "2026-02-30T00:00:00.000000Z", "allow", "denied", [], {}, [[]], [1]]
    ),
    st.sampled_from([{"a": {}}, {"ü": 1}, {"a": [1.5]}, {"a": "ü"}, {"a": 2**53}]),
)
Path = tuple[str | int, ...]


def paths(value: Any, at: Path = ()) -> list[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths(one, (*at, key)))]


def spelled(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        errors="surrogatepass"
    )


@st.composite
def changed(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A value put somewhere, a member left out, added or said twice, or a byte of another kind."""
    data = draw(st.sampled_from(originals))
    value = json.loads(data)
    *way, last = draw(st.sampled_from(paths(value)[1:]))
    inner = value
    for key in way:
        inner = inner[key]
    match draw(st.sampled_from(["put", "leave out", "add", "nest", "bytes", "spell"])):
        case "put":
            inner[last] = draw(LEAVES)
        case "leave out":
            del inner[last]
        case "add" if isinstance(inner, dict):
            inner[
                draw(
                    st.sampled_from(
                        ["alternatives", "call", "fallback", "reasoner", "tools", "identity", "zz"]
                    )
                )
            ] = draw(LEAVES)
        case "nest":
            for _ in range(draw(st.integers(1, 70))):
                inner[last] = draw(st.sampled_from([[inner[last]], {"a": inner[last]}]))
        case "bytes":
            at = draw(st.integers(0, len(data) - 1))
            part = draw(
                st.sampled_from([b"", b" ", b"\\u0061", b"\xff", b"\xed\xa0\x80", b"-0", b"1.0", b"\\/"])
            )
            return data[:at] + part + data[at + draw(st.integers(0, 1)) :]
        case _:
            return json.dumps(value).encode()
    return spelled(value)


def same(read: Any, expected: Any) -> bool:
    """Whether two values have the same members, models or not."""
    if isinstance(expected, Model):
        return all(same(getattr(read, name), getattr(expected, name)) for name in type(expected).model_fields)
    if isinstance(expected, tuple):
        return (
            isinstance(read, tuple)
            and len(read) == len(expected)
            and all(same(*pair) for pair in zip(read, expected, strict=True))
        )
    return type(read) is type(expected) and bool(read == expected)


def outcome_of(read: Callable[[bytes], Statement], payload: bytes) -> Statement | str:
    try:
        return read(payload)
    except RecordInvalid as error:
        return str(error)


def agree(payload: bytes) -> None:
    expected, got = outcome_of(parse_any, payload), outcome_of(read_any, payload)
    assert got == expected if isinstance(expected, str) else same(got, expected)


def test_what_is_plain_is_read_fast_and_the_rest_is_not() -> None:
    for payload in PLAIN:
        read = read_fast(payload)
        assert read is not None
        assert not isinstance(read, Statement)
        agree(payload)
    for payload in LONG_WAY:
        assert isinstance(read_any(payload), Statement)
        agree(payload)


@given(changed([*PLAIN, *LONG_WAY]))
@example(PLAIN[0].replace(b'"time":"2026-01-02', b'"time":"2026-02-30'))
@example(PLAIN[0].replace(b'"note":', b'"n\xc3\xb6te":'))
@example(PLAIN[0].replace(b'"amount_minor":12345', b'"amount_minor":9007199254740992'))
@example(PLAIN[0].replace(b'"amount_minor":12345', b'"amount_minor":1.5'))
@example(PLAIN[0].replace(b'"errors":[]', b'"alternatives":[],"errors":[]'))
def test_a_changed_record_is_read_or_refused_alike(payload: bytes) -> None:
    agree(payload)


@given(st.sampled_from(PLAIN), st.integers(0))
def test_a_flipped_bit_is_read_or_refused_alike(payload: bytes, bit: int) -> None:
    bit %= 8 * len(payload)
    flipped = bytearray(payload)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    agree(bytes(flipped))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_text_of_any_characters_is_read_fast(text: str) -> None:
    (judged,) = FULL.proposals
    payload = printed(
        FULL.model_copy(
            update={
                "proposals": (judged.model_copy(update={"parameters": {"note": text}, "reasons": (text,)}),)
            }
        )
    )
    assert read_fast(payload) is not None
    agree(payload)


def line_or_reason(read: Callable[[bytes, int], LogEntry], line: bytes) -> LogEntry | str:
    try:
        return read(line, 1)
    except RecordInvalid as error:
        return str(error)


@given(changed(LINES), st.booleans())
def test_a_changed_line_is_read_or_refused_alike(line: bytes, is_sealed_anew: bool) -> None:
    """The seal proves nothing: whoever changes a line can make it anew."""
    if is_sealed_anew:
        with suppress(ValueError, TypeError, CanonicalError):
            fields = {name: one for name, one in json.loads(line).items() if name != "lineSha256"}
            line = canonical.dumps({**fields, "lineSha256": sha256(canonical.dumps(fields)).hexdigest()})
    assert line_or_reason(export.parse_entry, line) == line_or_reason(export.parse_entry_slowly, line)
