"""The input manifest: its bounds, what is refused, and how its stretches are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jurat.audit.input_manifest import (
    MAX_LINE_BYTES,
    MAX_RUNS,
    InputsHeld,
    parse_inputs,
    print_inputs,
    stretches,
)
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import Check, InputsChecked, LogVerdict
from jurat.schemas.errors import RecordInvalid
from tests import honest_log

HELD = InputsHeld("a", "t", 0, 2, 9, ((2, 4), (6, 6)))


def test_a_partition_of_many_transactions_takes_several_lines() -> None:
    offsets = range(0, 4 * MAX_RUNS, 2)  # a marker after each
    found = list(stretches(offsets, agent="a", topic="t" * 249, partition=0, first=0, end=4 * MAX_RUNS))
    assert [(one.first, one.end) for one in found] == [
        (0, 2 * MAX_RUNS),
        (2 * MAX_RUNS, 4 * MAX_RUNS),
    ]
    assert sum(one.inputs for one in found) == len(offsets)
    for one in found:
        assert len(print_inputs(one)) <= MAX_LINE_BYTES
        assert parse_inputs(print_inputs(one), 1) == one
    late = replace(
        found[0], offsets=tuple((2**53 - 9_000 + 2 * n,) * 2 for n in range(MAX_RUNS)), end=2**53 - 1
    )
    assert len(print_inputs(late)) <= MAX_LINE_BYTES


def test_what_was_committed_ends_it() -> None:
    (held,) = stretches(range(3, 10), agent="a", topic="t", partition=0, first=3, end=7)
    assert (held.first, held.offsets, held.end) == (3, ((3, 6),), 7)


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": ((2, 4), (5, 6))},
        {"offsets": ((6, 6), (2, 4))},
        {"offsets": ((2, 9),)},
        {"offsets": ((1, 4),)},
        {"offsets": ((4, 2),)},
        {"first": 10},
        {"offsets": tuple((n, n) for n in range(2, 2 * MAX_RUNS + 4, 2)), "end": 10_000},
        {"offsets": ((2, 1_000_002),), "end": 2_000_000},
    ],
)
def test_what_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(RecordInvalid, match="not a line of an input manifest"):
        print_inputs(replace(HELD, **change))  # type: ignore[arg-type]  # the fields' own types


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"agent":"a",', b""),
        (b'"agent":"a"', b'"agent":"a","by":"b"'),
        (b'"agent":"a"', b'"agent":1'),
        (b'"first":2', b'"first":-2'),
        (b'"first":2', b'"first":true'),
        (b"[2,4]", b"[2,4,5]"),
        (b"[[2,4],[6,6]]", b"{}"),
        (b'"end":9', b'"end": 9'),
    ],
)
def test_what_no_writer_prints_is_refused(old: bytes, new: bytes) -> None:
    line = print_inputs(HELD)
    assert old in line
    with pytest.raises(RecordInvalid, match="line 7 is not"):
        parse_inputs(line.replace(old, new), 7)
    with pytest.raises(RecordInvalid):
        parse_inputs(b" " * (MAX_LINE_BYTES + 1), 1)


def test_stretches_of_a_partition_are_counted_once() -> None:
    verifier = Verifier(honest_log.trust())
    for entry in honest_log.entries():
        verifier.add(entry)
    at = {"agent": honest_log.AGENT, "topic": honest_log.TOPIC, "partition": 0}
    for one in stretches(range(2, 4), first=2, end=4, **at):  # type: ignore[arg-type]  # as above
        verifier.add_inputs(one)
    for one in stretches(range(4, 9), first=4, end=9, **at):  # type: ignore[arg-type]
        verifier.add_inputs(one)
    report = verifier.report()
    # Kafka deleted the first two; of the others three never got a record.
    assert report.inputs == InputsChecked(partitions=1, inputs=7, missing=3, deleted=2, open=3)
    assert "[6, 7, 8]" in report.findings[0].first.reason


@pytest.mark.parametrize("again", [(4, 9), (0, 4), (2, 6), (6, 9)])
def test_stretches_follow_one_another(again: tuple[int, int]) -> None:
    """The same again, one from before, one that overlaps, and one after a gap in which an input may be hidden."""
    verifier = Verifier(honest_log.trust())
    at = {"agent": honest_log.AGENT, "topic": honest_log.TOPIC, "partition": 0}
    for first, end in ((2, 4), (4, 5)):
        for one in stretches(range(first, end), first=first, end=end, **at):  # type: ignore[arg-type]  # as above
            verifier.add_inputs(one)
    with pytest.raises(RecordInvalid, match="expected them from 5"):
        verifier.add_inputs(InputsHeld(**at, first=again[0], end=again[1], offsets=()))  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [0, 1])
def test_a_chain_whose_inputs_nobody_gave_is_unproven(known: int) -> None:
    """Whoever deletes an agent's consumer group, or leaves its lines out of a manifest, does not get a valid log."""
    verifier = Verifier(honest_log.trust(), with_inputs=True)
    for entry in honest_log.entries():
        verifier.add(entry)
    for one in honest_log.inputs()[:known]:
        verifier.add_inputs(one)
    report = verifier.report()
    assert (report.verdict, report.findings[0].count) == (LogVerdict.UNPROVEN, 2 - known)
    assert "no inputs of the chain after-sales/" in report.findings[0].first.reason
    assert Check.INPUTS not in report.not_run
