"""Bundles of veiled records: what they hide goes along where it is asked for, and only if it is theirs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit import bundle, bundle_zip, history
from jurat.audit.disclosure import parse_any, print_disclosures
from jurat.audit.disclosure_file import print_line
from jurat.audit.ed25519 import SigningKey
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.keys import PemSigner, Trust, TrustedApprover, print_trust
from jurat.audit.subject_erasure import state_erasure, statement_of
from jurat.audit.verifier_report import LogVerdict
from jurat.cli.audit import command
from jurat.schemas import canonical
from jurat.schemas.errors import AuditError
from tests import bundle_stage as stage
from tests.golden.audit import sample_log
from tests.veiled import VeiledLog

LOG = VeiledLog()
IDS = tuple(LOG.disclosures)
MAKE = ("bundle", "--input", "log.jsonl", "--output", "b.zip", "--history", "history.jsonl")
WITNESSED = ("--witness-policy", "policy.txt")
DISCLOSED = ("--disclosures", "disclosures.jsonl")


DORA = PemSigner(SigningKey(b"\x07" * 32))
ERIN = PemSigner(SigningKey(b"\x08" * 32))
TRUST = Trust(
    sample_log.trust().keys,
    (TrustedApprover("dora", DORA.keyid, (DATA_PROTECTION,)), TrustedApprover("erin", ERIN.keyid, ("risk",))),
)


def made(*, with_disclosures: bool, erasures: Iterable[bytes] = ()) -> bytes:
    maker = stage.BundleMaker(sample_log.trust(), stage.POLICY)
    for entry in LOG.entries:
        record = parse_any(entry.record.payload).predicate
        disclosures = LOG.of(record.decision_id) if with_disclosures else None
        maker.leaf(entry, record, disclosures=disclosures)
    maker.checkpoint(stage.signed_head(LOG.entries, 0, 5))
    return maker.made({}, erasures=erasures)[0]


DISCLOSING = made(with_disclosures=True)
FILES = bundle_zip.unpack(DISCLOSING)
FIRST, SECOND = (name for name in sorted(FILES) if re.search(r"/0-[01]-.*disclosures", name))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "log.jsonl").write_bytes(sample_log.lines(LOG.entries))
    (tmp_path / "policy.txt").write_bytes(stage.POLICY)
    (tmp_path / "trust.json").write_bytes(sample_log.golden_files()["trust.json"])
    head = stage.signed_head(LOG.entries, 0, 5)
    (tmp_path / "history.jsonl").write_bytes(history.print_line(head) + b"\n")
    lines = [print_line(name, LOG.disclosures[name]) + b"\n" for name in IDS]
    (tmp_path / "disclosures.jsonl").write_bytes(b"".join(lines))
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_disclosed_or_not_a_record_is_proved() -> None:
    veiled = made(with_disclosures=False)
    assert not [name for name in bundle_zip.unpack(veiled) if "disclosures" in name]
    report = stage.verify(veiled)
    assert (report.verdict, report.proved, report.withheld) == (LogVerdict.VALID, 5, 5)
    report = stage.verify(DISCLOSING)
    assert (report.verdict, report.proved, report.withheld) == (LogVerdict.VALID, 5, 0)


def stated(*names: str, by: PemSigner = DORA, cluster: str = "c") -> bytes:
    at = datetime(2026, 11, 26, tzinfo=UTC)
    said = statement_of(cluster=cluster, topic="audit.decisions", decisions=names, at=at)
    return asyncio.run(state_erasure(said, by))


def test_a_statement_of_erasure_says_why_nothing_is_disclosed() -> None:
    other = "dec_" + "0" * 32
    statements = (stated(IDS[0], other), stated(IDS[1], IDS[2]), stated(other), stated(IDS[0], other))
    data = made(with_disclosures=False, erasures=statements)
    assert bundle_zip.unpack(data)[bundle.ERASURES].count(b"\n") == 2, "of its records, each once"
    report = stage.verify(data, trust=TRUST)
    assert (report.verdict, report.withheld, report.erased) == (LogVerdict.VALID, 2, 3)
    assert (report.to_json()["notDisclosed"], report.to_json()["erased"]) == (2, 3)
    report = stage.verify(data)
    assert (report.verdict, report.withheld, report.erased) == (LogVerdict.VALID, 5, 0), "nobody knows dora"
    data = made(with_disclosures=True, erasures=statements)
    report = stage.verify(data, trust=TRUST)
    assert (report.withheld, report.erased) == (0, 0), "what is disclosed was read, whatever was erased since"


def resigned(line: bytes) -> bytes:
    """The statement with dora's signature of another one."""
    envelope = json.loads(line)
    envelope["signatures"] = json.loads(stated(IDS[0], cluster="d"))["signatures"]
    return canonical.dumps(envelope) + b"\n"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (lambda good: good[:-20] + b'"' + good[-19:], "canonical JSON"),
        (lambda good: good.replace(b"\n", b""), "not sorted"),
        (lambda good: good + good, "one twice"),
        (resigned, "did not make over these bytes"),
        (lambda _good: stated(IDS[0], by=ERIN) + b"\n", "expected data-protection among them"),
        (lambda _good: b"", "not sorted"),
    ],
)
def test_a_statement_of_erasure_that_does_not_hold(lines: Callable[[bytes], bytes], why: str) -> None:
    good = made(with_disclosures=False, erasures=[stated(IDS[0])])

    def change(files: stage.Files) -> None:
        files[bundle.ERASURES] = lines(files[bundle.ERASURES])

    stage.refused(stage.mended(change, good), why, trust=TRUST)


def test_one_record_that_is_not_disclosed_among_others_is_unproven() -> None:
    def leave_out(files: stage.Files) -> None:
        del files[FIRST]

    report = stage.verify(stage.mended(leave_out, DISCLOSING))
    assert (report.verdict, report.withheld) == (LogVerdict.UNPROVEN, 1)
    assert [(one.count, one.first.place.offset) for one in report.findings] == [(1, LOG.entries[0].offset)]


def test_disclosures_of_another_record() -> None:
    def swap(files: stage.Files) -> None:
        files[FIRST], files[SECOND] = files[SECOND], files[FIRST]

    report = stage.verify(stage.mended(swap, DISCLOSING))
    assert report.verdict is LogVerdict.INVALID
    assert report.findings[0].count == 2


def test_disclosures_that_say_something_else() -> None:
    first, *others = LOG.disclosures[IDS[0]]
    lying = print_disclosures([type(first)(first.salt, first.place, "somebody else"), *others])
    for data in (lying, print_disclosures(others), b"[]", b"noise"):
        report = stage.verify(stage.mended(lambda files, data=data: files.update({FIRST: data}), DISCLOSING))
        assert (report.verdict, report.findings[0].count) == (LogVerdict.INVALID, 1), data


def test_disclosures_of_a_record_that_is_not_veiled() -> None:
    """They say nothing, and are not let pass as if they did."""
    name = next(name for name in stage.FILES if name.endswith(".dsse.json"))
    beside = name.replace(".dsse.json", ".disclosures.json")
    report = stage.verify(stage.mended(lambda files: files.update({beside: b"[]"})))
    assert report.verdict is LogVerdict.INVALID
    assert "disclosures beside a record that is not veiled" in str(report.faults[0])


def test_what_is_hidden_goes_along_only_where_it_is_asked_for(folder: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(command, list(words), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run(*MAKE, *WITNESSED, *DISCLOSED)
    assert not [name for name in bundle_zip.unpack((folder / "b.zip").read_bytes()) if "disclosures" in name]
    assert "veiled and NOT DISCLOSED: 5" in run("verify", "b.zip", *WITNESSED)
    run(*MAKE, *WITNESSED, *DISCLOSED, "--with-disclosures", "--subject", "#W100")
    told = json.loads(run("verify", "b.zip", *WITNESSED, "--json"))
    assert (told["verdict"], told["records"], told["notDisclosed"]) == ("VALID", 3, 0)
    (folder / "trust.json").write_bytes(print_trust(TRUST))
    kept = [print_line(name, LOG.disclosures[name]) for name in IDS[1:]]
    (folder / "disclosures.jsonl").write_bytes(b"".join(one + b"\n" for one in (*kept, stated(IDS[0]))))
    run(*MAKE, *WITNESSED, *DISCLOSED, "--with-disclosures")
    assert "veiled and erased, as a signed statement says: 1" in run("verify", "b.zip", *WITNESSED)


def test_a_subject_cannot_be_asked_for_where_it_is_hidden(folder: Path) -> None:
    result = CliRunner().invoke(command, [*MAKE, *WITNESSED, "--subject", "#W100"])
    assert isinstance(result.exception, AuditError)
    assert "--subject cannot tell" in result.stderr
    assert "no record for a bundle" in str(result.exception)
    assert not (folder / "b.zip").exists()
    assert bundle.MANIFEST in FILES
