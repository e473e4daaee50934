"""Records, envelopes, chains and the export file: their bytes, and what is refused."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from jurat.audit import chain, did_key, dsse, export, record
from jurat.audit.log import parse_tree_head
from jurat.audit.record import Outcome
from jurat.schemas import canonical
from jurat.schemas.decision import Verdict
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import (
    AuditError,
    ChainBroken,
    ConfigurationError,
    KeyRejected,
    RecordInvalid,
    SignatureInvalid,
)
from tests.golden.audit import sample_log

SPEC = Path(__file__).parents[2] / "docs" / "spec"


def test_golden_bytes() -> None:
    for name, data in sample_log.golden_files().items():
        assert (sample_log.FOLDER / name).read_bytes() == data, name


def test_the_examples_of_the_specifications_are_the_golden_bytes() -> None:
    golden = {name: data.decode() for name, data in sample_log.golden_files().items()}
    specification = (SPEC / "audit-record.md").read_text("utf-8")
    assert f"```json\n{golden['payload.json']}\n```" in specification
    assert f"```\n{golden['trust.json']}```" in specification
    first = golden["log.jsonl"].splitlines()[0]
    assert f"```json\n{first}\n```" in (SPEC / "log-export.md").read_text("utf-8")
    canonical_spec = (SPEC / "canonical-json.md").read_text("utf-8")
    loose, printed = re.findall(r"```(?:json)?\n(.*?)\n```", canonical_spec)
    assert canonical.dumps(json.loads(loose)).decode() == printed
    assert canonical.digest(json.loads(loose)) in canonical_spec


@pytest.mark.parametrize("outcome", list(Outcome))
def test_parse_then_print_is_identity(outcome: Outcome) -> None:
    made = sample_log.record("after-sales", offset=3, outcome=outcome)
    payload = record.build(made, *sample_log.subject_of(made, 3))
    statement = record.parse(payload)
    assert statement.predicate == made
    assert record.build(statement.predicate, *sample_log.subject_of(made, 3)) == payload


def payload_with(**changes: object) -> bytes:
    made = sample_log.record("after-sales", offset=3, outcome=Outcome.DECIDED)
    value = orjson.loads(record.build(made, *sample_log.subject_of(made, 3)))
    value["predicate"].update(changes)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"approvedBy": "someone"}, "approvedBy"),
        ({"decision_id": "dec_" + "0" * 32}, "got the decision id"),
        ({"chain": "after-sales/commerce.orders/0"}, "chain"),
        ({"agent": "payment-retrier"}, "chain"),
        ({"agent": "Not An Agent"}, "agent"),
        ({"seq": 1}, "predecessor"),
        ({"seq": -1}, "seq"),
        ({"seq": 0.0}, "seq"),
        ({"seq": "0"}, "seq"),
        ({"prev": "1" * 64}, "predecessor"),
        ({"prev": "0" * 63}, "prev"),
        ({"time": "2026-01-02T03:04:05Z"}, "time"),
        ({"time": "2026-13-02T03:04:05.000000Z"}, "time"),
        ({"time": "2026-01-02T03:04:05.000000+00:00"}, "time"),
        ({"outcome": "expired"}, "outcome"),
        ({"outcome": "rejected"}, "rejection"),
        ({"outcome": "skipped"}, "policy"),
        ({"policy": None}, "policy"),
        ({"inputs": []}, "inputs"),
        ({"trace": "none"}, "trace"),
        ({"code": ""}, "code"),
    ],
)
def test_records_that_break_the_schema_or_contradict_themselves(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecordInvalid, match=message):
        record.parse(payload_with(**changes))


def test_other_spellings_of_a_record_are_refused() -> None:
    payload = payload_with()
    record.parse(payload)
    value = json.loads(payload)
    without_null = json.loads(payload)
    del without_null["predicate"]["rejection"]
    for spelling in (
        json.dumps(value).encode(),
        payload + b"\n",
        b" " + payload,
        payload.replace(b'"seq":0', b'"seq":0,"seq":0'),
        payload.replace(b'"attempts":1', b'"attempts":1.0'),
        payload.replace(b"return.delivered-only", b"return\\u002edelivered-only"),
        orjson.dumps(without_null, option=orjson.OPT_SORT_KEYS),
        payload.replace(b"decision-record:v1", b"decision-record:v2"),
        b"[]",
        b"",
        b"\xff",
        b"[" * 100_000,
        payload.replace(b'"amount_minor":12345', b'"amount_minor":1e3'),
        payload.replace(b'"amount_minor":12345', b'"amount_minor":NaN'),
        payload.replace(b'"amount_minor":12345', b'"amount_minor":90071992547409930'),
    ):
        with pytest.raises(RecordInvalid):
            record.parse(spelling)


def test_build_refuses_what_it_could_not_read_back() -> None:
    made = sample_log.record("after-sales", offset=3, outcome=Outcome.DECIDED)
    subject = sample_log.subject_of(made, 3)
    proposal = made.proposals[0]
    for parameters in ({"a": 0.5}, {"ä": 1}, {"a": 2**53}, {"a": "x" * record.MAX_PAYLOAD_BYTES}):
        broken = made.model_copy(
            update={"proposals": (proposal.model_copy(update={"parameters": parameters}),)}
        )
        with pytest.raises(RecordInvalid):
            record.build(broken, *subject)
    with pytest.raises(RecordInvalid, match="subject"):
        record.build(made, "something else", subject[1])
    rejected = sample_log.record("after-sales", offset=3, outcome=Outcome.REJECTED)
    with pytest.raises(RecordInvalid, match="input itself"):
        record.build(rejected, rejected.inputs[0].uri, "0" * 64)


@pytest.mark.parametrize(
    "uri",
    [
        "kafka://c/t/0/01",
        "kafka://c/t/0/-1",
        "kafka://c/t/0",
        "kafka:///t/0/1",
        "kafka://c/t t/0/1",
        "kafka://c/t/0/1/",
        "KAFKA://c/t/0/1",
        "kafka://c/t/0/1\n",
    ],
)
def test_other_spellings_of_coordinates_are_refused(uri: str) -> None:
    with pytest.raises(RecordInvalid):
        record.parse_uri(uri)


def test_coordinates_round_trip() -> None:
    at = record.Coordinates("c-1", "shop.commerce.orders", 5, 90)
    assert record.parse_uri(at.uri()) == at


def test_a_rejection_is_cut_to_its_bounds() -> None:
    cut = record.Rejection.of(ValueError("x" * 10_000))
    assert (cut.error, len(cut.message)) == ("ValueError", record.MAX_MESSAGE)


def test_pae_is_the_one_of_the_specification() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_envelope_attacks() -> None:
    entry, other = sample_log.log(2)
    trust = sample_log.trust()
    good = entry.record
    assert dsse.verify(good, trust).key.agent == "after-sales"
    mine, theirs = good.signatures[0], other.record.signatures[0]
    for update in (
        {"payload": good.payload + b" "},
        {"payload_type": "application/json"},
        {"signatures": (mine, mine)},
        {"signatures": (Signature(keyid=theirs.keyid, sig=mine.sig),)},
        {"signatures": (Signature(keyid="", sig=mine.sig),)},
        {"signatures": (Signature(keyid="did:key:z6Mk", sig=mine.sig),)},
        {"signatures": (theirs,)},
        {"signatures": (Signature(keyid=mine.keyid, sig=b""),)},
        {"signatures": (Signature(keyid=mine.keyid, sig=bytes(64)),)},
    ):
        with pytest.raises(AuditError) as caught:
            dsse.verify(good.model_copy(update=update), trust)
        assert isinstance(caught.value, SignatureInvalid | RecordInvalid)


def test_a_small_order_key_cannot_be_trusted() -> None:
    trust = sample_log.trust()
    forged = did_key.PREFIX + did_key._base58(b"\xed\x01" + bytes(32))
    with pytest.raises(KeyRejected, match="small order"):
        replace(trust.keys[0], keyid=forged)


def test_securesystemslib_accepts_our_envelope() -> None:
    entry = sample_log.log(1)[0]
    keyid = entry.record.signatures[0].keyid
    public = sample_log.trust().find(keyid).public_key.hex()
    key = SSlibKey(keyid, "ed25519", "ed25519", {"public": public})
    envelope = Envelope.from_dict(orjson.loads(export.print_entry(entry)))
    assert envelope.verify([key], 1) == {keyid: key}
    assert envelope.pae() == dsse.pae(entry.record.payload_type, entry.record.payload)


def test_chain_links() -> None:
    first = sample_log.record("after-sales", offset=0, outcome=Outcome.DECIDED)
    payload = record.build(first, *sample_log.subject_of(first, 0))
    head = chain.ChainHead()
    chain.check_link(head, first)
    head = head.extend(payload)
    second = sample_log.record("after-sales", offset=1, outcome=Outcome.DECIDED, head=head)
    chain.check_link(head, second)
    with pytest.raises(ChainBroken, match="repeated"):
        chain.check_link(head, first)
    with pytest.raises(ChainBroken, match="missing"):
        chain.check_link(chain.ChainHead(), second)
    with pytest.raises(ChainBroken, match="predecessor"):
        chain.check_link(chain.ChainHead(1, "f" * 64), second)


def test_export_lines_round_trip() -> None:
    for entry in sample_log.log(4):
        line = export.print_entry(entry)
        parsed = export.parse_entry(line + b"\n", 7)
        assert replace(parsed, line=None) == entry
        assert parsed.line == 7
        assert export.print_entry(parsed) == line
    line = export.print_decision("decisions.a", 1, 2, value=b"\x00\xff")
    assert export.parse_decision(line, 1) == ("decisions.a", 1, 2, b"\x00\xff")


def sealed(**fields: object) -> bytes:
    value = orjson.loads(export.print_entry(sample_log.log(1)[0]))
    del value["lineSha256"]
    value.update(fields)
    return export._seal({name: each for name, each in value.items() if each != "gone"})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"not json",
        sealed(extra=1),
        sealed(topic="gone"),
        sealed(offset=-1),
        sealed(offset=True),
        sealed(offset="0"),
        sealed(topic=1),
        sealed(payload="a"),
        sealed(payload="QR=="),
        sealed(payload="Q Q="),
        sealed(payload="ä"),
        sealed(signatures=[]),
        sealed(signatures={}),
        sealed(signatures=[{"keyid": "a"}]),
        sealed(chain=""),
        sealed(payload=base64.b64encode(bytes(export.MAX_LINE_BYTES)).decode()),
        export.print_entry(sample_log.log(1)[0]).replace(b'"offset":0', b'"offset":1'),
        export.print_entry(sample_log.log(1)[0]) + b"\r\n",
    ],
)
def test_lines_that_are_not_of_an_export(line: bytes) -> None:
    with pytest.raises(RecordInvalid, match="line 3 "):
        export.parse_entry(line, 3)


@pytest.mark.parametrize(
    "text", ["", "0:1", "0:1:zz", "0:01:" + "a" * 64, "0:1:" + "A" * 64, "-1:1:" + "a" * 64]
)
def test_tree_heads_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_tree_head(text)


def test_verdict_names_are_those_of_decisions() -> None:
    assert {each.value for each in Verdict} == {"allow", "deny", "escalate"}
