"""What a signature is worth: scope, the trust log that the record knew, and the time that witnesses vouch for."""

from __future__ import annotations

from typing import Any

import pytest

from jurat.audit.identity import Identity, TrustHead
from jurat.audit.keys import TrustedKey
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed
from jurat.audit.standing import Standing, standing
from jurat.audit.trust_log import TrustLog
from jurat.schemas.errors import CredentialInvalid
from tests.golden.audit import sample_log
from tests.trust_stage import AGENT, ISSUER, SCOPE, Settled, at, digest, key, root, settled, signed, t


def judged(stage: Settled, record: DecisionRecord, *, witnessed_at: int | None) -> Standing:
    return standing(of(stage), record, witnessed_at=witnessed_at)


def of(stage: Settled, holder: str = "session 1") -> TrustedKey:
    return stage.org.log.trust().find(key(holder).keyid)


def test_a_record_inside_its_credential_is_good_once_it_is_witnessed() -> None:
    stage = settled()
    for outcome in Outcome:
        record = stage.record(outcome=outcome)
        assert judged(stage, record, witnessed_at=t()) is Standing.GOOD
        assert judged(stage, record, witnessed_at=None) is Standing.UNPROVEN


def test_a_pinned_key_needs_neither_time_nor_credential() -> None:
    record = sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED)
    assert standing(TrustedKey(AGENT, key("pinned").keyid), record, witnessed_at=None) is Standing.GOOD


@pytest.mark.parametrize("when", [at(minutes=-5), at(hours=20)])
def test_the_first_and_the_last_second_count(when: str) -> None:
    stage = settled()
    offset = t(minutes=-5) if when == at(minutes=-5) else t(hours=20)
    assert judged(stage, stage.record(), witnessed_at=offset) is Standing.GOOD


def test_before_and_after() -> None:
    stage = settled()
    with pytest.raises(CredentialInvalid, match="not valid yet"):
        judged(stage, stage.record(), witnessed_at=t(minutes=-5) - 1)
    with pytest.raises(CredentialInvalid, match="had expired"):
        judged(stage, stage.record(), witnessed_at=t(hours=20) + 1)
    with pytest.raises(CredentialInvalid, match="had expired"):
        judged(stage, stage.record(), witnessed_at=2**62)


@pytest.mark.parametrize(
    ("holder", "signers"), [("session 1", (AGENT,)), (AGENT, (ISSUER,)), (ISSUER, ("alice", "bob"))]
)
def test_a_stolen_key_that_backdates_after_its_revocation(holder: str, signers: tuple[str, ...]) -> None:
    """The record says it is old; its witnesses say when it came."""
    stage = settled()
    old = stage.record(time="2026-01-01T00:00:00.000000Z")
    stage.org.add(signed(stage.org.revocation(holder, effective=at(hours=2)), *signers))
    with pytest.raises(CredentialInvalid, match="was revoked"):
        judged(stage, old, witnessed_at=t(hours=2) + 1)
    assert judged(stage, old, witnessed_at=t(hours=2)) is Standing.GOOD


def test_a_stolen_key_cannot_give_itself_a_session_after_its_revocation() -> None:
    """Nor does one help that was signed before, and kept back."""
    stage = settled()
    org = stage.org
    kept = org.session(stage.agent, holder="thief")
    org.add(signed(org.revocation(AGENT, effective=at(hours=2)), ISSUER))
    with pytest.raises(Exception, match="revoked"):
        org.add(signed(kept, AGENT))


def test_between_theft_and_revocation_nobody_knows_who_signed() -> None:
    stage = settled()
    record = stage.record()
    stolen = stage.org.revocation(AGENT, effective=at(hours=2), compromised_since=at(hours=1))
    stage.org.add(signed(stolen, ISSUER))
    assert judged(stage, record, witnessed_at=t(hours=1) - 1) is Standing.GOOD
    assert judged(stage, record, witnessed_at=t(hours=1)) is Standing.SUSPECT
    assert judged(stage, record, witnessed_at=t(hours=2)) is Standing.SUSPECT
    with pytest.raises(CredentialInvalid, match="was revoked"):
        judged(stage, record, witnessed_at=t(hours=2) + 1)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"identity": None}, "under the credential None"),
        (
            {"identity": Identity(credential="ab" * 32, trust=TrustHead(sha256="0" * 64, size=0))},
            "which its key",
        ),
        ({"proposals": ("other",)}, "the action 'other'"),
        ({"inputs": ("kafka://MkU3OEVBNTcwNTJENDM2Qk/commerce.payments/0/0",)}, "an input of the topic"),
        ({"amount_minor": 50_001}, "got 50001 at context.amount_minor"),
        ({"amount_minor": "1"}, "got no integer at context.amount_minor"),
        ({"amount_minor": True}, "got no integer at context.amount_minor"),
    ],
    ids=str,
)
def test_what_is_outside_the_scope(values: dict[str, Any], match: str) -> None:
    stage = settled()
    with pytest.raises(CredentialInvalid, match=match):
        judged(stage, changed(stage.record(), **values), witnessed_at=t())


def changed(record: DecisionRecord, **values: Any) -> DecisionRecord:
    if "proposals" in values:
        named = record.proposals[0].model_copy(update={"action": values["proposals"][0]})
        return record.model_copy(update={"proposals": (*record.proposals, named)})
    if "inputs" in values:
        first = record.inputs[0].model_copy(update={"uri": values["inputs"][0]})
        return record.model_copy(update={"inputs": (first,)})
    if "amount_minor" in values:
        assert record.policy is not None
        policy = record.policy.model_copy(update={"input": {"context": values}})
        return record.model_copy(update={"policy": policy})
    return record.model_copy(update=values)


def test_what_was_refused_is_not_measured() -> None:
    """A reasoner may propose whatever it likes; what counts is what was allowed."""
    stage = settled()
    for outcome in (Outcome.DENIED, Outcome.ESCALATED):
        record = changed(stage.record(outcome=outcome), amount_minor=99_999)
        assert judged(stage, record, witnessed_at=t()) is Standing.GOOD
    denied = changed(stage.record(outcome=Outcome.DENIED), proposals=("other",))
    assert judged(stage, denied, witnessed_at=t()) is Standing.GOOD
    escalated = changed(stage.record(outcome=Outcome.ESCALATED), proposals=("other",))
    with pytest.raises(CredentialInvalid, match="the action"):
        judged(stage, escalated, witnessed_at=t())


def test_a_swapped_policy() -> None:
    stage = settled()
    org = stage.org
    narrow = org.agent(
        stage.issuer, holder="narrow", scope=SCOPE.model_copy(update={"policies": ("5f" * 32,)})
    )
    org.add(signed(narrow, ISSUER))
    session = org.session(narrow, holder="s")
    org.add(signed(session, "narrow"))
    stage.session = session
    record = stage.record()
    assert standing(of(stage, "s"), record, witnessed_at=t()) is Standing.GOOD
    assert isinstance(record.policy, PolicyUsed)
    swapped = record.model_copy(update={"policy": record.policy.model_copy(update={"digest": "60" * 32})})
    with pytest.raises(CredentialInvalid, match="a judgement by the policies"):
        standing(of(stage, "s"), swapped, witnessed_at=t())


def test_a_frozen_view_of_the_trust_log() -> None:
    """A worker that was kept from a revocation names an old head; an auditor who is shown an old log is told."""
    stage = settled()
    short = TrustLog(stage.org.pin)
    for line in stage.org.lines:
        short.add(line)
    stage.org.add(signed(stage.org.revocation(AGENT), ISSUER))
    knows_it = stage.record()
    frozen = short.trust().find(key("session 1").keyid)
    with pytest.raises(CredentialInvalid, match="its end was cut off"):
        standing(frozen, knows_it, witnessed_at=t())
    assert judged(stage, knows_it, witnessed_at=t()) is Standing.GOOD

    other = stage.record(
        identity=Identity(credential=digest(stage.session), trust=TrustHead(sha256="ab" * 32, size=4))
    )
    with pytest.raises(CredentialInvalid, match="another trust log"):
        judged(stage, other, witnessed_at=t())


def test_a_head_that_is_older_than_the_credential() -> None:
    stage = settled()
    before = TrustLog(stage.org.pin)
    for line in stage.org.lines[:-1]:
        before.add(line)
    record = stage.record(identity=Identity(credential=digest(stage.session), trust=before.head))
    with pytest.raises(CredentialInvalid, match="expected 4 at least"):
        judged(stage, record, witnessed_at=t())


def test_another_sessions_credential() -> None:
    stage = settled()
    org = stage.org
    org.add(signed(org.session(stage.agent, holder="session 2"), AGENT))
    with pytest.raises(CredentialInvalid, match="which its key has"):
        standing(of(stage, "session 2"), stage.record(), witnessed_at=t())


def test_a_root_that_goes_leaves_what_it_signed() -> None:
    stage = settled()
    stage.org.add(
        signed(root(stage.org.log.head, names=("dave", "erin"), version=2), "alice", "bob", "dave", "erin")
    )
    assert judged(stage, stage.record(), witnessed_at=t()) is Standing.GOOD
