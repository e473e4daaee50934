"""`jurat audit` on export files, without Kafka: exit codes, messages, and the recipe of the docs as is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurat.audit.keys import print_trust
from jurat.audit.pem import public_pem
from jurat.audit.record import parse
from jurat.cli.audit import command
from jurat.schemas.errors import ConfigurationError
from tests.golden.audit import sample_log

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, data in sample_log.golden_files().items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=stdin, catch_exceptions=False)


def test_verify_says_valid(folder: Path) -> None:
    result = run("verify", "log.jsonl")
    assert result.exit_code == 0
    assert result.output.startswith("VALID: 10 records\n")
    assert "tree head: 0:5:" in result.output
    assert run("verify", "log.jsonl", "--trust", str(folder / "trust.json")).exit_code == 0
    assert run("verify", "-", stdin=(folder / "log.jsonl").read_bytes()).exit_code == 0


def test_verify_names_the_first_bad_record(folder: Path) -> None:
    log = sample_log.log(10)
    payload = log[3].record.payload.replace(b'"attempts":1', b'"attempts":9')
    log[3] = sample_log.LogEntry(
        *(log[3].topic, 1, 2, 0), log[3].record.model_copy(update={"payload": payload})
    )
    (folder / "log.jsonl").write_bytes(sample_log.lines(log))
    result = run("verify", "log.jsonl")
    assert result.exit_code == 1
    assert result.output.startswith("INVALID: 10 records\n")
    assert (
        "first fault: topic audit.decisions, partition 1, offset 2, line 4: got a signature" in result.output
    )


def test_verify_names_a_bad_line(folder: Path) -> None:
    data = bytearray((folder / "log.jsonl").read_bytes())
    data[data.index(b"\n") + 5] ^= 1
    (folder / "log.jsonl").write_bytes(data)
    result = run("verify", "log.jsonl", "--json")
    report = json.loads(result.output)
    assert (result.exit_code, report["verdict"], report["firstFault"]["line"]) == (1, "INVALID", 2)


def test_verify_could_not_tell(folder: Path) -> None:
    assert run("verify", "missing.jsonl").exit_code == 2
    assert run("verify", "log.jsonl", "--trust", "missing.json").exit_code == 2
    assert run("verify", "log.jsonl", "--tree-head", "nonsense").exit_code == 2
    (folder / "empty.jsonl").write_bytes(b"")
    empty = run("verify", "empty.jsonl")
    assert empty.exit_code == 2
    assert "UNPROVEN" in empty.output
    (folder / "trust.json").write_bytes(b"noise")
    assert run("verify", "log.jsonl").exit_code == 2


def test_verify_with_an_unknown_key_is_invalid(folder: Path) -> None:
    only = sample_log.Trust(sample_log.trust().keys[:1])
    (folder / "trust.json").write_bytes(print_trust(only))
    result = run("verify", "log.jsonl")
    assert result.exit_code == 1
    assert "unknown key" in result.output


def test_verify_with_tree_heads(folder: Path) -> None:
    heads = json.loads(run("verify", "log.jsonl", "--json").output)["treeHeads"]
    arguments = [part for head in heads for part in ("--tree-head", head)]
    assert run("verify", "log.jsonl", *arguments).exit_code == 0
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cut.jsonl").write_bytes(b"".join(lines[:-1]))
    assert run("verify", "cut.jsonl").exit_code == 0
    cut = run("verify", "cut.jsonl", *arguments)
    assert cut.exit_code == 1
    assert "cut off" in cut.output


def test_verify_with_decisions(folder: Path) -> None:
    result = run("verify", "log.jsonl", "--decisions", "decisions.jsonl")
    assert result.exit_code == 0
    assert "decision events checked: 6" in result.output
    lines = (folder / "decisions.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "decisions.jsonl").write_bytes(b"".join(lines[:-1]))
    assert run("verify", "log.jsonl", "--decisions", "decisions.jsonl").exit_code == 1
    (folder / "decisions.jsonl").write_bytes(b"".join(lines) + b"noise\n")
    assert run("verify", "log.jsonl", "--decisions", "decisions.jsonl").exit_code == 1


def test_replay_as_lines_is_the_export_itself(folder: Path) -> None:
    assert run("replay", "--input", "log.jsonl", "--output", "copy.jsonl").exit_code == 0
    assert (folder / "copy.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()
    assert not (folder / "copy.jsonl.partial").exists()
    shown = run(
        "replay", "--input", "log.jsonl", "--format", "jsonl", "--outcome", "denied", "--agent", "after-sales"
    )
    assert len(shown.output.splitlines()) == 1


def test_replay_as_table(folder: Path) -> None:
    result = run("replay", "--input", "log.jsonl")
    assert result.exit_code == 0
    assert "return.delivered-only" in result.output
    assert parse(sample_log.log(1)[0].record.payload).predicate.decision_id in result.output
    assert len(result.output.splitlines()) == 11


def test_replay_leaves_out_what_it_cannot_read(folder: Path) -> None:
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b"noise\n")
    result = run("replay", "--input", "log.jsonl", "--format", "jsonl")
    assert "line 11" in result.stderr
    assert len(result.stdout.splitlines()) == 10


def test_output_that_cannot_be_written(folder: Path) -> None:
    result = CliRunner().invoke(
        command, ["replay", "--input", "log.jsonl", "--output", str(folder / "no" / "where")]
    )
    assert isinstance(result.exception, ConfigurationError)


def test_show_tells_the_story(folder: Path) -> None:
    wanted = parse(sample_log.log(4)[2].record.payload).predicate.decision_id
    result = run("show", wanted, "--input", "log.jsonl")
    assert result.exit_code == 0
    assert "It was denied." in result.output
    assert "Verified now" in result.output
    missing = run("show", "dec_" + "0" * 32, "--input", "log.jsonl")
    assert missing.exit_code == 2
    assert "no decision" in missing.stderr


def test_show_warns_of_a_record_that_does_not_hold(folder: Path) -> None:
    (folder / "log.jsonl").write_bytes(sample_log.lines(sample_log.log(4)[2:]))
    wanted = parse(sample_log.log(4)[2].record.payload).predicate.decision_id
    result = run("show", wanted, "--input", "log.jsonl")
    assert result.exit_code == 1
    assert "DO NOT RELY" in result.output


def recipe() -> str:
    match = re.search(
        r"<!-- the test runs this block as it stands -->\n```sh\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL
    )
    if match is None:
        raise AssertionError("docs/audit.md has no marked recipe")
    return match[1]


def test_the_openssl_recipe_of_the_docs(folder: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: the recipe of docs/audit.md was not run")
    (folder / "audit.jsonl").write_bytes((folder / "log.jsonl").read_bytes())
    (folder / "agent.pem").write_bytes(public_pem(sample_log.trust().keys[0].public_key))
    good = subprocess.run(
        ["sh", "-eu", "-c", recipe()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert good.returncode == 0, good.stderr
    assert "Signature Verified Successfully" in good.stdout
    payload = (folder / "payload.json").read_bytes()
    assert payload == sample_log.log(1)[0].record.payload
    (folder / "agent.pem").write_bytes(public_pem(sample_log.trust().keys[1].public_key))
    bad = subprocess.run(
        ["sh", "-eu", "-c", recipe()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert bad.returncode != 0
