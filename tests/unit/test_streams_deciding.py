"""From one record to what is committed about it: every way in which an input ends, and what each leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from jurat.agents.agent import Action, Agent, Candidate, GlobalTable, Lookup, Situation
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge, judged
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner
from jurat.agents.shop_views import CUSTOMERS
from jurat.audit.chain import ChainHead
from jurat.audit.record import MAX_CONTEXT, MAX_ERROR, MAX_ERRORS, DecisionRecord, Outcome, Statement, parse
from jurat.policies.engine import PolicyEngine
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentCaptured, PaymentFailed
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import InputRejected, ProposalInvalid, ReasonerUnavailable, Retryable
from jurat.schemas.model import Event, Model
from jurat.schemas.timers import TimerFired
from jurat.streams.deciding import FIRST, Decider, Verdicted
from jurat.streams.documents import Document, digest_of
from jurat.streams.duplicates import WINDOW_S
from jurat.streams.kafka import KafkaRecord
from jurat.streams.recording import MAX_RATIONALE_CHARS
from jurat.streams.state import PartitionState
from jurat.streams.tables import Tables
from jurat.streams.timers import MAX_TIMERS, Standing
from tests.shop import Down, Insisting, profile, shop_engine

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY = "c-1"
PARTITION = 2


class Kept(Model):
    """A state that counts."""

    count: int
    ratio: float | None = None


class FakeTables:
    """The seam to Kafka's views: documents by (view, key), some of which appear only at the topics' end."""

    def __init__(self, *, late: bool = False, reaches_the_end: bool = True) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.late: dict[tuple[str, str], Document] = {}
        self.reaches_the_end = reaches_the_end
        self.waits = 0
        held = Document(profile(orders=3), "context.customers", 1, 5, digest_of(profile(orders=3)))
        (self.late if late else self.documents)["customers", KEY] = held

    def get(self, view: str, key: str, *, partition: int) -> Document | None:
        assert partition == PARTITION
        return self.documents.get((view, key))

    async def caught_up(self, timeout_s: float = 5.0, *, partition: int) -> bool:
        assert partition == PARTITION
        self.waits += 1
        self.documents |= self.late
        return self.reaches_the_end


class Asked:
    """The seam to the journal: asks the reasoner, and keeps how it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[InputRef, str, int, int]] = []

    async def propose(
        self,
        reasoner: Reasoner,
        request: ProposalRequest,
        *,
        where: InputRef,
        decision_id: str,
        attempt: int,
        ask: int,
    ) -> Proposal | None:
        self.calls.append((where, decision_id, attempt, ask))
        return await reasoner.propose(request)


class Says:
    """A judge with one answer."""

    digest = "0" * 64
    version = "fake"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def judge(self, request: PolicyRequest) -> Judgement:
        return Judgement(self.verdict, ("p.one",), ("because",))


def failed() -> PaymentFailed:
    return PaymentFailed.model_validate(
        {
            "payment_id": "pay-1",
            "order_id": "o-1",
            "customer_id": KEY,
            "payment_method_id": "card-1",
            "amount": {"amount_minor": 1_999, "currency": "EUR"},
            "failure_code": "insufficient_funds",
            "attempt": 1,
            "fraud_score": 3,
        }
    )


def record_of(event: Event) -> KafkaRecord:
    headers = tuple(headers_for(event, event_id="e-1", source="/test", traceparent=TRACE))
    return KafkaRecord("commerce.payments", PARTITION, 7, 0, event.key().encode(), encode(event), headers)


def counting(_situation: Situation[Any], _action: Action) -> Kept:
    return Kept(count=1)


STATEFUL = replace(PAYMENT_RETRIER, state_model=Kept, effect=counting)


def decider(
    agent: Agent[Any] = STATEFUL,
    *,
    reasoner: Reasoner | None = None,
    engine: object | None = None,
    tables: FakeTables | None = None,
) -> Decider:
    return Decider(
        agent=agent,
        reasoner=reasoner or HeuristicReasoner(),
        engine=cast("PolicyEngine", engine or shop_engine()),
        tables=cast("Tables", tables or FakeTables()),
        cluster_id="cluster",
        clock=lambda: NOW,
        code="jurat test",
    )


def fresh_state(model: type[Model] | None = Kept) -> PartitionState:
    return PartitionState(
        model, input_topic="commerce.payments", timer_topic="timers.payment-retrier", partition=PARTITION
    )


async def ended(one: Decider, event: Event | None = None) -> tuple[Verdicted, DecisionRecord, PartitionState]:
    """Decide an event with fresh state; the draft must finish and say the same as the rest."""
    state = fresh_state(one.agent.state_model)
    result = await one.decide(record_of(event or failed()), state, calls=Asked())
    statement: Statement = parse(result.draft.finish(ChainHead()))
    assert (result.decision is None) == (result.decision_value is None)
    assert (result.rejection is not None) == (statement.predicate.outcome is Outcome.REJECTED)
    return result, statement.predicate, state


async def rejected(one: Decider, error: str) -> Verdicted:
    """Decide an event, which must end rejected, for this error, with the state as it was."""
    result, record, state = await ended(one)
    assert record.outcome is Outcome.REJECTED
    assert result.rejection is not None
    assert result.rejection.error == error
    assert (result.decision, result.changelog, state.documents.get(KEY)) == (None, (), None)
    assert record.policy is None
    return result


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.ALLOW, Outcome.DECIDED),
        (Verdict.DENY, Outcome.DENIED),
        (Verdict.ESCALATE, Outcome.ESCALATED),
    ],
)
async def test_a_verdict_ends_in_its_outcome_and_only_allow_has_an_effect(
    verdict: Verdict, outcome: Outcome
) -> None:
    result, record, state = await ended(decider(engine=Says(verdict)))
    assert record.outcome is outcome
    assert result.decision is not None
    assert result.decision.verdict is verdict
    assert result.decision.id == record.decision_id
    assert result.decision.request_id == "e-1"
    assert bool(result.changelog) == (verdict is Verdict.ALLOW)
    assert (state.documents.get(KEY) is not None) == (verdict is Verdict.ALLOW)


async def test_a_decision_says_what_was_read_and_carries_the_trace() -> None:
    state = fresh_state()
    state.documents.put(KEY, Kept(count=7))
    result = await decider().decide(record_of(failed()), state, calls=Asked())
    record = parse(result.draft.finish(ChainHead())).predicate
    assert record.trace == TRACE
    assert [(read.name, read.key, read.uri) for read in record.context] == [
        ("customers", KEY, "kafka://cluster/context.customers/1/5"),
        ("state", KEY, None),
    ]
    assert all(read.sha256 for read in record.context)


async def test_an_absent_document_that_is_not_required_is_recorded_as_absent() -> None:
    tables = FakeTables()
    tables.documents.clear()
    _, record, _ = await ended(decider(tables=tables))
    assert record.outcome is not Outcome.REJECTED
    assert [(read.uri, read.sha256) for read in record.context] == [(None, None)]
    assert tables.waits == 0, "nobody needs to wait for what is not required"


async def test_a_dry_run_is_judged_without_effect() -> None:
    dry = replace(STATEFUL, dry_run=lambda _event: True)
    result, record, state = await ended(decider(dry, engine=Says(Verdict.ALLOW)))
    assert record.outcome is Outcome.DECIDED
    assert result.decision is not None
    assert not result.decision.effective
    assert (result.changelog, state.documents.get(KEY)) == ((), None)


async def test_an_event_that_the_agent_does_not_decide_is_skipped_with_a_record() -> None:
    captured = PaymentCaptured.model_validate(
        failed().model_dump(exclude={"failure_code", "attempt", "fraud_score"})
    )
    result, record, _ = await ended(decider(), captured)
    assert record.outcome is Outcome.SKIPPED
    assert (result.decision, result.rejection) == (None, None)


async def test_what_cannot_be_decoded_is_rejected() -> None:
    result = await decider().decide(replace(record_of(failed()), value=b"{"), fresh_state(), calls=Asked())
    assert result.rejection is not None
    assert result.rejection.error == "DecodeError"
    assert parse(result.draft.finish(ChainHead())).predicate.outcome is Outcome.REJECTED


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_arguments: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "part", ["reads", "candidates", "judged", "subject", "effect", "request_id", "dry_run"]
)
async def test_a_defect_in_an_agent_rejects_the_input_and_not_the_worker(part: str) -> None:
    broken = replace(STATEFUL, **{part: raising(KeyError("secret"))})  # type: ignore[arg-type]
    result = await rejected(decider(broken, engine=Says(Verdict.ALLOW)), "InputRejected")
    assert result.rejection is not None
    assert "KeyError" in result.rejection.message
    assert "secret" not in result.rejection.message


async def test_a_state_that_cannot_be_written_rejects_the_input_and_is_forgotten() -> None:
    """A float has no canonical form: what could not go into the changelog must not stay in memory either."""
    broken = replace(STATEFUL, effect=lambda _situation, _action: Kept(count=1, ratio=0.5))
    await rejected(decider(broken, engine=Says(Verdict.ALLOW)), "CanonicalError")


async def test_an_agent_that_cannot_say_why_in_unicode_still_rejects() -> None:
    broken = replace(STATEFUL, candidates=raising(InputRejected("got \ud800")))
    await rejected(decider(broken), "InputRejected")


class Raises:
    """A reasoner that fails."""

    name = "raises"
    deterministic = True

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def propose(self, request: ProposalRequest) -> Proposal:
        raise self.error


WITHOUT_FALLBACK = replace(STATEFUL, fallback=lambda _situation: None)


async def test_a_reasoner_that_is_down_is_tried_again_where_there_is_no_fallback() -> None:
    with pytest.raises(Retryable):
        await decider(WITHOUT_FALLBACK, reasoner=Down()).decide(
            record_of(failed()), fresh_state(), calls=Asked()
        )


async def test_a_reasoner_that_is_down_is_replaced_by_the_fallback() -> None:
    result, _, _ = await ended(decider(reasoner=Down(), engine=Says(Verdict.ALLOW)))
    assert result.decision is not None
    assert result.decision.action == AskForNewMethod.action_name
    assert "fallback" in result.decision.rationale


async def test_a_proposal_that_is_none_of_the_agents_rejects_where_there_is_no_fallback() -> None:
    await rejected(
        decider(WITHOUT_FALLBACK, reasoner=Raises(ProposalInvalid("got prose"))), "ProposalInvalid"
    )


async def test_a_record_that_is_too_large_rejects_and_leaves_the_state_alone() -> None:
    class Large(Says):
        def judge(self, request: PolicyRequest) -> Judgement:
            return replace(super().judge(request), normalised={"context": "x" * 70_000})

    result = await rejected(decider(engine=Large(Verdict.ALLOW)), "RecordInvalid")
    assert result.rejection is not None
    assert "65536" in result.rejection.message


async def test_more_reads_than_a_record_holds_reject_and_do_not_crash() -> None:
    many = tuple(Lookup("customers", f"c-{n}") for n in range(MAX_CONTEXT + 1))
    table = GlobalTable(
        CUSTOMERS.name,
        topics=CUSTOMERS.topics,
        keys=CUSTOMERS.keys,
        fold=CUSTOMERS.fold,
        document=CUSTOMERS.document,
    )
    widely = replace(STATEFUL, views=(table,))
    await rejected(decider(replace(widely, reads=lambda _event: many)), "InputRejected")
    fitting = replace(widely, reads=lambda _event: many[:MAX_CONTEXT])
    _, record, _ = await ended(decider(fitting))
    assert len(record.context) == MAX_CONTEXT


REQUIRED = replace(STATEFUL, reads=lambda event: (Lookup("customers", event.customer_id, required=True),))


async def test_a_required_document_that_appears_at_the_topics_end_is_found() -> None:
    tables = FakeTables(late=True)
    _, record, _ = await ended(decider(REQUIRED, tables=tables))
    assert record.outcome is not Outcome.REJECTED
    assert record.context[0].sha256
    assert tables.waits == 1


async def test_a_required_document_that_stands_nowhere_rejects() -> None:
    tables = FakeTables()
    tables.documents.clear()
    await rejected(decider(REQUIRED, tables=tables), "InputRejected")


async def test_absence_is_not_believed_while_the_view_is_behind() -> None:
    """A slow broker must not turn into a signed rejection: the input is tried again."""
    tables = FakeTables(reaches_the_end=False)
    tables.documents.clear()
    with pytest.raises(Retryable):
        await decider(REQUIRED, tables=tables).decide(record_of(failed()), fresh_state(), calls=Asked())


class Talks(Insisting):
    """Says more than a decision event holds."""

    async def propose(self, request: ProposalRequest) -> Proposal:
        return replace(await super().propose(request), rationale="x" * (MAX_RATIONALE_CHARS + 1))


async def test_a_long_rationale_is_cut() -> None:
    result, _, _ = await ended(decider(reasoner=Talks(GiveUp()), engine=Says(Verdict.ALLOW)))
    assert result.decision is not None
    assert result.decision.rationale == "x" * MAX_RATIONALE_CHARS


async def test_refused_proposals_are_recorded_in_order() -> None:
    class Hard(Says):
        def judge(self, request: PolicyRequest) -> Judgement:
            self.verdict = Verdict.DENY if request.action == RetryCharge.action_name else Verdict.ALLOW
            return super().judge(request)

    result, record, _ = await ended(
        decider(reasoner=Insisting(RetryCharge(after_minutes=1)), engine=Hard(Verdict.DENY))
    )
    assert [(one.action, one.verdict) for one in record.proposals][-1] == (
        "ask_for_new_method",
        Verdict.ALLOW,
    )
    assert record.attempts == len(record.proposals) > 1
    assert result.decision is not None
    assert result.decision.attempts == record.attempts


class Errs(Says):
    """A judge in which something goes wrong, so it denies."""

    def __init__(self, *errors: str, normalised: dict[str, Any] | None = None) -> None:
        super().__init__(Verdict.DENY)
        self.errors = errors
        self.normalised = normalised or {}

    def judge(self, request: PolicyRequest) -> Judgement:
        return replace(super().judge(request), errors=self.errors, normalised=self.normalised)


async def test_the_errors_of_every_judgement_are_recorded() -> None:
    _, record, _ = await ended(decider(engine=Errs("p.one: overflow", "p.two: no such attribute")))
    assert record.outcome is Outcome.DENIED
    assert len(record.proposals) > 1
    assert {one.errors for one in record.proposals} == {("p.one: overflow", "p.two: no such attribute")}


async def test_errors_that_no_record_could_hold_are_cut_and_the_judgement_stands() -> None:
    wild = ("got \ud800\n", "x" * 100_000, *("y" * MAX_ERROR,) * MAX_ERRORS)
    _, record, _ = await ended(decider(engine=Errs(*wild)))
    assert record.outcome is Outcome.DENIED
    kept = record.proposals[0].errors
    assert kept[:2] == ("got ?\n", "x" * MAX_ERROR)
    assert len(kept) == MAX_ERRORS


async def test_errors_that_make_a_record_too_large_are_left_out_and_the_judgement_stands() -> None:
    large = {"context": "x" * 60_000}
    _, record, _ = await ended(decider(engine=Errs(*("e" * MAX_ERROR,) * MAX_ERRORS, normalised=large)))
    assert record.outcome is Outcome.DENIED
    assert {one.errors for one in record.proposals} == {()}
    assert record.proposals[0].reasons == ("because",)


@pytest.mark.parametrize("deterministic", [True, False])
async def test_a_record_says_whether_the_reasoner_is_deterministic(deterministic: bool) -> None:
    reasoner = Insisting(GiveUp())
    reasoner.deterministic = deterministic
    _, record, _ = await ended(decider(reasoner=reasoner))
    assert record.reasoner is not None
    assert record.reasoner.deterministic is deterministic


async def test_the_same_input_gets_the_same_decision_id() -> None:
    ids = {(await ended(decider()))[1].decision_id for _ in range(2)}
    assert len(ids) == 1


def timer_record(offset: int = 3, *, agent: str = "payment-retrier") -> KafkaRecord:
    """A timer that fired."""
    setter = InputRef(topic="commerce.payments", partition=PARTITION, offset=7)
    event = TimerFired(agent=agent, event_key=KEY, name="remind", due_at=NOW, set_by=setter)
    headers = tuple(headers_for(event, event_id="dec_1/remind", source="/agents/payment-retrier", time=NOW))
    return KafkaRecord("timers.payment-retrier", PARTITION, offset, 0, KEY.encode(), encode(event), headers)


def reminding(situation: Situation[Any], _action: Action) -> dict[str, datetime]:
    return {"remind": situation.now + timedelta(hours=1)}


WAITING = replace(
    STATEFUL,
    timers=reminding,
    subject=lambda event: event.key(),
    reads=lambda _event: (),
    candidates=lambda _situation: (Candidate(GiveUp(), ()),),
    judged=lambda _situation, action: judged(cast("Any", Situation(event=failed(), now=NOW)), action),
)


async def test_an_allowed_action_sets_the_timers_of_its_key_and_replaces_those_before() -> None:
    one, state = decider(WAITING, engine=Says(Verdict.ALLOW)), fresh_state()
    before = Standing(set_by=timer_input(1), timers={"old": NOW, "remind": NOW})
    state.timers.replace(KEY, before)
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert [key for key, _ in result.changelog] == [
        f"state/commerce.payments/{KEY}",
        f"timer/commerce.payments/{KEY}",
    ]
    assert state.timers.take_due(NOW) == []
    (due,) = state.timers.take_due(NOW + timedelta(hours=1))
    assert (due.key, due.name, due.set_by.offset) == (KEY, "remind", 7)


async def test_an_action_after_which_no_timer_stands_takes_them_back() -> None:
    one = decider(replace(WAITING, timers=lambda _situation, _action: {}), engine=Says(Verdict.ALLOW))
    state = fresh_state()
    state.timers.replace(KEY, Standing(set_by=timer_input(1), timers={"old": NOW}))
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert (f"timer/commerce.payments/{KEY}", None) in result.changelog
    assert len(state.timers) == 0


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
async def test_what_is_not_allowed_leaves_timers_alone(verdict: Verdict) -> None:
    one, state = decider(WAITING, engine=Says(verdict)), fresh_state()
    state.timers.replace(KEY, Standing(set_by=timer_input(1), timers={"old": NOW}))
    result = await one.decide(record_of(failed()), state, calls=Asked())
    assert result.changelog == ()
    assert [due.name for due in state.timers.take_due(NOW)] == ["old"]


@pytest.mark.parametrize(
    "timers",
    [
        {f"t{n}": NOW for n in range(MAX_TIMERS + 1)},
        {"\u00e9": NOW},
        {"": NOW},
        {"x" * 101: NOW},
        {"t": datetime(2026, 1, 1)},  # noqa: DTZ001 - without a zone
    ],
)
async def test_timers_that_cannot_stand_reject_and_leave_state_and_timers_alone(
    timers: dict[str, datetime],
) -> None:
    broken = replace(WAITING, timers=lambda _situation, _action: timers)
    _result, _record, state = await ended(decider(broken, engine=Says(Verdict.ALLOW)))
    assert _record.outcome is Outcome.REJECTED
    assert (len(state.timers), state.documents.get(KEY)) == (0, None)


async def test_a_timer_that_fired_is_an_input_of_its_key_with_its_state() -> None:
    one, state = decider(WAITING, engine=Says(Verdict.ALLOW)), fresh_state()
    state.documents.put(KEY, Kept(count=7))
    result = await one.decide(timer_record(), state, calls=Asked())
    record = parse(result.draft.finish(ChainHead())).predicate
    assert record.outcome is Outcome.DECIDED
    assert [read.name for read in record.context] == ["state"]
    assert record.inputs[0].uri == f"kafka://cluster/timers.payment-retrier/{PARTITION}/3"
    assert [key for key, _ in result.changelog] == [
        f"state/commerce.payments/{KEY}",
        f"timer/commerce.payments/{KEY}",
    ]


async def test_a_timer_of_another_agent_and_one_of_an_agent_without_timers_are_skipped() -> None:
    for one, record in (
        (decider(WAITING), timer_record(agent="somebody-else")),
        (decider(STATEFUL), timer_record()),
    ):
        assert (await one.decide(record, fresh_state(), calls=Asked())).outcome is Outcome.SKIPPED


def timer_input(offset: int) -> InputRef:
    return InputRef(topic="commerce.payments", partition=PARTITION, offset=offset)


async def test_a_repeat_ends_as_a_duplicate_that_names_the_first_and_has_no_effect() -> None:
    state = fresh_state()
    one, asked = decider(engine=Says(Verdict.ALLOW)), Asked()
    first = await one.decide(record_of(failed()), state, calls=asked)
    count = state.documents.get(KEY)
    again = await one.decide(replace(record_of(failed()), offset=9), state, calls=asked)
    assert again.outcome is Outcome.DUPLICATE
    assert (again.decision, again.changelog, state.documents.get(KEY)) == (None, (), count)
    record = parse(again.draft.finish(ChainHead())).predicate
    (read,) = record.context
    assert (read.name, read.key) == (FIRST, first.draft.decision_id)
    assert read.uri == f"kafka://cluster/commerce.payments/{PARTITION}/7"
    assert read.sha256 == hashlib.sha256(record_of(failed()).value or b"").hexdigest()
    assert len(asked.calls) == 1, "nobody is asked about a repeat"


async def test_a_repeat_is_known_by_source_and_id_within_the_window_only() -> None:
    state, one = fresh_state(), decider(engine=Says(Verdict.ALLOW))
    base = record_of(failed())
    await one.decide(base, state, calls=Asked())
    other_id = tuple(headers_for(failed(), event_id="e-2", source="/test"))
    other_source = tuple(headers_for(failed(), event_id="e-1", source="/other"))
    late = int(WINDOW_S * 1000) + 1
    for record in (
        replace(base, offset=8, headers=other_id),
        replace(base, offset=9, headers=other_source),
        replace(base, offset=10, timestamp_ms=late),
    ):
        assert (await one.decide(record, state, calls=Asked())).outcome is Outcome.DECIDED
    repeat = replace(base, offset=11, timestamp_ms=late)
    assert (await one.decide(repeat, state, calls=Asked())).outcome is Outcome.DUPLICATE


async def test_the_same_input_after_a_crash_is_no_repeat_of_itself() -> None:
    """Ids may be written with the transaction before the one of their own input."""
    state, one = fresh_state(), decider(engine=Says(Verdict.ALLOW))
    await one.decide(record_of(failed()), state, calls=Asked())
    assert (await one.decide(record_of(failed()), state, calls=Asked())).outcome is Outcome.DECIDED


async def test_what_was_rejected_is_not_remembered_so_that_it_can_be_replayed() -> None:
    state = fresh_state()
    broken = decider(replace(STATEFUL, candidates=raising(KeyError("x"))), engine=Says(Verdict.ALLOW))
    assert (await broken.decide(record_of(failed()), state, calls=Asked())).outcome is Outcome.REJECTED
    broken.given_up(record_of(failed()), ReasonerUnavailable("down"), attempts=3)
    again = replace(record_of(failed()), offset=9)
    assert (
        await decider(engine=Says(Verdict.ALLOW)).decide(again, state, calls=Asked())
    ).outcome is Outcome.DECIDED


async def test_an_input_that_failed_and_may_pass_is_not_remembered_either() -> None:
    state = fresh_state()
    with pytest.raises(Retryable):
        await decider(WITHOUT_FALLBACK, reasoner=Down()).decide(record_of(failed()), state, calls=Asked())
    again = replace(record_of(failed()), offset=9)
    assert (
        await decider(engine=Says(Verdict.ALLOW)).decide(again, state, calls=Asked())
    ).outcome is Outcome.DECIDED


async def test_a_skipped_input_is_remembered() -> None:
    captured = PaymentCaptured.model_validate(
        failed().model_dump(exclude={"failure_code", "attempt", "fraud_score"})
    )
    state, one = fresh_state(), decider()
    assert (await one.decide(record_of(captured), state, calls=Asked())).outcome is Outcome.SKIPPED
    again = replace(record_of(captured), offset=9)
    assert (await one.decide(again, state, calls=Asked())).outcome is Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("age", "outcome"), [(59, Outcome.DECIDED), (60, Outcome.DECIDED), (61, Outcome.EXPIRED)]
)
async def test_an_input_that_is_too_old_expires_without_asking_anybody(age: int, outcome: Outcome) -> None:
    one = decider(replace(STATEFUL, expires_after=timedelta(seconds=60)), engine=Says(Verdict.ALLOW))
    headers = headers_for(failed(), event_id="e-1", source="/test", time=NOW - timedelta(seconds=age))
    asked = Asked()
    result = await one.decide(
        replace(record_of(failed()), headers=tuple(headers)), fresh_state(), calls=asked
    )
    assert result.outcome is outcome
    assert bool(asked.calls) == (outcome is Outcome.DECIDED)
    assert (result.decision is None) == (outcome is Outcome.EXPIRED)


async def test_giving_up_says_how_often_and_what_at_last() -> None:
    result = decider().given_up(record_of(failed()), ReasonerUnavailable("got no answer"), attempts=10)
    assert result.rejection is not None
    assert result.rejection.error == "ReasonerUnavailable"
    assert result.rejection.message == "tried 10 times; at last: got no answer"
    record = parse(result.draft.finish(ChainHead())).predicate
    assert record.outcome is Outcome.REJECTED
    long = decider().given_up(record_of(failed()), ReasonerUnavailable("x" * 9_000), attempts=10)
    parse(long.draft.finish(ChainHead()))
    decider().given_up(
        replace(record_of(failed()), value=b"{", headers=()), ReasonerUnavailable("x"), attempts=1
    )


async def test_every_question_is_put_with_its_number_the_try_and_the_decisions_id() -> None:
    asked = Asked()
    result = await decider(engine=Says(Verdict.DENY)).decide(
        record_of(failed()), fresh_state(), calls=asked, attempt=4
    )
    assert [ask for *_rest, ask in asked.calls] == list(range(len(asked.calls)))
    assert len(asked.calls) > 1
    assert {call[:3] for call in asked.calls} == {(timer_input(7), result.draft.decision_id, 4)}
