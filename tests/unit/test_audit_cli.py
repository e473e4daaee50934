"""`jurat audit` on export files, without Kafka: exit codes, messages, and the recipe of the docs as is."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from jurat.audit import export
from jurat.audit.keys import print_trust
from jurat.audit.pem import public_pem
from jurat.audit.record import parse
from jurat.cli.audit import command
from jurat.cli.files import lines
from jurat.schemas.codec import encode
from jurat.schemas.errors import AuditError, ConfigurationError, TopicMissing
from jurat.streams.kafka import KafkaRecord
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
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial")]
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


def test_replay_leaves_out_what_it_cannot_read_and_does_not_pass_it_off_as_whole(folder: Path) -> None:
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b"noise\n")
    result = CliRunner().invoke(command, ["replay", "--input", "log.jsonl", "--format", "jsonl"])
    assert isinstance(result.exception, AuditError)
    assert "1 records could not be read" in str(result.exception)
    assert "line 11" in result.stderr
    assert len(result.stdout.splitlines()) == 10


def test_a_filter_cannot_tell_of_what_is_no_record_and_says_so(folder: Path) -> None:
    """In an export it stands as it is; where rows are chosen it is counted, and the command fails."""
    log = sample_log.log(4)
    spoilt = log[1].record.model_copy(update={"payload": b"noise"})
    log[1] = sample_log.LogEntry(log[1].topic, log[1].partition, log[1].offset, 0, spoilt)
    (folder / "log.jsonl").write_bytes(sample_log.lines(log))
    whole = CliRunner().invoke(command, ["replay", "--input", "log.jsonl", "--format", "rows"])
    assert whole.exit_code == 0
    assert [json.loads(line)["outcome"] for line in whole.stdout.splitlines()].count("unreadable") == 1
    assert "unreadable: topic audit.decisions, partition 1, offset 0" in whole.stderr
    some = CliRunner().invoke(command, ["replay", "--input", "log.jsonl", "--format", "rows", "--agent", "x"])
    assert isinstance(some.exception, AuditError)
    assert "1 records could not be read" in str(some.exception)
    assert "no record, so that no filter can tell" in some.stderr
    assert some.stdout == ""


@pytest.mark.parametrize("layout", ["rows", "csv", "parquet"])
def test_replay_as_rows(folder: Path, layout: str) -> None:
    options = ("--from", "2026-01-02T03:04:06Z", "--to", "2026-01-03", "--verdict", "deny")
    name = f"denied.{layout}"
    assert (
        run("replay", "--input", "log.jsonl", "--output", name, "--format", layout, *options).exit_code == 0
    )
    data = (folder / name).read_bytes()
    if layout == "parquet":
        assert pq.read_table(io.BytesIO(data)).column("outcome").to_pylist() == ["denied"] * 2
    else:
        assert data.count(b"denied") == 2
        assert data.count(b"\n") == (2 if layout == "rows" else 3)
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial")]


def test_replay_by_subject_and_policy(folder: Path) -> None:
    def rows(*options: str) -> int:
        shown = run("replay", "--input", "log.jsonl", "--format", "rows", *options)
        assert shown.exit_code == 0
        return len(shown.output.splitlines())

    assert rows() == 10
    assert (
        rows("--subject", "#W100")
        == rows("--policy", "return.delivered-only")
        == rows("--policy", "5f5f5f5f")
        == 6
    )
    assert rows("--subject", "#W100", "--verdict", "escalate", "--agent", "after-sales") == 1
    assert rows("--policy", "unknown") == rows("--subject", "#W101") == rows("--to", "2026-01-02") == 0
    assert rows("--from", "2026-01-02") == 10


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


def test_show_warns_where_the_chain_was_broken_before(folder: Path) -> None:
    """The records after a break follow one another again; the chain up to them still does not hold."""
    log = sample_log.log(10)
    chain = log[0].record.chain
    own = [entry for entry in log if entry.record.chain == chain]
    (folder / "log.jsonl").write_bytes(sample_log.lines([own[0], *own[2:]]))
    for entry in own[2:]:
        wanted = parse(entry.record.payload).predicate.decision_id
        result = run("show", wanted, "--input", "log.jsonl")
        assert result.exit_code == 1
        assert "DO NOT RELY" in result.output
        assert "a record before it is missing" in result.output
    assert len(own) > 3, "the log needs a record after the first one that follows the break"
    first = run("show", parse(own[0].record.payload).predicate.decision_id, "--input", "log.jsonl")
    assert first.exit_code == 0


def test_a_file_that_lost_its_last_byte_is_invalid(folder: Path) -> None:
    data = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(data[:-1])
    result = run("verify", "log.jsonl")
    assert result.exit_code == 1
    assert "line 10: line 10 is not ended by a line feed" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "log.jsonl", "--decisions", "decisions.jsonl", "--with-decisions"),
        ("verify", "-", "--decisions", "-"),
        ("replay", "--input", "log.jsonl", "--format", "parquet"),
        ("replay", "--input", "log.jsonl", "--output", "x.csv"),
        ("replay", "--input", "log.jsonl", "--output", "x.parquet"),
        ("replay", "--input", "log.jsonl", "--from", "2026-02-01", "--to", "2026-02-01"),
        ("replay", "--input", "log.jsonl", "--from", "yesterday"),
        ("replay", "--input", "log.jsonl", "--output", "x.jsonl", "--decisions", "./x.jsonl"),
    ],
)
def test_options_that_contradict_each_other(folder: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, "expected" in result.output) == (2, True)
    assert not [path for path in folder.iterdir() if path.name.startswith("x.")]


def test_standard_input_that_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ConfigurationError, match="standard input cannot be read"):
        list(lines(Path("-")))


def test_an_output_that_is_a_link_stays_one(folder: Path) -> None:
    (folder / "link.jsonl").symlink_to("target.jsonl")
    assert run("replay", "--input", "log.jsonl", "--output", "link.jsonl").exit_code == 0
    assert (folder / "link.jsonl").is_symlink()
    assert (folder / "target.jsonl").read_bytes() == (folder / "log.jsonl").read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here to stand for a device")
def test_an_output_that_is_a_device_is_not_replaced(folder: Path) -> None:
    """`--output /dev/null`, run by root, must not put a file where the device was."""
    os.mkfifo(folder / "pipe")
    # Open for reading too, so that the writer does not wait for a reader; what is written fits the pipe's buffer.
    descriptor = os.open(folder / "pipe", os.O_RDWR)
    try:
        arguments = ("replay", "--input", "log.jsonl", "--output", "pipe", "--format", "table")
        assert run(*arguments).exit_code == 0
        assert b"return.delivered-only" in os.read(descriptor, 60_000)
    finally:
        os.close(descriptor)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial")]


def test_show_closes_the_topic_when_it_has_found_the_record(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the consumer is stopped by the end of the event loop, which complains about it."""
    readers: list[asyncio.Task[object] | None] = []
    log = sample_log.log(10)

    async def replay(_connection: object, _names: list[str]) -> AsyncGenerator[KafkaRecord, None]:
        readers.append(asyncio.current_task())
        try:
            for entry in log:
                where = (entry.topic, entry.partition, entry.offset, entry.timestamp_ms)
                yield KafkaRecord(*where, key=None, value=encode(entry.record), headers=())
        finally:
            readers.append(asyncio.current_task())

    monkeypatch.setattr("jurat.streams.replay.replay", replay)
    wanted = parse(sample_log.log(4)[2].record.payload).predicate.decision_id
    assert run("show", wanted, "--bootstrap-servers", "nowhere:1").exit_code == 0
    opened, closed = readers
    assert opened is closed


def test_an_agent_that_never_ran_has_no_decisions_to_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that is not there holds no events; records that name some are then without their partners."""

    async def replay(_connection: object, names: list[str]) -> AsyncGenerator[KafkaRecord, None]:
        if names != ["decisions.after-sales"]:
            raise TopicMissing("no such topic")
        for offset, line in enumerate((folder / "decisions.jsonl").read_bytes().splitlines()):
            value = export.parse_decision(line, 1)[3]
            if b"after-sales" in value:
                yield KafkaRecord(names[0], 0, offset, 0, key=None, value=value, headers=())

    monkeypatch.setattr("jurat.streams.replay.replay", replay)
    arguments = ("--with-decisions", "--bootstrap-servers", "nowhere:1")
    own = [e for e in sample_log.log(10) if e.record.chain.startswith("after-sales/")]
    (folder / "own.jsonl").write_bytes(sample_log.lines(own))
    assert run("verify", "own.jsonl", *arguments).exit_code == 0
    both = run("verify", "log.jsonl", *arguments)
    assert both.exit_code == 1
    assert "its decision event is missing" in both.output


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


@pytest.mark.parametrize(
    "option", [("--policies", "shop"), ("--inputs", "inputs.jsonl"), ("--with-decisions",)]
)
def test_what_tiles_cannot_tell_is_refused_with_them(folder: Path, option: tuple[str, ...]) -> None:
    (folder / "tiles").mkdir()
    result = run("verify", "tiles", *option, "--bootstrap-servers", "nowhere:1")
    assert result.exit_code == 2
    assert "got options for a log of records with tiles" in result.output
