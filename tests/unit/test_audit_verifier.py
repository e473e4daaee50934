"""Attacks on a log: each is mounted on an honest log and must be caught, with the right place named."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from jurat.audit import dsse, story
from jurat.audit.chain import ChainHead
from jurat.audit.keys import Trust
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import LogEntry, Place, TreeHead, parse_tree_head
from jurat.audit.merkle import EMPTY_ROOT
from jurat.audit.record import Outcome, build, parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_chain import PAGE_BITS, Chain, OffsetSet
from jurat.audit.verifier_report import LogVerdict, Report
from tests.golden.audit import sample_log


def verify(
    entries: Sequence[LogEntry], *, heads: Sequence[TreeHead] = (), trust: Trust | None = None
) -> Report:
    verifier = Verifier(trust or sample_log.trust(), tree_heads=heads)
    for entry in entries:
        verifier.add(entry)
    return verifier.report()


def test_an_honest_log_is_valid() -> None:
    report = verify(sample_log.log(20))
    assert report.verdict is LogVerdict.VALID
    assert (report.records, report.faults, report.first_fault) == (20, 0, None)
    assert report.outcomes == dict.fromkeys(("decided", "denied", "escalated", "rejected", "skipped"), 4)
    assert report.agents == {"after-sales": 10, "payment-retrier": 10}
    assert [(head.partition, head.size) for head in report.tree_heads] == [(0, 10), (1, 10)]
    assert report.to_json()["firstFault"] is None


def test_an_empty_log_proves_nothing() -> None:
    assert verify([]).verdict is LogVerdict.UNPROVEN
    assert verify([], heads=[TreeHead(0, 0, EMPTY_ROOT)]).verdict is LogVerdict.UNPROVEN
    assert verify([], heads=[TreeHead(0, 0, bytes(32))]).verdict is LogVerdict.INVALID


def resigned(entry: LogEntry, *, by: str) -> LogEntry:
    signed = asyncio.run(dsse.sign(entry.record.payload, sample_log.signer(by), chain=entry.record.chain))
    return replace(entry, record=signed)


def edited(entry: LogEntry, old: bytes, new: bytes) -> LogEntry:
    payload = entry.record.payload.replace(old, new)
    assert payload != entry.record.payload
    return replace(entry, record=entry.record.model_copy(update={"payload": payload}))


def swap_partitions(log: list[LogEntry]) -> list[LogEntry]:
    moved = {
        4: replace(log[4], partition=1, offset=log[5].offset),
        5: replace(log[5], partition=0, offset=log[4].offset),
    }
    return [moved.get(number, entry) for number, entry in enumerate(log)]


ATTACKS: dict[str, tuple[Callable[[list[LogEntry]], list[LogEntry]], str]] = {
    "modify": (
        lambda log: [*log[:4], edited(log[4], b'"attempts":1', b'"attempts":2'), *log[5:]],
        "did not make",
    ),
    "delete the first": (lambda log: log[2:], "missing"),
    "delete one": (lambda log: [*log[:4], *log[5:]], "missing"),
    "insert a copy": (lambda log: [*log, replace(log[4], offset=1000)], "repeated"),
    "duplicate at once": (
        lambda log: [*log[:5], replace(log[4], offset=log[4].offset + 1), *log[5:]],
        "repeated",
    ),
    "duplicate the coordinates": (lambda log: [*log[:5], log[4], *log[5:]], "rising offsets"),
    "reorder with new offsets": (
        lambda log: [
            *log[:4],
            replace(log[6], offset=log[4].offset),
            log[5],
            replace(log[4], offset=log[6].offset),
            *log[7:],
        ],
        "missing",
    ),
    "reorder": (lambda log: [*log[:4], log[6], log[5], log[4], *log[7:]], "missing"),
    "swap between partitions": (swap_partitions, "stands in partition"),
    "another topic": (lambda log: [*log[:4], replace(log[4], topic="other"), *log[5:]], "topic"),
    "another agent signs": (
        lambda log: [*log[:4], resigned(log[4], by="payment-retrier"), *log[5:]],
        "signed by the key",
    ),
    "a stranger signs": (lambda log: [*log[:4], resigned(log[4], by="stranger"), *log[5:]], "unknown key"),
    "another chain outside": (
        lambda log: [
            *log[:4],
            replace(log[4], record=log[4].record.model_copy(update={"chain": "x"})),
            *log[5:],
        ],
        "outside",
    ),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_attack_is_caught(name: str) -> None:
    attack, reason = ATTACKS[name]
    report = verify(attack(sample_log.log(10)))
    assert report.verdict is LogVerdict.INVALID
    assert report.first_fault is not None
    assert reason in report.first_fault.reason
    assert report.records >= 8


def test_the_first_bad_record_is_named_and_counting_goes_on() -> None:
    log = sample_log.log(10)
    log[5] = edited(log[5], b'"attempts":1', b'"attempts":2')
    report = verify(log)
    assert report.first_fault is not None
    assert str(report.first_fault).startswith("topic audit.decisions, partition 1, offset 4: got a signature")
    assert report.records == 10
    # the bad record, and its successor in the chain, whose predecessor is not proven
    assert report.faults == 2
    assert report.to_json()["firstFault"] == {
        "topic": "audit.decisions",
        "partition": 1,
        "offset": 4,
        "line": None,
        "reason": report.first_fault.reason,
    }


def test_one_missing_record_is_one_fault() -> None:
    log = sample_log.log(20)
    assert verify([*log[:4], *log[5:]]).faults == 1


def test_an_input_recorded_twice_with_good_signatures() -> None:
    first = sample_log.record("after-sales", offset=0, outcome=Outcome.DECIDED)
    payload = build(first, *sample_log.subject_of(first, 0))
    again = sample_log.record(
        "after-sales", offset=0, outcome=Outcome.DENIED, head=ChainHead().extend(payload)
    )
    signer = sample_log.signer("after-sales")
    log = [
        sample_log.sign(first, payload, by=signer, at=(0, 0)),
        sample_log.sign(again, build(again, *sample_log.subject_of(again, 0)), by=signer, at=(0, 1)),
    ]
    report = verify(log)
    assert report.verdict is LogVerdict.INVALID
    assert "has a record already" in str(report.first_fault)


def test_same_seq_twice_is_a_fork() -> None:
    signer = sample_log.signer("after-sales")
    log = []
    for offset in (0, 1):
        made = sample_log.record("after-sales", offset=offset, outcome=Outcome.DECIDED)
        log.append(
            sample_log.sign(
                made, build(made, *sample_log.subject_of(made, offset)), by=signer, at=(0, offset)
            )
        )
    assert "repeated or out of order" in str(verify(log).first_fault)


def test_tree_heads_show_truncation_and_rewriting() -> None:
    log = sample_log.log(10)
    heads = verify(log).tree_heads
    assert [parse_tree_head(str(head)) for head in heads] == list(heads)
    grown = sample_log.log(16)
    assert verify(grown, heads=heads).verdict is LogVerdict.VALID
    cut = verify(log[:-2], heads=heads)
    assert cut.verdict is LogVerdict.INVALID
    assert "cut off" in str(cut.first_fault)
    # Rewritten by someone who holds the agents' keys: consistent in itself, but not the log that was noted.
    rewritten = verify(sample_log.log(10, outcomes=[Outcome.DENIED]), heads=heads)
    assert "rewritten" in str(rewritten.first_fault)
    assert verify(sample_log.log(10, outcomes=[Outcome.DENIED])).verdict is LogVerdict.VALID
    assert verify(log, heads=[TreeHead(5, 1, bytes(32))]).verdict is LogVerdict.INVALID


def ledger_of(log: Sequence[LogEntry]) -> DecisionLedger:
    ledger = DecisionLedger()
    for number, entry in enumerate(log):
        agent, offset = sample_log.AGENTS[number % 2], number // 2
        if parse(entry.record.payload).predicate.outcome.has_decision:
            ledger.add_event(Place(f"decisions.{agent}", 0, offset), sample_log.decision_value(agent, offset))
    return ledger


def verify_with(ledger: DecisionLedger, log: Sequence[LogEntry]) -> Report:
    verifier = Verifier(sample_log.trust(), ledger=ledger)
    for entry in log:
        verifier.add(entry)
    return verifier.report()


def test_decisions_and_records_need_each_other() -> None:
    log = sample_log.log(10)
    report = verify_with(ledger_of(log), log)
    assert (report.verdict, report.decisions) == (LogVerdict.VALID, 6)
    added = ledger_of(log)
    added.add_event(Place("decisions.after-sales", 0, 99), b"forged")
    assert str(verify_with(added, log).first_fault).startswith(
        "topic decisions.after-sales, partition 0, offset 99"
    )
    repeated = ledger_of(log)
    repeated.add_event(Place("decisions.after-sales", 0, 99), sample_log.decision_value("after-sales", 0))
    assert "repeated" in str(verify_with(repeated, log).first_fault)
    missing = verify_with(DecisionLedger(), log)
    assert "decision event is missing" in str(missing.first_fault)
    assert missing.faults == 6


def test_decisions_may_come_after_their_records() -> None:
    log = sample_log.log(4)
    ledger = DecisionLedger()
    verifier = Verifier(sample_log.trust(), ledger=ledger)
    for entry in log:
        verifier.add(entry)
    for number in range(4):
        agent = sample_log.AGENTS[number % 2]
        ledger.add_event(Place("decisions", 0, number), sample_log.decision_value(agent, number // 2))
    assert verifier.report().verdict is LogVerdict.VALID


def test_offsets_cross_pages() -> None:
    known = OffsetSet()
    offsets = [0, 1, 7, 8, PAGE_BITS - 1, PAGE_BITS, 2**52]
    for offset in offsets:
        assert offset not in known
        known.add(offset)
    assert all(offset in known for offset in offsets)
    assert 2 not in known
    for offset in offsets:
        known.discard(offset)
        known.discard(offset)
        assert offset not in known
    known.discard(2**40)


def test_what_is_escalated_and_never_concluded_takes_a_bit() -> None:
    """Escalated dry runs wait for nobody, and a record does not tell them from others: a million are no burden."""
    chain = Chain(0)
    tracemalloc.start()
    try:
        for offset in range(0, 1_000_000, 10):
            chain.escalated.add(offset)
        taken, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 3 * 1_000_000 / 8


def test_the_story_says_what_happened_and_cannot_be_steered() -> None:
    entry = sample_log.log(6)[4]
    statement = parse(entry.record.payload)
    told = story.tell(entry, statement, standing="Verified now.")
    for part in (
        "It was handed to people",
        "return.delivered-only",
        "Only delivered orders can be returned.",
        "kafka://",
        "partition 0, offset 4",
        "number 2 of the chain",
        statement.predicate.decision_id,
        "Verified now.",
    ):
        assert part in told
    assert "1 proposal was judged" in told
    assert "error in the policies" not in told
    evil = statement.predicate.model_copy(update={"code": "\x1b[2J\nVerified now.\u202e"})
    told = story.tell(entry, statement.model_copy(update={"predicate": evil}), standing="NOT VALID")
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "\nVerified now." not in told


def test_the_story_tells_what_went_wrong_in_the_policies() -> None:
    entry = sample_log.log(6)[4]
    statement = parse(entry.record.payload)
    erring = statement.predicate.proposals[0].model_copy(update={"errors": ("p.one: overflow\x1b",)})
    twice = statement.predicate.model_copy(update={"proposals": (erring, erring), "attempts": 2})
    told = story.tell(entry, statement.model_copy(update={"predicate": twice}), standing="Verified now.")
    assert "2 proposals were judged" in told
    assert told.count("error in the policies: p.one: overflow\\x1b\n") == 2
