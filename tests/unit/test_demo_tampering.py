"""The demo's forger: every copy is INVALID where it says, and an answer that misses it is told as such."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from jurat.audit import dsse
from jurat.audit.log import LogEntry, Place
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.cli.demo_tampering import Copy, Log
from jurat.schemas.errors import ConfigurationError
from tests.golden.audit import sample_log

ENTRIES = sample_log.log(20)
LOG = Log(ENTRIES, ())


def rewritten(log: Log) -> Copy:
    number, payload = log.unsigned_rewrite()
    signer = sample_log.signer(log.agent_of(number))
    return log.with_a_rewrite(
        number, asyncio.run(dsse.sign(payload, signer, chain=ENTRIES[number].record.chain))
    )


SHOWN_BY_ITSELF: tuple[Callable[[Log], Copy], ...] = (
    Log.with_a_verdict_changed,
    Log.with_a_record_deleted,
    Log.with_two_swapped,
)
SHOWN_BY_HEADS: tuple[Callable[[Log], Copy], ...] = (Log.with_the_end_cut_off, rewritten)


def verify(entries: list[LogEntry], *, heads_of: Report | None = None) -> Report:
    verifier = Verifier(sample_log.trust(), tree_heads=heads_of.tree_heads if heads_of else ())
    for entry in entries:
        verifier.add(entry)
    return verifier.report()


def answer(copy: Copy) -> str | None:
    report = verify(list(copy.entries), heads_of=verify(ENTRIES) if copy.only_by_heads else None)
    fault = report.first_fault
    return copy.missed(
        report.verdict,
        Place(fault.place.topic, fault.place.partition, fault.place.offset) if fault else Place(),
    )


@pytest.mark.parametrize("tamper", [*SHOWN_BY_ITSELF, *SHOWN_BY_HEADS])
def test_a_copy_is_invalid_at_the_place_that_was_said_before(tamper: Callable[[Log], Copy]) -> None:
    assert answer(tamper(LOG)) is None


@pytest.mark.parametrize("tamper", SHOWN_BY_HEADS)
def test_without_the_heads_these_copies_are_consistent_in_themselves(tamper: Callable[[Log], Copy]) -> None:
    assert verify(list(tamper(LOG).entries)).verdict is LogVerdict.VALID


def test_the_log_itself_stays_as_it_was() -> None:
    for tamper in (*SHOWN_BY_ITSELF, *SHOWN_BY_HEADS):
        tamper(LOG)
    assert verify(ENTRIES).verdict is LogVerdict.VALID


def test_a_verifier_that_misses_it_is_told_so() -> None:
    copy = LOG.with_a_record_deleted()
    assert "expected INVALID" in (copy.missed("VALID", Place()) or "")
    assert "expected INVALID" in (copy.missed("INVALID", Place(sample_log.AUDIT_TOPIC, 0, 99)) or "")
    assert copy.missed("INVALID", copy.shows_at) is None


def test_a_log_without_a_middle_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="simulate more orders"):
        Log(ENTRIES[:4], ())
