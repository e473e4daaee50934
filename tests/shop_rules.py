"""The rules of the shipped shop, a second time: plain Python over events, nothing of the policies or their engine.

For every agent: the rules that an action breaks, as what follows from them: `DENY` (nobody lifts it) or the role of the
person who may. No rule broken: allowed. Written from the sentences of the policies, `@title` by `@title`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from jurat.schemas.commerce import OrderPlaced, PaymentFailed, ServiceLevel, WarehouseReported
from jurat.schemas.decision import Verdict
from jurat.schemas.marketplace import DisputeCategory, DisputeOpened, Party
from jurat.schemas.model import Money

Parameters = Mapping[str, Any]
DENY = "nobody"
TECHNICAL = {"processor_timeout", "processor_unavailable", "issuer_unavailable", "network_error"}
FUNDS = {"insufficient_funds", "limit_exceeded"}
REFUSED = {"do_not_honor", "generic_decline", "card_declined"}
FRAUD = {"suspected_fraud", "lost_or_stolen", "lost_card", "stolen_card", "pickup_card"}
DELIVERY_KINDS = {
    "tracking_scan",
    "delivery_scan",
    "delivery_signature",
    "delivery_photo",
    "proof_of_delivery",
}
LEAST_MINUTES = (
    *((code, 5) for code in TECHNICAL),
    *((code, 360) for code in REFUSED),
    *((c, 1_440) for c in FUNDS),
)


def verdict(broken: Iterator[str]) -> Verdict:
    """What follows from the rules that were broken."""
    found = set(broken)
    if DENY in found:
        return Verdict.DENY
    return Verdict.ESCALATE if found else Verdict.ALLOW


def _money(amount: Money) -> Iterator[str]:
    if amount.amount_minor <= 0:
        yield DENY
    if amount.currency not in ("EUR", "USD", "GBP"):
        yield "payments-lead"


def payment(event: PaymentFailed, action: str, parameters: Parameters) -> Iterator[str]:
    """What may be done about a failed charge."""
    code, score, amount = event.failure_code, event.fraud_score, event.amount.amount_minor
    yield from _money(event.amount)
    if score >= 80:
        yield DENY
    if action == "retry_charge":
        minutes = parameters["after_minutes"]
        # What is not named here does not mend by waiting, fraud and wrong details among it.
        if minutes < dict(LEAST_MINUTES).get(code, math.inf) or minutes > 14 * 24 * 60:
            yield DENY
        if event.attempt >= 4 or score >= 65:
            yield DENY
        if amount > 20_000 and score >= 50:
            yield "fraud-desk"
    elif action == "ask_for_new_method":
        if score >= 50 and code in FRAUD:
            yield "fraud-desk"
    elif action == "give_up":
        if event.attempt == 1 and code in TECHNICAL:
            yield DENY
        if amount > 100_000:
            yield "payments-lead"
    else:
        yield DENY


def dispute(
    event: DisputeOpened, action: str, parameters: Parameters, *, settled: bool, refunded: int
) -> Iterator[str]:
    """Who may be paid what in a dispute; `refunded` was paid to the buyer within the day before."""
    yield from _money(event.amount)
    if event.days_since_delivery is not None and event.days_since_delivery > 90:
        yield DENY
    if action == "request_evidence":
        if sum(piece.party.value == parameters["from_party"] for piece in event.evidence) >= 3:
            yield DENY
    elif action in ("refund_buyer", "partial_refund", "release_to_seller"):
        if settled:
            yield DENY
        if event.category is DisputeCategory.UNAUTHORISED:
            yield "fraud-desk"
        if action == "release_to_seller":
            yield from _release(event)
        else:
            yield from _refund(event, action, parameters)
            if refunded + parameters["amount_minor"] > 100_000:
                yield "payments-lead"
    else:
        yield DENY


def _release(event: DisputeOpened) -> Iterator[str]:
    if not _supported(event, Party.SELLER) or (_missing(event) and not _deliveries_shown(event)):
        yield DENY
    if event.seller_dispute_rate_percent >= 10:
        yield "risk"


def _refund(event: DisputeOpened, action: str, parameters: Parameters) -> Iterator[str]:
    amount, disputed = parameters["amount_minor"], event.amount
    if not 0 < amount <= disputed.amount_minor or parameters["currency"] != disputed.currency:
        yield DENY
    if amount > 50_000:
        yield "payments-lead"
    if event.buyer_prior_disputes >= 3:
        yield "risk"
    whole = amount == disputed.amount_minor
    if whole != (action == "refund_buyer"):
        yield DENY
    shown = _deliveries_shown(event) if _missing(event) else None
    if action == "refund_buyer" and (
        shown not in (None, 0, 1) or not (_supported(event, Party.BUYER) or shown == 0)
    ):
        yield DENY


def _missing(event: DisputeOpened) -> bool:
    return event.category is DisputeCategory.NOT_RECEIVED


def _supported(event: DisputeOpened, party: Party) -> bool:
    return any(piece.supports is party for piece in event.evidence)


def _deliveries_shown(event: DisputeOpened) -> int:
    return sum(
        piece.supports is Party.SELLER and (piece.party is Party.CARRIER or piece.kind in DELIVERY_KINDS)
        for piece in event.evidence
    )


def routing(
    event: OrderPlaced, action: str, parameters: Parameters, *, warehouses: Mapping[str, WarehouseReported]
) -> Iterator[str]:
    """Where an order may leave from; for orders that were promised no day."""
    need = Counter(item.item_id for item in event.items)

    def holds(*reports: WarehouseReported) -> bool:
        return all(sum(max(0, one.stock.get(item, 0)) for one in reports) >= n for item, n in need.items())

    def may_not(report: WarehouseReported) -> bool:
        away = math.isqrt((report.x_km - event.x_km) ** 2 + (report.y_km - event.y_km) ** 2)
        return report.load_percent >= 90 or away > 1_500

    yield from _money(event.total)
    calm = [one for one in warehouses.values() if one.load_percent < 90]
    one_is_enough = any(holds(one) for one in calm)
    if action == "ship_from":
        report = warehouses.get(parameters["warehouse_id"])
        if report is None or not holds(report) or may_not(report):
            yield DENY
        elif event.total.amount_minor > 50_000 and report.late_percent >= 15:
            yield "logistics-lead"
    elif action == "split_shipment":
        names = (parameters["first_warehouse_id"], parameters["second_warehouse_id"])
        reports = [warehouses[name] for name in names if name in warehouses]
        if len({one.warehouse_id for one in reports}) < 2 or not holds(*reports):
            yield DENY
        if any(map(may_not, reports)) or one_is_enough:
            yield DENY
    elif action == "backorder":
        if one_is_enough or any(holds(a, b) for a in calm for b in calm if a is not b):
            yield DENY
        if not warehouses or event.service_level is ServiceLevel.EXPRESS:
            yield "logistics-lead"
    else:
        yield DENY
