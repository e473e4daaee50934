"""Evidence of a decision: what a worker seals beside a veiled record, and what opens it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from jurat.agents.reasoner import ModelCall, ProposalRequest, Spent
from jurat.audit.approval import check_recorded
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import commitments, parse_any, unveil
from jurat.audit.keys import Signing
from jurat.audit.record import Outcome, concluded
from jurat.audit.subject_keys import (
    KEY_BYTES,
    MAX_CONTENT_BYTES,
    NONCE_BYTES,
    EvidenceKey,
    MasterKey,
    parse_subject_key,
    seal,
)
from jurat.cli.audit_evidence import opened
from jurat.schemas import canonical
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError, DisclosureInvalid
from jurat.streams import topics
from jurat.streams.committing import Output
from jurat.streams.evidence import MAX_TEXTS_BYTES, Texts, Vault, subject_of
from jurat.streams.evidence_reading import Evidence
from jurat.streams.kafka import Connection
from jurat.streams.outputs import Writer
from jurat.streams.subject_plain import holds, written_by_jurat
from jurat.streams.verdicted import Verdicted
from tests.approval_stage import Desk
from tests.deciding_stage import KEY, PARTITION, Says, decider, failed, fresh_state, record_of
from tests.deciding_stage import Asked as Calls
from tests.golden.audit import sample_log
from tests.journal_stage import EVENT
from tests.tool_stage import Scripted, counter, does, wish, with_tools
from tests.veiled import salts

MASTER = MasterKey(b"\x01" * KEY_BYTES)
VAULT = Vault(MASTER, salts())
PROMPT, BODY = b'[{"content":"c-1 wants it back","role":"user"}]', b'{"choices":[]}'


@pytest.fixture
def evidence() -> Iterator[Evidence]:
    held = Evidence(MASTER)
    yield held
    held.close()


CALL = ModelCall(
    model="m",
    parameters_sha256="0" * 64,
    prompt_sha256=sha256(PROMPT).hexdigest(),
    response_sha256=sha256(BODY).hexdigest(),
    spent=Spent(calls=1, input_tokens=1, output_tokens=1),
)


async def written(verdicted: Verdicted) -> list[Output]:
    signing = Signing(sample_log.signer("payment-retrier"))
    writer = Writer(
        connection=Connection("x:1", ""),
        agent="payment-retrier",
        partition=PARTITION,
        signing=lambda: signing,
        cluster_id="cluster",
        ids=None,
        vault=VAULT,
    )
    outputs, _head = await writer.about(verdicted, ChainHead())
    return outputs


def fill(evidence: Evidence, outputs: list[Output]) -> None:
    for one in outputs:
        if one.topic == topics.SUBJECT_KEYS.name:
            evidence.put_key(one.key, one.value)
        elif one.topic == topics.EVIDENCE.name:
            evidence.put_evidence(one.key, one.value)


async def test_a_worker_with_a_vault_veils_and_seals(evidence: Evidence) -> None:
    by = replace(decider(), vault=VAULT)
    record = record_of(failed())
    verdicted = await by.decide(record, fresh_state(), calls=Calls())
    payload = verdicted.draft.finish(ChainHead())
    statement = parse_any(payload)
    assert statement.is_veiled
    outputs = await written(verdicted)
    sealed = [one for one in outputs if one.topic in (topics.EVIDENCE.name, topics.SUBJECT_KEYS.name)]
    raw = b"".join((one.key or b"") + (one.value or b"") for one in sealed)
    assert not [word for word in (KEY.encode(), b"pay-1", b"card-1") if word in raw or word in payload]
    fill(evidence, outputs)
    name = statement.predicate.decision_id
    disclosures = evidence.of(name)
    assert disclosures == verdicted.draft.disclosures
    whole = unveil(statement, disclosures)
    # Everything that the record names by a digest and that was at hand: input, decision, documents.
    digests = {place: commitment for place, commitment in commitments(statement).items() if "sha256" in place}
    for place, commitment in {**digests, "subject": commitments(statement)["subject"]}.items():
        text = evidence.content(EvidenceKey(name, commitment))
        assert text is not None, place
        assert [sha256(text).hexdigest()] == [one.value for one in disclosures if one.place == place]
    first = evidence.content(EvidenceKey(name, digests["inputs/0/sha256"]))
    assert first == record.value
    assert whole.predicate.inputs[0].sha256 == sha256(record.value or b"").hexdigest()


async def test_without_a_vault_a_record_is_as_before() -> None:
    verdicted = await decider().decide(record_of(failed()), fresh_state(), calls=Calls())
    assert verdicted.draft.disclosures == ()
    assert verdicted.texts == {}
    assert not parse_any(verdicted.draft.finish(ChainHead())).is_veiled
    names = {one.topic for one in await written(verdicted)}
    assert not names & {topics.EVIDENCE.name, topics.SUBJECT_KEYS.name}


async def test_an_input_that_cannot_be_read_is_veiled_too(evidence: Evidence) -> None:
    by = replace(decider(), vault=VAULT)
    record = replace(record_of(failed()), value=b"secret words", key=b"c-1")
    verdicted = await by.decide(record, fresh_state(), calls=Calls())
    payload = verdicted.draft.finish(ChainHead())
    assert b"secret" not in payload
    fill(evidence, await written(verdicted))
    statement = parse_any(payload)
    disclosures = evidence.of(statement.predicate.decision_id)
    assert disclosures is not None
    assert unveil(statement, disclosures).predicate.rejection is not None


class Modelled(Scripted):
    """A reasoner behind which a model stands: it hands over what was said."""

    async def propose(self, request: ProposalRequest) -> Any:
        request.keep(PROMPT)
        request.keep(BODY)
        return await super().propose(request)


async def test_prompts_responses_and_tools_are_sealed(evidence: Evidence) -> None:
    agent = replace(with_tools(counter()), listens={"commerce.payments": (type(EVENT),)})
    reasoner = Modelled(wish("abc", call=CALL), does(call=CALL))
    by = replace(decider(agent, reasoner=reasoner, engine=Says(Verdict.ALLOW)), vault=VAULT)
    verdicted = await by.decide(record_of(EVENT), fresh_state(None), calls=Calls())
    statement = parse_any(verdicted.draft.finish(ChainHead()))
    fill(evidence, await written(verdicted))
    found, name = commitments(statement), statement.predicate.decision_id
    texts = {
        "proposals/0/call/prompt_sha256": PROMPT,
        "proposals/0/call/response_sha256": BODY,
        "reasoner/tools/0/call/prompt_sha256": PROMPT,
        "reasoner/tools/0/arguments_sha256": b'{"places":[],"thing":"abc"}',
        "reasoner/tools/0/result_sha256": b'{"count":3}',
    }
    for place, text in texts.items():
        assert evidence.content(EvidenceKey(name, found[place])) == text, place


def test_texts_are_bounded() -> None:
    texts = Texts()
    texts.keep(b"x" * (MAX_CONTENT_BYTES + 1))
    assert not texts.held
    texts.keep(b"a" * MAX_CONTENT_BYTES)
    texts.keep(b"a" * MAX_CONTENT_BYTES)  # the same again takes no room
    texts.keep(b"b" * MAX_CONTENT_BYTES)
    texts.keep(b"c" * (MAX_TEXTS_BYTES - 2 * MAX_CONTENT_BYTES + 1))
    assert len(texts.held) == 2


def test_a_subject_is_the_key_of_the_events() -> None:
    assert subject_of(b"c-7", "dec_1") == "c-7"
    assert subject_of(None, "dec_1") == "dec_1"
    assert subject_of(b"\xff", "dec_1") == "\ufffd"


def test_nothing_is_drawn_twice() -> None:
    drawn: list[bytes] = []
    draw = salts(3)

    def noted(size: int) -> bytes:
        drawn.append(draw(size))
        return drawn[-1]

    vault = Vault(MASTER, noted)
    text = b"words"
    made = sample_log.record("after-sales", offset=0, outcome=sample_log.Outcome.DECIDED)
    assert made.decision_id
    key, evidence = vault.seal(made.decision_id, "c-7", (), {sha256(text).hexdigest(): text})
    assert len(evidence) == 1  # only what a disclosure names is sealed
    assert len(drawn) == len(set(drawn)) == 3
    assert drawn[0] not in key.value


def test_evidence_whose_key_is_gone_is_gone_and_what_is_changed_is_found(evidence: Evidence) -> None:
    name = "dec_" + "0" * 32
    key, (sealed,) = VAULT.seal(name, "c-7", (), {})
    evidence.put_evidence(sealed.key, sealed.value)
    assert evidence.of(name) is None
    evidence.put_key(key.key, key.value)
    assert evidence.of(name) == ()
    evidence.put_evidence(sealed.key, sealed.value[:-1] + bytes([sealed.value[-1] ^ 1]))
    with pytest.raises(DisclosureInvalid, match="does not open"):
        evidence.of(name)
    evidence.put_evidence(sealed.key, sealed.value)
    evidence.put_key(key.key, None)
    assert evidence.of(name) is None
    other = Vault(MasterKey(b"\x02" * KEY_BYTES), salts())
    theirs, (foreign,) = other.seal(name, "c-7", (), {})
    evidence.put_key(theirs.key, theirs.value)
    evidence.put_evidence(foreign.key, foreign.value)
    assert evidence.of(name) is None  # another operator's, or from before the master key was changed
    with pytest.raises(DisclosureInvalid, match="got a key"):
        evidence.put_evidence(b"other", b"")


def test_a_document_is_kept_as_records_name_it() -> None:
    texts = Texts()
    texts.keep_model(None)
    texts.keep_model(EVENT)
    (text,) = texts.held.values()
    assert text == canonical.dumps(EVENT.model_dump(mode="json"))


async def test_texts_are_written_only_as_the_record_names_them(evidence: Evidence) -> None:
    by = replace(decider(), vault=VAULT)
    verdicted = await by.decide(record_of(failed()), fresh_state(), calls=Calls())
    statement = parse_any(verdicted.draft.finish(ChainHead()))
    with pytest.raises(ConfigurationError, match="it was erased"):
        list(opened(statement, evidence))
    fill(evidence, await written(verdicted))
    found = {one.place: text for one, text in opened(statement, evidence)}
    assert found["subject"] == verdicted.decision_value
    assert found["inputs/0/sha256"] == record_of(failed()).value
    assert all(text is not None for text in found.values())
    # Who has the master key may seal something else under the commitment: it has not the digest.
    name, commitment = statement.predicate.decision_id, commitments(statement)["inputs/0/sha256"]
    key, outputs = VAULT.seal(name, KEY, verdicted.draft.disclosures, verdicted.texts)
    data_key = MASTER.unwrap(key.value, parse_subject_key(key.key))
    place = EvidenceKey(name, commitment)
    handle = MASTER.handle(KEY)
    evidence.put_key(key.key, key.value)
    for one in outputs:
        evidence.put_evidence(one.key, one.value)
    evidence.put_evidence(
        place.encode().encode(), seal(b"made up", data_key, place, handle=handle, nonce=b"n" * NONCE_BYTES)
    )
    with pytest.raises(DisclosureInvalid, match="another digest than the record names"):
        list(opened(statement, evidence))
    evidence.put_evidence(place.encode().encode(), None)
    assert {one.place: text for one, text in opened(statement, evidence)}["inputs/0/sha256"] is None


def test_an_id_in_plain_is_found_in_key_value_and_headers() -> None:
    record = replace(record_of(failed()), key=b"x", value=b"y", headers=(("ce_subject", b"about c-1."),))
    assert holds(record, b"c-1")
    assert holds(replace(record, key=b"c-1", headers=()), b"c-1")
    assert holds(replace(record, value=b"..c-1", headers=()), b"c-1")
    assert not holds(replace(record, value=None, headers=()), b"c-1")
    names = written_by_jurat(["payment-retrier"])
    assert {"audit.decisions", "audit.evidence", "audit.trust", "state.payment-retrier"} <= set(names)
    assert "commerce.payments" not in names


async def test_what_people_answered_is_veiled_and_proves_itself_once_unveiled() -> None:
    desk = Desk(vault=VAULT)
    request = await desk.escalate()
    _, record = await desk.grant(request, "alice", why="the customer called")
    assert record.outcome is Outcome.DECIDED
    check_recorded(record, desk.trust)
    payload = desk.payloads[-1]
    (approval,) = record.approvals
    for hidden in ("the customer called", approval.sha256, approval.sig, KEY, request.action_sha256):
        assert hidden.encode() not in payload
    veiled = parse_any(payload).predicate
    assert (veiled.approvals[0].approver, veiled.approvals[0].role) == ("alice", approval.role)
    assert concluded(veiled) == concluded(record) is not None
