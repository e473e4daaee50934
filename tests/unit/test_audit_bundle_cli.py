"""`jurat audit bundle`, `verify` of what it writes, and `show` under a checkpoint; all on files, without Kafka."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurat.audit import bundle, bundle_zip, history
from jurat.audit.record import build, parse
from jurat.audit.trust_file import write_log, write_root
from jurat.cli.audit import command
from jurat.schemas.errors import AuditError, ConfigurationError
from tests import bundle_stage as stage
from tests import honest_log
from tests import trust_stage as identity
from tests.golden.audit import sample_log
from tests.notary_stage import TIME

MAKE = ("bundle", "--input", "log.jsonl", "--output", "b.zip")
WITNESSED = ("--witness-policy", "policy.txt", "--history", "history.jsonl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, data in sample_log.golden_files().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "policy.txt").write_bytes(stage.POLICY)
    heads = stage.heads(stage.LOG, {0: (3, 5), 1: (2, 5)})
    (tmp_path / "history.jsonl").write_bytes(b"".join(history.print_line(head) + b"\n" for head in heads))
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_a_bundle_is_made_and_verified_with_files_alone(folder: Path) -> None:
    made = run(*MAKE, *WITNESSED, "--agent", "after-sales", "--verdict", "deny")
    assert made.exit_code == 0
    assert "b.zip: 1 records, 1 of them under a witnessed checkpoint\nsha256 " in made.output
    assert "the policies 5f5f5f5f" in made.stderr
    checked = run("verify", "b.zip", "--witness-policy", "policy.txt")
    assert checked.exit_code == 0
    assert checked.output.startswith(
        "VALID: a bundle of 1 records\n  in the log, under a witnessed checkpoint: 1\n"
    )
    assert "latest checkpoint: 0:5:" in checked.output
    assert "witnessed at 2026-02-02T02:40:25.000000Z" in checked.output, TIME + 5 + stage.QUORUM_TIME
    assert "does not show whether anything was left out" in checked.output
    told = json.loads(run("verify", "b.zip", "--witness-policy", "policy.txt", "--json").output)
    assert (told["verdict"], told["proved"]) == ("VALID", 1)


def test_what_a_bundle_is_worth_is_the_exit_code(folder: Path) -> None:
    assert run(*MAKE, *WITNESSED).exit_code == 0
    without = run("verify", "b.zip")
    assert (without.exit_code, without.output.split()[0]) == (2, "UNPROVEN:")
    data = bytearray((folder / "b.zip").read_bytes())
    data[5_000] ^= 1
    (folder / "b.zip").write_bytes(data)
    changed = run("verify", "b.zip", "--witness-policy", "policy.txt")
    assert (changed.exit_code, changed.output.split()[0]) == (1, "INVALID:")
    assert run("verify", "b.zip", "--witness-policy", "missing.txt").exit_code == 2
    (folder / "policy.txt").write_bytes(b"noise\n")
    assert run("verify", "b.zip", "--witness-policy", "policy.txt").exit_code == 2


def test_trust_comes_from_outside(folder: Path) -> None:
    assert run(*MAKE, *WITNESSED).exit_code == 0
    (folder / "trust.json").write_bytes(b"[]\n")
    checked = run("verify", "b.zip", "--witness-policy", "policy.txt")
    assert checked.exit_code == 1
    assert "signed by an unknown key" in checked.output
    assert bundle_zip.unpack((folder / "b.zip").read_bytes())[bundle.TRUST] != b"[]\n"


def test_without_a_witness_policy_there_are_no_proofs(folder: Path) -> None:
    assert "10 records, 0 of them" in run(*MAKE).output
    checked = run("verify", "b.zip", "--witness-policy", "policy.txt")
    assert (checked.exit_code, checked.output.split()[0]) == (2, "UNPROVEN:")


def test_what_is_no_record_is_said_and_the_rest_is_bundled(folder: Path) -> None:
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b"noise\n")
    result = CliRunner().invoke(command, [*MAKE, *WITNESSED])
    assert isinstance(result.exception, AuditError)
    assert "1 entries of the log are not in the bundle" in str(result.exception)
    assert "line 11" in result.stderr
    assert run("verify", "b.zip", "--witness-policy", "policy.txt").exit_code == 0


def test_whoever_may_write_to_the_topic_spoils_no_bundle(folder: Path) -> None:
    """A record that stands there again, and its copy that a stranger signed; both are leaves."""
    again = replace(stage.LOG[0], offset=2_000)
    strange = replace(honest_log.resigned(stage.LOG[1], by="stranger"), offset=2_001)
    log = [*stage.LOG, again, strange]
    (folder / "log.jsonl").write_bytes(sample_log.lines(log))
    with (folder / "history.jsonl").open("ab") as file:
        partitions = [one.partition for one in log]
        for number in sorted({again.partition, strange.partition}):
            file.write(history.print_line(stage.signed_head(log, number, partitions.count(number))) + b"\n")
    result = CliRunner().invoke(command, [*MAKE, *WITNESSED])
    assert "2 entries of the log are not in the bundle" in str(result.exception)
    assert "offset 2000, line 11: got a record that stands in the log before" in result.stderr
    assert "offset 2001, line 12: signed by an unknown key" in result.stderr
    checked = run("verify", "b.zip", "--witness-policy", "policy.txt")
    assert (checked.exit_code, checked.output.splitlines()[0]) == (0, "VALID: a bundle of 10 records")


def test_a_rewritten_log_makes_no_bundle(folder: Path) -> None:
    other = sample_log.log(10, outcomes=[sample_log.Outcome.DENIED])
    (folder / "log.jsonl").write_bytes(sample_log.lines(other))
    result = CliRunner().invoke(command, [*MAKE, *WITNESSED])
    assert isinstance(result.exception, AuditError)
    assert not (folder / "b.zip").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (*MAKE, "--history", "history.jsonl"),
        (*MAKE, "--witness-policy", "policy.txt"),
        ("show", "dec_x", "--input", "log.jsonl", "--history", "history.jsonl"),
        ("show", "dec_x", "--input", "-", "--witness-policy", "policy.txt"),
        ("verify", "log.jsonl", "--history", "history.jsonl"),
        ("verify", "good.zip", *WITNESSED),
        ("verify", "good.zip", "--decisions", "decisions.jsonl"),
        ("verify", "good.zip", "--with-policies"),
        ("verify", "good.zip", "--tree-head", "0:1:" + "0" * 64),
    ],
)
def test_options_that_do_not_go_together(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "good.zip").write_bytes(stage.GOOD)
    result = run(*arguments)
    assert (result.exit_code, "expected" in result.output or "which says" in result.output) == (2, True)


def decision(number: int) -> str:
    return parse(stage.LOG[number].record.payload).predicate.decision_id


def test_show_tells_the_leaf_and_the_first_checkpoint_that_holds_it(folder: Path) -> None:
    shown = run("show", decision(4), "--input", "log.jsonl", *WITNESSED)
    assert shown.exit_code == 0
    assert "In the tree of its partition it is leaf 2, counted from 0.\n" in shown.output
    assert "It stands under the checkpoint of 3 records with the root " in shown.output
    assert ", which enough witnesses had seen at 2026-02-02T02:40:23.000000Z.\n" in shown.output
    later = run("show", decision(6), "--input", "log.jsonl", *WITNESSED)
    assert "under the checkpoint of 5 records" in later.output
    (folder / "history.jsonl").write_bytes(history.print_line(stage.signed_head(stage.LOG, 0, 3)) + b"\n")
    none = run("show", decision(6), "--input", "log.jsonl", *WITNESSED)
    assert "No checkpoint that witnesses saw holds it yet.\n" in none.output
    assert "checkpoint" not in run("show", decision(6), "--input", "log.jsonl").output


def test_show_does_not_pass_off_a_rewritten_log(folder: Path) -> None:
    other = sample_log.log(10, outcomes=[sample_log.Outcome.DENIED])
    (folder / "log.jsonl").write_bytes(sample_log.lines(other))
    shown = run("show", decision(4), "--input", "log.jsonl", *WITNESSED)
    assert shown.exit_code == 1
    assert "it was cut or rewritten" in shown.stderr


def test_show_does_not_pass_off_a_log_that_signed_two_histories(folder: Path) -> None:
    other = sample_log.log(10, outcomes=[sample_log.Outcome.DENIED])
    heads = [stage.signed_head(log, 0, 3) for log in (stage.LOG, other)]
    (folder / "history.jsonl").write_bytes(b"".join(history.print_line(head) + b"\n" for head in heads))
    shown = run("show", decision(6), "--input", "log.jsonl", *WITNESSED)
    assert shown.exit_code == 1
    assert "signed two histories" in shown.stderr


def test_a_root_from_outside_and_the_trust_log_of_the_bundle(folder: Path) -> None:
    """With `--trust-root` alone, the log's credentials come from the bundle; with `--trust-log`, from there."""
    settled = identity.settled()
    record = settled.record()
    payload = build(record, *sample_log.subject_of(record, 0))
    entry = sample_log.sign(record, payload, by=identity.key("session 1"), at=(0, 0))
    head = stage.signed_head([entry], 0, 1, time=identity.t(minutes=5))
    (folder / "log.jsonl").write_bytes(sample_log.lines([entry]))
    (folder / "history.jsonl").write_bytes(history.print_line(head) + b"\n")
    write_root(folder / "root.json", settled.org.pin)
    write_log(folder / "trust-log.jsonl", settled.org.lines)
    credentials = ("--trust-root", "root.json", "--trust-log", "trust-log.jsonl")
    shown = run("show", record.decision_id, "--input", "log.jsonl", *credentials).output
    assert f"It was signed under the credential {identity.digest(settled.session)}; 4 statements" in shown
    assert "  by the session credential of after-sales, from 2026-01-02T02:59:05.000000Z to " in shown
    assert "  under the agent credential of after-sales, from " in shown
    assert "  under the issuer credential of payments, from " in shown
    assert run(*MAKE, *WITNESSED, *credentials).exit_code == 0
    (folder / "trust-log.jsonl").rename(folder / "newer.jsonl")
    policy = ("--witness-policy", "policy.txt")
    checked = run("verify", "b.zip", *policy, "--trust-root", "root.json")
    assert (checked.exit_code, checked.output.split()[0]) == (0, "VALID:")
    settled.org.add(
        identity.signed(
            settled.org.revocation(identity.AGENT, effective=identity.at(minutes=2)), identity.ISSUER
        )
    )
    write_log(folder / "newer.jsonl", settled.org.lines)
    revoked = run("verify", "b.zip", *policy, "--trust-root", "root.json", "--trust-log", "newer.jsonl")
    newer = ("--trust-root", "root.json", "--trust-log", "newer.jsonl")
    shown = run("show", record.decision_id, "--input", "log.jsonl", *newer).output
    assert ", REVOKED from 2026-01-02T03:06:05.000000Z\n" in shown
    assert (revoked.exit_code, "was revoked when the record was witnessed" in revoked.output) == (1, True)
    assert "unknown key" in run("verify", "b.zip", *policy, "--trust", "trust.json").output


def story_of(folder: Path, settled: identity.Settled, *words: str, seen_at: int | None = None) -> Result:
    """`jurat audit show` of the organisation's one record; which the quorum saw then."""
    record = settled.record()
    payload = build(record, *sample_log.subject_of(record, 0))
    entry = sample_log.sign(record, payload, by=identity.key("session 1"), at=(0, 0))
    (folder / "log.jsonl").write_bytes(sample_log.lines([entry]))
    if seen_at is not None:
        head = stage.signed_head([entry], 0, 1, time=seen_at - 1 - stage.QUORUM_TIME)
        (folder / "history.jsonl").write_bytes(history.print_line(head) + b"\n")
    write_root(folder / "root.json", settled.org.pin)
    write_log(folder / "trust-log.jsonl", settled.org.lines)
    return run("show", record.decision_id, "--input", "log.jsonl", "--trust-root", "root.json", *words)


def test_show_says_of_a_record_what_verify_says_of_its_log(folder: Path) -> None:
    settled = identity.settled()
    theft = settled.org.revocation(identity.AGENT, compromised_since=identity.at(hours=1))
    settled.org.add(identity.signed(theft, identity.ISSUER))
    verify = ("verify", "log.jsonl", "--trust-root", "root.json")
    one_log = [line for line in stage.POLICY.splitlines(keepends=True) if b"audit.decisions/1+" not in line]
    (folder / "policy.txt").write_bytes(b"".join(one_log))
    cases = [
        (identity.t(minutes=5), WITNESSED, 0, "Verified now: ", "VALID:"),
        (identity.t(hours=1.5), WITNESSED, 1, "\nSUSPECT: the signature", "SUSPECT:"),
        (identity.t(hours=3), WITNESSED, 1, "DO NOT RELY ON THIS RECORD: ", "INVALID:"),
        (identity.t(minutes=5), (), 2, "--witness-policy FILE.", "UNPROVEN:"),
    ]
    for seen_at, words, code, told, verdict in cases:
        one = story_of(folder, settled, *words, seen_at=seen_at)
        whole = run(*verify, *words)
        assert (one.exit_code, whole.exit_code, whole.output.split()[0]) == (code, code, verdict)
        assert told in one.output
        assert ("Verified now" in one.output) == (code == 0)
    (folder / "history.jsonl").write_bytes(b"")
    for words in (WITNESSED, ()):
        one, whole = story_of(folder, settled, *words), run(*verify, *words)
        assert (one.exit_code, whole.exit_code, whole.output.split()[0]) == (2, 2, "UNPROVEN:")
        assert "\nUNPROVEN: the signature" in one.output


def test_a_record_of_a_bundle_without_witnesses_is_unproven_once(folder: Path) -> None:
    settled = identity.settled()
    story_of(folder, settled)
    under = ("--trust-root", "root.json")
    assert run(*MAKE, *under).exit_code == 0
    for words in ((), ("--witness-policy", "policy.txt")):
        checked = run("verify", "b.zip", *under, *words)
        assert (checked.exit_code, "UNPROVEN (1): " in checked.output) == (2, True)


def test_a_bundle_takes_the_place_of_a_bundle_alone(folder: Path) -> None:
    assert run(*MAKE).exit_code == 0
    first = (folder / "b.zip").read_bytes()
    assert run(*MAKE, "--agent", "after-sales").exit_code == 0
    assert (folder / "b.zip").read_bytes() != first
    with zipfile.ZipFile(folder / "other.zip", "w") as other:
        other.writestr("manifest.json", "{}")
    for name in ("log.jsonl", "other.zip"):
        before = (folder / name).read_bytes()
        refused = CliRunner().invoke(command, ["bundle", "--input", "log.jsonl", "--output", name])
        assert isinstance(refused.exception, ConfigurationError)
        assert f"the file {name} is there already and is no bundle" in str(refused.exception)
        assert (folder / name).read_bytes() == before


NOT_AN_EXPORT = "is not an export of the audit log: its first line begins with"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("verify", "gone.zip", "--witness-policy", "policy.txt"), "gone.zip cannot be read: there is none"),
        (("verify", "other.zip"), "other.zip is a zip file, but not a bundle"),
        (("verify", "policy.txt"), f"policy.txt {NOT_AN_EXPORT}"),
        (("verify", "decisions.jsonl"), f"decisions.jsonl {NOT_AN_EXPORT}"),
        (("verify", "history.jsonl"), f"history.jsonl {NOT_AN_EXPORT}"),
        (("show", "dec_x", "--input", "trust.json"), f"trust.json {NOT_AN_EXPORT}"),
        (
            ("verify", "log.jsonl", "--decisions", "log.jsonl"),
            "log.jsonl is not an export of decision events: its first line begins with",
        ),
        (("verify", "b.zip", "--trust-root", "trust.json"), "trust.json holds no statement of a trust log"),
        (("verify", "b.zip", "--witness-policy", "trust.json"), "trust.json: line 1: got a line that begins"),
        (
            (
                "show",
                "dec_x",
                "--input",
                "log.jsonl",
                "--witness-policy",
                "policy.txt",
                "--history",
                "log.jsonl",
            ),
            "log.jsonl: line 1",
        ),
        (("verify", "log.jsonl", "--witness-policy", "policy.txt"), "--history FILE, which `jurat notary"),
        (
            ("show", "dec_x", "--input", "log.jsonl", "--witness-policy", "policy.txt"),
            "--history FILE, which `jurat notary",
        ),
    ],
)
def test_a_wrong_file_is_named_and_nothing_is_called_invalid(
    folder: Path, words: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JURAT_BOOTSTRAP_SERVERS", "nowhere")
    assert run(*MAKE).exit_code == 0
    with zipfile.ZipFile(folder / "other.zip", "w") as other:
        other.writestr("minutes.txt", "nothing was decided")
    result = run(*words)
    assert (result.exit_code, told in result.stderr) == (2, True), result.output


def test_standard_input_is_named_in_words(folder: Path) -> None:
    result = CliRunner().invoke(command, ["verify", "-"], input=b"noise\n")
    assert (result.exit_code, f"standard input {NOT_AN_EXPORT}" in result.stderr) == (2, True)


def test_a_line_that_is_broken_in_an_export_is_invalid(folder: Path) -> None:
    """Also the first one, and also where it begins: a file of records is the verifier's to judge."""
    good = (folder / "log.jsonl").read_bytes()
    for place in (0, 3, len(good.split(b"\n")[0]) - 3):
        (folder / "log.jsonl").write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert run("verify", "log.jsonl").exit_code == 1


def test_a_checkpoint_that_does_not_hold_names_who_signed_it(folder: Path) -> None:
    notes = [stage.signed_head(stage.LOG, 0, 3), stage.signed_head(stage.LOG, 0, 5)]
    lines = notes[1].split(b"\n")
    lines[-2] = lines[-2][:-6] + (b"AAAA" if lines[-2][-6:-2] != b"AAAA" else b"BBBB") + lines[-2][-2:]
    notes[1] = b"\n".join(lines)
    name = lines[-2].split(b" ")[1].decode()
    (folder / "history.jsonl").write_bytes(b"".join(history.print_line(one) + b"\n" for one in notes))
    told = run("show", decision(4), "--input", "log.jsonl", *WITNESSED)
    assert told.exit_code == 1
    assert f"checkpoint 2 of history.jsonl does not hold: the signature line of '{name}': " in told.stderr
