"""What a worker needs to be told.

Rules upheld here: everything that differs between workers is a value here; nothing is looked up elsewhere. Not here:
where it comes from (`jurat.running`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.keys import Signer, Signing, Trust
from jurat.audit.record import DecisionRecord
from jurat.policies.engine import PolicyEngine
from jurat.schemas.codec import SchemaIds
from jurat.streams.evidence import Vault
from jurat.streams.intake import MAX_IN_FLIGHT
from jurat.streams.metrics import Meters
from jurat.streams.retries import RetryPolicy
from jurat.streams.tracing import OFF, Tracing


class Session(Protocol):
    """Who signs for a worker, while it runs."""

    async def start(self) -> None:
        """Called once, before anything is decided."""
        ...

    async def stop(self) -> None:
        """Called at the end, whether it started or not."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What ends the worker; None while all is well."""
        ...

    def now(self) -> Signing:
        """Who signs the next record."""
        ...

    def permits(self, record: DecisionRecord) -> None:
        """Raise what speaks against signing a decision; asked before anything comes of it."""
        ...


@dataclass(frozen=True, slots=True)
class PinnedSession:
    """A key that the trust file names: it signs every record itself, and whatever is decided."""

    signer: Signer
    failure: None = None

    async def start(self) -> None:
        """Nothing is to be done."""

    async def stop(self) -> None:
        """Nothing is to be done."""

    def now(self) -> Signing:
        """The key."""
        return Signing(self.signer)

    def permits(self, record: DecisionRecord) -> None:
        """Whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker needs.

    Attributes:
        agent: the agent to run.
        reasoner: who proposes.
        engine: the compiled policies, until others are activated.
        signer: the agent's signing identity.
        clock: the present moment.
        code: version of the program, for the records.
        ids: a Schema Registry's ids, if one is configured.
        until_idle_s: end when nothing has come for this long; None goes on until stopped.
        max_in_flight: decisions in work at once.
        trust: the trusted keys, as they are when it is called: who may activate other policies, and whose approvals
            count; nobody, if not said.
        retry: how often an input is tried that fails for what may pass.
        draw: numbers from 0 to 1 for the jitter of these waits.
        meters: what is counted; its status is renewed with every turn of the worker.
        tracing: who makes spans.
        session: who signs records under a credential; None lets the signer sign them, as a pinned key.
        vault: seals what is personal, in veiled records; None leaves it in the records.
    """

    agent: Agent[Any]
    reasoner: Reasoner
    engine: PolicyEngine
    signer: Signer
    clock: Callable[[], datetime]
    code: str
    ids: SchemaIds | None = None
    until_idle_s: float | None = None
    max_in_flight: int = MAX_IN_FLIGHT
    trust: Callable[[], Trust] = lambda: Trust(())
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    draw: Callable[[], float] = random.random
    meters: Meters | None = None
    tracing: Tracing = OFF
    session: Session | None = None
    vault: Vault | None = None
