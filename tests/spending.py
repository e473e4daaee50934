"""An agent with a parameter of every kind, and bundles for it from policy text, for the tests of action spaces."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.policies import Entity, Facts, PolicyEngine, generate, load_bundle
from jurat.schemas.commerce import OrderCancelled
from jurat.schemas.errors import ProposalInvalid
from jurat.schemas.model import Count, Identifier, Timestamp

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EVENT = OrderCancelled(order_id="o-1", customer_id="c-1", reason="no longer needed")

ROLES = "agents:\n  spender: [spender]\napprovers: [lead, risk]\n"
GRANT = (
    '@id("grant") @title("Spenders spend")\npermit (principal in Jurat::Role::"spender", action, resource);\n'
)


class Channel(StrEnum):
    CARD = "card"
    CASH = "cash"
    WIRE = "wire"


class Purse(Entity):
    entity_type: ClassVar[str] = "Purse"

    total: int
    owner: str


class SpendFacts(Facts):
    """All parameters as they are, and two facts that the agent works out."""

    amount: int
    tip: int | None
    at: Timestamp
    wait: timedelta
    channel: str
    urgent: bool
    payee: str
    notes: tuple[str, ...]
    dear: bool
    payee_known: bool


class Spend(Action):
    action_name: ClassVar[str] = "spend"
    title: ClassVar[str] = "Spend money"
    resource: ClassVar[type[Entity]] = Purse
    facts: ClassVar[type[Facts]] = SpendFacts

    amount: Annotated[int, Field(ge=-1_000, le=2_000_000)]
    tip: Count | None = None
    at: Timestamp
    wait: timedelta = timedelta(0)
    channel: Channel = Channel.CARD
    urgent: bool = False
    payee: Identifier
    notes: tuple[str, ...] = ()


class PayFacts(Facts):
    amount: int


class Pay(Action):
    """One parameter, which policies see as it is."""

    action_name: ClassVar[str] = "pay"
    title: ClassVar[str] = "Pay"
    resource: ClassVar[type[Entity]] = Purse
    facts: ClassVar[type[Facts]] = PayFacts

    amount: int


class NoFacts(Facts):
    """Nothing but the purse."""


class Stop(Action):
    action_name: ClassVar[str] = "stop"
    title: ClassVar[str] = "Stop"
    resource: ClassVar[type[Entity]] = Purse
    facts: ClassVar[type[Facts]] = NoFacts


ACTIONS: tuple[type[Action], ...] = (Spend, Pay, Stop)
PURSE = Purse(id="p-1", total=90_000, owner="c-1")
KNOWN_PAYEES = frozenset({"c-1", "o-1"})
DEAR_FROM = 70_000


def judged(_situation: Situation[OrderCancelled], action: Action) -> Judged:
    match action:
        case Spend():
            fields = {name: getattr(action, name) for name in Spend.model_fields}
            fields["channel"] = action.channel.value
            dear, known = action.amount >= DEAR_FROM, action.payee in KNOWN_PAYEES
            return Judged(PURSE, SpendFacts(**fields, dear=dear, payee_known=known))
        case Pay():
            return Judged(PURSE, PayFacts(amount=action.amount))
        case Stop():
            return Judged(PURSE, NoFacts())
    raise ProposalInvalid(f"got {action.action_name}")


def spender(*likely: Action) -> Agent[OrderCancelled]:
    """The agent, with these candidates, the best first."""
    ranked = tuple(Candidate(action, (Signal("rank", -rank),)) for rank, action in enumerate(likely))
    return Agent(
        name="spender",
        listens={"commerce.orders": (OrderCancelled,)},
        subject=lambda event: event.order_id,
        actions=ACTIONS,
        bundle="",
        judged=judged,
        candidates=lambda _situation: ranked,
    )


def situation() -> Situation[OrderCancelled]:
    return Situation(event=EVENT, now=NOW, occurred_at=NOW)


SCHEMA = generate("Jurat", ACTIONS)


def engine(policies: str) -> PolicyEngine:
    """An engine with a bundle of these policies."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("schema.cedarschema", SCHEMA), ("roles.yaml", ROLES), ("all.cedar", policies)):
            Path(folder, name).write_text(text)
        return PolicyEngine(load_bundle(Path(folder)))


def forbid(name: str, when: str, *, escalate: str = "", action: str = "spend") -> str:
    """A forbid on one action, in Cedar."""
    note = f'@escalate("{escalate}") ' if escalate else ""
    lift = f'\nunless {{ context.approvals.contains("{escalate}") }}' if escalate else ""
    return (
        f'@id("{name}") @title("Rule {name}") {note}\n'
        f'forbid (principal, action == Jurat::Action::"{action}", resource)\nwhen {{ {when} }}{lift};\n'
    )
