"""A worker process whose budgets and memory are watched while it is killed: the dispute mediator, with a slow reasoner.

`python -m tests.budget_worker BUNDLE KEYS BOOTSTRAP_SERVERS NAMESPACE`; it runs until it is stopped or killed.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jurat.agents.agent import Action, Agent, Situation
from jurat.agents.dispute_actions import RefundBuyer
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.memory import Learned, Remembering
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit.key_store import TRUST_FILE, load_signer, load_trust
from jurat.policies import PolicyEngine, load_bundle
from jurat.schemas.marketplace import DisputeOpened
from jurat.streams.kafka import Connection
from jurat.streams.worker import Worker, WorkerConfig


def opened(event: DisputeOpened, at: datetime) -> tuple[Learned, ...]:
    """What a dispute teaches of its buyer."""
    return (Learned("last_dispute", event.dispute_id, at, "disputes"),)


def settled(situation: Situation[Any], action: Action) -> tuple[Learned, ...]:
    """What a decision teaches of it."""
    said = f"{situation.event.dispute_id} {action.action_name}"
    return (Learned("last_settlement", said, situation.now, "disputes"),)


MEDIATOR: Agent[Any] = replace(
    DISPUTE_MEDIATOR,
    views=(),
    reads=lambda _event: (),
    remembers=Remembering({DisputeOpened: opened}, settled),
)


class Refunds:
    """Proposes to refund all of it, after a while; has nothing to say where that is refused."""

    name = "refunds"
    deterministic = True

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        await asyncio.sleep(random.uniform(0.02, 0.2))
        if request.refused:
            return None
        amount = request.situation.event.amount
        refund = RefundBuyer(amount_minor=amount.amount_minor, currency=amount.currency)
        return Proposal(action=refund, rationale="all of it")


async def serve(bundle: Path, keys: Path, connection: Connection) -> None:
    """Decide until stopped."""
    worker = Worker(
        connection,
        WorkerConfig(
            agent=MEDIATOR,
            reasoner=Refunds(),
            engine=PolicyEngine(load_bundle(bundle)),
            signer=load_signer(keys, MEDIATOR.name),
            clock=lambda: datetime.now(UTC),
            code="jurat under test",
            trust=lambda: load_trust(keys / TRUST_FILE),
        ),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()


if __name__ == "__main__":
    bundle_, keys_, servers, namespace = sys.argv[1:]
    asyncio.run(serve(Path(bundle_), Path(keys_), Connection(servers, namespace)))
