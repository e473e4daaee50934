"""What signing and verifying records costs beside Ed25519 itself, and what verifying a whole log takes.

Rules upheld here: the records are those of a real decision, with places and inputs of their own; the baseline is the
library's signature or verification over the very same bytes, in the same run; the log is honest, so that a verdict
other than VALID is an error, never a figure; a whole log is verified by the command that users run, and its memory and
time are what the system counted for that process, starting Python included.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import payments
from benchmarks.stage import JURAT, BenchmarkFailedError
from jurat.audit import dsse, export
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import Coordinates, chain_name
from jurat.audit.draft import Draft, draft
from jurat.audit.ed25519 import SigningKey
from jurat.audit.keys import PemSigner, Trust, TrustedKey, print_trust
from jurat.audit.log import LogEntry
from jurat.audit.record import GENESIS, DecisionRecord
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import decision_id_at
from jurat.streams import topics
from jurat.streams.rehearsal import Rehearsal

T = TypeVar("T")

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
SEED: Final = bytes(range(32))
BATCH: Final = 200
"""Records of one round: few enough for the least of many rounds to be undisturbed by others on the machine."""

DIGEST: Final = "5f" * 32


@dataclass(frozen=True, slots=True)
class Pieces:
    """Microseconds a record, the least of all rounds, and the size of a payload in bytes."""

    payload_bytes: int
    sign_limit_us: float
    sign_us: float
    print_and_sign_us: float
    verify_limit_us: float
    verify_us: float


@dataclass(frozen=True, slots=True)
class Run:
    """One `jurat audit verify`: how many records, with how many processes, and what it took."""

    records: int
    jobs: int
    wall_s: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is measured here."""

    pieces: Pieces
    runs: tuple[Run, ...]


async def measure(*, records: int, rounds: int) -> Measured:
    """Measure signing and verifying one record, then a whole log and its first half.

    Raises:
        BenchmarkFailedError: an honest log is not valid.
    """
    record = await _decided()
    signer = PemSigner(SigningKey(SEED))
    trust = Trust((TrustedKey(payments.AGENT.name, signer.keyid),))
    pieces = _pieces(record, signer, trust, rounds)
    with tempfile.TemporaryDirectory(prefix="jurat-benchmarks-") as name:
        folder = Path(name)
        (folder / "trust.json").write_bytes(print_trust(trust))
        half, whole = folder / "half.jsonl", folder / "whole.jsonl"
        drafts = (draft(one, one.decision_id, DIGEST) for one in (_about(record, n) for n in range(records)))
        with half.open("wb") as first, whole.open("wb") as every:
            for number, entry in enumerate(_signed(drafts, signer, _about(record, 0).chain)):
                line = export.print_entry(entry) + b"\n"
                every.write(line)
                if number < records // 2:
                    first.write(line)
        runs = [_run(folder, half, records // 2, 1), *(_run(folder, whole, records, jobs) for jobs in (1, 2))]
    return Measured(pieces, tuple(runs))


def report(measured: Measured) -> list[str]:
    """Say what was measured."""
    one = measured.pieces
    half, alone, two = measured.runs
    return [
        f"audit: records of {one.payload_bytes} bytes, the least of many rounds of {BATCH}",
        *(
            f"  {name:<34}{us:>7.1f} us, {limit / us * 100:>3.0f}% of the {limit:.1f} us of Ed25519 alone"
            for name, us, limit in (
                ("place, encode, sign", one.sign_us, one.sign_limit_us),
                ("print, place, encode, sign", one.print_and_sign_us, one.sign_limit_us),
                ("verify, with every check", one.verify_us, one.verify_limit_us),
            )
        ),
        *(
            f"  jurat audit verify --jobs {run.jobs}, {run.records:>9,} records{run.wall_s:>8.1f} s,"
            f"{run.cpu_s / run.records * 1e6:>6.0f} us of processor time each,{run.peak_mib:>6.0f} MiB"
            for run in measured.runs
        ),
        f"  two processes: {alone.wall_s / two.wall_s:.2f} times one",
        f"  twice the records: {alone.peak_mib / half.peak_mib:.2f} times the memory",
    ]


async def _decided() -> DecisionRecord:
    """The record of one real decision."""
    agent = payments.AGENT
    engine = PolicyEngine(load_bundle(shipped_bundle(agent.bundle)))
    rehearsal = Rehearsal(agent, engine=engine, at=BEGIN)
    try:
        ended = await rehearsal.send(payments.payment("customer-1"))
    finally:
        rehearsal.close()
    if ended is None or ended.decision is None:
        raise BenchmarkFailedError("got no decision about a failed payment, expected one")
    return ended.record


def _about(record: DecisionRecord, offset: int) -> DecisionRecord:
    """The same decision about another input, without its place."""
    at = Coordinates("benchmark", record.chain.split("/")[1], 0, offset)
    name = decision_id_at(record.agent, at.cluster_id, topic=at.topic, partition=0, offset=offset)
    first = record.inputs[0].model_copy(update={"uri": at.uri(), "event_id": f"event-{offset}"})
    chain = chain_name(record.agent, at.topic, 0)
    change = {"inputs": (first,), "decision_id": name, "chain": chain, "seq": 0, "prev": GENESIS}
    return record.model_copy(update=change)


def _pieces(record: DecisionRecord, signer: PemSigner, trust: Trust, rounds: int) -> Pieces:
    made = [_about(record, offset) for offset in range(BATCH)]
    drafts = [draft(one, one.decision_id, DIGEST) for one in made]
    entries = list(_signed(drafts, signer, made[0].chain))
    messages = [dsse.pae(dsse.PAYLOAD_TYPE, entry.record.payload) for entry in entries]
    signatures = [entry.record.signatures[0].sig for entry in entries]
    bare = Ed25519PrivateKey.from_private_bytes(SEED)
    public = bare.public_key()

    def sign_alone() -> None:
        for message in messages:
            bare.sign(message)

    def place_and_sign() -> None:
        _sign_all(drafts, signer)

    def print_and_sign() -> None:
        _sign_all((draft(one, one.decision_id, DIGEST) for one in made), signer)

    def verify_alone() -> None:
        for message, signature in zip(messages, signatures, strict=True):
            public.verify(signature, message)

    def verify_all() -> None:
        verifier = Verifier(trust)
        for entry in entries:
            verifier.add(entry)
        if verifier.report().verdict is not LogVerdict.VALID:
            raise BenchmarkFailedError(f"an honest log is not valid: {verifier.report().first_fault}")

    works = (sign_alone, place_and_sign, print_and_sign, verify_alone, verify_all)
    least = [float("inf")] * len(works)
    for _ in range(rounds):  # one after the other, so that others on the machine disturb all alike
        least = [min(known, _took_us(work)) for known, work in zip(least, works, strict=True)]
    return Pieces(len(entries[-1].record.payload), *least)


def _took_us(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / BATCH * 1e6


def _sign_all(drafts: Iterable[Draft], signer: PemSigner) -> None:
    """What signing one record takes when its transaction commits: its place, PAE and the signature."""
    head = ChainHead(1_000, DIGEST)
    for one in drafts:
        _at_once(signer.sign(dsse.pae(dsse.PAYLOAD_TYPE, one.finish(head))))


def _signed(drafts: Iterable[Draft], signer: PemSigner, chain: str) -> Iterator[LogEntry]:
    head = ChainHead()
    for offset, one in enumerate(drafts):
        payload = one.finish(head)
        head = head.extend(payload)
        signed = _at_once(dsse.sign(payload, signer, chain=chain))
        yield LogEntry(topics.AUDIT.name, 0, offset, 0, signed)


def _at_once(work: Coroutine[None, None, T]) -> T:
    """What a coroutine that never waits comes to."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise BenchmarkFailedError("got a signer that waits, expected one in memory")


def _run(folder: Path, log: Path, records: int, jobs: int) -> Run:
    command = [str(JURAT), "audit", "verify", str(log), "--trust", str(folder / "trust.json"), "--json"]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*command, "--jobs", str(jobs)], stdout=said, cwd=folder)
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        found = orjson.loads(said.read() or b"{}")
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if (found.get("verdict"), found.get("records")) != (LogVerdict.VALID.value, records):
        raise BenchmarkFailedError(
            f"got {found.get('verdict')} of {found.get('records')} records, expected VALID of {records}"
        )
    # Processes beside it count for time once they have ended, and for memory only if they are the largest.
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(records, jobs, wall_s, cpu_s, used.ru_maxrss / 1024)
