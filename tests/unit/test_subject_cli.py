"""`jurat subject` and the file of the master key; commands about the log on veiled records, from files."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.errors import ProducerFenced
from click.testing import CliRunner, Result

from jurat import settings
from jurat.audit import export
from jurat.audit.disclosure import parse_any
from jurat.audit.disclosure_file import MAX_LINE_BYTES, parse_line, print_line
from jurat.audit.disclosure_reader import Unveiler
from jurat.audit.ed25519 import SigningKey
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import init_approver, trust_approver
from jurat.audit.keys import PemSigner, Trust, TrustedApprover, print_trust
from jurat.audit.subject_erasure import state_erasure, statement_of
from jurat.audit.subject_file import init_master, load_master
from jurat.audit.subject_keys import MasterKey, SubjectKeyName
from jurat.cli.audit_replay import command as replay
from jurat.cli.audit_show import command as show
from jurat.cli.audit_verify import command as verify
from jurat.cli.disclosed import Hidden
from jurat.cli.main import entry
from jurat.cli.subject import as_sealed
from jurat.cli.subject import command as subject
from jurat.schemas.errors import (
    ConfigurationError,
    DisclosureInvalid,
    JuratError,
    KeyNotFound,
    KeyRejected,
    PartitionFenced,
)
from jurat.streams import subject_desk
from jurat.streams.evidence import subject_of
from jurat.streams.kafka import Connection
from tests.golden.audit import sample_log
from tests.veiled import VeiledLog

DORA = PemSigner(SigningKey(b"\x07" * 32))
LOG = VeiledLog()
IDS = tuple(LOG.disclosures)


def written(folder: Path, *, erased: tuple[str, ...] = (), signer: PemSigner = DORA) -> tuple[str, str, str]:
    """A log, its disclosures but for those that were erased, and a trust file."""
    log, disclosed, trust = (folder / name for name in ("audit.jsonl", "disclosures.jsonl", "trust.json"))
    log.write_bytes(b"".join(export.print_entry(entry_) + b"\n" for entry_ in LOG.entries))
    lines = [print_line(name, LOG.disclosures[name]) for name in IDS if name not in erased]
    if erased:
        at = datetime(2026, 11, 26, tzinfo=UTC)
        payload = statement_of(cluster="c", topic="audit.decisions", decisions=erased, at=at)
        lines.append(asyncio.run(state_erasure(payload, signer)))
    disclosed.write_bytes(b"".join(line + b"\n" for line in lines))
    person = TrustedApprover("dora", DORA.keyid, (DATA_PROTECTION,))
    trust.write_bytes(print_trust(Trust(sample_log.trust().keys, (person,))))
    return str(log), str(disclosed), str(trust)


def ran(command: object, *words: str) -> Result:
    return CliRunner().invoke(command, list(words))  # type: ignore[arg-type]  # a click command


def test_a_veiled_log_verifies_from_files(tmp_path: Path) -> None:
    log, disclosed, trust = written(tmp_path, erased=IDS[:2])
    done = ran(verify, log, "--trust", trust, "--disclosures", disclosed)
    assert done.exit_code == 0, done.output
    assert "veiled records: 5, of which 3 were read by their disclosures; 2 were erased" in done.output
    done = ran(verify, log, "--trust", trust, "--json")
    assert json.loads(done.output)["veiled"] == {"disclosed": 0, "erased": 0, "withheld": 5}
    done = ran(verify, log, "--trust", trust)
    assert "5 WERE NOT DISCLOSED" in done.output


def test_disclosures_that_do_not_hold_are_told(tmp_path: Path) -> None:
    log, disclosed, trust = written(tmp_path)
    data = Path(disclosed).read_bytes()
    Path(disclosed).write_bytes(data.replace(b"#W100", b"#W101"))
    done = ran(verify, log, "--trust", trust, "--disclosures", disclosed)
    assert done.exit_code == 1
    assert "does not commit to" in done.output
    Path(disclosed).write_bytes(data[:-2])
    done = ran(verify, log, "--trust", trust, "--disclosures", disclosed)
    assert done.exit_code == 2
    assert "line 5 is none of a file of disclosures" in done.output
    log, disclosed, trust = written(tmp_path, erased=IDS[:1], signer=PemSigner(SigningKey(b"\x08" * 32)))
    done = ran(verify, log, "--trust", trust, "--disclosures", disclosed)
    assert done.exit_code == 2
    assert "states an erasure that does not hold" in done.output


def test_the_story_of_a_veiled_record_says_that_it_is(tmp_path: Path) -> None:
    log, disclosed, trust = written(tmp_path)
    told = ran(show, IDS[0], "--input", log, "--trust", trust)
    assert told.exit_code == 0, told.output
    assert told.output.startswith("It is veiled, and not disclosed here")
    assert "#W100" not in told.output
    told = ran(show, IDS[0], "--input", log, "--trust", trust, "--disclosures", disclosed)
    assert "#W100" in told.output
    assert "veiled" not in told.output


def test_replay_lists_veiled_records(tmp_path: Path) -> None:
    log, _disclosed, _trust = written(tmp_path)
    done = ran(replay, "--input", log, "--agent", "after-sales")
    assert all(name in done.output for name in IDS)
    done = ran(replay, "--input", log, "--subject", "#W100")
    assert done.exit_code == 1
    assert "5 records are veiled and not disclosed, so that --subject cannot tell" in done.output
    same = ("--output", str(tmp_path / "x"), "--disclosures", str(tmp_path / "x"))
    assert "got the same file for two of" in ran(replay, "--input", log, *same).output


def test_a_line_of_disclosures_has_one_form() -> None:
    line = print_line(IDS[0], LOG.disclosures[IDS[0]])
    assert parse_line(line + b"\n", 1) == (IDS[0], LOG.disclosures[IDS[0]])
    for wrong in (
        b"",
        b"{}",
        b"[]",
        line[:-1],
        b" " + line,
        b'{"decision_id":"dec_1","disclosures":[]}',
        b'{"decision_id":"' + IDS[0].encode() + b'","disclosures":{}}',
        b"x" * (MAX_LINE_BYTES + 1),
    ):
        with pytest.raises(DisclosureInvalid, match="line 7 is none"):
            parse_line(wrong, 7)


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "subjects.key"
    made = init_master(path)
    assert load_master(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="never overwritten"):
        init_master(path)
    path.chmod(0o640)
    with pytest.raises(KeyRejected, match="mode 0640"):
        load_master(path)
    for wrong in (b"", b"00\n", b"g" * 64 + b"\n", b"0" * 65 + b"\n"):
        path.chmod(0o600)
        path.write_bytes(wrong)
        with pytest.raises(KeyRejected, match="is no master key"):
            load_master(path)
    with pytest.raises(KeyNotFound, match="jurat subject init"):
        load_master(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        init_master(path / "below")


def test_init_makes_the_file_that_the_setting_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.SUBJECT_KEYS, raising=False)
    assert settings.subject_keys() is None
    assert "expected its path in JURAT_SUBJECT_KEYS" in str(ran(subject, "init").exception)
    monkeypatch.setenv(settings.SUBJECT_KEYS, str(tmp_path / "subjects.key"))
    done = ran(subject, "init")
    assert done.exit_code == 0
    made = settings.subject_keys()
    assert made is not None
    assert made.secret.hex() not in done.output


def test_who_may_not_erase_erases_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before Kafka is asked for anything: there is none here."""
    words = ("erase", "c-7", "--as", "mallory", "--keys", str(tmp_path), "--bootstrap-servers", "127.0.0.1:1")
    monkeypatch.delenv(settings.SUBJECT_KEYS, raising=False)
    assert "got no master key" in str(ran(subject, *words).exception)
    monkeypatch.setenv(settings.SUBJECT_KEYS, str(tmp_path / "subjects.key"))
    ran(subject, "init")
    keyid, _ = init_approver(tmp_path, "mallory")
    (tmp_path / "trust.json").write_bytes(print_trust(Trust(())))
    assert "is no approver's" in str(ran(subject, *words).exception)
    trust_approver(tmp_path, TrustedApprover("mallory", keyid, ("risk",)))
    done = ran(subject, *words)
    assert isinstance(done.exception, JuratError)
    assert "mallory has the roles risk" in str(done.exception)


def test_the_command_is_listed() -> None:
    assert "subject" in ran(entry, "--help").output


@pytest.mark.parametrize("command", [("show", ""), ("erase", "c-7", "", "--as", "dora")])
def test_an_empty_id_is_refused(command: tuple[str, ...]) -> None:
    told = ran(subject, *command, "--bootstrap-servers", "127.0.0.1:1")
    assert (told.exit_code, "got an empty ID" in told.output) == (2, True)


def test_an_id_that_is_no_utf8_is_the_one_that_workers_file() -> None:
    key = b"\xff c-7 \xc3\xa9"
    assert as_sealed(os.fsdecode(key)) == subject_of(key, "dec_1") == "\ufffd c-7 \xe9"


async def test_an_erasure_that_another_one_ended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fenced:
        async def start(self) -> None:
            raise ProducerFenced

        async def stop(self) -> None:
            """Nothing was begun."""

    async def kept_of(*_given: object) -> subject_desk.Kept:
        return subject_desk.Kept((SubjectKeyName("0" * 64, IDS[0]),), ())

    async def nothing(*_given: object) -> str:
        return "cluster"

    monkeypatch.setattr(subject_desk, "kept_of", kept_of)
    monkeypatch.setattr(subject_desk, "ensure_topics", nothing)
    monkeypatch.setattr(subject_desk, "cluster_id_of", nothing)
    monkeypatch.setattr(subject_desk, "transactional_producer", lambda *_given, **_named: Fenced())
    with pytest.raises(PartitionFenced, match="another erasure began"):
        await subject_desk.erase(
            Connection(bootstrap_servers="127.0.0.1:1"),
            MasterKey(b"\x01" * 32),
            ["c-7"],
            signer=DORA,
            at=datetime(2026, 11, 26, tzinfo=UTC),
        )


def test_erased_records_are_no_fault_of_who_asks_by_subject(capsys: pytest.CaptureFixture[str]) -> None:
    hidden, statements = Hidden(), [parse_any(entry.record.payload) for entry in LOG.entries]
    lifts = Unveiler(erased=frozenset(IDS[:2]))
    for statement in statements:
        hidden.add(statement, lifts)
    assert hidden.withheld == len(statements) - 2
    hidden.tell()
    told = capsys.readouterr().err
    assert "2 records were erased" in told
    assert f"{hidden.withheld} records are veiled and not disclosed" in told
