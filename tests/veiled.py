"""What the tests of veiled records share: a record that holds something in every place, and a log of veiled ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from jurat.audit import dsse
from jurat.audit.answered import Approval
from jurat.audit.chain import ChainHead
from jurat.audit.disclosure import Disclosure
from jurat.audit.draft import draft
from jurat.audit.log import LogEntry
from jurat.audit.reasoning import ModelAsked, ReasonerUsed, ToolAnswered
from jurat.audit.record import ContextRead, DecisionRecord, Outcome
from jurat.audit.usage import BudgetUsed
from tests.golden.audit import sample_log

AGENT = "after-sales"
CALL = ModelAsked(
    model="gpt-test", parameters_sha256="01" * 32, prompt_sha256="11" * 32, response_sha256="21" * 32
)
PERSONAL = ("c-secret-7", "#W-secret", "request-secret", "secret words", "12e3secret")
"""Strings of `full_record` that must not be left in it."""


def salts(seed: int = 0) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def full_record(*, offset: int = 0, head: ChainHead | None = None) -> DecisionRecord:
    """A denied decision that holds something in every place that is veiled, but for the rejection's message."""
    made = sample_log.record(AGENT, offset=offset, outcome=Outcome.DENIED, head=head)
    (judged,), policy = made.proposals, made.policy
    assert policy is not None
    budget = BudgetUsed(
        budget="refunds_day",
        by="context.customer",
        key="c-secret-7",
        of="context.amount_minor",
        window_s=86_400,
        shares=None,
        used=0,
        taken=0,
    )
    said = {"customer": "c-secret-7", "amount_minor": 8_000, "usage": {"refunds_day": 0}}
    approval = Approval(
        role="support",
        approver="dora",
        answer="grant",
        keyid="did:key:zTest",
        sha256="31" * 32,
        statement="secret words",
        sig="12" * 64,
    )
    return made.model_copy(
        update={
            "inputs": (made.inputs[0].model_copy(update={"event_id": "request-secret"}),),
            "context": (
                ContextRead(name="orders", key="#W-secret", uri=None, sha256="41" * 32),
                ContextRead(name="customers", key="c-secret-7", uri=None, sha256=None),
            ),
            "reasoner": ReasonerUsed(
                name="openai",
                deterministic=False,
                model="gpt-test",
                parameters_sha256="01" * 32,
                tools=(
                    ToolAnswered(
                        name="find c-secret-7", arguments_sha256="51" * 32, result_sha256="61" * 32, call=CALL
                    ),
                ),
            ),
            "proposals": (
                judged.model_copy(
                    update={
                        "parameters": {"order_id": "#W-secret", "note": "secret words"},
                        "errors": ("got secret words", "and 12e3secret"),
                        "call": CALL,
                    }
                ),
            ),
            "policy": policy.model_copy(
                update={
                    "input": {"context": said},
                    "budgets": (budget,),
                    "shadow": sample_log.SHADOW.model_copy(update={"errors": ("secret words",)}),
                }
            ),
            "approvals": (approval,),
        }
    )


class VeiledLog:
    """A signed log of veiled records of one chain, with the disclosures of each.

    Attributes:
        entries: the log.
        disclosures: by decision id.
    """

    def __init__(self, outcomes: tuple[Outcome, ...] = sample_log.OUTCOMES, *, seed: int = 0) -> None:
        self.entries: list[LogEntry] = []
        self.disclosures: dict[str, tuple[Disclosure, ...]] = {}
        head, drawn = ChainHead(), salts(seed)
        for offset, outcome in enumerate(outcomes):
            record = sample_log.record(AGENT, offset=offset, outcome=outcome)
            name, digest = sample_log.subject_of(record, offset)
            made = draft(record, name, digest, salts=drawn)
            payload = made.finish(head)
            signed = asyncio.run(dsse.sign(payload, sample_log.signer(AGENT), chain=record.chain))
            head = head.extend(payload)
            self.entries.append(LogEntry(sample_log.AUDIT_TOPIC, 0, offset, 0, signed))
            self.disclosures[record.decision_id] = made.disclosures

    def of(self, decision_id: str) -> tuple[Disclosure, ...] | None:
        """As `Disclosed`."""
        return self.disclosures.get(decision_id)
