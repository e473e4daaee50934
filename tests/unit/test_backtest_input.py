"""What a backtest reads of an auditor's bundle: every record of it, and of veiled ones what it discloses."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from jurat.audit import bundle
from jurat.audit.disclosure_file import print_line
from jurat.audit.log import Fault
from jurat.cli.backtest_input import past_log
from jurat.policies.backtest_past import NotJudged, Why
from jurat.schemas.errors import BundleInvalid
from jurat.streams.kafka import Connection
from jurat.streams.past_decisions import read
from tests import bundle_stage as stage
from tests.unit import test_audit_bundle_veiled as veiled

COUNT = len(veiled.LOG.entries)


def nowhere() -> Connection:
    raise AssertionError("got a call for Kafka, expected none")


def read_all(source: Path, *, disclosures: Path | None = None) -> list[str]:
    """Why each record cannot be judged, or that it was read."""

    async def run() -> list[str]:
        async with past_log(source, nowhere, disclosures=disclosures) as (entries, lifts):
            found = [read(entry, lifts) async for entry in entries]
        return [one.why if isinstance(one, NotJudged) else "read" for one in found]

    return asyncio.run(run())


def test_veiled_records_are_read_by_what_the_bundle_or_a_file_discloses(tmp_path: Path) -> None:
    bare, disclosing = tmp_path / "bare.zip", tmp_path / "disclosing.zip"
    bare.write_bytes(veiled.made(with_disclosures=False))
    disclosing.write_bytes(veiled.DISCLOSING)
    assert Counter(read_all(bare)) == {Why.VEILED: COUNT}
    assert Counter(read_all(disclosing)) == {"read": COUNT}
    file = tmp_path / "disclosures.jsonl"
    file.write_bytes(b"".join([print_line(id_, veiled.LOG.disclosures[id_]) + b"\n" for id_ in veiled.IDS]))
    assert Counter(read_all(bare, disclosures=file)) == {"read": COUNT}
    file.write_bytes(b"")
    assert Counter(read_all(disclosing, disclosures=file)) == {Why.VEILED: COUNT}


def test_what_is_no_record_is_told_at_its_place(tmp_path: Path) -> None:
    broken = bundle.envelope_file(bundle.read(stage.GOOD).records[0].name)

    def change(files: stage.Files) -> None:
        files[broken] = b"{}"

    (tmp_path / "b.zip").write_bytes(stage.mended(change))

    async def faults() -> list[str]:
        async with past_log(tmp_path / "b.zip", nowhere, disclosures=None) as (entries, _lifts):
            return [str(one) async for one in entries if isinstance(one, Fault)]

    (told,) = asyncio.run(faults())
    assert told.startswith("topic audit.decisions, partition 0, offset 0: ")
    assert Counter(read_all(tmp_path / "b.zip")) == {"read": len(stage.LOG) - 1, Why.UNREADABLE: 1}


def test_a_zip_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(stage.GOOD + b"more")
    with pytest.raises(BundleInvalid):
        read_all(tmp_path / "b.zip")
