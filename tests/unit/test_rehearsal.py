"""An agent run in memory: decisions, views, state, timers, repeats and approvals, as a worker would have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import pytest

from jurat.agents.agent import Action, Agent, Situation
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, RetryCharge
from jurat.agents.reasoner import Reasoner
from jurat.audit.approval import Answer
from jurat.audit.record import Outcome
from jurat.policies.engine import PolicyEngine
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError, ReasonerError, UnknownSchema
from jurat.schemas.marketplace import DisputeOpened
from jurat.schemas.model import Event
from jurat.streams.rehearsal import Rehearsal
from tests.approval_stage import Wants
from tests.deciding_stage import Kept, failed
from tests.examples import EXAMPLES
from tests.shop import Down, Insisting, profile, shop_engine

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rehearsal(
    agent: Agent[Any] = PAYMENT_RETRIER, *, reasoner: Reasoner | None = None, engine: object | None = None
) -> Rehearsal:
    return Rehearsal(agent, engine=cast("PolicyEngine", engine or shop_engine()), reasoner=reasoner, at=START)


def counted(situation: Situation[Any], _action: Action) -> Kept:
    before = cast("Kept | None", situation.state)
    return Kept(count=1 + (before.count if before else 0))


def reminding(situation: Situation[Any], _action: Action) -> Mapping[str, datetime]:
    """Remind twice, an hour apart; then be quiet."""
    before = cast("Kept | None", situation.state)
    return {"remind": situation.now + HOUR} if before is None or before.count < 2 else {}


COUNTING = replace(PAYMENT_RETRIER, state_model=Kept, effect=counted)


async def test_an_event_is_decided_and_recorded_as_a_worker_does_it() -> None:
    ended = await rehearsal().send(failed())
    assert ended is not None
    assert ended.outcome is Outcome.DECIDED
    assert ended.decision is not None
    assert ended.action == RetryCharge(after_minutes=24 * 60)
    assert ended.decision.parameters == {"after_minutes": 24 * 60}
    assert ended.decision.decided_at == START
    record = ended.record
    assert (record.decision_id, record.outcome) == (ended.decision.id, Outcome.DECIDED)
    assert record.policy is not None
    assert record.policy.digest == shop_engine().digest


async def test_what_is_denied_has_a_decision_and_no_action() -> None:
    agent = replace(PAYMENT_RETRIER, fallback=lambda _situation: None)
    ended = await rehearsal(agent, reasoner=Insisting(RetryCharge(after_minutes=0))).send(failed())
    assert ended is not None
    assert (ended.outcome, ended.action) == (Outcome.DENIED, None)
    assert ended.decision is not None
    assert ended.decision.verdict is Verdict.DENY


async def test_the_fallback_stands_in_for_a_reasoner_that_is_down() -> None:
    ended = await rehearsal(replace(PAYMENT_RETRIER), reasoner=Down()).send(failed())
    assert ended is not None
    assert ended.action == AskForNewMethod()


async def test_views_are_folded_from_what_is_sent_and_may_be_told() -> None:
    stage = rehearsal()
    known = profile(orders=30)
    assert await stage.send(known) is None, "a profile is not on the agent's topic"
    folded = await stage.send(failed())
    told = await rehearsal().send(failed(), documents={("customers", known.key()): known})
    unknown = await rehearsal().send(failed())
    assert folded is not None
    assert told is not None
    assert unknown is not None
    reads = [one.record.context[0].sha256 for one in (folded, told, unknown)]
    assert reads[0] == reads[1] is not None
    assert reads[2] is None


async def test_state_is_kept_by_key_and_the_same_event_again_is_a_repeat() -> None:
    stage = rehearsal(COUNTING)
    for event_id in ("a", "b", "b"):
        last = await stage.send(failed(), event_id=event_id)
    assert last is not None
    assert last.outcome is Outcome.DUPLICATE
    assert stage.state("c-1") == Kept(count=2)
    assert stage.state("c-2") is None
    stage.close()


async def test_timers_fire_at_their_moments_and_are_decided() -> None:
    def judged(situation: Situation[Any], action: Action) -> Any:
        event = situation.event
        return PAYMENT_RETRIER.judged(
            replace(situation, event=event if isinstance(event, PaymentFailed) else failed()), action
        )

    agent = replace(
        COUNTING,
        timers=reminding,
        judged=judged,
        reads=lambda _event: (),
        subject=lambda event: event.key(),
    )
    stage = rehearsal(agent, reasoner=Insisting(AskForNewMethod()))
    await stage.send(failed())
    assert stage.next_due == START + HOUR
    assert await stage.advance(START + HOUR / 2) == ()
    with pytest.raises(ConfigurationError, match="a timer is due before it"):
        await stage.send(failed(), at=START + 2 * HOUR)
    fired = await stage.advance(START + 5 * HOUR)
    assert [one.at - START for one in fired] == [HOUR, 2 * HOUR]
    assert [one.outcome for one in fired] == [Outcome.DECIDED] * 2
    assert stage.state("c-1") == Kept(count=3)
    assert (stage.now, stage.next_due) == (START + 5 * HOUR, None)


async def test_timers_that_never_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jurat.streams.rehearsal.MAX_FIRED", 500)
    agent = replace(
        PAYMENT_RETRIER,
        timers=lambda situation, _action: {"now": situation.now},
        judged=lambda situation, action: PAYMENT_RETRIER.judged(replace(situation, event=failed()), action),
        reads=lambda _event: (),
        subject=lambda event: event.key(),
    )
    stage = rehearsal(agent, reasoner=Insisting(AskForNewMethod()), engine=Wants(roles=()))
    await stage.send(failed())
    with pytest.raises(ConfigurationError, match=r"more than 500 timers of .* come to an end"):
        await stage.advance(START)


@pytest.mark.parametrize(
    ("answer", "then"), [(Answer.GRANT, Outcome.DECIDED), (Answer.REFUSE, Outcome.DENIED)]
)
async def test_what_waits_for_people_is_answered(answer: Answer, then: Outcome) -> None:
    stage = rehearsal(COUNTING, engine=Wants(roles=("payments-lead",)))
    ended = await stage.send(failed())
    assert ended is not None
    assert ended.decision is not None
    assert (ended.outcome, ended.action) == (Outcome.ESCALATED, None)
    answered = await stage.answer(ended.decision, answer, role="payments-lead")
    assert answered.outcome is then
    assert answered.decision is not None
    assert answered.decision.concludes == ended.decision.id
    assert stage.state("c-1") == (Kept(count=1) if answer is Answer.GRANT else None)
    with pytest.raises(ConfigurationError, match="does not wait"):
        await stage.answer(ended.decision, answer, role="payments-lead")


async def test_two_roles_are_two_people() -> None:
    stage = rehearsal(engine=Wants(roles=("fraud-desk", "payments-lead")))
    ended = await stage.send(failed())
    assert ended is not None
    assert ended.decision is not None
    first = await stage.answer(ended.decision, Answer.GRANT, role="fraud-desk", approver="carol")
    same = await stage.answer(ended.decision, Answer.GRANT, role="payments-lead", approver="carol")
    second = await stage.answer(ended.decision, Answer.GRANT, role="payments-lead", approver="dave")
    assert [one.outcome for one in (first, same, second)] == [
        Outcome.ESCALATED,
        Outcome.REJECTED,
        Outcome.DECIDED,
    ]


async def test_nobody_answers_and_it_is_denied_when_its_time_is_over() -> None:
    stage = rehearsal(engine=Wants())
    await stage.send(failed())
    (timed_out,) = await stage.advance(START + PAYMENT_RETRIER.approval_within)
    assert timed_out.outcome is Outcome.DENIED


async def test_what_a_worker_would_try_again_is_raised() -> None:
    class Broken(Down):
        async def propose(self, request: object) -> Any:
            raise ConfigurationError("no script")

    with pytest.raises(ConfigurationError, match="no script"):
        await rehearsal(reasoner=Broken()).send(failed())
    agent = replace(PAYMENT_RETRIER, fallback=lambda _situation: None)
    with pytest.raises(ReasonerError):
        await rehearsal(agent, reasoner=Down()).send(failed())


async def test_time_does_not_run_backwards_and_views_are_those_of_the_agent() -> None:
    stage = rehearsal()
    with pytest.raises(ConfigurationError, match="before the present one"):
        await stage.send(failed(), at=START - HOUR)
    with pytest.raises(ConfigurationError, match="before the present one"):
        await stage.advance(START - HOUR)
    with pytest.raises(ConfigurationError, match="expected one of payment-retrier: customers"):
        await stage.send(failed(), documents={("orders", "o-1"): None})
    with pytest.raises(ConfigurationError, match="without a zone"):
        Rehearsal(PAYMENT_RETRIER, engine=shop_engine(), at=datetime(2026, 3, 2))  # noqa: DTZ001
    with pytest.raises(ConfigurationError, match="without a zone"):
        await stage.send(failed(), at=datetime(2027, 3, 2))  # noqa: DTZ001
    with pytest.raises(ConfigurationError, match="without a zone"):
        await stage.advance(datetime(2027, 3, 2))  # noqa: DTZ001


async def test_events_of_other_topics_are_nothing_to_the_agent_and_unknown_ones_an_error() -> None:
    class Unheard(Event):
        namespace: ClassVar[str] = "nowhere"
        key_field: ClassVar[str] = "name"
        name: str

    (dispute,) = [one for one in EXAMPLES if isinstance(one, DisputeOpened)]
    assert await rehearsal().send(dispute) is None
    with pytest.raises(UnknownSchema, match=r"Unheard, which nobody declared as jurat\.nowhere\.Unheard"):
        await rehearsal().send(Unheard(name="x"))
