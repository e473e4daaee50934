"""From one record to what is committed about it: every way in which an input ends, and what each leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jurat.agents.agent import GlobalTable, Lookup
from jurat.agents.payment_retrier import AskForNewMethod, GiveUp, RetryCharge
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.agents.shop_views import CUSTOMERS
from jurat.audit.chain import ChainHead
from jurat.audit.kept import MAX_ERROR, MAX_ERRORS
from jurat.audit.record import MAX_CONTEXT, Outcome, parse
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.commerce import PaymentCaptured
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import InputRejected, ProposalInvalid, Retryable
from jurat.streams.recording import MAX_RATIONALE_CHARS
from tests.deciding_stage import (
    KEY,
    STATEFUL,
    TRACE,
    WITHOUT_FALLBACK,
    Asked,
    FakeTables,
    Kept,
    Says,
    decider,
    ended,
    failed,
    fresh_state,
    raising,
    record_of,
    rejected,
)
from tests.shop import Down, Insisting


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
    changed = [key.partition("/")[0] for key, _value in result.changelog]
    assert changed == {Verdict.ALLOW: ["state"], Verdict.DENY: [], Verdict.ESCALATE: ["approval"]}[verdict]
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
    told = parse(result.draft.finish(ChainHead())).predicate
    assert [one.fallback for one in told.proposals] == ["ReasonerUnavailable"]


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


async def test_a_reasoner_can_ask_what_the_policies_leave_to_propose() -> None:
    asked: list[tuple[str, ...]] = []

    class Looking(Insisting):
        async def propose(self, request: ProposalRequest) -> Proposal:
            asked.append(tuple(one.name for one in request.space().offered))
            return await super().propose(request)

    _, record, _ = await ended(decider(reasoner=Looking(RetryCharge(after_minutes=1_440))))
    assert record.outcome is Outcome.DECIDED
    assert asked == [("retry_charge", "ask_for_new_method", "give_up")]
