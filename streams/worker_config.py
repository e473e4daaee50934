"""What a worker needs to be told.

Rules upheld here: everything that differs between workers is a value here; nothing is looked up elsewhere. Not here:
where it comes from (`jurat.running`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.keys import Signer, Trust
from jurat.policies.engine import PolicyEngine
from jurat.schemas.codec import SchemaIds
from jurat.streams.evidence import Vault
from jurat.streams.intake import MAX_IN_FLIGHT
from jurat.streams.metrics import Meters
from jurat.streams.retries import RetryPolicy
from jurat.streams.tracing import OFF, Tracing


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
    vault: Vault | None = None
