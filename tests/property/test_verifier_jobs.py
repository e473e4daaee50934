"""However many processes look at records, the report is the same; and an input manifest has one form."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit import export
from jurat.audit.input_manifest import InputsHeld, parse_inputs, print_inputs, stretches
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.cli import audit_examining, audit_jobs
from jurat.cli.audit_examining import Raw, RawLine
from jurat.schemas.errors import AuditError
from tests import honest_log

LINES = [export.print_entry(entry) + b"\n" for entry in honest_log.entries()]
HEADS = honest_log.heads(honest_log.entries())


class HerePool:
    """A pool whose processes are this one; what goes there and back travels as it does between processes."""

    def __init__(self) -> None:
        audit_examining.begin(honest_log.trust(), honest_log.rejudging(), from_topic=False)

    def submit(self, work: Callable[[Any], Any], sent: object) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(sent))))))
        return done


def verifier() -> Verifier:
    return Verifier(honest_log.trust(), witnessed=HEADS, rejudge=honest_log.rejudging())


def alone(lines: Sequence[bytes]) -> Report:
    made = verifier()

    async def run() -> None:
        async def raws() -> AsyncGenerator[Raw, None]:
            for number, line in enumerate(lines, start=1):
                yield RawLine(number, line)

        await audit_jobs.verify_all(
            raws(),
            made,
            jobs=1,
            trust=honest_log.trust(),
            rejudge=None,
            from_topic=False,
            told=lambda _size: None,
        )

    asyncio.run(run())
    return made.report()


def together(lines: Sequence[bytes], piece: int, *, file: Path | None = None) -> Report:
    """By two halves, one of which reads lines from a file where one is given."""
    made = verifier()

    async def run() -> None:
        shared = audit_jobs.Shared(HerePool(), made, None, most=2, piece=piece, told=lambda _size: None)
        start = 0
        for number, line in enumerate(lines, start=1):
            await shared.add(RawLine(number, line, None if file is None else (file, start)))
            start += len(line)
        await shared.finish()

    asyncio.run(run())
    return made.report()


@settings(max_examples=60, deadline=None)
@given(
    picked=st.lists(st.integers(0, len(LINES) - 1), max_size=14) | st.just(list(range(len(LINES)))),
    flips=st.lists(st.tuples(st.integers(0, 13), st.integers(0, 8 * min(map(len, LINES)) - 9)), max_size=2),
    piece=st.integers(1, 5),
)
def test_the_report_is_the_same(picked: list[int], flips: list[tuple[int, int]], piece: int) -> None:
    lines = [LINES[number] for number in picked]
    for at, bit in flips:
        if at < len(lines):
            data = bytearray(lines[at])
            data[bit >> 3] ^= 1 << (bit & 7)
            lines[at] = bytes(data)
    expected = alone(lines).to_json()
    assert together(lines, piece).to_json() == expected
    with NamedTemporaryFile() as file:
        file.write(b"".join(lines))
        file.flush()
        assert together(lines, piece, file=Path(file.name)).to_json() == expected


def test_an_honest_log_is_valid_either_way() -> None:
    assert together(LINES, 3).verdict is alone(LINES).verdict is LogVerdict.VALID


@pytest.mark.parametrize("others", [None, b"", b"".join(LINES[3:]), b"x" * sum(map(len, LINES))])
def test_a_file_that_others_find_changed_or_gone_is_no_fault_of_the_log(
    others: bytes | None, tmp_path: Path
) -> None:
    if others is not None:
        (tmp_path / "log.jsonl").write_bytes(others)
    assert together(LINES, 3, file=tmp_path / "log.jsonl").to_json() == alone(LINES).to_json()


HELD = st.lists(st.integers(0, 300), unique=True).map(
    lambda offsets: [
        *stretches(
            sorted(offsets), agent="a", topic="t", partition=3, first=0, end=max(offsets, default=0) + 2
        )
    ]
)


@given(HELD)
def test_a_manifest_is_printed_and_read_again(held: list[InputsHeld]) -> None:
    assert [parse_inputs(print_inputs(one) + b"\n", 1) for one in held] == held


LINE = print_inputs(
    InputsHeld("after-sales", "commerce.after-sales-requests", 0, 2, 12, ((2, 4), (6, 6), (8, 9)))
)


@given(st.integers(0, 8 * len(LINE) - 1))
def test_a_flipped_bit_in_a_manifest_is_another_one_or_refused(bit: int) -> None:
    data = bytearray(LINE)
    data[bit >> 3] ^= 1 << (bit & 7)
    try:
        held = parse_inputs(bytes(data), 1)
    except AuditError:
        return
    assert print_inputs(held) == bytes(data)
