"""What veiling a record costs beside one that is not veiled: writing it, and reading it back.

Rules upheld here: the record is that of a real decision; the baseline is the same record without a veil, in the same
run, one after the other, the least of many rounds; what is read back is compared, so that a wrong one is an error,
never a figure. Not here: Kafka, to which a veiled record adds two records, its evidence and its key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from benchmarks import payments
from benchmarks.stage import BenchmarkFailedError
from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import parse_any, unveil
from jurat.audit.draft import draft
from jurat.audit.ed25519 import SigningKey
from jurat.audit.record import GENESIS, DecisionRecord, parse
from jurat.audit.subject_keys import KEY_BYTES, MasterKey
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.streams.evidence import Vault
from jurat.streams.evidence_reading import Evidence
from jurat.streams.rehearsal import Rehearsal

BATCH: Final = 100
"""Records of one round: few enough for the least of many rounds to be undisturbed by others on the machine."""

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT: Final = "customer-1"
DIGEST: Final = "5f" * 32


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds a record, and how many disclosures it has."""

    disclosures: int
    write_us: float
    veil_us: float
    read_us: float
    unveil_us: float


async def measure(*, rounds: int) -> Costs:
    """Measure one record, many times.

    Raises:
        BenchmarkFailedError: what is read back is something else.
    """
    record = await _decided()
    key, vault = SigningKey(bytes(range(32))), Vault(MasterKey(bytes(KEY_BYTES)))
    evidence = Evidence(vault.master)

    def write() -> bytes:
        payload = draft(record, record.decision_id, DIGEST).finish(ChainHead())
        key.sign(dsse.pae(dsse.PAYLOAD_TYPE, payload))
        return payload

    def veil() -> bytes:
        made = draft(record, record.decision_id, DIGEST, salts=vault.draw)
        payload = made.finish(ChainHead())
        key.sign(dsse.pae(dsse.PAYLOAD_TYPE, payload))
        wrapped, sealed = vault.seal(record.decision_id, SUBJECT, made.disclosures, {})
        evidence.put_key(wrapped.key, wrapped.value)
        evidence.put_evidence(sealed[0].key, sealed[0].value)
        return payload

    plain, veiled = write(), veil()
    disclosures = evidence.of(record.decision_id)
    if disclosures is None or unveil(parse_any(veiled), disclosures) != parse(plain):
        raise BenchmarkFailedError("a veiled record was read back as another one")

    def lift() -> None:
        unveil(parse_any(veiled), evidence.of(record.decision_id) or ())

    def least(works: tuple[Callable[[], object], ...]) -> list[float]:
        found = [float("inf")] * len(works)
        for _ in range(rounds):  # one after the other, so that others on the machine disturb all alike
            found = [min(known, _took_us(work)) for known, work in zip(found, works, strict=True)]
        return found

    # Reading first: what is veiled anew is sealed anew, and its disclosures are not those of the record above.
    read_us, unveil_us = least((lambda: parse(plain), lift))
    write_us, veil_us = least((write, veil))
    evidence.close()
    return Costs(len(disclosures), write_us, veil_us, read_us, unveil_us)


def report(costs: Costs) -> list[str]:
    """Say what was measured."""
    rows = (
        ("print, place, sign", costs.write_us, costs.veil_us),
        ("read", costs.read_us, costs.unveil_us),
    )
    return [
        f"veiling: a record with {costs.disclosures} disclosures, the least of many rounds of {BATCH}",
        *(
            f"  {name:<22}{plain:>7.1f} us, veiled{veiled:>8.1f} us: ratio {veiled / plain:.2f}"
            for name, plain, veiled in rows
        ),
    ]


async def _decided() -> DecisionRecord:
    agent = payments.AGENT
    engine = PolicyEngine(load_bundle(shipped_bundle(agent.bundle)))
    rehearsal = Rehearsal(agent, engine=engine, at=BEGIN)
    try:
        ended = await rehearsal.send(payments.payment(SUBJECT))
    finally:
        rehearsal.close()
    if ended is None or ended.decision is None:
        raise BenchmarkFailedError("got no decision about a failed payment, expected one")
    return ended.record.model_copy(update={"seq": 0, "prev": GENESIS})


def _took_us(work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(BATCH):
        work()
    return (time.process_time() - began) / BATCH * 1e6
