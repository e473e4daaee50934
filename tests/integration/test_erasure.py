"""Erasure on a real Kafka: veiled records hold nothing personal, an erased subject is gone, and every proof holds."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from jurat.audit.disclosure import parse_any
from jurat.audit.forgetting import DATA_PROTECTION
from jurat.audit.key_store import init_approver, trust_approver
from jurat.audit.keys import TrustedApprover
from jurat.audit.subject_file import load_master
from jurat.schemas.codec import decode
from jurat.schemas.envelope import SignedRecord
from jurat.streams import topics
from jurat.streams.evidence_reading import Evidence
from jurat.streams.kafka import KafkaRecord, idempotent_producer
from tests.command import Shell
from tests.runtime_stage import Sent, failed, prepare, publish, read

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AGENT = "payment-retrier"
ANNA, BEN = "c-anna-7", "c-ben-8"
EACH = 3
OURS = (topics.AUDIT.name, topics.EVIDENCE.name, topics.SUBJECT_KEYS.name, topics.TRUST.name)


@dataclass(frozen=True)
class Veiling(Shell):
    """A user's shell with a master key of subjects."""

    file: str = "subjects.key"

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"JURAT_SUBJECT_KEYS": str(self.master)}

    @property
    def master(self) -> Path:
        return self.keys / self.file


@pytest.fixture
def veiling(shell: Shell) -> Veiling:
    made = Veiling(shell.connection, shell.keys)
    made.run("subject", "init")
    keyid, _ = init_approver(shell.keys, "dora")
    trust_approver(shell.keys, TrustedApprover(approver="dora", keyid=keyid, roles=(DATA_PROTECTION,)))
    return made


async def ran(shell: Shell, *words: str, expect: int = 0) -> str:
    done = await asyncio.to_thread(shell.run, *words, expect=expect)
    return (done.stdout + done.stderr).decode()


def bytes_of(records: list[KafkaRecord]) -> bytes:
    parts = [record.key or b"" for record in records] + [record.value or b"" for record in records]
    return b"\n".join(parts + [value for record in records for _name, value in record.headers])


def decisions_of(records: list[KafkaRecord]) -> list[str]:
    statements = []
    for record in records:
        signed = decode(record.value, expected=SignedRecord)
        assert isinstance(signed, SignedRecord)
        statements.append(parse_any(signed.payload))
    assert all(statement.is_veiled for statement in statements)
    return [statement.predicate.decision_id for statement in statements]


async def write(shell: Shell, *records: KafkaRecord) -> None:
    producer = idempotent_producer(shell.connection)
    await producer.start()
    try:
        for one in records:
            await producer.send_and_wait(one.topic, one.value, key=one.key, partition=one.partition)
    finally:
        await producer.stop()


async def tamper(shell: Shell, one: KafkaRecord) -> None:
    """Write something that is nobody's evidence, and a record of evidence again, with one bit of it changed."""
    assert one.value is not None
    changed = one.value[:-1] + bytes([one.value[-1] ^ 1])
    await write(shell, replace(one, key=b"nobody's", value=b"made up"), replace(one, value=changed))


async def gone(
    shell: Veiling,
    erased: list[str],
    decisions: list[str],
    *,
    keys: list[KafkaRecord],
    evidence: list[KafkaRecord],
) -> None:
    """What anybody kept of the sealed bytes opens no more, commands say so, and evidence that was changed is found."""
    left = Evidence(load_master(shell.master))
    for record in [*keys, *await read(shell, topics.SUBJECT_KEYS.name)]:
        left.put_key(record.key, record.value)
    for record in evidence:
        left.put_evidence(record.key, record.value)
    of_ben = set(decisions) - set(erased)
    assert {name for name in decisions if left.of(name) is not None} == of_ben
    left.close()
    said = await ran(shell, "audit", "evidence", erased[0], "--output", str(shell.keys), expect=1)
    assert "it was erased" in said
    story = await ran(shell, "audit", "show", erased[0])
    assert "It is veiled, and not disclosed here" in story
    assert "It was erased, as a signed statement says" in story
    assert ANNA not in story
    report = await ran(shell, "policy", "backtest", "shop")
    assert "it is veiled, and not disclosed here" in report
    ends = tuple(f"{name}/disclosures".encode() for name in of_ben)
    await tamper(shell, next(record for record in evidence if (record.key or b"").endswith(ends)))
    changed = await ran(shell, "audit", "verify", expect=1)
    assert "does not open: it was changed" in changed


async def test_a_subject_is_erased_and_the_proofs_hold(veiling: Veiling, tmp_path: Path) -> None:
    shell = veiling
    await prepare(shell)
    events = [(f"secret-{name}-{n}", failed(n, name)) for n in range(EACH) for name in (ANNA, BEN)]
    await publish(shell, [Sent(event, event_id) for event_id, event in events])
    await ran(shell, "worker", AGENT, "--until-idle", "200ms")

    # Nothing personal stands in the log or beside it, and no digest that a guess could be tested with.
    audit, evidence, keys = [await read(shell, name) for name in OURS[:3]]
    assert len(audit) == len(keys) == 2 * EACH
    decisions = decisions_of(audit)
    raw = b"".join(map(bytes_of, (audit, evidence, keys)))
    inputs = await read(shell, topics.PAYMENTS.name)
    emitted = await read(shell, topics.decisions(AGENT).name)
    guesses = [sha256(record.value or b"").hexdigest() for record in (*inputs, *emitted)]
    for word in (ANNA, BEN, "secret-", "pay-0", "card-1", *guesses):
        assert word.encode() not in raw
    assert ANNA.encode() in bytes_of(inputs)

    said = json.loads(await ran(shell, "audit", "verify", "--with-decisions", "--json"))
    assert (said["verdict"], said["decisions"]) == ("VALID", 2 * EACH)
    assert said["veiled"] == {"disclosed": 2 * EACH, "erased": 0, "withheld": 0}
    shown = await ran(shell, "subject", "show", ANNA)
    of_anna = [name for name in decisions if name in shown]
    assert len(of_anna) == EACH
    assert ANNA in await ran(shell, "audit", "show", of_anna[0])
    texts = tmp_path / "texts"
    assert "inputs.0  SHA-256" in await ran(shell, "audit", "evidence", of_anna[0], "--output", str(texts))
    assert ANNA.encode() in (texts / "inputs.0").read_bytes()
    assert stat.S_IMODE((texts / "inputs.0").stat().st_mode) == 0o600

    plain = await ran(shell, "subject", "show", ANNA, "--in-plain")
    for name in OURS[:3]:
        assert f"{name}  0 records with the ID in plain" in plain
    assert f"{topics.decisions(AGENT).name}  {EACH} records with the ID in plain" in plain

    # Under another master key nothing of hers is found, which must not pass for erased.
    other = Veiling(shell.connection, shell.keys, "other.key")
    await ran(other, "subject", "init")
    said_of = await ran(other, "subject", "erase", ANNA, "--as", "dora")
    assert f"other master keys were in use here as well ({load_master(shell.master).name})" in said_of
    assert "nothing was left to erase; nothing was written" in said_of
    assert "nothing was left" in await ran(
        shell, "subject", "erase", os.fsdecode(b"\xff c-7"), "--as", "dora"
    )
    said_of = await ran(shell, "subject", "erase", ANNA, "--as", "dora")
    assert "other master keys" not in said_of
    assert f"erased {EACH} keys" in said_of
    assert "nothing was left to erase" in await ran(shell, "subject", "erase", ANNA, "--as", "dora")
    (statement,) = await read(shell, topics.TRUST.name)
    assert ANNA.encode() not in (statement.value or b"")

    # Every proof holds, with the log on Kafka and in files, whatever else somebody wrote beside the statement.
    await write(shell, replace(statement, value=b"made up"))
    said = json.loads(await ran(shell, "audit", "verify", "--with-decisions", "--json"))
    assert (said["verdict"], said["veiled"]) == ("VALID", {"disclosed": EACH, "erased": EACH, "withheld": 0})
    log, disclosed = tmp_path / "audit.jsonl", tmp_path / "disclosures.jsonl"
    await ran(shell, "audit", "replay", "--output", str(log), "--disclosures", str(disclosed))
    assert BEN.encode() in disclosed.read_bytes()
    assert stat.S_IMODE(disclosed.stat().st_mode) == 0o600
    assert ANNA.encode() not in disclosed.read_bytes()
    trust = ("--trust", str(shell.keys / "trust.json"), "--json")
    offline = json.loads(
        await ran(shell, "audit", "verify", str(log), "--disclosures", str(disclosed), *trust)
    )
    assert (offline["verdict"], offline["veiled"]) == (said["verdict"], said["veiled"])
    bare = json.loads(await ran(shell, "audit", "verify", str(log), *trust))
    assert (bare["verdict"], bare["veiled"]["withheld"]) == ("VALID", 2 * EACH)

    await gone(shell, of_anna, decisions, keys=keys, evidence=evidence)
