"""What calls of models took that were of no use stands in the record, whoever decided in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER, GiveUp, RetryCharge
from jurat.agents.reasoner import Proposal, ProposalRequest, RawArguments, Spent, ToolCall
from jurat.agents.reasoner_fallback import Fallback
from jurat.audit.reasoning import Usage
from jurat.schemas.errors import ProposalInvalid, ReasonerError, ReasonerUnavailable
from jurat.testing import rehearse
from tests.journal_stage import MemoryWriter, Paid, Restoring, ask, opened, proposal
from tests.shop import Down
from tests.unit.test_agents_payments import failed
from tests.unit.test_reasoner_wrappers import USELESS, call

TOO_SOON = Proposal(RetryCharge(after_minutes=1), "now", call=call(10))


class Model:
    """Says what it was told to, question by question."""

    name = "model"
    deterministic = False

    def __init__(self, *script: Proposal | ToolCall | ReasonerError) -> None:
        self.script = list(script)

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall:
        said = self.script.pop(0)
        if isinstance(said, ReasonerError):
            raise said
        return said


def usage_of(model: Model) -> tuple[str, Usage | None, str | None]:
    """How the payment was decided, what the record says was used, and which model it names."""
    with rehearse(PAYMENT_RETRIER, reasoner=model) as stage:
        ended = stage.send(failed())
    assert ended.decision is not None
    assert ended.record.reasoner is not None
    return ended.decision.action, ended.record.reasoner.usage, ended.record.reasoner.model


def used(calls: int, cost: int | None) -> Usage:
    return Usage(
        calls=calls,
        input_tokens=10 * calls,
        output_tokens=2 * calls,
        cost_micros=cost,
        currency=None if cost is None else "USD",
    )


def test_the_fallback_after_a_useless_answer_tells_what_that_took() -> None:
    _action, usage, model = usage_of(Model(USELESS))
    assert (usage, model) == (used(1, 30), None)


def test_time_outs_before_a_rule_of_thumb_are_in_the_record() -> None:
    lost = Spent(calls=3, input_tokens=0, output_tokens=0)
    with rehearse(
        PAYMENT_RETRIER,
        reasoner=Fallback(Model(ReasonerUnavailable("slow", spent=lost)), HeuristicReasoner()),
    ) as stage:
        ended = stage.send(failed())
    assert ended.decision is not None
    assert ended.decision.reasoner == "heuristic"
    assert ended.record.reasoner is not None
    assert (ended.record.reasoner.usage, ended.record.reasoner.model) == (
        Usage(calls=3, input_tokens=0, output_tokens=0, cost_micros=None, currency=None),
        None,
    )


@pytest.mark.parametrize("wasted", ["much", Spent(calls=-1, input_tokens=0, output_tokens=0)])
def test_nonsense_about_what_was_taken_makes_an_answer_useless(wasted: object) -> None:
    odd = replace(TOO_SOON, wasted=wasted)  # type: ignore[arg-type]
    _action, usage, _model = usage_of(Model(odd))
    assert usage == used(1, 10)


def test_a_useless_answer_after_a_refused_one_is_added() -> None:
    _action, usage, model = usage_of(Model(TOO_SOON, USELESS))
    assert (usage, model) == (used(2, 40), "m")


def test_an_action_that_is_none_of_the_agents_was_paid_for() -> None:
    _action, usage, _model = usage_of(Model(Proposal("a pony", "x", call=call(7))))  # type: ignore[arg-type]
    assert usage == used(1, 7)


def test_wishes_for_tools_without_an_end_were_paid_for() -> None:
    wish = ToolCall("look", RawArguments(given={}), call(1))
    _action, usage, _model = usage_of(Model(*[wish] * 100))
    assert usage is not None
    assert usage.cost_micros == usage.calls > 1


def test_what_took_nothing_says_nothing() -> None:
    with rehearse(PAYMENT_RETRIER, reasoner=Down()) as stage:
        ended = stage.send(failed())
    assert ended.record.reasoner is not None
    assert ended.record.reasoner.usage is None


def test_what_is_not_priced_has_no_cost() -> None:
    unpriced = ProposalInvalid("x", spent=Spent(calls=1, input_tokens=10, output_tokens=2))
    _action, usage, _model = usage_of(Model(TOO_SOON, unpriced))
    assert usage == used(2, None)


def test_a_decision_wastes_nothing_by_itself() -> None:
    model = Model(Proposal(GiveUp(), "enough", call=call(5)))
    action, usage, _model = usage_of(model)
    assert (action, usage) == ("give_up", used(1, 5))


async def test_what_useless_answers_took_is_kept_and_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = Spent(calls=2, input_tokens=30, output_tokens=4, cost_micros=9, currency="EUR")
    lost = Spent(calls=3, input_tokens=0, output_tokens=0)
    restored, writer = Restoring(monkeypatch), MemoryWriter()
    journal = opened(writer)
    with pytest.raises(ReasonerUnavailable) as first:
        await ask(journal, Paid(ReasonerUnavailable("down", spent=lost)), attempt=1)
    assert first.value.details["spent"] == lost
    again = await restored(writer.log, writer=writer)
    with pytest.raises(ProposalInvalid) as second:
        await ask(again, Paid(ProposalInvalid("nonsense", spent=spent)), attempt=2)
    both = Spent(calls=5, input_tokens=30, output_tokens=4)
    assert second.value.details["spent"] == both
    third = await restored(writer.log)
    with pytest.raises(ProposalInvalid) as reused:
        await ask(third, Paid(proposal(1)), attempt=3)
    assert reused.value.details["spent"] == both


async def test_an_answer_carries_what_attempts_before_it_took() -> None:
    lost = Spent(calls=3, input_tokens=0, output_tokens=0)
    paid = replace(call(0), spent=Spent(calls=1, input_tokens=10, output_tokens=2))
    journal = opened(MemoryWriter())
    with pytest.raises(ReasonerUnavailable):
        await ask(journal, Paid(ReasonerUnavailable("down", spent=lost)), attempt=1)
    got = await ask(journal, Paid(replace(proposal(1), call=paid)), attempt=2)
    assert got is not None
    assert got.call is not None
    assert got.call.spent == Spent(calls=4, input_tokens=10, output_tokens=2)
