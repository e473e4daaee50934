"""Statements of the trust log under any change: never taken, never another error than the audit room's."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.audit.credential import parse_payload, print_payload
from jurat.audit.credential_issue import opened
from jurat.audit.standing import standing
from jurat.audit.trust_log import TrustLog
from jurat.schemas.errors import AuditError
from tests.trust_stage import AGENT, Settled, settled, signed, t


@cache
def stage() -> Settled:
    """An organisation whose log holds each kind of statement."""
    made = settled()
    made.org.add(signed(made.org.agent(made.agent, holder="delegate"), AGENT))
    made.org.add(signed(made.org.revocation("delegate"), AGENT))
    return made


LINES = st.integers(0, 5)


@given(line=LINES, data=st.data())
def test_no_flipped_bit_is_ever_taken(line: int, data: st.DataObject) -> None:
    lines = stage().org.lines
    flipped = bytearray(lines[line])
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    log = TrustLog(stage().org.pin)
    for before in lines[:line]:
        log.add(before)
    head = log.head
    with pytest.raises(AuditError):
        log.add(bytes(flipped))
    assert log.head == head


@given(line=LINES, data=st.data())
def test_no_flipped_bit_of_a_payload_is_read_as_what_it_was(line: int, data: st.DataObject) -> None:
    """With whatever signature: what is read is what stands there, or an error."""
    payload, _signatures = opened(stage().org.lines[line])
    assert print_payload(parse_payload(payload)) == payload
    flipped = bytearray(payload)
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        read = parse_payload(bytes(flipped))
    except AuditError:
        return
    assert print_payload(read) == bytes(flipped) != payload


@given(line=st.binary(max_size=300))
def test_garbage_is_refused(line: bytes) -> None:
    log = TrustLog(stage().org.pin)
    with pytest.raises(AuditError):
        log.add(line)


@given(order=st.permutations(range(6)))
def test_only_the_order_of_the_log_gives_its_head(order: list[int]) -> None:
    """Whatever is left out or moved: no other log has the same head."""
    lines = stage().org.lines
    log = TrustLog(stage().org.pin)
    for number in order:
        try:
            log.add(lines[number])
        except AuditError:
            break
    assert (log.head == stage().org.log.head) == (order == list(range(6)))


@given(at=st.none() | st.integers(-(2**63), 2**63))
def test_no_time_raises_anything_else(at: int | None) -> None:
    (session,) = stage().org.log.trust().keys
    try:
        standing(session, stage().record(), witnessed_at=at)
    except AuditError:
        assert at is None or not t(minutes=-5) <= at <= t(hours=20)
