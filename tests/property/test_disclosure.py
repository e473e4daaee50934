"""Veiled records: any record unveils to itself, and one flipped bit in any artefact is found, by an error of ours."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit import export
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import parse_any, parse_disclosures, print_disclosures, unveil
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.draft import draft
from jurat.audit.log import Place
from jurat.audit.record import ContextRead, Outcome, build, parse
from jurat.audit.verifier import LogVerdict, Report, Verifier
from jurat.schemas.errors import AuditError, DisclosureInvalid
from tests.golden.audit import sample_log
from tests.veiled import AGENT, VeiledLog, full_record, salts

LOG = VeiledLog(sample_log.OUTCOMES)
EXPORT = sample_log.lines(LOG.entries)
FULL = draft(full_record(), full_record().decision_id, "ab" * 32, salts=salts())
STATEMENT = parse_any(FULL.finish(ChainHead()))
DISCLOSED = print_disclosures(FULL.disclosures)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc_", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text("abc.", min_size=1, max_size=5), json_values, max_size=4)
texts = st.text(min_size=1, max_size=40)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def verify(data: bytes) -> Report:
    verifier = Verifier(sample_log.trust(), unveiler=Unveiler(LOG))
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            verifier.add(export.parse_entry(line, number))
        except AuditError as error:
            verifier.fault(Place(line=number), str(error))
    return verifier.report()


@given(json_objects, texts, st.lists(texts, max_size=3), st.integers(0, 2**32))
def test_any_record_unveils_to_itself(
    parameters: dict[str, object], key: str, errors: list[str], seed: int
) -> None:
    record = sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED)
    judged = record.proposals[0].model_copy(update={"parameters": parameters, "errors": tuple(errors)})
    read = ContextRead(name="orders", key=key, uri=None, sha256=None)
    record = record.model_copy(update={"proposals": (judged,), "context": (read,)})
    made = draft(record, record.decision_id, "ab" * 32, salts=salts(seed))
    printed = print_disclosures(made.disclosures)
    statement = unveil(parse_any(made.finish(ChainHead())), parse_disclosures(printed))
    assert statement == parse(build(record, record.decision_id, "ab" * 32))


@settings(max_examples=300)
@given(st.integers(0, 8 * (len(EXPORT) - 1) - 1))
def test_a_flipped_bit_in_a_veiled_log(bit: int) -> None:
    assert verify(EXPORT).verdict is LogVerdict.VALID
    assert verify(flip(EXPORT, bit)).verdict is LogVerdict.INVALID


@settings(max_examples=500)
@given(st.integers(0, 8 * len(DISCLOSED) - 1))
def test_a_flipped_bit_in_disclosures(bit: int) -> None:
    try:
        changed = parse_disclosures(flip(DISCLOSED, bit))
    except DisclosureInvalid:
        return
    try:
        unveil(STATEMENT, changed)
    except AuditError:
        return
    raise AssertionError("changed disclosures were accepted")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_other_bytes_are_no_disclosures(data: bytes) -> None:
    try:
        read = parse_disclosures(data)
    except DisclosureInvalid:
        return
    assert print_disclosures(read) == data
