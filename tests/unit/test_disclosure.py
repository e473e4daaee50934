"""Veiled records: nothing personal is left in them, the signature holds, and a disclosure stands for one value."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import (
    MAX_DISCLOSED_BYTES,
    MAX_DISCLOSURES,
    SALT_BYTES,
    Disclosure,
    commitments,
    parse_any,
    parse_disclosures,
    print_disclosures,
    unveil,
    veil,
)
from jurat.audit.disclosure_file import MAX_LINE_BYTES
from jurat.audit.disclosure_reader import Unveiler, VeilCounts
from jurat.audit.draft import PLACE_BYTES, draft
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Place
from jurat.audit.printing import VEILED_TYPE, whole
from jurat.audit.record import GENESIS, MAX_PAYLOAD_BYTES, Outcome, build, parse
from jurat.audit.subject_erasure import MAX_DECISIONS, PAYLOAD_TYPE, statement_of
from jurat.audit.subject_keys import MAX_CONTENT_BYTES, MasterKey
from jurat.audit.verifier import LogVerdict, Report, Verifier
from jurat.audit.verifier_record import VEILED
from jurat.audit.verifier_report import Check
from jurat.schemas import canonical
from jurat.schemas.errors import DisclosureInvalid, RecordInvalid
from tests.golden.audit import sample_log
from tests.tree import ROOT
from tests.veiled import AGENT, PERSONAL, VeiledLog, full_record, salts

SUBJECT = "ab" * 32


def veiled_payload() -> tuple[bytes, tuple[Disclosure, ...]]:
    record = full_record()
    made = draft(record, record.decision_id, SUBJECT, salts=salts())
    return made.finish(ChainHead()), made.disclosures


def verified(
    log: VeiledLog, unveiler: Unveiler | None = None, ledger: DecisionLedger | None = None
) -> Report:
    verifier = Verifier(sample_log.trust(), unveiler=unveiler, ledger=ledger)
    for entry in log.entries:
        verifier.add(entry)
    return verifier.report()


def test_a_veiled_record_holds_nothing_personal_and_unveils_to_what_it_was() -> None:
    payload, disclosures = veiled_payload()
    record = full_record()
    for word in PERSONAL:
        assert word.encode() not in payload
    bare = build(record, record.decision_id, SUBJECT)
    assert all(word.encode() in bare for word in PERSONAL)
    statement = unveil(parse_any(payload), disclosures)
    assert statement == parse(bare)


def test_no_digest_of_a_personal_value_is_left() -> None:
    payload, disclosures = veiled_payload()
    digests = [one.value for one in disclosures if isinstance(one.value, str) and len(one.value) == 64]
    assert len(digests) >= 12  # input, subject, context, approval, what was asked for, a tool, two calls
    assert not [digest for digest in digests if digest.encode() in payload]


def test_what_is_left_in_plain_is_what_the_specification_says() -> None:
    statement = parse_any(veiled_payload()[0])
    record, plain = statement.predicate, full_record()
    for name in ("decision_id", "agent", "outcome", "chain", "time", "attempts", "trace", "code"):
        assert getattr(record, name) == getattr(plain, name)
    assert record.inputs[0].uri == plain.inputs[0].uri
    assert [one.name for one in record.context] == ["orders", "customers"]
    assert record.context[1].sha256 is None
    assert record.proposals[0].action == "return"
    assert record.proposals[0].reasons == plain.proposals[0].reasons
    assert record.policy is not None
    assert record.policy.budgets[0].window_s == 86_400
    assert record.approvals[0].approver == "dora"


def test_every_salt_is_used_once_and_has_128_bits() -> None:
    drawn: list[int] = []

    def counted(size: int) -> bytes:
        drawn.append(size)
        return len(drawn).to_bytes(size, "big")

    record = full_record()
    made = veil(record, SUBJECT, counted)
    assert drawn == [SALT_BYTES] * len(made.disclosures) == [16] * len(made.disclosures)
    assert len({one.salt for one in made.disclosures}) == len(made.disclosures)
    assert len({one.place for one in made.disclosures}) == len(made.disclosures)


def test_two_veils_of_one_record_share_no_commitment() -> None:
    first, second = (veil(full_record(), SUBJECT, salts(seed)) for seed in (1, 2))
    assert not {one.commitment() for one in first.disclosures} & {
        one.commitment() for one in second.disclosures
    }


def test_a_dictionary_of_all_values_finds_no_commitment_without_the_salt() -> None:
    payload, disclosures = veiled_payload()
    found = set(commitments(parse_any(payload)).values())
    guesses = [one.value for one in disclosures] + [f"c-{number}" for number in range(2_000)]
    tried = 0
    for guess in guesses:
        text = guess if isinstance(guess, str) else None
        candidates = [canonical.dumps(guess), *(() if text is None else (text.encode(),))]
        candidates += [canonical.dumps([place, guess]) for place in ("policy/input", "context/0/key")]
        candidates += [canonical.dumps(["0" * 32, one.place, guess]) for one in disclosures]
        for candidate in candidates:
            tried += 1
            assert sha256(candidate).hexdigest() not in found
    assert tried > 10_000
    # With the salts, the same search finds every one: it is the salt that keeps them.
    assert {sha256(canonical.dumps([o.salt, o.place, o.value])).hexdigest() for o in disclosures} == found


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_unveils(outcome: Outcome) -> None:
    record = sample_log.record(AGENT, offset=3, outcome=outcome)
    name, digest = sample_log.subject_of(record, 3)
    made = draft(record, name, digest, salts=salts())
    statement = unveil(parse_any(made.finish(ChainHead())), made.disclosures)
    assert statement == parse(build(record, name, digest))


def test_reading_a_plain_record_refuses_a_veiled_one() -> None:
    with pytest.raises(RecordInvalid, match="got a veiled record"):
        parse(veiled_payload()[0])


def test_a_plain_value_in_a_veiled_record_is_refused() -> None:
    payload, disclosures = veiled_payload()
    key = next(one for one in disclosures if one.place == "context/0/key")
    changed = payload.replace(f"veiled:{key.commitment()}".encode(), b"#W-secret")
    assert changed != payload
    with pytest.raises(RecordInvalid, match="context/0/key of a veiled record, expected a commitment"):
        parse_any(changed)


def test_one_commitment_in_two_places_is_refused() -> None:
    payload, disclosures = veiled_payload()
    first, second = (one.commitment() for one in disclosures[:2])
    with pytest.raises(RecordInvalid, match="one commitment in two places"):
        parse_any(payload.replace(second.encode(), first.encode()))


def test_disclosures_stand_for_their_record_alone() -> None:
    payload, disclosures = veiled_payload()
    statement = parse_any(payload)
    first, second = disclosures[0], disclosures[1]
    cases = {
        "no disclosure of": disclosures[1:],
        "two disclosures of": (*disclosures, first),
        "where the record has no commitment": (*disclosures, replace(first, place="context/7/key")),
        "does not commit to": (replace(first, value=second.value), *disclosures[1:]),
    }
    for said, given in cases.items():
        with pytest.raises(DisclosureInvalid, match=said):
            unveil(statement, given)
    # A value that belongs to another place proves nothing there.
    swapped = (replace(first, place=second.place), replace(second, place=first.place), *disclosures[2:])
    with pytest.raises(DisclosureInvalid, match="does not commit to"):
        unveil(statement, swapped)
    # Those of another record neither.
    with pytest.raises(DisclosureInvalid, match="does not commit to"):
        unveil(statement, veil(full_record(), SUBJECT, salts(9)).disclosures)


def test_a_writer_that_commits_to_no_record_is_found_out() -> None:
    record = full_record()
    assert record.policy is not None
    lying = record.model_copy(update={"policy": record.policy.model_copy(update={"input": {"context": {}}})})
    made = veil(lying, SUBJECT, salts())  # past `draft`, which would refuse it
    payload = whole(made.record, record.decision_id, made.subject_sha256, kind=VEILED_TYPE)
    statement = parse_any(payload)
    with pytest.raises(RecordInvalid, match="got budgets for refunds_day"):
        unveil(statement, made.disclosures)


def test_disclosures_have_one_form() -> None:
    _, disclosures = veiled_payload()
    listed = print_disclosures(disclosures)
    assert parse_disclosures(listed) == disclosures
    for wrong in (
        b"{}",
        b"[1]",
        b"[ ]",
        b'[["00","subject",1]]',
        b'[["' + b"0" * 32 + b'","SUBJECT",1]]',
        b'[["' + b"0" * 32 + b'","subject",1.5]]',
        b'[["' + b"0" * 32 + b'","subject",1,2]]',
        b"[" + b"1" * MAX_DISCLOSED_BYTES + b"]",
        listed[:-1],
        b"\xff",
    ):
        with pytest.raises(DisclosureInvalid):
            parse_disclosures(wrong)


def test_a_record_must_fit_with_its_veil_and_without() -> None:
    record = full_record()
    bare = draft(record, record.decision_id, SUBJECT)
    made = draft(record, record.decision_id, SUBJECT, salts=salts())
    filled = len(made.finish(ChainHead())) - len(b'0""') - len(GENESIS)
    assert made.room == min(bare.room, MAX_PAYLOAD_BYTES - PLACE_BYTES - filled)
    small = sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED)
    parameters = {"note": "x" * 60_000}
    judged = small.proposals[0].model_copy(update={"parameters": parameters})
    large = small.model_copy(update={"proposals": (judged,)})
    # The veil hides the large value, but the room is that of the record as people will read it.
    assert draft(large, large.decision_id, SUBJECT, salts=salts()).room < 5_000


def test_a_log_is_valid_with_disclosures_and_without() -> None:
    log = VeiledLog()
    report = verified(log, Unveiler(log))
    assert (report.verdict, report.veiled) == (LogVerdict.VALID, VeilCounts(disclosed=5))
    report = verified(log)
    assert (report.verdict, report.veiled) == (LogVerdict.VALID, VeilCounts(withheld=5))
    assert report.outcomes == {each.value: 1 for each in sorted(sample_log.OUTCOMES)}


def test_after_an_erasure_the_proofs_hold_and_nothing_is_withheld() -> None:
    log = VeiledLog()
    gone = list(log.disclosures)[:2]
    for name in gone:
        del log.disclosures[name]
    report = verified(log, Unveiler(log, erased=gone))
    assert (report.verdict, report.veiled) == (LogVerdict.VALID, VeilCounts(disclosed=3, erased=2))
    report = verified(log, Unveiler(log, erased=gone[:1]))
    assert report.veiled == VeilCounts(disclosed=3, erased=1, withheld=1)
    (found,) = report.findings
    assert (found.verdict, found.count, found.first.check) == (LogVerdict.UNPROVEN, 1, Check.FORM.value)
    assert "no trusted person states that they were erased" in found.first.reason
    assert report.to_json()["veiled"] == {"disclosed": 3, "erased": 1, "withheld": 1}


def test_of_what_is_not_disclosed_only_what_policies_judged_counts_as_not_judged_again() -> None:
    """The log's last two are rejected and skipped: no policies were ever asked about them."""
    log = VeiledLog()
    verifier = Verifier(sample_log.trust(), rejudge=lambda _digest, _input: "unknown")
    for entry in log.entries:
        verifier.add(entry)
    evaluated = verifier.report().evaluated
    assert evaluated is not None
    assert evaluated.not_evaluated == {VEILED: 3}


def test_disclosures_of_another_record_make_a_log_invalid() -> None:
    log = VeiledLog()
    first, second = list(log.disclosures)[:2]
    log.disclosures[first] = log.disclosures[second]
    report = verified(log, Unveiler(log))
    assert report.verdict is LogVerdict.INVALID
    assert report.first_fault is not None
    assert "disclosure" in report.first_fault.reason


def test_decision_events_are_matched_where_records_are_disclosed() -> None:
    log = VeiledLog()
    values = [sample_log.decision_value(AGENT, offset) for offset in range(3)]

    def ledger(*events: bytes) -> DecisionLedger:
        made = DecisionLedger()
        for offset, value in enumerate(events):
            made.add_event(Place("decisions.after-sales", 0, offset), value)
        return made

    assert verified(log, Unveiler(log), ledger(*values)).verdict is LogVerdict.VALID
    assert verified(log, Unveiler(log), ledger(*values[1:], b"other")).verdict is LogVerdict.INVALID
    # Nothing is disclosed: as many events as records is all that can be told.
    assert verified(log, None, ledger(*values)).verdict is LogVerdict.VALID
    assert verified(log, None, ledger(*values[:2])).verdict is LogVerdict.INVALID
    assert verified(log, None, ledger(*values, b"added")).verdict is LogVerdict.INVALID
    assert verified(log, None, ledger(*values[:2], values[1])).verdict is LogVerdict.INVALID
    # Of those that were erased, the event may be gone as well.
    erased = Unveiler(erased=list(log.disclosures))
    assert verified(log, erased, ledger(*values[:1])).verdict is LogVerdict.VALID


def test_the_examples_of_the_specification() -> None:
    text = (ROOT / "docs" / "spec" / "disclosure.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```json\n(.*)\n```", text, re.MULTILINE)
    record = sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED)
    made = draft(record, *sample_log.subject_of(record, 0), salts=salts())
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    stated = statement_of(
        cluster=sample_log.CLUSTER, topic="audit.decisions", decisions=[record.decision_id], at=at
    )
    written = (made.finish(ChainHead()), print_disclosures(made.disclosures), stated)
    assert [example.encode() for example in examples] == list(written)
    second = made.disclosures[1]
    for said in (
        second.encode().decode(),
        second.commitment(),
        MasterKey(bytes(range(32))).handle("c-7"),
        f"{MAX_DISCLOSED_BYTES:,}",
        f"{MAX_DISCLOSURES:,}",
        f"{MAX_CONTENT_BYTES:,}",
        f"{MAX_LINE_BYTES:,}",
        f"{MAX_DECISIONS:,}",
        PAYLOAD_TYPE,
    ):
        assert said in text, said
