"""The key that a worker is about to sign with: the trust file beside it must have it as the agent's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jurat import settings
from jurat.agents.after_sales import AFTER_SALES
from jurat.audit.key_store import TRUST_FILE, KeyKind, init_keys, make_key
from jurat.audit.keys import Purpose
from jurat.audit.trust_file import write_root
from jurat.running import identity_of, signer_for
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected, StatementInvalid
from jurat.streams.kafka import Connection
from jurat.streams.trust_session import SessionKeeper
from tests.trust_stage import settled

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


def test_with_a_trusted_root_the_key_needs_no_trust_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credential on the topic says whose it is."""
    stage = settled()
    keyid, _made = make_key(tmp_path, AFTER_SALES.name, KeyKind.AGENT)
    write_root(tmp_path / "root.json", stage.org.pin)
    monkeypatch.setenv(settings.TRUST_ROOT, str(tmp_path / "root.json"))
    signer, session = identity_of(AFTER_SALES, Connection("nowhere:1"), tmp_path)
    assert (signer.keyid, type(session)) == (keyid, SessionKeeper)
    with pytest.raises(KeyNotFound, match="there is no key of agent 'after-sales'"):
        identity_of(AFTER_SALES, Connection("nowhere:1"), tmp_path / "elsewhere")
    write_root(tmp_path / "root.json", stage.org.lines[1])
    with pytest.raises(StatementInvalid, match="expected a root"):
        identity_of(AFTER_SALES, Connection("nowhere:1"), tmp_path)
    monkeypatch.setenv(settings.TRUST_ROOT, str(tmp_path / "nothing.json"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        identity_of(AFTER_SALES, Connection("nowhere:1"), tmp_path)


def test_without_one_the_key_itself_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.TRUST_ROOT, raising=False)
    init_keys(tmp_path, [AFTER_SALES.name])
    signer, session = identity_of(AFTER_SALES, Connection("nowhere:1"), tmp_path)
    assert session is None
    assert signer.keyid == signer_for(AFTER_SALES.name, tmp_path).keyid
