"""What the tests of budgets share: a bundle with budgets of each kind, requests that they count, disputes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from jurat.policies import Entity, Facts, PolicyEngine, PolicyRequest, generate, load_bundle, strict_yaml
from jurat.policies.budgets import read_budgets
from jurat.policies.request import Budget, UsageSource, UsageUnknownError
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Evidence, Party
from jurat.schemas.model import Identifier
from tests.shop import euros

NOW = datetime(2026, 10, 14, 10, tzinfo=UTC)

BUDGETS = """\
# What the refunder may do within a time.
refunds_day:
  title: Refunds of one customer within 24 hours
  measure: sum
  of: context.amount_minor
  actions: [refund]
  key: resource.customer_id
  window: 24h
  scope: partition-key

refunds_seller:
  title: Refunds at the cost of one seller within 7 days
  measure: sum
  of: context.amount_minor
  actions: [refund]
  key: resource.seller_id
  window: 7d
  scope: {allotment: 4}

letters_hour:
  title: Letters within an hour
  measure: count
  actions: [letter]
  key: whole
  window: 60m
  scope:
    allotment: 3
"""

POLICIES = """\
@id("refund.grant")
@title("Refunders refund")
permit (principal in Jurat::Role::"refunder", action, resource is Jurat::Order);

@id("refund.day")
@title("Not more than 1000 to one customer within 24 hours")
forbid (principal, action == Jurat::Action::"refund", resource)
when { context.usage.refunds_day + context.amount_minor > 1000 };

@id("refund.seller")
@title("Not more than 4000 at the cost of one seller within 7 days, without the lead")
@escalate("lead")
forbid (principal, action == Jurat::Action::"refund", resource)
when { context.usage.refunds_seller + context.amount_minor > 4000 }
unless { context.approvals.contains("lead") };

@id("letter.hour")
@title("Not more than 7 letters within an hour")
forbid (principal, action == Jurat::Action::"letter", resource)
when { context.usage.letters_hour >= 7 };
"""

ROLES = "agents:\n  refunder-1: [refunder]\napprovers: [lead]\n"


class Order(Entity):
    """What is refunded."""

    entity_type: ClassVar[str] = "Order"

    customer_id: str
    seller_id: Identifier
    note: str | None = None


class RefundFacts(Facts):
    """How much."""

    amount_minor: int


class LetterFacts(Facts):
    """Nothing but the order itself."""


class Refund:
    """Counted by two budgets."""

    action_name: ClassVar[str] = "refund"
    resource: ClassVar[type[Entity]] = Order
    facts: ClassVar[type[Facts]] = RefundFacts


class Letter:
    """Counted by one."""

    action_name: ClassVar[str] = "letter"
    resource: ClassVar[type[Entity]] = Order
    facts: ClassVar[type[Facts]] = LetterFacts


class Look:
    """Counted by none."""

    action_name: ClassVar[str] = "look"
    resource: ClassVar[type[Entity]] = Order
    facts: ClassVar[type[Facts]] = LetterFacts


class Told:
    """A source that says what it is told to, by budget; and keeps what it was asked."""

    def __init__(self, **used: int) -> None:
        self.used_of = used
        self.asked: list[tuple[str, str | None, datetime]] = []

    def used(self, budget: Budget, key: str | None, *, now: datetime) -> int:
        self.asked.append((budget.name, key, now))
        if budget.name not in self.used_of:
            raise UsageUnknownError("got no window, expected one")
        return self.used_of[budget.name]


def write_bundle(folder: Path, *, budgets: str = BUDGETS, schema_of: str | None = None) -> Path:
    """Write a bundle; its schema is that of its budgets, or of others."""
    folder.mkdir(exist_ok=True)
    declared, _faults = read_budgets(strict_yaml.load(schema_of if schema_of is not None else budgets))
    schema = generate("Jurat", [Refund, Letter, Look], usage=declared.usage_fields())
    files = {"schema.cedarschema": schema, "budgets.yaml": budgets, "p.cedar": POLICIES, "roles.yaml": ROLES}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def engine(folder: Path) -> PolicyEngine:
    """The engine of the bundle."""
    return PolicyEngine(load_bundle(write_bundle(folder)))


def refund(
    amount_minor: int,
    usage: UsageSource | None,
    *,
    customer: str = "c-1",
    approvals: frozenset[str] = frozenset(),
    now: datetime = NOW,
) -> PolicyRequest:
    """A request to refund an order."""
    order = Order(id="o-1", customer_id=customer, seller_id="s-1")
    facts = RefundFacts(amount_minor=amount_minor)
    return PolicyRequest("refunder-1", "refund", order, facts, now, approvals, usage)


def letter(usage: UsageSource | None) -> PolicyRequest:
    """A request to write a letter."""
    order = Order(id="o-1", customer_id="c-1", seller_id="s-1")
    return PolicyRequest("refunder-1", "letter", order, LetterFacts(), NOW, usage=usage)


def dispute(name: str, buyer: str, amount_minor: int) -> DisputeOpened:
    """A dispute about a missing parcel, with what a full refund needs."""
    return DisputeOpened(
        dispute_id=name,
        order_id=f"o-{name}",
        customer_id=buyer,
        seller_id="s-1",
        amount=euros(amount_minor),
        category=DisputeCategory.NOT_RECEIVED,
        statements=(),
        evidence=(Evidence(party=Party.BUYER, kind="photo", supports=Party.BUYER),),
        seller_dispute_rate_percent=3,
        buyer_prior_disputes=0,
    )
