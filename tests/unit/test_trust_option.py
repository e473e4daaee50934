"""Whom `jurat audit verify` trusts: a trust file, or a root with its log; offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jurat.audit import export
from jurat.audit.keys import Trust, TrustedKey, print_trust
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, write_log, write_root
from jurat.cli.audit import command
from tests.trust_stage import AGENT, Settled, key, settled
from tests.unit.test_attacks_identity import log_of


@pytest.fixture
def stage() -> Settled:
    return settled()


@pytest.fixture
def folder(stage: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export, a root and its trust log, as an auditor has them."""
    write_root(tmp_path / ROOT_FILE, stage.org.pin)
    write_log(tmp_path / LOG_FILE, stage.org.lines)
    (tmp_path / "audit.jsonl").write_bytes(
        b"".join(export.print_entry(entry) + b"\n" for entry in log_of(stage))
    )
    monkeypatch.delenv("JURAT_TRUST_ROOT", raising=False)
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path / "elsewhere"))
    return tmp_path


def verify(folder: Path, *words: str) -> Mapping[str, Any]:
    done = CliRunner().invoke(command, ["verify", str(folder / "audit.jsonl"), "--json", *words])
    assert done.stdout, done.output
    return dict(json.loads(done.stdout))


def refused(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(command, ["verify", str(folder / "audit.jsonl"), *words])
    assert done.exit_code == 2
    return done.output


def test_a_root_and_its_log_are_all_that_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--trust-root", str(folder / ROOT_FILE), "--trust-log", str(folder / LOG_FILE))
    report = verify(folder, *words)
    assert (report["verdict"], report["faults"], report["records"]) == ("UNPROVEN", 0, 4)
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(folder / ROOT_FILE))
    monkeypatch.setenv("JURAT_KEYS_DIR", str(folder))
    assert verify(folder) == report


def test_what_is_missing_is_said(folder: Path) -> None:
    root = ("--trust-root", str(folder / ROOT_FILE))
    assert "cannot be read" in refused(folder, *root)
    assert "without a root" in refused(folder, "--trust-log", str(folder / LOG_FILE))
    assert "there is no trust file" in refused(folder)
    (folder / LOG_FILE).write_bytes((folder / LOG_FILE).read_bytes().replace(b"A", b"B", 1))
    assert "line 1" in refused(folder, *root, "--trust-log", str(folder / LOG_FILE))


def test_pinned_keys_count_beside_a_root_only_where_they_are_named(folder: Path, stage: Settled) -> None:
    entries = log_of(stage, holder="pinned")
    (folder / "audit.jsonl").write_bytes(b"".join(export.print_entry(entry) + b"\n" for entry in entries))
    pinned = folder / "trust.json"
    pinned.write_bytes(print_trust(Trust((TrustedKey(AGENT, key("pinned").keyid),))))
    root = ("--trust-root", str(folder / ROOT_FILE), "--trust-log", str(folder / LOG_FILE))
    assert verify(folder, *root)["verdict"] == "INVALID"
    assert verify(folder, *root, "--trust", str(pinned))["verdict"] == "VALID"
