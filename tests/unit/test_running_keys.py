"""The key that a worker is about to sign with: the trust file beside it must have it as the agent's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jurat.audit.key_store import TRUST_FILE, init_keys
from jurat.audit.keys import Purpose
from jurat.running import signer_for
from jurat.schemas.errors import KeyRejected

AGENTS = ("payment-retrier", "fulfilment-router")


def test_a_key_of_ones_own_is_taken_with_and_without_a_trust_file(tmp_path: Path) -> None:
    init_keys(tmp_path, AGENTS)
    keyid = signer_for("payment-retrier", tmp_path).keyid
    (tmp_path / TRUST_FILE).unlink()
    assert signer_for("payment-retrier", tmp_path).keyid == keyid


def test_another_agents_key_is_refused_before_anything_is_signed(tmp_path: Path) -> None:
    init_keys(tmp_path, AGENTS)
    shutil.copy(tmp_path / "fulfilment-router.key.pem", tmp_path / "payment-retrier.key.pem")
    with pytest.raises(
        KeyRejected, match="as that of fulfilment-router, for decisions: no auditor would accept"
    ):
        signer_for("payment-retrier", tmp_path)


def test_a_key_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    init_keys(tmp_path, AGENTS)
    init_keys(tmp_path / "other", AGENTS)
    shutil.copy(tmp_path / "other" / "payment-retrier.key.pem", tmp_path / "payment-retrier.key.pem")
    with pytest.raises(KeyRejected, match="as nobody's"):
        signer_for("payment-retrier", tmp_path)


def test_a_policy_publishers_key_signs_no_decisions(tmp_path: Path) -> None:
    init_keys(tmp_path, AGENTS)
    init_keys(tmp_path, ("policy-publisher",), purpose=Purpose.POLICIES)
    shutil.copy(tmp_path / "policy-publisher.key.pem", tmp_path / "payment-retrier.key.pem")
    with pytest.raises(KeyRejected, match="for policies"):
        signer_for("payment-retrier", tmp_path)
