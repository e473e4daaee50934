"""Who signs with a key that the trust file at hand does not trust for it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from jurat.audit.key_store import init_approver, init_keys, trust_approver
from jurat.audit.keys import TrustedApprover
from jurat.cli.trust_hint import hint


def told(folder: Path, keyid: str, capsys: pytest.CaptureFixture[str]) -> str:
    hint(folder, keyid, name="dora", role="risk")
    return capsys.readouterr().err


def test_who_is_not_trusted_is_told_and_who_is_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keyid, _made = init_approver(tmp_path, "dora")
    assert told(tmp_path, keyid, capsys) == "", "no trust file here: the workers' may know"
    init_keys(tmp_path, ["shopkeeper"])
    said = told(tmp_path, keyid, capsys)
    assert "does not know the key of dora" in said
    assert f"jurat keys trust --approver dora --role risk {keyid}" in said
    trust_approver(tmp_path, TrustedApprover("dora", keyid, ("fraud-desk",)))
    assert "trusts the key for fraud-desk, not for risk" in told(tmp_path, keyid, capsys)
    trust_approver(tmp_path, TrustedApprover("dora", keyid, ("fraud-desk", "risk")))
    assert told(tmp_path, keyid, capsys) == ""
