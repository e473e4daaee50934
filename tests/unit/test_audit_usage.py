"""Budgets in a log: an honest log holds, and whatever is changed, dropped or made up in it is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jurat.audit import story
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import chain_name
from jurat.audit.log import LogEntry
from jurat.audit.record import DecisionRecord, Outcome, PolicyUsed, build, format_time, parse
from jurat.audit.usage import BudgetUsed
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.schemas.decision import InputRef, Verdict, decision_id
from jurat.schemas.errors import RecordInvalid
from tests.golden.audit import sample_log

AGENT = "after-sales"
START = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW_S = 3_600


@dataclass(frozen=True)
class Step:
    """One record of a log: when, of whom, how much, and what came of it.

    Attributes:
        used: what the record says was used; None for what an honest worker says.
        partition: of the input.
        shares: of the budget.
        topic: the input's, where it is another one than the agent's.
    """

    at: timedelta
    key: str
    amount: int
    outcome: Outcome = Outcome.DECIDED
    used: int | None = None
    taken: int | None = None
    partition: int = 0
    shares: int | None = None
    topic: str = sample_log.INPUT_TOPIC


STEPS = (
    Step(timedelta(0), "c-1", 100),
    Step(timedelta(minutes=1), "c-2", 70),
    Step(timedelta(minutes=2), "c-1", 30, topic="timers.after-sales"),
    Step(timedelta(minutes=3), "c-1", 500, Outcome.DENIED),
    Step(timedelta(minutes=4), "c-1", 400, Outcome.ESCALATED),
    Step(timedelta(minutes=5), "c-1", 5, partition=1),
    Step(timedelta(minutes=6), "c-1", 7, taken=0),
    Step(timedelta(minutes=61), "c-1", 8),
    Step(timedelta(minutes=62), "c-2", 9),
    Step(timedelta(minutes=30), "c-2", 11),
    Step(timedelta(minutes=63), "c-2", 12),
)
"""What an honest worker may write: windows that end, other keys and partitions, a dry run, a clock that goes back."""

HONEST = (0, 0, 100, 130, 130, 0, 130, 30, 0, 79, 20)


def budget_of(step: Step, used: int) -> BudgetUsed:
    taken = step.amount if step.outcome is Outcome.DECIDED else 0
    return BudgetUsed(
        budget="refunds_hour",
        by="resource.customer_id",
        key=step.key,
        of="context.amount_minor",
        window_s=WINDOW_S,
        shares=step.shares,
        used=used,
        taken=taken if step.taken is None else step.taken,
    )


def record_of(step: Step, *, offset: int, used: int, head: ChainHead) -> DecisionRecord:
    made = sample_log.record(AGENT, offset=offset, outcome=step.outcome, head=head, partition=step.partition)
    shares = step.shares or 1
    normalised: dict[str, Any] = {
        "context": {
            "amount_minor": step.amount,
            "usage": {"refunds_hour": shares * used + (shares - 1) * step.amount},
        },
        "entities": [{"attrs": {"customer_id": step.key}, "parents": [], "uid": {"id": "o", "type": "T"}}],
    }
    policy = PolicyUsed(
        bundle="b", digest="5f" * 32, engine="e", input=normalised, budgets=(budget_of(step, used),)
    )
    where = InputRef(topic=step.topic, partition=step.partition, offset=offset)
    uri = made.inputs[0].uri.replace(sample_log.INPUT_TOPIC, step.topic)
    return made.model_copy(
        update={
            "decision_id": decision_id(AGENT, where, cluster_id=sample_log.CLUSTER),
            "chain": chain_name(AGENT, step.topic, step.partition),
            "time": format_time(START + step.at),
            "inputs": (made.inputs[0].model_copy(update={"uri": uri}),),
            "policy": policy,
        }
    )


def log_of(steps: Sequence[Step] = STEPS, used: Sequence[int] = HONEST) -> list[LogEntry]:
    """A signed log of these steps, in one partition of the audit topic."""
    heads: dict[tuple[str, int], ChainHead] = {}
    entries = []
    for offset, (step, honest) in enumerate(zip(steps, used, strict=True)):
        head = heads.get((step.topic, step.partition), ChainHead())
        told = honest if step.used is None else step.used
        made = record_of(step, offset=offset, used=told, head=head)
        payload = build(made, made.decision_id, sample_log.subject_of(made, offset)[1])
        heads[step.topic, step.partition] = head.extend(payload)
        place = (step.partition, offset)
        entries.append(sample_log.sign(made, payload, by=sample_log.signer(AGENT), at=place))
    return entries


def verify(entries: Sequence[LogEntry]) -> Report:
    verifier = Verifier(sample_log.trust())
    for entry in entries:
        verifier.add(entry)
    return verifier.report()


def test_an_honest_log_is_valid() -> None:
    report = verify(log_of())
    assert report.first_fault is None
    assert report.verdict is LogVerdict.VALID


@pytest.mark.parametrize("number", range(len(STEPS)))
@pytest.mark.parametrize("by", [-1, 1])
def test_whoever_states_another_usage_is_named(number: int, by: int) -> None:
    """Each record in turn says one more or one less than was used; a denied one may say less, as others came after."""
    step = STEPS[number]
    if HONEST[number] + by < 0:
        return
    steps = list(STEPS)
    steps[number] = replace(step, used=HONEST[number] + by)
    report = verify(log_of(steps))
    if step.outcome is Outcome.DENIED and by < 0:
        assert report.verdict is LogVerdict.VALID
        return
    assert report.verdict is LogVerdict.INVALID
    assert report.faults == 1, "what follows is not a fault as well"
    assert report.first_fault is not None
    assert report.first_fault.place.offset == number
    assert (
        f"told that {HONEST[number] + by} was used of the budget refunds_hour, but the records before it took"
        f" {HONEST[number]} within 1:00:00" in report.first_fault.reason
    )


def test_a_consumption_that_was_left_out_shows_in_the_next_record() -> None:
    """A worker that takes without saying so, and counts it all the same."""
    steps = [replace(STEPS[0], taken=0), *STEPS[1:]]
    report = verify(log_of(steps))
    assert report.verdict is LogVerdict.INVALID
    assert report.first_fault is not None
    assert report.first_fault.place.offset == 2


def test_a_record_that_was_dropped_is_one_fault() -> None:
    entries = log_of()
    report = verify([*entries[:2], *entries[3:]])
    assert report.faults == 1, "the timers' chain has no other record, so only its sums tell"
    assert report.first_fault is not None
    assert report.first_fault.place.offset == 3
    report = verify(entries[1:])
    assert report.faults == 1
    assert report.first_fault is not None
    assert "seq" in report.first_fault.reason


def test_sums_are_checked_again_once_the_window_has_passed_a_missing_record() -> None:
    later = (Step(timedelta(hours=3), "c-1", 1), Step(timedelta(hours=3, minutes=1), "c-1", 1, used=7))
    entries = log_of((*STEPS, *later), (*HONEST, 0, 1))
    report = verify(entries[1:])
    assert report.faults == 2
    assert verify(log_of((*STEPS, later[0]), (*HONEST, 0))[1:]).faults == 1


def test_taking_while_the_window_is_not_known_is_a_fault() -> None:
    back = Step(timedelta(minutes=2), "c-1", 1)
    steps, used = (*STEPS[:8], back), (*HONEST[:8], 138)
    assert (
        verify(log_of((*STEPS[:8], replace(back, at=timedelta(minutes=1))), used)).verdict is LogVerdict.VALID
    )
    report = verify(log_of((*STEPS[:8], replace(back, at=timedelta(seconds=59))), used))
    assert report.first_fault is not None
    assert "what its window held is not known" in report.first_fault.reason
    refused = replace(back, at=timedelta(seconds=59), outcome=Outcome.DENIED)
    assert verify(log_of((*STEPS[:8], refused), used)).verdict is LogVerdict.VALID
    assert verify(log_of(steps, used)).verdict is LogVerdict.VALID


def test_shares_are_told_as_if_all_had_taken_as_much() -> None:
    steps = (
        Step(timedelta(0), "c-1", 10, shares=3, partition=1),
        Step(timedelta(minutes=1), "c-1", 10, shares=3, partition=1),
    )
    assert verify(log_of(steps, (0, 10))).verdict is LogVerdict.VALID
    report = verify(log_of([replace(step, partition=3) for step in steps[:1]], (0,)))
    assert report.first_fault is not None
    assert "on partition 3, which has none of its 3 shares" in report.first_fault.reason


def test_memory_is_bounded_by_the_window() -> None:
    verifier = Verifier(sample_log.trust())
    steps = [Step(timedelta(minutes=number), f"c-{number}", 1) for number in range(400)]
    for entry in log_of(steps, [0] * 400):
        verifier.add(entry)
    assert verifier.report().verdict is LogVerdict.VALID
    (takes,) = verifier._usage._accounts.values()
    assert len(takes.by_key) == len(takes.in_order) == 120


def changed(**fields: object) -> Callable[[PolicyUsed], PolicyUsed]:
    def change(policy: PolicyUsed) -> PolicyUsed:
        return policy.model_copy(update={"budgets": (policy.budgets[0].model_copy(update=fields),)})

    return change


def told(**usage: int) -> Callable[[PolicyUsed], PolicyUsed]:
    def change(policy: PolicyUsed) -> PolicyUsed:
        context = {**policy.input["context"], "usage": usage}
        return policy.model_copy(update={"input": {**policy.input, "context": context}})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda policy: policy.model_copy(update={"budgets": ()}), "got budgets for none, expected one each"),
        (
            lambda policy: policy.model_copy(update={"budgets": policy.budgets * 2}),
            "got budgets for refunds_hour, ref",
        ),
        (changed(budget="other"), "got budgets for other"),
        (changed(key="c-9"), "with another key or amount than the policy input has"),
        (changed(by=None), "with another key or amount"),
        (changed(by="resource.nothing", key=None), None),
        (changed(of="context.nothing"), "with another key or amount"),
        (changed(of=None), "got 100 taken of the budget refunds_hour, expected 0 or 1"),
        (changed(taken=99), "got 99 taken of the budget refunds_hour, expected 0 or 100"),
        (changed(used=1), "got 0 as context.usage.refunds_hour, expected 1 from 1 used"),
        (changed(shares=2), "got 0 as context.usage.refunds_hour, expected 100 from 0 used"),
        (told(refunds_hour=5), "got 5 as context.usage.refunds_hour, expected 0 from 0 used"),
        (told(refunds_hour=0, second=0), "expected one each for what the policies were told of"),
        (told(), "got budgets for refunds_hour, expected one each"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    change: Callable[[PolicyUsed], PolicyUsed], says: str | None
) -> None:
    made = record_of(STEPS[0], offset=0, used=0, head=ChainHead())
    assert made.policy is not None
    wrong = made.model_copy(update={"policy": change(made.policy)})
    digest = sample_log.subject_of(made, 0)[1]
    if says is None:  # nothing stands there, and it says so: no contradiction
        assert parse(build(wrong, wrong.decision_id, digest)).predicate == wrong
        return
    with pytest.raises(RecordInvalid) as caught:
        build(wrong, wrong.decision_id, digest)
    assert says in str(caught.value)


def test_nothing_is_taken_by_what_is_not_allowed() -> None:
    made = record_of(replace(STEPS[3], taken=500), offset=0, used=0, head=ChainHead())
    with pytest.raises(RecordInvalid, match="expected 0: nothing was allowed"):
        build(made, made.decision_id, sample_log.subject_of(made, 0)[1])


def test_a_negative_amount_takes_nothing() -> None:
    made = record_of(Step(timedelta(0), "c-1", -5, taken=0), offset=0, used=0, head=ChainHead())
    assert made.proposals[0].verdict is Verdict.ALLOW
    payload = build(made, made.decision_id, sample_log.subject_of(made, 0)[1])
    assert parse(payload).predicate == made


def test_the_story_tells_what_was_used_and_taken() -> None:
    entry = log_of(STEPS[:3], HONEST[:3])[2]
    told = story.tell(entry, parse(entry.record.payload), standing="It holds.")
    assert "\nBudget refunds_hour of c-1: 100 used within the 3600 s before, 30 taken.\n" in told


def test_budgets_have_one_form_and_are_left_out_where_there_are_none() -> None:
    made = record_of(STEPS[0], offset=0, used=0, head=ChainHead())
    payload = build(made, made.decision_id, sample_log.subject_of(made, 0)[1])
    assert parse(payload).predicate == made
    assert (
        b'"budgets":[{"budget":"refunds_hour","by":"resource.customer_id","key":"c-1","of":"context.amount_minor",'
        b'"shares":null,"taken":100,"used":0,"window_s":3600}]' in payload
    )
    plain = sample_log.log(1)[0].record.payload
    assert b"budgets" not in plain
    spelled_out = plain.replace(b'"policy":{', b'"policy":{"budgets":[],')
    assert spelled_out != plain
    with pytest.raises(RecordInvalid, match="not in its one form"):
        parse(spelled_out)


def test_the_long_way_of_printing_leaves_them_out_too() -> None:
    """A value that only the long way prints, such as a tuple in the input."""
    made = sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED)
    assert made.policy is not None
    loose = made.model_copy(update={"policy": made.policy.model_copy(update={"input": {"a": (1, 2)}})})
    payload = build(loose, loose.decision_id, sample_log.subject_of(loose, 0)[1])
    assert b'"input":{"a":[1,2]}' in payload
    assert b"budgets" not in payload
    with_budgets = record_of(STEPS[0], offset=0, used=0, head=ChainHead())
    assert with_budgets.policy is not None
    tupled = {**with_budgets.policy.input, "x": (1,)}
    wide = with_budgets.model_copy(
        update={"policy": with_budgets.policy.model_copy(update={"input": tupled})}
    )
    assert b'"budgets":[{' in build(wide, wide.decision_id, sample_log.subject_of(wide, 0)[1])
