"""The commands about credentials: a ceremony of people in different places, issuing, rotating, revoking, listing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit.credential import (
    AgentCredential,
)
from jurat.audit.key_store import KeyKind, key_file, load_key, make_key, reference_file
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, read_statement
from jurat.cli.keys import command
from jurat.schemas.errors import ConfigurationError, KeyNotFound, StatementInvalid
from tests.ceremony_stage import AGENT, begun, jurat, log_of, pending


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JURAT_TRUST_ROOT", "JURAT_KEYS_PASSPHRASE", "JURAT_KEYS_DIR", "JURAT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    return begun(tmp_path / "acme")


def test_three_people_in_three_places_begin_a_root(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("alice", "bob", "carol")}
    keyids = {name: jurat(folder, "init", "--root", name).split()[-1] for name, folder in places.items()}
    assert keyids["bob"] == make_key(places["bob"], "bob", KeyKind.ROOT)[0]
    for other in ("--approver", "--agent"):
        assert "expected one of" in jurat(places["bob"], "init", "--root", "bob", other, "bob", code=2)
    said = jurat(
        places["alice"], "root", "alice", keyids["bob"], keyids["carol"], "--org", "acme", "--threshold", "2"
    )
    assert "1 more signatures are needed" in said
    assert not (places["alice"] / ROOT_FILE).exists()
    sent = pending(places["alice"])
    copy = str(shutil.copy(sent, places["carol"] / "sent.pending.json"))
    said = jurat(places["carol"], "sign", copy, code=1)
    assert all(keyid in said for keyid in keyids.values()), "who signs sees which keys it will be"
    assert not (places["carol"] / ROOT_FILE).exists(), "and signs nothing without saying so"
    said = jurat(places["carol"], "sign", copy, answer="y\n")
    assert "acme version 1, 2 of 3 keys" in said
    assert log_of(places["carol"]).root[0].keys == tuple(sorted(keyids.values()))
    assert not list(places["carol"].glob("*.pending.json"))

    for file in (ROOT_FILE, LOG_FILE):
        shutil.copy(places["carol"] / file, places["bob"] / file)
    assert "1 more signatures" in jurat(places["bob"], "issuer", "payments")
    waiting = shutil.copy(pending(places["bob"]), places["carol"] / "again.pending.json")
    jurat(places["carol"], "sign", str(waiting), answer="y\n")
    assert log_of(places["carol"]).head.size == 2
    before = (places["carol"] / LOG_FILE).read_bytes()
    assert "another root is trusted" in jurat(places["carol"], "sign", str(sent), answer="y\n", code=1)
    assert (places["carol"] / LOG_FILE).read_bytes() == before


def test_the_next_root_wants_the_old_and_the_new(acme: Path) -> None:
    assert str(acme / ROOT_FILE) in jurat(acme, "root", "bob", "carol", "dave", "--threshold", "3")
    log = log_of(acme)
    assert read_statement(acme / ROOT_FILE)[1] == log.root[0]
    assert (log.root[0].version, log.root[0].threshold, log.head.size) == (2, 3, 3)
    said = jurat(acme, "root", "bob", "--threshold", "1", "--org", "other", code=2)
    assert "the root here is that of acme" in said
    key_file(acme, "dave", KeyKind.ROOT).unlink()
    assert "1 more signatures" in jurat(acme, "root", "alice", "--threshold", "1")
    assert log_of(acme).root[0].version == 2


def test_nothing_is_made_of_a_root_that_may_not_be(tmp_path: Path) -> None:
    for words, code, told in (
        (("a", "b", "--org", "Acme Corp", "--threshold", "1"), 1, "got the organisation name 'Acme Corp'"),
        (("a", "a", "--org", "acme", "--threshold", "2"), 2, "got a threshold of 2 for 1 keys"),
        (("a", "--threshold", "1"), 2, "expected --org for the first root"),
    ):
        assert told in jurat(tmp_path, "root", *words, code=code)
    assert not list(tmp_path.glob("*.pem"))


def test_whose_root_keys_are_here_is_listed(acme: Path) -> None:
    key_file(acme, "bob", KeyKind.ROOT).unlink()
    alice = load_key(acme, "alice", KeyKind.ROOT).keyid
    table = jurat(acme, "list")
    assert re.search(rf"acme, alice +{alice} .* here", table)
    assert len(re.findall(r"root +acme +did:key:\S+ .* not here", table)) == 1, table


def test_an_agent_asks_and_an_issuer_issues(acme: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for file in (ROOT_FILE, LOG_FILE):
        shutil.copy(acme / file, theirs / file)
    done = CliRunner().invoke(command, ["request", AGENT, "--keys", str(theirs)])
    asked = tmp_path / "asked.json"
    asked.write_text(done.stdout)
    said = jurat(acme, "issue", AGENT, "--owner", "team@acme", "--request", str(asked), "--policy", "5f" * 32)
    keyid = load_key(theirs, AGENT, KeyKind.AGENT).keyid
    assert keyid in said
    assert not key_file(acme, AGENT, KeyKind.AGENT).exists(), "nobody but the agent holds its key"
    asked.write_text(
        CliRunner().invoke(command, ["request", "refunds", "--kind", "issuer", "--keys", str(theirs)]).stdout
    )
    assert load_key(theirs, "refunds", KeyKind.ISSUER).keyid in jurat(
        acme, "issuer", "refunds", "--request", str(asked)
    )
    asked.write_text(done.stdout)
    assert "expected one of dunning" in jurat(
        acme, "issue", "dunning", "--owner", "o", "--issuer", "payments", "--request", str(asked), code=1
    )


def test_an_agents_key_passes_on_what_it_has_or_less(acme: Path, tmp_path: Path) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o", "--limit", "context.amount_minor=50000", "--days", "30")
    first = load_key(acme, AGENT, KeyKind.AGENT).keyid
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for file in (ROOT_FILE, LOG_FILE):
        shutil.copy(acme / file, theirs / file)
    asked = tmp_path / "asked.json"
    words = ["request", AGENT, "--under", first, "--keys", str(theirs)]
    asked.write_text(CliRunner().invoke(command, words, catch_exceptions=False).stdout)
    passing = ("issue", AGENT, "--owner", "machine 2", "--under", first, "--request", str(asked))
    for wrong, code, said in (
        (("--limit", "context.amount_minor=50001"), 1, "expected one that only narrows"),
        (("--action", "fly"), 1, "got the actions fly"),
        (("--issuer", "payments"), 2, "expected the request of the other key alone"),
        (("--limit", "context.amount_minor=1", "--limit", "context.amount_minor=2"), 1, "stands twice"),
    ):
        assert said in jurat(acme, *passing, *wrong, code=code)
    assert "jurat keys request" in jurat(acme, "issue", AGENT, "--owner", "o", "--under", first, code=2)
    assert log_of(acme).head.size == 3
    said = jurat(acme, *passing, "--action", "exchange_delivered_order_items")
    given = load_key(theirs, AGENT, KeyKind.AGENT).keyid
    assert given in said
    made = list(log_of(acme).statements)[-1]
    above = log_of(acme).credentials_of(first)[0].statement
    assert isinstance(made.statement, AgentCredential)
    assert isinstance(above, AgentCredential)
    assert (made.depth, made.statement.keyid, made.statement.expiry) == (2, given, above.expiry)
    assert made.statement.scope.limits == above.scope.limits, "a limit that is not told stays"
    assert made.statement.scope.actions == ("exchange_delivered_order_items",)
    assert re.search(rf"delegation +{AGENT} +{given} .* not here", jurat(acme, "list"))
    jurat(acme, "revoke", first, "--reason", "stolen", "--issuer", "payments")
    assert "no: the agent credential" in jurat(acme, "list")
    stranger = load_key(acme, "alice", KeyKind.ROOT).keyid
    assert f"expected one of: {', '.join(sorted((first, given)))}" in jurat(
        acme, "request", AGENT, "--under", stranger, code=1
    )
    assert "expected it alone" in jurat(acme, "request", "x", "--under", first, "--kind", "issuer", code=2)


def test_what_a_credential_allows(acme: Path) -> None:
    words = ("--owner", "team@acme", "--namespace", "test", "--days", "30")
    jurat(
        acme,
        "issue",
        AGENT,
        *words,
        "--action",
        "exchange_delivered_order_items",
        "--limit",
        "context.amount_minor=50000",
    )
    made = [one.statement for one in log_of(acme).statements][-1]
    assert isinstance(made, AgentCredential)
    assert made.scope.model_dump() == {
        "actions": ("exchange_delivered_order_items",),
        "inputs": ("test.commerce.after-sales-requests", "test.timers.after-sales"),
        "limits": ({"most": 50_000, "of": "context.amount_minor"},),
        "outputs": ("test.decisions.after-sales",),
        "policies": (),
    }
    for wrong, said in (
        (("--action", "fly"), "got the actions fly"),
        (("--limit", "context.amount_minor"), "expected one such as"),
        (("--limit", "amount=5"), "expected one such as context.amount_minor=50000"),
        (("--policy", "abc"), "expected the digest of a bundle, 64 hex digits"),
        (("--owner", ""), "owner: expected text of 1 characters or more"),
        (("--days", "91"), "not in the range 1<=x<=90"),
        (("--issuer", "nobody"), "expected --issuer and one of: payments"),
    ):
        with_error = CliRunner().invoke(
            command, ["issue", AGENT, "--owner", "o", *wrong, "--keys", str(acme)]
        )
        assert isinstance(
            with_error.exception, ConfigurationError | KeyNotFound | StatementInvalid | SystemExit
        )
        assert said in with_error.output + str(with_error.exception)
    assert "got the agent 'nobody'" in jurat(acme, "issue", "nobody", "--owner", "o", code=1)


def test_an_issuer_is_bound_to_agents(acme: Path) -> None:
    made = jurat(acme, "issuer", "desk", "--agent", "ranker", "--agent", "dunning", "--agent", "ranker")
    assert "desk for dunning, ranker  did:key:" in made
    said = jurat(acme, "issue", AGENT, "--owner", "o", "--issuer", "desk", code=1)
    assert f"got the agent {AGENT} under the issuer desk, which may issue for dunning, ranker alone" in said
    assert not (acme / f"{AGENT}.key.pem").exists()
    jurat(acme, "issue", "ranker", "--owner", "o", "--issuer", "desk")
    before = log_of(acme).head
    jurat(acme, "issuer", "odd", "--agent", "no such name", code=1)
    assert log_of(acme).head == before


def test_a_key_is_rotated_without_a_gap(acme: Path) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o")
    old = load_key(acme, AGENT, KeyKind.AGENT).keyid
    said = jurat(acme, "rotate", AGENT)
    new = load_key(acme, AGENT, KeyKind.AGENT).keyid
    assert new != old
    assert new in said
    (aside,) = acme.glob("*.retired")
    assert old[-12:] in aside.name
    jurat(acme, "issue", AGENT, "--owner", "o")
    table = jurat(acme, "list")
    assert re.search(rf"{old} .*until .*not here; another key of that name is", table)
    assert re.search(rf"{new} .*until .* here", table)
    jurat(acme, "revoke", old, "--reason", "rotated", "--issuer", "payments")
    assert re.search(rf"{old} .*revoked", jurat(acme, "list"))


def test_a_key_in_a_service_is_rotated_there(acme: Path) -> None:
    reference = reference_file(acme, AGENT, KeyKind.AGENT)
    reference.write_text('{"keyid":"did:key:z6Mk","uri":"hv:x"}\n', encoding="utf-8")
    assert "make the new one there" in jurat(acme, "rotate", AGENT, code=1)
    assert reference.exists()


def test_a_stolen_key_is_revoked(acme: Path) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o")
    keyid = load_key(acme, AGENT, KeyKind.AGENT).keyid
    words = ("revoke", keyid, "--reason", "stolen", "--since", "2026-01-02T00:00:00Z")
    assert "expected RFC 3339" in jurat(acme, *words, "--effective", "yesterday", code=2)
    assert "compromised_since is after" in jurat(acme, *words, "--effective", "2026-01-01T00:00:00Z", code=1)
    said = jurat(acme, *words, "--effective", "2026-01-03T01:00:00+01:00")
    assert f"{keyid} after 2026-01-03T00:00:00Z, compromised since 2026-01-02T00:00:00Z" in said
    assert "revoked" in jurat(acme, "issue", AGENT, "--owner", "o", code=1)


def test_what_waits_is_not_in_the_log(acme: Path) -> None:
    jurat(acme, "issue", AGENT, "--owner", "o")
    for name in ("alice", "bob"):
        key_file(acme, name, KeyKind.ROOT).unlink()
    keyid = load_key(acme, AGENT, KeyKind.AGENT).keyid
    before = log_of(acme).head
    assert "1 more signatures" in jurat(acme, "revoke", keyid, "--reason", "lost")
    assert log_of(acme).head == before
    assert read_statement(pending(acme))[1].type == "revocation"


def test_without_a_log_it_is_said_how_to_begin(tmp_path: Path) -> None:
    for words in (("issuer", "p"), ("issue", AGENT, "--owner", "o"), ("revoke", "k", "--reason", "r")):
        assert "begin one: jurat keys root" in jurat(tmp_path, *words, code=1)
    assert "expected --org" in jurat(tmp_path, "root", "alice", "--threshold", "1", code=2)
    assert "a threshold of 2 for 1 keys" in jurat(
        tmp_path, "root", "alice", "--threshold", "2", "--org", "a", code=2
    )


def test_a_file_that_was_touched_is_refused_as_a_whole(acme: Path) -> None:
    path = acme / LOG_FILE
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(StatementInvalid, match="does not end"):
        log_of(acme)
    path.write_bytes(data + data.split(b"\n")[1] + b"\n")
    with pytest.raises(StatementInvalid, match="line 3: got a statement that stands in the log already"):
        log_of(acme)
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        log_of(acme)


def test_a_key_id_is_shown_as_pem(acme: Path) -> None:
    keyid = load_key(acme, "payments", KeyKind.ISSUER).keyid
    assert jurat(acme, "show", keyid).startswith("-----BEGIN PUBLIC KEY-----\n")


def test_a_pinned_key_is_here_only_if_it_is_that_key(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        jurat(folder, "init", "--agent", AGENT)
        jurat(folder, "init", "--approver", "bob")
    assert re.search(r"decisions .* here *$", jurat(mine, "list"), re.MULTILINE)
    shutil.copy(theirs / "after-sales.key.pem", mine / "after-sales.key.pem")
    assert "not here; another key of that name is" in jurat(mine, "list")
    keyid = load_key(theirs, "bob", KeyKind.APPROVER).keyid
    said = jurat(mine, "trust", "--approver", "bob", "--role", "desk", keyid)
    assert f"the key of bob in {mine} has another id than {keyid}" in said
    assert "another id" not in jurat(theirs, "trust", "--approver", "bob", "--role", "desk", keyid)


def test_keys_that_cannot_be_read_are_told(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_PASSPHRASE", "correct horse")
    jurat(acme, "issue", AGENT, "--owner", "o")
    assert re.search(r"agent .* here", jurat(acme, "list"))
    monkeypatch.delenv("JURAT_KEYS_PASSPHRASE")
    assert re.search(r"agent .* not readable", jurat(acme, "list"))
