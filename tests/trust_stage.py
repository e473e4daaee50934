"""What the tests of identity share: an organisation with three root keys, its issuer, an agent, a session, its records.

The keys are made for tests and guard nothing. Times are around `NOW`, and nothing here has a clock.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

import pytest

from jurat.audit import dsse
from jurat.audit.credential import (
    STATEMENT_TYPE,
    AgentCredential,
    Issuer,
    Revocation,
    Root,
    SessionCredential,
    Statement,
    digest_of,
    print_payload,
    print_seconds,
    seconds,
)
from jurat.audit.credential_issue import issue, request
from jurat.audit.credential_scope import Limit, Scope
from jurat.audit.ed25519 import SigningKey
from jurat.audit.identity import Identity, TrustHead
from jurat.audit.keys import PemSigner
from jurat.audit.record import DecisionRecord, Outcome
from jurat.audit.trust_log import Admitted, TrustLog
from jurat.schemas import canonical
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import AuditError
from tests.golden.audit import sample_log

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AGENT = "after-sales"
ISSUER = "issuer payments"
ROOTS = ("alice", "bob", "carol")
KINDS = ("root", "issuer", "agent", "session", "revocation")

SCOPE = Scope(
    actions=("exchange", "return"),
    inputs=(sample_log.INPUT_TOPIC, f"timers.{AGENT}"),
    limits=(Limit(most=50_000, of="context.amount_minor"),),
    outputs=(f"decisions.{AGENT}",),
    policies=(),
)


def key(name: str) -> PemSigner:
    return PemSigner(SigningKey(sha256(f"test key of {name}".encode()).digest()))


def at(**offset: float) -> str:
    return print_seconds(NOW + timedelta(**offset))


def t(**offset: float) -> int:
    """A moment as witnesses tell it."""
    return seconds(at(**offset))


def root(
    after: TrustHead, *, names: Iterable[str] = ROOTS, threshold: int = 2, version: int = 1, org: str = "acme"
) -> Root:
    keys = tuple(sorted(key(name).keyid for name in names))
    return Root(after=after, keys=keys, org=org, threshold=threshold, version=version)


def signed(statement: Statement, *names: str) -> bytes:
    return asyncio.run(issue(statement, map(key, names)))


def digest(statement: Statement) -> str:
    return digest_of(print_payload(statement))


@dataclass
class Organisation:
    """A trust log that is being written; each method adds a statement, signed as it should be."""

    log: TrustLog = field(init=False)
    lines: list[bytes] = field(default_factory=list)
    pin: bytes = field(init=False)

    def __post_init__(self) -> None:
        first = root(TrustHead(sha256="0" * 64, size=0))
        self.pin = signed(first, "alice", "bob")
        self.log = TrustLog(self.pin)
        self.add(self.pin)

    def add(self, line: bytes) -> Admitted:
        admitted = self.log.add(line)
        self.lines.append(line)
        return admitted

    def asked(
        self, kind: Literal["issuer", "agent", "session"], name: str, holder: str, parent: str
    ) -> dict[str, Any]:
        made = asyncio.run(request(kind, key(holder), name=name, parent=parent))
        return made.model_dump() | {"after": self.log.head}

    def issuer(self, name: str = "payments", **changed: Any) -> Issuer:
        asked = self.asked("issuer", name, f"issuer {name}", self.log.root[1])
        told = {"not_before": at(days=-1), "expiry": at(days=364)}
        return Issuer.model_validate(asked | told | changed)

    def agent(self, parent: Statement, *, holder: str = AGENT, **changed: Any) -> AgentCredential:
        asked = self.asked("agent", AGENT, holder, digest(parent))
        times = {"not_before": at(hours=-1), "expiry": at(days=80)}
        return AgentCredential.model_validate(
            asked | times | {"owner": "team@acme", "scope": SCOPE} | changed
        )

    def session(
        self, parent: AgentCredential, *, holder: str = "session 1", **changed: Any
    ) -> SessionCredential:
        asked = self.asked("session", AGENT, holder, digest(parent))
        times = {"not_before": at(minutes=-5), "expiry": at(hours=20)}
        return SessionCredential.model_validate(asked | times | {"scope": parent.scope} | changed)

    def revocation(self, holder: str, **changed: Any) -> Revocation:
        told = {"effective": at(hours=2), "compromised_since": None, "reason": "lost", "after": self.log.head}
        return Revocation.model_validate(told | {"keyid": key(holder).keyid} | changed)


@dataclass
class Settled:
    """An organisation with one session, as most tests want it."""

    org: Organisation
    issuer: Issuer
    agent: AgentCredential
    session: SessionCredential

    def record(self, *, outcome: Outcome = Outcome.DECIDED, **changed: Any) -> DecisionRecord:
        identity = Identity(credential=digest(self.session), trust=self.org.log.head)
        made = sample_log.record(AGENT, offset=0, outcome=outcome)
        return made.model_copy(update={"identity": identity} | changed)


def settled() -> Settled:
    org = Organisation()
    issuer = org.issuer()
    org.add(signed(issuer, "alice", "bob"))
    agent = org.agent(issuer)
    org.add(signed(agent, "issuer payments"))
    session = org.session(agent)
    org.add(signed(session, AGENT))
    return Settled(org, issuer, agent, session)


def statements(stage: Settled) -> dict[str, tuple[Statement, tuple[str, ...]]]:
    """One statement of each kind that the log would take next, and who signs it."""
    org = stage.org
    return {
        "root": (root(org.log.head, version=2), ("alice", "bob")),
        "issuer": (org.issuer("second"), ("alice", "carol")),
        "agent": (org.agent(stage.issuer, holder="another"), (ISSUER,)),
        "session": (org.session(stage.agent, holder="session 2"), (AGENT,)),
        "revocation": (org.revocation(AGENT), (ISSUER,)),
    }


def changed(statement: Statement, **values: Any) -> bytes:
    """The payload with members changed, whatever the model says of them."""
    return canonical.dumps(json.loads(print_payload(statement)) | values)


def sealed(payload: bytes, *names: str) -> bytes:
    message = dsse.pae(STATEMENT_TYPE, payload)
    made = [Signature(keyid=key(name).keyid, sig=asyncio.run(key(name).sign(message))) for name in names]
    return dsse.print_envelope(payload, payload_type=STATEMENT_TYPE, signatures=made)


def refused(stage: Settled, line: bytes, error: type[AuditError], match: str) -> None:
    """It is not taken, and nothing changed by trying."""
    log = stage.org.log
    before = log.head, log.trust()
    with pytest.raises(error, match=match):
        log.add(line)
    assert (log.head, log.trust()) == before
