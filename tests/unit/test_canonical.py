"""The canonical JSON profile: what is printed, what is refused."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_prints_what_rfc_8785_prints(value: object) -> None:
    printed = canonical.dumps(value)
    assert printed == rfc8785.dumps(value)  # type: ignore[arg-type]
    assert canonical.loads(printed) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_identity_or_refused(data: bytes) -> None:
    try:
        value = canonical.loads(data)
    except CanonicalError:
        return
    assert canonical.dumps(value) == data


def test_tuples_print_as_lists() -> None:
    assert canonical.dumps({"b": (1, "x"), "a": None}) == b'{"a":null,"b":[1,"x"]}'


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        {"a": [1.0]},
        2**53,
        -(2**53),
        {"é": 1},
        {1: "a"},
        "\ud800",
        {"a": b"bytes"},
        {"a": {1, 2}},
        object(),
    ],
)
def test_outside_the_profile_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError):
        canonical.dumps(value)


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(canonical.MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(CanonicalError, match="nesting"):
        canonical.dumps(value)
    with pytest.raises(CanonicalError):
        canonical.loads(b"[" * 200 + b"]" * 200)


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'"\\u0041"',
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"9007199254740992",
        b'"\xff"',
        b'"\\ud800"',
        b'"\\/"',
        b"\xef\xbb\xbf1",
        b"",
        b"nan",
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(CanonicalError):
        canonical.loads(data)


def test_the_place_is_named() -> None:
    with pytest.raises(CanonicalError, match=r"\$\.a\[1\]"):
        canonical.dumps({"a": [1, 0.5]})


def test_digest_is_sha256_of_the_printed_form() -> None:
    assert canonical.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(CanonicalError, match="expected an object"):
        canonical.loads_object(b"[]")
