"""The fold gives the same profile whatever the order of topics, and however often events come again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas.commerce import OrderCancelled, PaymentCaptured, PaymentFailed, PaymentRefunded
from jurat.schemas.model import Event, Money
from jurat.streams.context_profile import ProfileState, Source, fold

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = ("commerce.orders", "commerce.payments", "marketplace.disputes")
IDS = {"order_id": "o1", "customer_id": "c1"}
PAID = {**IDS, "payment_id": "p1", "payment_method_id": "m1"}

money = st.builds(Money, amount_minor=st.integers(0, 10**6), currency=st.sampled_from(["EUR", "USD", "JPY"]))
events: st.SearchStrategy[Event] = st.one_of(
    st.just(OrderCancelled(**IDS, reason="")),
    money.map(lambda amount: PaymentCaptured(**PAID, amount=amount)),
    money.map(lambda amount: PaymentRefunded(**PAID, amount=amount)),
    money.map(
        lambda amount: PaymentFailed(**PAID, amount=amount, failure_code="x", attempt=1, fraud_score=0)
    ),
)
Stamped = tuple[Event, datetime]
stamped = st.tuples(events, st.integers(0, 50).map(lambda minutes: EPOCH + timedelta(minutes=minutes)))
logs = st.fixed_dictionaries({topic: st.lists(stamped, max_size=8) for topic in TOPICS}).filter(
    lambda log: any(log.values())
)


def fold_one(
    state: ProfileState | None, log: dict[str, list[Stamped]], topic: str, position: int
) -> ProfileState:
    event, at = log[topic][position]
    # Offsets with holes, as transaction markers and other customers' events leave them.
    return fold(state, event, at=at, source=Source(topic, 2, 3 * position))


def in_order(log: dict[str, list[Stamped]]) -> ProfileState:
    state: ProfileState | None = None
    for topic in TOPICS:
        for position in range(len(log[topic])):
            state = fold_one(state, log, topic, position)
    assert state is not None
    return state


@given(logs, st.data())
def test_interleaving_and_rewinding_change_nothing(
    log: dict[str, list[Stamped]], data: st.DataObject
) -> None:
    state: ProfileState | None = None
    reached = dict.fromkeys(TOPICS, 0)
    crashes = 3
    while unread := [topic for topic in TOPICS if reached[topic] < len(log[topic])]:
        topic = data.draw(st.sampled_from(unread))
        state = fold_one(state, log, topic, reached[topic])
        reached[topic] += 1
        if crashes and data.draw(st.booleans()):
            crashes -= 1
            # A crash: the table is restored, the offsets are those of the last commit.
            state = ProfileState.from_bytes(state.to_bytes())
            reached = {topic: data.draw(st.integers(0, reached[topic])) for topic in TOPICS}
    assert state is not None
    assert state.profile() == in_order(log).profile()
    assert state.revision == sum(len(log[topic]) for topic in TOPICS)


@given(logs)
def test_the_profile_says_what_the_events_say(log: dict[str, list[Stamped]]) -> None:
    profile = in_order(log).profile()
    everything = [one for topic in TOPICS for one in log[topic]]
    captured = [event.amount for event, _ in everything if isinstance(event, PaymentCaptured)]
    assert profile.refunds == sum(isinstance(event, PaymentRefunded) for event, _ in everything)
    assert profile.failed_charges == sum(isinstance(event, PaymentFailed) for event, _ in everything)
    assert profile.spend.amount_minor == sum(
        amount.amount_minor for amount in captured if amount.currency == profile.spend.currency
    )
    assert profile.first_seen == min(at for _, at in everything)
    assert profile.last_seen == max(at for _, at in everything)
