"""One valid example of each event type, for tests that hold for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jurat.schemas import commerce, commerce_promises, marketplace, notices, simulation, subscriptions
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.decision import Decision, InputRef, Verdict
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.schemas.forgetting import ForgetRequested
from jurat.schemas.model import Address, Event, Money
from jurat.schemas.timers import TimerFired

WHEN = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
EUR = Money(amount_minor=1999, currency="EUR")
HOME = Address(line1="1 High Street", city="Köln", region="NW", postal_code="50667", country="DE")
ITEM = commerce.OrderItem(item_id="i-1", product_id="p-1", name="Lamp", price=EUR)
OF_PAYMENT = {
    "payment_id": "pay-1",
    "order_id": "o-1",
    "customer_id": "c-1",
    "payment_method_id": "card-1",
    "amount": EUR,
}
OF_PARCEL = {"order_id": "o-1", "customer_id": "c-1", "tracking_ids": ("t-1",), "item_ids": ("i-1",)}

DECISION = Decision(
    id="dec_0123456789abcdef0123456789abcdef",
    request_id="r-1",
    agent="after-sales",
    subject="o-1",
    verdict=Verdict.DENY,
    action="cancel_pending_order",
    parameters={"order_id": "o-1", "reason": "no longer needed"},
    policies=("cancel.only-pending",),
    reasons=("Only a pending order can be cancelled",),
    rationale="as requested",
    confidence=None,
    reasoner="requested",
    attempts=1,
    input=InputRef(topic="commerce.after-sales-requests", partition=3, offset=41),
    policy_digest="0" * 64,
    decided_at=WHEN,
)

REQUEST = ApprovalRequested(
    decision_id="dec_0123456789abcdef0123456789abcdef",
    agent="dispute-mediator",
    subject="d-1",
    action="refund_buyer",
    title="Refund the buyer in full",
    parameters={"amount_minor": 45_213, "currency": "EUR"},
    resource_type="Jurat::Dispute",
    resource_id="d-1",
    policies=("dispute.unauthorised",),
    reasons=("Where the buyer says that someone else bought, the fraud desk settles",),
    roles=("fraud-desk",),
    granted=("risk by carol",),
    rationale="Refund the buyer in full: 37 points",
    action_sha256="4fb16af435141177d4bc14aa0cae88aff366ce907cb16fdc3b0df2a7749e63f6",
    policy_digest="188da47a496d0ffa41f56bc5f1d43b97db8aefa29162d7760ae20e7fed108b0e",
    input=InputRef(topic="marketplace.disputes", partition=4, offset=2),
    event_key="c-1",
    requested_at=WHEN,
    due_at=WHEN + timedelta(hours=24),
)

ANSWER = ApprovalAnswered(
    agent="dispute-mediator",
    event_key="c-1",
    decision_id="dec_0123456789abcdef0123456789abcdef",
    payload_type="application/vnd.in-toto+json",
    payload=b"{}",
    signatures=(Signature(keyid="did:key:z6Mk", sig=bytes(64)),),
)

FORGET = ForgetRequested(
    agent="dispute-mediator",
    event_key="c-7",
    payload_type="application/vnd.jurat.forget.v1+json",
    payload=b"{}",
    signatures=(Signature(keyid="did:key:z6Mk", sig=bytes(64)),),
)

PLAN = subscriptions.Plan(plan_id="team", limit_units=10_000, price=EUR)
STANDING = subscriptions.AccountStanding(yearly=EUR, seats_active=40, open_incidents=1)

EXAMPLES: tuple[Event, ...] = (
    subscriptions.CancellationRequested(
        account_id="a-1", standing=STANDING, reason=subscriptions.CancelReason.PRICE, final=True
    ),
    subscriptions.CardUpdated(account_id="a-1"),
    subscriptions.CareNeedDeclared(account_id="a-1", needs_care=True),
    subscriptions.ContactChanged(
        account_id="a-1",
        contact_id="p-1",
        champion=True,
        change=subscriptions.ContactChange.PROMOTED,
        purpose=subscriptions.Purpose.RETENTION,
    ),
    subscriptions.IndustryDeclared(
        account_id="a-1", industry="banking", regulated=True, purpose=subscriptions.Purpose.COMPLIANCE
    ),
    subscriptions.OnboardingTicketRaised(account_id="a-1", severity=3, purpose=subscriptions.Purpose.SUPPORT),
    subscriptions.RenewalApproaching(account_id="a-1", standing=STANDING, days_to_renewal=45),
    subscriptions.RenewalFailed(
        account_id="a-1",
        invoice_id="inv-1",
        amount=EUR,
        failure_code="insufficient_funds",
        tenure_months=18,
        cheaper_plan=True,
    ),
    subscriptions.RenewalRecovered(account_id="a-1", invoice_id="inv-1", amount=EUR),
    subscriptions.SuggestionAnswered(account_id="a-1", accepted=False),
    subscriptions.UsageDropped(account_id="a-1", standing=STANDING, drop_percent=55),
    subscriptions.UsageReported(
        account_id="a-1",
        plan=PLAN,
        months=(7_000, 8_500, 9_800),
        overage_per_thousand=EUR,
        plans=(PLAN,),
        add_ons=(subscriptions.AddOn(add_on_id="extra", extra_units=2_000, price=EUR),),
        past_due_invoices=1,
    ),
    commerce.AfterSalesRequested(
        request_id="r-1",
        customer_id="c-1",
        action="cancel_pending_order",
        args={"order_id": "o-1", "n": [1, None]},
    ),
    commerce_promises.CapacityReported(
        zone_id="z-1",
        currency="EUR",
        load_percent=70,
        slots=(
            commerce_promises.SlotCapacity(
                slot_id="sat-am",
                starts_at=WHEN,
                ends_at=WHEN + timedelta(hours=4),
                capacity=40,
                tariff_minor=490,
            ),
        ),
    ),
    commerce_promises.DeliveryPromiseRequested(
        zone_id="z-1",
        request_id="r-1",
        customer_id="c-1",
        order_id="o-1",
        value=EUR,
        tier=commerce_promises.Tier.PLUS,
        units=2,
        wished_by=WHEN,
        late_before=1,
    ),
    commerce_promises.PromiseAnswered(
        zone_id="z-1",
        request_id="r-1",
        answer=commerce_promises.PromiseAnswer.COUNTERED,
        to_round=1,
        slot_id="sat-pm",
        fee_minor=-100,
    ),
    commerce.CustomerProfile(
        customer_id="c-1",
        orders=2,
        spend=EUR,
        refunds=0,
        refunded=EUR,
        failed_charges=1,
        disputes=0,
        first_seen=WHEN,
        last_seen=WHEN,
    ),
    commerce.CustomerRegistered(
        customer_id="c-1",
        given_name="Ada",
        family_name="Lovelace",
        email="ada@example.org",
        address=HOME,
        payment_methods=(
            commerce.PaymentMethod(
                payment_method_id="g-1", kind=commerce.PaymentMethodKind.GIFT_CARD, balance=EUR
            ),
            commerce.PaymentMethod(payment_method_id="card-1", kind=commerce.PaymentMethodKind.CREDIT_CARD),
        ),
    ),
    commerce.OrderCancelled(order_id="o-1", customer_id="c-1", reason="no longer needed"),
    commerce.OrderDelivered(**OF_PARCEL),
    commerce.OrderDispatched(**OF_PARCEL),
    commerce.OrderPlaced(
        order_id="o-1",
        customer_id="c-1",
        items=(ITEM, ITEM),
        total=EUR,
        ship_to=HOME,
        x_km=-4,
        y_km=7,
        service_level=commerce.ServiceLevel.EXPRESS,
        promised_by=WHEN,
        payment_method_id="card-1",
    ),
    commerce.PaymentCaptured(**OF_PAYMENT),
    commerce.PaymentFailed(**OF_PAYMENT, failure_code="insufficient_funds", attempt=2, fraud_score=17),
    commerce.PaymentRefunded(**OF_PAYMENT),
    commerce.ProductListed(
        product_id="p-1",
        name="Lamp",
        variants=(commerce.Variant(item_id="i-1", options={"colour": "red"}, available=True, price=EUR),),
    ),
    commerce.WarehouseReported(
        warehouse_id="w-1",
        region="north",
        x_km=3,
        y_km=-9,
        load_percent=40,
        late_percent=3,
        handling_cost=EUR,
        stock={"i-1": 12},
    ),
    notices.NoticeAnswered(
        notice_id="n-1", customer_id="c-1", channel=notices.Channel.EMAIL, read=False, unsubscribed=True
    ),
    notices.NoticeDue(
        notice_id="n-1",
        customer_id="c-1",
        kind=notices.NoticeKind.DELIVERY_TODAY,
        urgency=notices.Urgency.SOON,
        valid_until=WHEN + timedelta(hours=9),
        time_zone="America/Argentina/Buenos_Aires",
        channels=(
            notices.Reach(
                channel=notices.Channel.SMS,
                consented=True,
                works=True,
                read_percent=91,
                cost=Money(amount_minor=7, currency="EUR"),
            ),
        ),
    ),
    marketplace.SettlementAnswered(
        dispute_id="d-1",
        customer_id="c-1",
        party=marketplace.Party.BUYER,
        answer=marketplace.SettlementAnswer.COUNTERED,
        to_minor=999,
        counter_minor=1_200,
    ),
    marketplace.SearchPerformed(
        search_id="q-1",
        buyer_id="b-1",
        query="desk lamp, größer als 30 cm",
        taste=marketplace.Taste(price=70, quality=20),
        listings=(
            marketplace.Listing(
                listing_id="l-1",
                seller_id="s-1",
                relevance=91,
                price=EUR,
                ships_in_days=2,
                rating=88,
                new_seller=True,
                sponsored=False,
            ),
        ),
    ),
    marketplace.SellerActivityReported(
        seller_id="s-1",
        window_days=28,
        days_active=400,
        identity_verified=True,
        orders=80,
        late=3,
        cancelled=1,
        disputes=2,
        disputes_lost=1,
        chargebacks=0,
        reviews=22,
        rating=84,
        volume=Money(amount_minor=312_000, currency="EUR"),
    ),
    marketplace.DisputeOpened(
        dispute_id="d-1",
        order_id="o-1",
        customer_id="c-1",
        seller_id="s-1",
        amount=EUR,
        category=marketplace.DisputeCategory.DAMAGED,
        statements=(marketplace.Statement(party=marketplace.Party.BUYER, text="it came in pieces"),),
        evidence=(
            marketplace.Evidence(
                party=marketplace.Party.BUYER, kind="photo", supports=marketplace.Party.BUYER
            ),
        ),
        days_since_delivery=3,
        seller_dispute_rate_percent=2,
        buyer_prior_disputes=0,
    ),
    simulation.DisputeOutcome(
        dispute_id="d-1",
        cause=next(iter(simulation.DisputeCause)),
        right=marketplace.Party.BUYER,
        fair_refund_minor=1999,
    ),
    simulation.FulfilmentOutcome(
        order_id="o-1",
        warehouses=(
            simulation.WarehouseOutcome(
                warehouse_id="w-1", in_stock=True, handling_hours=5, transit_hours=30
            ),
        ),
    ),
    simulation.RetryOutcome(
        payment_id="pay-1",
        cause=simulation.FailureCause.AWAITING_FUNDS,
        windows=(simulation.RetryWindow(opens_at=WHEN, closes_at=None),),
        fraudulent=False,
        already_charged=False,
    ),
    DECISION,
    SignedRecord(
        chain="after-sales/commerce.after-sales-requests/3",
        payload_type="application/vnd.in-toto+json",
        payload=b"{}",
        signatures=(Signature(keyid="did:key:z6Mk", sig=bytes(64)),),
    ),
    TimerFired(
        agent="payment-retrier",
        event_key="c-1",
        name="remind",
        due_at=WHEN,
        set_by=InputRef(topic="commerce.payments", partition=3, offset=17),
    ),
    ANSWER,
    FORGET,
    REQUEST,
)
