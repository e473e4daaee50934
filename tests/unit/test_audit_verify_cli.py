"""`jurat audit verify` with what is known beside a log: checkpoints and witnesses, inputs, policies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jurat.audit import export, history
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.input_manifest import print_inputs
from jurat.audit.keys import Trust, print_trust
from jurat.audit.log import LogEntry
from jurat.audit.log_key import LogKey
from jurat.audit.origin import Origin
from jurat.audit.tiles import Tiling
from jurat.audit.verifier_report import Check
from jurat.cli.audit import command
from jurat.schemas.errors import TopicMissing
from jurat.streams import rejudging
from jurat.streams.rejudging import Files
from tests import honest_log
from tests.notary_stage import KEY, ORIGIN, InMemoryWitness, signed_by
from tests.unit.test_attacks_log import REWRITTEN, without

LOG = list(honest_log.entries())
WITNESSES = ("one", "two", "three")
BOTH = (("one", honest_log.SECONDS), ("two", honest_log.SECONDS + 1))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "log.jsonl").write_bytes(printed(LOG))
    (tmp_path / "trust.json").write_bytes(print_trust(honest_log.trust()))
    (tmp_path / "inputs.jsonl").write_bytes(
        b"".join(print_inputs(one) + b"\n" for one in honest_log.inputs())
    )
    (tmp_path / "checkpoints.jsonl").write_bytes(checkpoints(LOG, BOTH))
    logs = [
        vkey
        for number in (0, 1)
        for vkey in KEY.log_vkeys(str(Origin(ORIGIN.org, ORIGIN.cluster_id, ORIGIN.topic, number)))
    ]
    lines = [
        *(f"log {vkey}" for vkey in logs),
        *(f"witness {name} {InMemoryWitness(name).vkey}" for name in WITNESSES),
        f"group enough 2 {' '.join(WITNESSES)}",
        "quorum enough",
    ]
    (tmp_path / "policy").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(log: Sequence[LogEntry]) -> bytes:
    return b"".join(export.print_entry(entry) + b"\n" for entry in log)


def checkpoints(log: Sequence[LogEntry], witnesses: Sequence[tuple[str, int]], *, key: LogKey = KEY) -> bytes:
    """A history: a checkpoint after every second record, with the log's signatures and those of witnesses."""
    lines = []
    for head in honest_log.heads(log):
        name = str(Origin(ORIGIN.org, ORIGIN.cluster_id, ORIGIN.topic, head.partition))
        signed = signed_by(Checkpoint(name, head.size, head.root), key=key, witnesses=witnesses)
        lines.append(history.print_line(signed) + b"\n")
    return b"".join(lines)


def run(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, ["verify", *words], input=stdin, catch_exceptions=False)


WITH_WITNESSES = ("--witness-policy", "policy", "--history", "checkpoints.jsonl")


def found(*words: str, expect: int) -> dict[str, Any]:
    result = run("log.jsonl", *WITH_WITNESSES, *words, "--json")
    assert result.exit_code == expect, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_a_log_of_which_there_is_no_checkpoint_was_left_out(folder: Path) -> None:
    """A whole partition that is hidden, with its checkpoints: nothing that is left tells of it but the policy."""
    kept = [entry for entry in LOG if entry.partition == 0]
    (folder / "log.jsonl").write_bytes(printed(kept))
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(kept, BOTH))
    report = found(expect=1)
    assert report["verdict"] == "INCOMPLETE"
    (finding,) = report["findings"]
    assert finding["check"] == Check.WITNESSED
    assert finding["first"]["partition"] == 1
    assert "a whole partition was left out" in finding["first"]["reason"]


def test_how_recent_it_is_is_told(folder: Path) -> None:
    assert found(expect=0)["witnessedUntil"] == BOTH[1][1]
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(LOG, BOTH[:1]))
    assert found(expect=2)["witnessedUntil"] is None


def test_everything_is_checked(folder: Path) -> None:
    report = found("--inputs", "inputs.jsonl", "--policies", "shop", expect=0)
    assert (report["verdict"], report["witnessed"]) == ("VALID", len(LOG))
    assert report["inputs"] == {
        "partitions": 2,
        "inputs": len(LOG),
        "missing": 0,
        "deleted": 0,
        "open": 3,
    }
    assert report["evaluatedAgain"]["same"] == len(honest_log.CENTS)
    assert [one["number"] for one in report["checks"] if not one["run"]] == [Check.TREE, Check.DECISIONS]
    said = run("log.jsonl", *WITH_WITNESSES, "--inputs", "inputs.jsonl", "--policies", "shop").output
    for line in (
        "VALID: 10 records",
        "  records under a witnessed checkpoint: 10",
        "  policies evaluated again, with the same verdict: 6",
        f"  policies not evaluated again: 3, as no policies with the digest {'5f' * 32} were given (--policies)",
        "  inputs checked: 10 in 2 partitions, 0 without a record",
        "  handed to people and not concluded: 3, which wait or were dry runs",
        "  not checked: no tree head was given; no decision events were given",
    ):
        assert line in said.splitlines()


def test_policies_that_come_with_jurat_are_on_no_topic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_asked: object) -> dict[str, Files]:
        raise TopicMissing("there is no topic of policies")

    monkeypatch.setattr(rejudging, "bundles_published", none)
    report = found("--with-policies", "--bootstrap-servers", "nowhere:1", expect=0)
    assert report["evaluatedAgain"]["same"] == len(honest_log.CENTS)


def test_one_of_three_witnesses_is_not_enough(folder: Path) -> None:
    """A split view that one colluding witness signs: under a quorum of two it proves nothing."""
    (folder / "log.jsonl").write_bytes(printed(REWRITTEN))
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(REWRITTEN, BOTH[:1]))
    assert found(expect=2)["verdict"] == "UNPROVEN"
    # Beside the checkpoints that the others saw it is a fork.
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(LOG, BOTH) + checkpoints(REWRITTEN, BOTH[:1]))
    report = found(expect=1)
    assert (report["verdict"], report["findings"][0]["check"]) == ("INVALID", Check.WITNESSED)


def test_history_rewritten_with_the_stolen_key_of_the_log(folder: Path) -> None:
    """The key signs the new history; no witness does."""
    (folder / "log.jsonl").write_bytes(printed(REWRITTEN))
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(REWRITTEN, ()))
    assert found(expect=2)["verdict"] == "UNPROVEN"
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(LOG, BOTH))
    assert "rewritten or forked" in found(expect=1)["firstFault"]["reason"]
    # Another log's key is not known to the policy at all.
    (folder / "checkpoints.jsonl").write_bytes(checkpoints(REWRITTEN, BOTH, key=LogKey(bytes(32))))
    assert (
        "checkpoint 1 of checkpoints.jsonl does not hold: got a checkpoint of 'audit."
        in (found(expect=1)["firstFault"]["reason"])
    )


def test_a_tail_that_was_cut_off(folder: Path) -> None:
    (folder / "log.jsonl").write_bytes(printed(without(len(honest_log.CENTS) - 1)))
    assert "cut off" in found(expect=1)["firstFault"]["reason"]


def test_an_input_without_a_record(folder: Path) -> None:
    cut = without(len(honest_log.CENTS) - 1)
    (folder / "log.jsonl").write_bytes(printed(cut))
    result = run("log.jsonl", "--inputs", "inputs.jsonl")
    assert result.exit_code == 1
    assert result.output.startswith("INCOMPLETE: 9 records\n")
    assert (
        "  INCOMPLETE: 1, the first: topic marketplace.disputes, partition 0, offset 5: 1 inputs of the agent"
        in result.output
    )


def test_what_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "inputs.jsonl").write_bytes(b"")
    result = run("log.jsonl", "--inputs", "inputs.jsonl")
    assert (
        result.exit_code,
        "UNPROVEN: 2, the first: the whole log: no inputs of the chain" in result.output,
    ) == (2, True)
    (folder / "inputs.jsonl").write_bytes(b'{"agent":"x"}\n')
    result = run("log.jsonl", "--inputs", "inputs.jsonl")
    assert (result.exit_code, "input manifest inputs.jsonl" in result.output) == (2, True)
    (folder / "policy").write_bytes(b"quorum")
    assert run("log.jsonl", *WITH_WITNESSES).exit_code == 2
    assert run("log.jsonl", "--policies", str(folder)).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--inputs", "inputs.jsonl", "--with-inputs"),
        ("--decisions", "d.jsonl", "--with-decisions"),
        ("--history", "checkpoints.jsonl"),
        ("--inputs", "-", "--decisions", "-"),
        ("--jobs", "0"),
    ],
)
def test_what_contradicts_itself_is_refused(folder: Path, words: tuple[str, ...]) -> None:
    assert run("log.jsonl", *words).exit_code == 2


@pytest.fixture
def mirror(folder: Path) -> Path:
    """Both logs as tiles, under witnessed checkpoints."""
    for number in (0, 1):
        log = [entry for entry in LOG if entry.partition == number]
        name = str(Origin(ORIGIN.org, ORIGIN.cluster_id, ORIGIN.topic, number))
        tiling, place = Tiling(), folder / "mirror" / name
        files = [file for entry in log for file in tiling.add(entry.leaf_entry())]
        head = next(one for one in honest_log.heads(log, every=100) if one.partition == number)
        signed = signed_by(Checkpoint(name, head.size, head.root), witnesses=BOTH)
        for path, data in (*files, *tiling.partial(), ("checkpoint", signed)):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
    return folder / "mirror"


def mirrored(*words: str, expect: int) -> dict[str, Any]:
    result = run("mirror", *words, "--json")
    assert result.exit_code == expect, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_a_folder_of_tiles(mirror: Path) -> None:
    report = mirrored("--witness-policy", "policy", expect=0)
    assert (report["verdict"], report["records"], report["witnessed"]) == ("VALID", len(LOG), len(LOG))
    assert report["agents"] == {honest_log.AGENT: 6, honest_log.OTHER: 4}
    assert [one["number"] for one in report["checks"] if one["run"]] == [Check.WITNESSED]
    heads = [word for head in report["treeHeads"] for word in ("--tree-head", head)]
    assert mirrored("--witness-policy", "policy", *heads, expect=0)["verdict"] == "VALID"
    assert (
        mirrored(*heads, expect=2)["findings"][0]["first"]["reason"] == "nothing tells whose checkpoint it is"
    )
    assert (
        mirrored("--witness-policy", "policy", "--tree-head", f"0:3:{'00' * 32}", expect=1)["verdict"]
        == "INVALID"
    )
    assert (
        mirrored("--witness-policy", "policy", "--tree-head", f"7:3:{'00' * 32}", expect=1)["verdict"]
        == "INVALID"
    )
    said = run("mirror", "--witness-policy", "policy").output
    assert "  not checked: tiles hold no records; no tree head was given\n" in said


def test_tiles_that_were_changed(mirror: Path) -> None:
    for file in sorted(path for path in mirror.rglob("*") if path.is_file()):
        data = file.read_bytes()
        file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        assert mirrored("--witness-policy", "policy", expect=1)["verdict"] == "INVALID", file
        file.unlink()
        if file.name != "checkpoint":
            assert "is missing" in mirrored("--witness-policy", "policy", expect=1)["firstFault"]["reason"]
        file.write_bytes(data)
    assert mirrored("--witness-policy", "policy", expect=0)["verdict"] == "VALID"
    (mirror.parent / "trust.json").write_bytes(print_trust(Trust(honest_log.trust().keys[:1])))
    assert "not in the trust file" in mirrored("--witness-policy", "policy", expect=1)["firstFault"]["reason"]
    (mirror.parent / "empty").mkdir()
    assert run("empty").exit_code == 2
