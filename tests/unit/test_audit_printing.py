"""Printing a record: the bytes of canonical JSON, whichever way they are made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.audit import printing
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed
from jurat.schemas import canonical
from jurat.schemas.canonical import MAX_DEPTH, MAX_INTEGER
from jurat.schemas.errors import CanonicalError
from tests.golden.audit import sample_log

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def judged_on(policy_input: dict[str, Any]) -> DecisionRecord:
    used = PolicyUsed(bundle="b", digest="0" * 64, engine="e", input=policy_input)
    return sample_log.record("after-sales", offset=3, outcome=Outcome.DECIDED).model_copy(
        update={"policy": used}
    )


def plainly(record: DecisionRecord, *, seq: int, prev: str) -> bytes:
    """The bytes of the statement as JSON types."""
    placed = record.model_copy(update={"seq": seq, "prev": prev})
    return canonical.dumps(printing.statement_of(placed.model_dump(mode="json"), "the subject", "ab" * 32))


def printed(record: DecisionRecord, *, seq: int, prev: str) -> bytes:
    """By its pieces; in one go it is the same, or refused the same."""
    placed = record.model_copy(update={"seq": seq, "prev": prev})
    try:
        made = printing.joined(printing.pieces(record, "the subject", "ab" * 32), seq=seq, prev=prev)
    except CanonicalError:
        with pytest.raises(CanonicalError):
            printing.whole(placed, "the subject", "ab" * 32)
        raise
    assert printing.whole(placed, "the subject", "ab" * 32) == made
    return made


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_record_of_every_outcome_is_printed_as_its_json_types_are(outcome: Outcome) -> None:
    record = sample_log.record("after-sales", offset=3, outcome=outcome)
    for seq, prev in ((0, "0" * 64), (MAX_INTEGER, "cd" * 32)):
        assert printed(record, seq=seq, prev=prev) == plainly(record, seq=seq, prev=prev)


def agree(policy_input: dict[str, Any]) -> None:
    record = judged_on(policy_input)
    try:
        expected = plainly(record, seq=1, prev="ab" * 32)
    except CanonicalError:
        with pytest.raises(CanonicalError):
            printed(record, seq=1, prev="ab" * 32)
    else:
        assert printed(record, seq=1, prev="ab" * 32) == expected


@given(policy_input=st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_the_same_is_refused_and_the_same_is_printed(policy_input: dict[str, Any]) -> None:
    agree(policy_input)


def test_keys_that_look_like_the_place_are_left_alone() -> None:
    decoy = {"prev": "0" * 64, "proposals": [], "seq": 0, 'x","prev":"': '","seq":0,"time":'}
    record = judged_on(decoy)
    made = printed(record, seq=7, prev="ab" * 32)
    assert made == plainly(record, seq=7, prev="ab" * 32)
    assert b'"prev":"' + b"0" * 64 in made, "the decoy"


def test_what_has_a_json_form_only_in_a_dump_is_printed_as_dumped() -> None:
    record = judged_on({"at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert b'"at":"2026-01-01T00:00:00Z"' in printed(record, seq=1, prev="ab" * 32)
    assert printed(record, seq=1, prev="ab" * 32) == plainly(record, seq=1, prev="ab" * 32)


@pytest.mark.parametrize("depth", range(MAX_DEPTH - 6, MAX_DEPTH + 2))
def test_nesting_is_bounded_where_the_whole_is(depth: int) -> None:
    nested: dict[str, Any] = {}
    for _ in range(depth):
        nested = {"x": nested}
    agree(nested)


@given(JSON)
def test_what_fits_is_what_passes_the_check(value: object) -> None:
    try:
        canonical.check(value)
    except CanonicalError:
        assert not canonical.fits(value)
    else:
        assert canonical.fits(value)
