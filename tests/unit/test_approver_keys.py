"""Approvers' keys: made without being trusted, trusted for roles, never taken for an agent's; their commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit import key_store, keys
from jurat.audit.keys import Trust, TrustedApprover, TrustedKey
from jurat.cli.keys import command
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected
from tests.approval_stage import signer

ALICE = TrustedApprover("alice", signer("alice").keyid, ("risk", "payments-lead", "risk"))
AGENT = TrustedKey("after-sales", signer("after-sales").keyid)


def test_a_key_is_made_once_and_trusted_by_nobody(tmp_path: Path) -> None:
    keyid, made = key_store.init_approver(tmp_path, "alice")
    assert made
    assert key_store.init_approver(tmp_path, "alice") == (keyid, False)
    assert key_store.load_approver(tmp_path, "alice").keyid == keyid
    assert [path.name for path in tmp_path.iterdir()] == ["alice.approver.pem"]


def test_an_approver_and_an_agent_of_one_name_have_two_keys(tmp_path: Path) -> None:
    key_store.init_keys(tmp_path, ["alice"])
    keyid, _made = key_store.init_approver(tmp_path, "alice")
    assert key_store.load_signer(tmp_path, "alice").keyid != keyid


def test_trust_is_given_for_roles_and_replaced(tmp_path: Path) -> None:
    key_store.init_keys(tmp_path, ["after-sales"])
    path = key_store.trust_approver(tmp_path, ALICE)
    trust = key_store.load_trust(path)
    assert [key.agent for key in trust.keys] == ["after-sales"]
    assert trust.find_approver(ALICE.keyid).roles == ("payments-lead", "risk")
    key_store.trust_approver(tmp_path, TrustedApprover("alice", ALICE.keyid, ("risk",)))
    key_store.init_keys(tmp_path, ["payment-retrier"])
    trust = key_store.load_trust(path)
    assert [key.agent for key in trust.keys] == ["after-sales", "payment-retrier"]
    assert [one.roles for one in trust.approvers] == [("risk",)]
    with pytest.raises(KeyNotFound, match="is not in the trust file"):
        trust.find(ALICE.keyid)
    with pytest.raises(KeyNotFound, match="jurat keys trust"):
        trust.find_approver(trust.keys[0].keyid)


def test_a_key_has_one_owner(tmp_path: Path) -> None:
    key_store.trust_approver(tmp_path, ALICE)
    with pytest.raises(KeyRejected, match="got the key of alice as the key of bob"):
        key_store.trust_approver(tmp_path, TrustedApprover("bob", ALICE.keyid, ("risk",)))
    with pytest.raises(KeyRejected, match="got the key of after-sales as the key of bob"):
        keys.with_approver(Trust((AGENT,)), TrustedApprover("bob", AGENT.keyid, ("risk",)))
    with pytest.raises(KeyRejected, match="twice"):
        Trust((TrustedKey("after-sales", ALICE.keyid),), (ALICE,))


@pytest.mark.parametrize("roles", [(), ("",), ("a\nb",), ("x" * 101,), tuple(f"r-{n}" for n in range(33))])
def test_roles_that_are_none(roles: tuple[str, ...]) -> None:
    with pytest.raises(KeyRejected, match="expected 1 to 32 names"):
        TrustedApprover("alice", ALICE.keyid, roles)


def test_trust_files_with_approvers() -> None:
    bob = TrustedApprover("bob", signer("bob").keyid, ("risk",))
    trust = Trust((AGENT,), (bob, ALICE))
    data = keys.print_trust(trust)
    assert keys.parse_trust(data) == trust
    assert [one.approver for one in keys.parse_trust(data).approvers] == ["alice", "bob"]
    for broken in (
        data.replace(b'"payments-lead","risk"', b'"risk","payments-lead"'),
        data.replace(b'"payments-lead","risk"', b'"risk","risk"'),
        data.replace(b'["risk"]', b"[]"),
        data.replace(b'["risk"]', b"[1]"),
        data.replace(b'["risk"]', b'"risk"'),
        data.replace(b'"bob"', b'"Bob"'),
        data.replace(b'"bob"', b"1"),
        data.replace(b'"approver":"bob"', b'"agent":"bob"'),
        data.replace(b'"approver":"bob"', b'"agent":"bob","approver":"bob"'),
        data.replace(b"ed25519", b"rsa"),
        data.replace(bob.keyid.encode(), ALICE.keyid.encode()),
        data.replace(bob.keyid.encode(), AGENT.keyid.encode()),
        keys.print_trust(Trust(())).replace(b"]", b"") + data.strip()[1:] + b" \n",
    ):
        assert broken != data
        with pytest.raises(KeyRejected):
            keys.parse_trust(broken)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.delenv("JURAT_KEYS_PASSPHRASE", raising=False)
    runner = CliRunner()
    made = runner.invoke(command, ["init", "--approver", "alice"], catch_exceptions=False)
    keyid = made.stdout.split()[2]
    assert "jurat keys trust --approver alice --role ROLE" in made.stderr
    assert "kept" in runner.invoke(command, ["init", "--approver", "alice"], catch_exceptions=False).stdout
    words = ["trust", "--approver", "alice", "--role", "risk", "--role", "fraud-desk", keyid]
    assert "fraud-desk, risk" in runner.invoke(command, words, catch_exceptions=False).stdout
    assert "approvals as fraud-desk, risk" in runner.invoke(command, ["list"], catch_exceptions=False).stdout
    for wrong, error in (
        (["trust", "--approver", "alice", keyid], 2),
        (["init", "--approver", "alice", "--agent", "x"], 2),
    ):
        assert runner.invoke(command, wrong).exit_code == error
    others = ["trust", "--approver", "alice", "--role", "data-protektion", keyid]
    told = runner.invoke(command, others, catch_exceptions=False).stderr
    assert "no policies here ask for the role data-protektion; known are" in told
    assert "in place of the roles that this key had: fraud-desk, risk" in told
    again = runner.invoke(command, words, catch_exceptions=False).stderr
    assert "no policies here" not in again
    bad = runner.invoke(command, ["trust", "--approver", "alice", "--role", "risk", "did:key:z"])
    assert isinstance(bad.exception, KeyRejected)
    nobody = runner.invoke(command, ["init", "--approver", "../x"])
    assert isinstance(nobody.exception, ConfigurationError)
