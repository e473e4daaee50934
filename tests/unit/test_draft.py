"""Drafts: finished, they are the bytes of `record.build`; what was drafted always finishes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.audit.chain import ChainHead
from jurat.audit.draft import draft
from jurat.audit.identity import Identity, TrustHead
from jurat.audit.record import (
    GENESIS,
    MAX_PAYLOAD_BYTES,
    DecisionRecord,
    Outcome,
    PolicyUsed,
    Rejection,
    build,
    parse,
)
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.errors import RecordInvalid
from tests.golden.audit import sample_log

IDENTITY = Identity(credential="ef" * 32, trust=TrustHead(sha256="01" * 32, size=MAX_INTEGER))
"""The longest there is."""

HEADS = (ChainHead(), ChainHead(1, "ab" * 32), ChainHead(MAX_INTEGER, "cd" * 32))


def example(outcome: Outcome = Outcome.DECIDED) -> DecisionRecord:
    return sample_log.record("after-sales", offset=3, outcome=outcome)


def judged_on(policy_input: dict[str, Any]) -> DecisionRecord:
    record = example()
    used = PolicyUsed(bundle="b", digest="0" * 64, engine="e", input=policy_input)
    return record.model_copy(update={"policy": used})


@pytest.mark.parametrize("head", HEADS, ids=lambda head: str(head.next_seq))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_finished_draft_is_what_build_prints(outcome: Outcome, head: ChainHead) -> None:
    record = example(outcome)
    subject = sample_log.subject_of(record, 3)
    placed = record.model_copy(update={"seq": head.next_seq, "prev": head.prev})
    assert draft(record, *subject).finish(head) == build(placed, *subject)
    signed = placed.model_copy(update={"identity": IDENTITY})
    assert draft(record, *subject).finish(head, IDENTITY) == build(signed, *subject)
    assert parse(build(signed, *subject)).predicate == signed


def test_a_draft_may_be_finished_again_elsewhere() -> None:
    """A transaction that was aborted is signed anew, perhaps at another place."""
    record = example()
    made = draft(record, *sample_log.subject_of(record, 3))
    first = made.finish(ChainHead())
    assert made.finish(ChainHead(5, "ab" * 32)) != first
    assert made.finish(ChainHead()) == first


def test_a_record_that_has_its_place_is_refused() -> None:
    placed = example().model_copy(update={"seq": 1, "prev": "ab" * 32})
    with pytest.raises(RecordInvalid, match="its place"):
        draft(placed, *sample_log.subject_of(placed, 3))
    with pytest.raises(RecordInvalid, match="no identity"):
        draft(example().model_copy(update={"identity": IDENTITY}), "x", "0" * 64)
    with pytest.raises(RecordInvalid, match="its place"):
        draft(example().model_copy(update={"prev": "ab" * 32}), "x", "0" * 64)


def test_a_record_that_contradicts_itself_is_refused() -> None:
    record = example()
    subject = sample_log.subject_of(record, 3)
    with pytest.raises(RecordInvalid, match="decision id"):
        draft(record.model_copy(update={"decision_id": "dec_0"}), *subject)
    with pytest.raises(RecordInvalid, match="chain"):
        draft(record.model_copy(update={"chain": "other/topic/0"}), *subject)
    with pytest.raises(RecordInvalid, match="subject"):
        draft(record, "another", subject[1])
    with pytest.raises(RecordInvalid, match="rejection"):
        draft(record.model_copy(update={"rejection": Rejection(error="E", message="m")}), *subject)
    with pytest.raises(RecordInvalid, match="policy"):
        draft(record.model_copy(update={"policy": None}), *subject)


@pytest.mark.parametrize(
    "policy_input",
    [{"a": 0.5}, {"a": 2**53}, {"\u00e9": 1}, {"a": "\ud800"}],
    ids=["float", "large integer", "key", "surrogate"],
)
def test_what_cannot_be_printed_is_refused_before_it_is_kept(policy_input: dict[str, Any]) -> None:
    record = judged_on({}).model_copy(
        update={
            "policy": PolicyUsed.model_construct(bundle="b", digest="0" * 64, engine="e", input=policy_input)
        }
    )
    with pytest.raises(RecordInvalid, match="cannot be printed"):
        draft(record, *sample_log.subject_of(record, 3))


def test_the_size_is_bounded_so_that_every_place_still_fits() -> None:
    def fits(padding: int) -> bool:
        record = judged_on({"x": "x" * padding})
        try:
            made = draft(record, *sample_log.subject_of(record, 3))
        except RecordInvalid:
            return False
        return len(made.finish(HEADS[-1])) <= MAX_PAYLOAD_BYTES

    low, high = 0, MAX_PAYLOAD_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    largest = draft(judged_on({"x": "x" * low}), *sample_log.subject_of(example(), 3)).finish(
        HEADS[-1], IDENTITY
    )
    assert MAX_PAYLOAD_BYTES - 2 <= len(largest) <= MAX_PAYLOAD_BYTES, "it is the largest that fits"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=50) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(
    policy_input=st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    seq=st.integers(1, MAX_INTEGER),
    before=st.binary(),
)
def test_a_draft_that_was_made_always_finishes(policy_input: dict[str, Any], seq: int, before: bytes) -> None:
    record = judged_on(policy_input)
    subject = sample_log.subject_of(record, 3)
    try:
        made = draft(record, *subject)
    except RecordInvalid:
        return
    head = ChainHead(seq, hashlib.sha256(before).hexdigest())
    payload = made.finish(head)
    placed = record.model_copy(update={"seq": seq, "prev": head.prev})
    assert payload == build(placed, *subject)
    assert parse(payload).predicate == placed
    assert parse(made.finish(ChainHead())).predicate.prev == GENESIS
