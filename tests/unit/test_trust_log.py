"""The trust log: what an attacker adds, changes, cuts or replays, and which rule catches it."""

from __future__ import annotations

import asyncio
import json

import pytest

from jurat.audit import did_key, dsse, trust_log
from jurat.audit.credential import (
    MAX_STATEMENT_BYTES,
    STATEMENT_TYPE,
    parse_payload,
    print_payload,
)
from jurat.audit.credential_issue import (
    countersign,
    issue,
    missing_signatures,
    opened,
    parse_request,
    print_request,
    request,
)
from jurat.audit.identity import EMPTY_HEAD, TrustHead, next_head
from jurat.audit.keys import Trust, TrustedKey, print_trust
from jurat.audit.trust_log import TrustLog
from jurat.schemas import canonical
from jurat.schemas.errors import (
    KeyRejected,
    RecordInvalid,
    SignatureInvalid,
    StatementInvalid,
)
from tests.trust_stage import (
    AGENT,
    ISSUER,
    KINDS,
    SCOPE,
    at,
    changed,
    digest,
    key,
    refused,
    root,
    sealed,
    settled,
    signed,
    statements,
)

SMALL_ORDER = bytes([1]) + bytes(31)


def test_a_log_reads_the_same_for_everybody_who_trusts_its_root() -> None:
    stage = settled()
    log = TrustLog(stage.org.pin)
    for line in stage.org.lines:
        log.add(line)
    assert log.head == stage.org.log.head
    assert log.trust() == stage.org.log.trust()
    (session,) = log.trust().keys
    assert (session.agent, session.keyid) == (AGENT, key("session 1").keyid)
    assert session.grant is not None
    assert session.grant.scope == SCOPE
    assert [link.what for link in session.grant.links] == [
        f"the session credential of {AGENT}",
        f"the agent credential of {AGENT}",
        "the issuer credential of payments",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_statement_of_each_kind_is_taken_and_stands_once(kind: str) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    line = signed(made, *names)
    assert parse_payload(print_payload(made)) == made
    stage.org.add(line)
    assert stage.org.log.head == next_head(TrustHead.model_validate(made.after), line)
    refused(stage, line, StatementInvalid, "stands in the log already")


def test_a_statement_with_other_signatures_is_the_same_statement() -> None:
    """Or revoking one of the two would leave the other."""
    stage = settled()
    made = stage.org.issuer("second")
    stage.org.add(signed(made, "alice", "bob"))
    refused(stage, signed(made, "bob", "carol"), StatementInvalid, "stands in the log already")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_signs_nothing(kind: str) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    refused(stage, signed(made, "stranger"), SignatureInvalid, "no say")
    refused(stage, signed(made, *names, "stranger"), SignatureInvalid, "no say")


@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_key_id_is_caught(kind: str) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    payload, signatures = opened(signed(made, "stranger"))
    swapped = [one.model_copy(update={"keyid": key(names[0]).keyid}) for one in signatures]
    line = dsse.print_envelope(payload, payload_type=STATEMENT_TYPE, signatures=swapped)
    refused(stage, line, SignatureInvalid, "did not make")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_missing_and_repeated_members_are_refused(kind: str) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    payload = print_payload(made)
    refused(stage, sealed(changed(made, approvedBy="ceo"), *names), StatementInvalid, "approvedBy")
    fields = json.loads(payload)
    for name in fields:
        less = canonical.dumps({member: value for member, value in fields.items() if member != name})
        refused(stage, sealed(less, *names), StatementInvalid, "type|schema|one form")
    twice = payload[:-1] + b',"type":"' + kind.encode() + b'"}'
    refused(stage, sealed(twice, *names), StatementInvalid, "canonical")
    refused(stage, sealed(payload.replace(b":", b": ", 1), *names), StatementInvalid, "canonical")
    refused(stage, sealed(changed(made, type="decree"), *names), StatementInvalid, "decree")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [SMALL_ORDER, bytes([0xEE]) + b"\xff" * 30 + b"\x7f"], ids=["small", "y=1+p"])
def test_keys_under_which_anything_verifies_are_refused(kind: str, raw: bytes) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    weak = did_key.PREFIX + did_key._base58(b"\xed\x01" + raw)
    values = {"keys": sorted([weak, key("bob").keyid])} if kind == "root" else {"keyid": weak}
    refused(stage, sealed(changed(made, **values), *names), StatementInvalid, "small order")


@pytest.mark.parametrize("kind", ["issuer", "agent", "session"])
def test_nobody_gets_a_credential_for_a_key_of_somebody_else(kind: str) -> None:
    """An issuer that puts another one's key under a name of its own, or a proof made for something else."""
    stage = settled()
    made, names = statements(stage)[kind]
    for values in ({"keyid": key("victim").keyid}, {"proof": stage.agent.proof}):
        line = sealed(changed(made, **values), *names)
        refused(stage, line, SignatureInvalid, "proof of possession")


def test_one_signature_too_few() -> None:
    stage = settled()
    for kind in ("root", "issuer"):
        made, _names = statements(stage)[kind]
        refused(stage, signed(made, "alice"), SignatureInvalid, "got 1 signatures")
    refused(stage, signed(stage.org.revocation(AGENT), "carol"), SignatureInvalid, "got 1 signatures")


def test_a_root_is_replaced_by_the_old_and_the_new_alone() -> None:
    stage = settled()
    org = stage.org
    wanted = root(org.log.head, names=("carol", "dave", "erin"), version=2)
    refused(stage, signed(wanted, "alice", "bob"), SignatureInvalid, "version 2, expected 2")
    refused(stage, signed(wanted, "dave", "erin"), SignatureInvalid, "version 1, expected 2")
    org.add(signed(wanted, "alice", "carol", "dave"))
    issuer = org.issuer("second")
    refused(stage, signed(issuer, "alice", "bob"), SignatureInvalid, "no say")
    org.add(signed(issuer, "dave", "erin"))


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_of_the_root_is_never_left_out_or_taken_back(version: int) -> None:
    stage = settled()
    made = root(stage.org.log.head, version=version, threshold=1)
    refused(stage, signed(made, "alice", "bob"), StatementInvalid, "expected version 2")


def test_a_log_that_was_rolled_back_before_the_trusted_root_is_trusted_for_nothing() -> None:
    stage = settled()
    second = signed(root(stage.org.log.head, version=2), "alice", "bob")
    log = TrustLog(second)
    for line in stage.org.lines:
        log.add(line)
    with pytest.raises(StatementInvalid, match=r"acme, version 2, that is trusted: it was cut"):
        log.trust()
    log.add(second)
    assert len(log.trust().keys) == 1


def test_another_organisations_log_is_trusted_for_nothing() -> None:
    stage = settled()
    first = signed(root(EMPTY_HEAD, names=("mallory",), threshold=1), "mallory")
    with pytest.raises(StatementInvalid, match="expected the one that is trusted"):
        TrustLog(stage.org.pin).add(first)
    theirs = TrustLog(signed(root(stage.org.log.head, version=2), "alice", "bob"))
    theirs.add(first)
    with pytest.raises(StatementInvalid, match="does not hold the root"):
        theirs.trust()
    refused(
        stage,
        signed(root(stage.org.log.head, version=2, org="evil"), "alice", "bob"),
        StatementInvalid,
        "of evil",
    )


def test_a_statement_that_is_left_out_shows_in_the_next() -> None:
    """A revocation that the operator drops, or moves to the end."""
    stage = settled()
    org = stage.org
    org.add(signed(org.revocation(AGENT), ISSUER))
    org.add(signed(org.issuer("second"), "alice", "bob"))
    log = TrustLog(org.pin)
    for line in org.lines[:-2]:
        log.add(line)
    with pytest.raises(StatementInvalid, match="which this log never had"):
        log.add(org.lines[-1])


def test_statements_that_changed_places_show_in_the_next() -> None:
    stage = settled()
    org = stage.org
    two = [signed(org.issuer(name), "alice", "bob") for name in ("second", "third")]
    for line in two:
        org.add(line)
    last = signed(org.issuer("fourth"), "alice", "bob")
    log = TrustLog(org.pin)
    for line in (*org.lines[:-2], *reversed(two)):
        log.add(line)
    with pytest.raises(StatementInvalid, match="which this log never had"):
        log.add(last)
    org.add(last)


def test_nothing_comes_before_the_first_root() -> None:
    stage = settled()
    for line in stage.org.lines[1:]:
        with pytest.raises(StatementInvalid, match="never had"):
            TrustLog(stage.org.pin).add(line)
    early = stage.issuer.model_copy(update={"after": TrustHead(sha256="0" * 64, size=0)})
    with pytest.raises(StatementInvalid, match="before any root"):
        TrustLog(stage.org.pin).add(signed(early, "alice", "bob"))


def test_a_revoked_key_issues_nothing_more_and_gets_nothing_more() -> None:
    """Whatever times it claims: the order of the log decides."""
    stage = settled()
    org = stage.org
    org.add(signed(org.revocation(AGENT, effective=at(days=1)), ISSUER))
    session = org.session(stage.agent, holder="s", not_before=at(minutes=-50), expiry=at(hours=1))
    refused(stage, signed(session, AGENT), StatementInvalid, "revoked")
    refused(stage, signed(org.agent(stage.issuer), ISSUER), StatementInvalid, "revoked")
    org.add(signed(org.revocation(ISSUER), "alice", "bob"))
    refused(stage, signed(org.agent(stage.issuer, holder="n"), ISSUER), StatementInvalid, "revoked")
    refused(stage, signed(org.revocation("session 1"), ISSUER), StatementInvalid, "revoked")


def test_who_may_revoke() -> None:
    stage = settled()
    org = stage.org
    stage.org.add(signed(org.issuer("second"), "alice", "bob"))
    revocation = org.revocation(AGENT)
    for name in ("issuer second", AGENT, "session 1"):
        refused(stage, signed(revocation, name), SignatureInvalid, "no say")
    refused(stage, signed(org.revocation("alice"), "alice", "bob"), StatementInvalid, "next version")
    org.add(signed(org.revocation("session 1"), AGENT))
    org.add(signed(revocation, "bob", "carol"))


def test_an_issuer_issues_for_its_agents_alone() -> None:
    stage = settled()
    org = stage.org
    bound = org.issuer("bound", agents=("dunning", "ranker"))
    org.add(signed(bound, "alice", "bob"))
    own = org.agent(bound, holder="new")
    refused(
        stage,
        signed(own, "issuer bound"),
        StatementInvalid,
        "after-sales under the issuer bound, .*dunning, ranker",
    )
    renamed = org.issuer("bound", agents=("after-sales", "ranker"))
    org.add(signed(renamed, "alice", "bob"))
    org.add(signed(org.agent(renamed, holder="new"), "issuer bound"))
    with pytest.raises(ValueError, match="not sorted, or one stands twice"):
        org.issuer("unsorted", agents=("ranker", "dunning"))


def test_an_issuer_for_any_agent_is_printed_as_before_there_were_others() -> None:
    stage = settled()
    assert b'"agents"' not in print_payload(stage.issuer)
    said = json.loads(print_payload(stage.issuer)) | {"agents": []}
    with pytest.raises(StatementInvalid, match="not in its one form"):
        parse_payload(canonical.dumps(said))


def test_a_later_revocation_takes_nothing_back() -> None:
    stage = settled()
    org = stage.org
    org.add(signed(org.revocation(AGENT, effective=at(hours=2), compromised_since=at(hours=1)), ISSUER))
    org.add(signed(org.revocation(AGENT, effective=at(hours=9)), ISSUER))
    (session,) = org.log.trust().keys
    assert session.grant is not None
    link = session.grant.links[1]
    assert (link.compromised_since, link.effective) == (link.not_before + 7_200, link.not_before + 10_800)


def test_sizes_are_bounded() -> None:
    stage = settled()
    with pytest.raises(StatementInvalid, match="at most"):
        stage.org.log.add(b" " * (MAX_STATEMENT_BYTES + 1))
    long = sealed(changed(stage.agent, owner="x" * 40_000), ISSUER)
    refused(stage, long, StatementInvalid, "40|at most")


def test_a_thief_cannot_fill_the_log_up_against_being_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = settled()
    org = stage.org
    room = len(org.lines) + 2
    monkeypatch.setattr(trust_log, "MAX_STATEMENTS", room)
    monkeypatch.setattr(trust_log, "ROOM_FOR_ROOT", 2)
    for statement, signers in statements(stage).values():
        if signers in ((AGENT,), (ISSUER,)):
            refused(stage, signed(statement, *signers), StatementInvalid, f"more than {room - 2}")
    org.add(signed(org.revocation(AGENT), "alice", "bob"))
    org.add(signed(org.issuer("second"), "alice", "bob"))
    refused(stage, signed(org.revocation(ISSUER), "alice", "bob"), StatementInvalid, f"more than {room}")


def test_old_root_keys_put_nothing_in_before_the_next_root() -> None:
    stage = settled()
    org = stage.org
    second = signed(root(org.log.head, version=2), "alice", "bob")
    org.add(signed(org.session(stage.agent, holder="session 2"), AGENT))  # workers go on meanwhile
    forged = settled().org
    forged.add(signed(forged.issuer("thief"), "alice", "bob"))
    with pytest.raises(StatementInvalid, match="made after 4 statements, expected it after the 5"):
        forged.log.add(second)
    org.add(second)


def test_what_is_no_envelope_is_refused() -> None:
    stage = settled()
    line = signed(stage.org.issuer("second"), "bob", "alice")
    for wrong in (b"", b"[]", line + b"\n", line.replace(b"trust-statement", b"decision"), b"{" + line):
        refused(stage, wrong, RecordInvalid, "got")
    fields = json.loads(line)
    fields["signatures"].reverse()
    refused(stage, canonical.dumps(fields), RecordInvalid, "order of their key ids")
    fields["signatures"] = []
    refused(stage, canonical.dumps(fields), RecordInvalid, "signatures")


def test_signatures_are_gathered_one_by_one() -> None:
    stage = settled()
    made = stage.org.issuer("second")
    one = asyncio.run(issue(made, [key("carol")]))
    assert missing_signatures(stage.org.log.root[0], one) == 1
    two = asyncio.run(countersign(one, [key("carol"), key("alice")]))
    assert missing_signatures(stage.org.log.root[0], two) == 0
    assert two == signed(made, "alice", "carol")
    stage.org.add(two)


def test_requests_have_one_form() -> None:
    stage = settled()
    asked = asyncio.run(request("agent", key("new"), name=AGENT, parent=digest(stage.issuer)))
    printed = print_request(asked)
    assert parse_request(printed) == asked
    for wrong in (printed[:-1], printed + b" ", b"{}\n", b"x" * 5_000, printed.replace(b"agent", b"other")):
        with pytest.raises(StatementInvalid):
            parse_request(wrong)


def test_a_credential_never_becomes_a_pinned_key() -> None:
    stage = settled()
    with pytest.raises(KeyRejected, match="holds by a credential"):
        print_trust(stage.org.log.trust())
    pinned = Trust((TrustedKey(AGENT, key("session 1").keyid),))
    with pytest.raises(KeyRejected, match="twice"):
        stage.org.log.trust(pinned)


def test_a_root_is_what_one_trusts() -> None:
    stage = settled()
    with pytest.raises(StatementInvalid, match="expected a root"):
        TrustLog(stage.org.lines[1])
