"""One flipped bit anywhere in an export is never VALID, and never an error of another kind than ours."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit import export
from jurat.audit.keys import parse_trust
from jurat.audit.log import Place
from jurat.audit.record import parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.schemas.errors import AuditError, KeyRejected
from tests.golden.audit import sample_log

LOG = sample_log.log(6)
EXPORT = sample_log.lines(LOG)
SINGLE = sample_log.lines(LOG[:1])
TRUST = sample_log.trust()


def verify(data: bytes) -> Report:
    verifier = Verifier(TRUST)
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            entry = export.parse_entry(line, number)
        except AuditError as error:
            verifier.fault(Place(line=number), str(error))
            continue
        verifier.add(entry)
    return verifier.report()


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def test_untouched_is_valid() -> None:
    assert verify(EXPORT).verdict is LogVerdict.VALID
    assert verify(SINGLE).verdict is LogVerdict.VALID


@settings(max_examples=300)
@given(st.integers(0, 8 * len(EXPORT) - 1))
def test_a_flipped_bit_in_a_log(bit: int) -> None:
    # The very last line feed may go: then the file ends without one, and says the same.
    if bit >> 3 == len(EXPORT) - 1:
        return
    assert verify(flip(EXPORT, bit)).verdict is LogVerdict.INVALID


@settings(max_examples=300)
@given(st.integers(0, 8 * (len(SINGLE) - 1) - 1))
def test_a_flipped_bit_in_a_single_record(bit: int) -> None:
    assert verify(flip(SINGLE, bit)).verdict is LogVerdict.INVALID


@given(st.integers(0, 8 * len(LOG[0].record.payload) - 1))
def test_a_flipped_bit_in_a_payload_alone(bit: int) -> None:
    """What the schema still accepts, the signature does not; parsing raises our errors alone."""
    payload = flip(LOG[0].record.payload, bit)
    with suppress(AuditError):
        parse(payload)
    verifier = Verifier(TRUST)
    broken = LOG[0].record.model_copy(update={"payload": payload})
    entry = type(LOG[0])(LOG[0].topic, 0, 0, 0, broken)
    assert verifier.add(entry) is not None
    assert verifier.report().verdict is LogVerdict.INVALID


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    for read in (
        parse,
        lambda each: export.parse_entry(each, 1),
        lambda each: export.parse_decision(each, 1),
    ):
        try:
            read(data)
        except AuditError:
            continue
        raise AssertionError("noise was accepted")


TRUST_FILE = sample_log.golden_files()["trust.json"]


@given(st.integers(0, 8 * len(TRUST_FILE) - 1))
def test_a_flipped_bit_in_the_trust_file(bit: int) -> None:
    """Either refused, or another trust file: under it the log does not verify."""
    try:
        trust = parse_trust(flip(TRUST_FILE, bit))
    except KeyRejected:
        return
    verifier = Verifier(trust)
    for entry in LOG:
        verifier.add(entry)
    assert verifier.report().verdict is LogVerdict.INVALID


@settings(max_examples=100)
@given(st.lists(st.integers(0, len(LOG) - 1), max_size=8))
def test_only_prefixes_of_each_partition_are_valid(picked: list[int]) -> None:
    """Any selection and order: valid only where each chain is there from its start, once, in order."""
    report = verify(sample_log.lines([LOG[number] for number in picked]))
    chains = ([number for number in picked if number % 2 == side] for side in (0, 1))
    honest = all(chain == list(range(side, side + 2 * len(chain), 2)) for side, chain in enumerate(chains))
    expected = (
        LogVerdict.VALID if honest and picked else LogVerdict.UNPROVEN if honest else LogVerdict.INVALID
    )
    assert report.verdict is expected
