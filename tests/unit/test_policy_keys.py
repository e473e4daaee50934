"""Keys with a purpose: what the trust file says of them, and how they are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit import key_store
from jurat.audit.keys import Purpose, Trust, TrustedKey, merge, parse_trust, print_trust
from jurat.cli.keys import command
from jurat.schemas.errors import KeyNotFound, KeyRejected
from tests.policy_stage import PUBLISHER, TRUST, signer


def test_the_purpose_stands_in_the_trust_file_where_it_is_another_than_decisions() -> None:
    printed = print_trust(TRUST)
    assert parse_trust(printed) == TRUST
    assert printed.count(b'"purpose":"policies"') == printed.count(b'"purpose"') == 1


@pytest.mark.parametrize("purpose", [b'"decisions"', b'"everything"', b"null", b'["policies"]', b"1"])
def test_another_purpose_is_refused(purpose: bytes) -> None:
    changed = print_trust(TRUST).replace(b'"policies"', purpose)
    with pytest.raises(KeyRejected, match=r"purpose|one form"):
        parse_trust(changed)


def test_a_key_is_found_for_its_purpose_only() -> None:
    assert TRUST.find(PUBLISHER.keyid, purpose=Purpose.POLICIES).agent == "policy-publisher"
    with pytest.raises(KeyNotFound, match="policy-publisher for policies, expected one for decisions"):
        TRUST.find(PUBLISHER.keyid)
    with pytest.raises(KeyNotFound, match="not in the trust file"):
        TRUST.find(signer("nobody").keyid, purpose=Purpose.POLICIES)


def test_a_key_has_one_purpose() -> None:
    agents = TrustedKey("policy-publisher", PUBLISHER.keyid)
    with pytest.raises(KeyRejected, match="a key has one purpose"):
        merge(TRUST, [agents])
    with pytest.raises(KeyRejected, match="twice"):
        Trust((*TRUST.keys, agents))


def test_the_command_makes_and_lists_them(tmp_path: Path) -> None:
    def jurat(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(command, [*words, "--keys", str(tmp_path)])
        return done.exit_code, done.output + str(done.exception or "")

    assert jurat("init", "--purpose", "policies") == (2, jurat("init", "--purpose", "policies")[1])
    assert "expected --agent NAME" in jurat("init", "--purpose", "policies")[1]
    code, said = jurat("init", "--agent", "alice", "--purpose", "policies")
    assert (code, "made   alice" in said) == (0, True)
    assert "kept   alice" in jurat("init", "--agent", "alice", "--purpose", "policies")[1]
    assert jurat("init", "--agent", "after-sales")[0] == 0
    trust = key_store.load_trust(tmp_path / key_store.TRUST_FILE)
    assert {key.agent: key.purpose for key in trust.keys} == {
        "alice": Purpose.POLICIES,
        "after-sales": Purpose.DECISIONS,
    }
    code, said = jurat("init", "--agent", "alice")
    assert code == 1
    assert "a key has one purpose" in said
    listed = jurat("list")[1].splitlines()
    assert [line.split()[:2] for line in listed if "did:key" in line] == [
        ["after-sales", "decisions"],
        ["alice", "policies"],
    ]
