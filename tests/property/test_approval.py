"""What a person signed is bound to every byte of it: nothing that differs anywhere passes for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit.approval import Answer, action_digest, answer_to, parse_statement, verify_answer
from jurat.schemas.approvals import ApprovalAnswered
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import AuditError, RecordInvalid
from tests.approval_stage import PEOPLE, signer, trust
from tests.examples import REQUEST, WHEN

ACTION: dict[str, Any] = {
    "agent": REQUEST.agent,
    "decision_id": REQUEST.decision_id,
    "action": REQUEST.action,
    "parameters": REQUEST.parameters,
    "resource_type": REQUEST.resource_type,
    "resource_id": REQUEST.resource_id,
}
ASKED = REQUEST.model_copy(update={"action_sha256": action_digest(**ACTION)})
TRUST = trust()


WHY = "größer, «αβγ» 漢"


def answered(answer: Answer = Answer.GRANT, why: str = WHY, role: str = "fraud-desk") -> ApprovalAnswered:
    return asyncio.run(
        answer_to(ASKED, answer, approver="bob", role=role, why=why, at=WHEN, signer=signer("bob"))
    )


SIGNED = answered()


def verified(payload: bytes, signature: Signature) -> None:
    verify_answer(SIGNED.payload_type, payload, (signature,), TRUST)


def test_untouched_it_holds() -> None:
    one = verify_answer(SIGNED.payload_type, SIGNED.payload, SIGNED.signatures, TRUST)
    assert (one.decision_id, one.action_sha256) == (ASKED.decision_id, ASKED.action_sha256)
    assert (one.said.approver, one.said.role, one.said.answer) == ("bob", "fraud-desk", Answer.GRANT)
    assert one.answered_at == WHEN


@settings(max_examples=300)
@given(st.integers(0, 8 * len(SIGNED.payload) - 1))
def test_a_flipped_bit_of_the_statement(bit: int) -> None:
    changed = bytearray(SIGNED.payload)
    changed[bit >> 3] ^= 1 << (bit & 7)
    with pytest.raises(AuditError):
        verified(bytes(changed), SIGNED.signatures[0])


@settings(max_examples=200)
@given(st.integers(0, 511))
def test_a_flipped_bit_of_the_signature(bit: int) -> None:
    changed = bytearray(SIGNED.signatures[0].sig)
    changed[bit >> 3] ^= 1 << (bit & 7)
    with pytest.raises(AuditError):
        verified(SIGNED.payload, Signature(keyid=SIGNED.signatures[0].keyid, sig=bytes(changed)))


@pytest.mark.parametrize("name", sorted({*PEOPLE, "stranger"} - {"bob"}))
def test_another_key(name: str) -> None:
    with pytest.raises(AuditError):
        verified(SIGNED.payload, Signature(keyid=signer(name).keyid, sig=SIGNED.signatures[0].sig))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_whatever_a_statement_holds_the_error_is_ours(payload: bytes) -> None:
    with pytest.raises(RecordInvalid):
        parse_statement(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
ACTIONS = st.fixed_dictionaries(
    {
        "agent": st.text(min_size=1, max_size=8),
        "decision_id": st.text(min_size=1, max_size=8),
        "action": st.text(min_size=1, max_size=8),
        "parameters": st.dictionaries(st.sampled_from(["amount_minor", "currency", "x"]), JSON, max_size=3),
        "resource_type": st.text(min_size=1, max_size=8),
        "resource_id": st.text(min_size=1, max_size=8),
    }
)


def strictly(value: object) -> object:
    """A value that tells `1` from `True`."""
    if isinstance(value, dict):
        return {name: strictly(one) for name, one in value.items()}
    if isinstance(value, list):
        return [strictly(one) for one in value]
    return (type(value), value)


@settings(max_examples=300)
@given(ACTIONS, ACTIONS)
def test_two_actions_have_one_digest_only_if_they_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    with suppress(UnicodeError):
        same = action_digest(**one) == action_digest(**other)
        assert same == (strictly(one) == strictly(other))


@given(ACTIONS, st.data())
def test_every_part_of_an_action_counts(action: dict[str, Any], data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(sorted(action)))
    changed = {"amount_minor": 1, "z": 0} if part == "parameters" else action[part] + "!"
    assert action_digest(**action) != action_digest(**{**action, part: changed})


@given(st.sampled_from(Answer), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_print_then_parse_is_identity(answer: Answer, why: str) -> None:
    if answer is Answer.REFUSE and not why.strip():
        with pytest.raises(RecordInvalid, match="without a reason"):
            answered(answer, why)
        return
    one = answered(answer, why)
    said = parse_statement(one.payload).predicate
    assert (said.answer, said.why) == (answer, why)


def test_a_request_that_shows_another_action_than_it_asks_about_is_not_signed() -> None:
    shown = ASKED.model_copy(update={"parameters": {"amount_minor": 1, "currency": "EUR"}})
    with pytest.raises(RecordInvalid, match="approve nothing"):
        asyncio.run(
            answer_to(
                shown, Answer.GRANT, approver="bob", role="fraud-desk", why="", at=WHEN, signer=signer("bob")
            )
        )


@pytest.mark.parametrize(("why", "role"), [("x" * 501, "fraud-desk"), ("", ""), ("\ud800", "fraud-desk")])
def test_what_is_out_of_bounds_is_not_signed(why: str, role: str) -> None:
    with pytest.raises(RecordInvalid):
        answered(why=why, role=role)
