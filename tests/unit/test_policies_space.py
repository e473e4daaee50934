"""Where policies turn, to the value: numbers, moments, durations, texts, and what is not understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jurat.agents.action_space import ActionSpace, action_space
from jurat.agents.action_words import lines
from jurat.agents.agent import Action, Judged, Situation
from jurat.policies import Judgement, PolicyRequest
from jurat.policies.space import AnythingElse, Axis, Kind, Only, ParameterSpace, Range
from jurat.policies.space_points import points, reads
from jurat.policies.space_probing import explore
from jurat.policies.space_terms import EPOCH, MILLISECOND
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.commerce import OrderCancelled
from jurat.schemas.decision import Verdict
from tests.spending import (
    GRANT,
    NOW,
    PURSE,
    Channel,
    Pay,
    PayFacts,
    Spend,
    Stop,
    engine,
    forbid,
    situation,
    spender,
)

ALLOW, DENY, ESCALATE = Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE
BASE = Spend(amount=100, at=NOW, wait=timedelta(hours=1), payee="acme")


def space_of(policies: str, base: Spend | Pay = BASE) -> ActionSpace:
    return action_space(spender(base), situation(), engine(GRANT + policies), type(base))


def parameter(name: str, policies: str, base: Spend | Pay = BASE) -> ParameterSpace:
    (found,) = (one for one in space_of(policies, base).parameters if one.name == name)
    return found


def told(found: ParameterSpace) -> list[tuple[object, Verdict | None]]:
    return [
        ((span.of.low, span.of.high) if isinstance(span.of, Range) else span.of, span.verdict)
        for span in found.spans
    ]


def test_a_limit_and_an_approval_make_three_ranges() -> None:
    found = parameter(
        "amount",
        forbid("over", "context.amount > 500", escalate="lead", action="pay")
        + forbid("above", "context.amount > resource.total", action="pay"),
        Pay(amount=1),
    )
    assert told(found) == [
        ((-MAX_INTEGER, 500), ALLOW),
        ((501, 90_000), ESCALATE),
        ((90_001, MAX_INTEGER), DENY),
    ]
    allowed, asked, refused = found.spans
    assert (allowed.policies, allowed.reasons) == (("grant",), ("Spenders spend",))
    assert (asked.policies, asked.approvers) == (("over",), ("lead",))
    assert refused.policies == ("above", "over")
    assert refused.reasons == ("Rule above", "Rule over")
    assert [span.firm for span in found.spans] == [False, False, True]
    assert found.opaque == ()


@pytest.mark.parametrize(
    ("when", "refused"),
    [
        ("context.amount == 7", [(7, 7)]),
        ("context.amount != 7", [(-MAX_INTEGER, 6), (8, MAX_INTEGER)]),
        ("context.amount * 3 == 22", []),
        ("context.amount * 3 >= 22", [(8, MAX_INTEGER)]),
        ("context.amount * -3 > 22", [(-MAX_INTEGER, -8)]),
        ("22 < 3 * context.amount - context.amount", [(12, MAX_INTEGER)]),
        ("resource.total - context.amount < 10", [(89_991, MAX_INTEGER)]),
        ("[5, 9].contains(context.amount)", [(5, 5), (9, 9)]),
        ("[1, context.amount].contains(4)", [(4, 4)]),
        ("(if context.amount > 3 then 1 else 0) == 1", [(-MAX_INTEGER, MAX_INTEGER)]),
        ("(if context.amount > 3 then true else context.amount == 1)", [(1, 1), (4, MAX_INTEGER)]),
        ("(context.amount > 3) == (context.amount < 9)", [(4, 8)]),
        ('resource.owner == "nobody" && context.amount * context.amount > 9', []),
        ('resource.owner == "c-1" || context.amount * context.amount > 9', [(-MAX_INTEGER, MAX_INTEGER)]),
    ],
)
def test_what_is_linear_turns_where_it_does(when: str, refused: list[tuple[int, int]]) -> None:
    found = parameter("amount", forbid("r", when, action="pay"), Pay(amount=1))
    if "then 1" in when:
        assert found.opaque == ("r",), "a number chosen by the parameter is not followed"
        return
    assert found.opaque == ()
    assert [of for of, verdict in told(found) if verdict is DENY] == refused


def test_where_arithmetic_overflows_the_engine_denies_and_the_space_says_so() -> None:
    found = parameter("amount", forbid("r", "context.amount * 10000000 == 5", action="pay"), Pay(amount=1))
    edge = (2**63 - 1) // 10_000_000
    assert told(found) == [
        ((-MAX_INTEGER, -edge - 1), DENY),
        ((-edge, edge), ALLOW),
        ((edge + 1, MAX_INTEGER), DENY),
    ]
    assert "overflow" in found.spans[0].errors[0]


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


@pytest.mark.parametrize(
    ("when", "last_refused"),
    [
        ("context.at <= context.now", NOW),
        (
            'context.at.durationSince(context.now) < duration("36h")',
            NOW + timedelta(hours=36, milliseconds=-1),
        ),
        ("context.at.durationSince(context.now).toHours() < 2", NOW + timedelta(hours=2, milliseconds=-1)),
        ("context.at.durationSince(context.now).toDays() <= -1", NOW - timedelta(days=1)),
        ("context.at.durationSince(context.now).toDays() < 0", NOW - timedelta(days=1)),
        ('context.at.offset(duration("1d")) <= context.now', NOW - timedelta(days=1)),
        (
            'context.at < datetime("2026-04-01T00:00:00+0200")',
            datetime(2026, 3, 31, 21, 59, 59, 999_000, UTC),
        ),
        ('context.at < datetime("2026-04-01").toDate()', datetime(2026, 3, 31, 23, 59, 59, 999_000, UTC)),
    ],
)
def test_moments_turn_to_the_millisecond(when: str, last_refused: datetime) -> None:
    found = parameter("at", forbid("r", when), BASE.model_copy(update={"at": NOW + timedelta(days=60)}))
    assert found.kind is Kind.MOMENT
    (refused, low), (allowed, high) = told(found)
    assert (low, high) == (DENY, ALLOW)
    assert refused == (ms(datetime.min.replace(tzinfo=UTC)), ms(last_refused))
    assert allowed[0] == ms(last_refused) + 1  # type: ignore[index]  # a range, compared above


def test_durations_turn_where_cedars_literals_say() -> None:
    found = parameter("wait", forbid("r", 'context.wait > duration("1d2h3m4s5ms")'))
    (allowed, _), (refused, verdict) = told(found)
    assert verdict is DENY
    assert allowed[1] == (((26 * 60 + 3) * 60) + 4) * 1000 + 5 == refused[0] - 1  # type: ignore[index]


def test_enumerations_and_truths_are_asked_one_by_one() -> None:
    rule = forbid("r", 'context.channel == "cash" && context.amount * context.amount > 4')
    assert told(parameter("channel", rule)) == [
        (Only("card"), ALLOW),
        (Only("cash"), DENY),
        (Only("wire"), ALLOW),
    ]
    assert told(parameter("urgent", forbid("r", "context.urgent"))) == [
        (Only(value=False), ALLOW),
        (Only(value=True), DENY),
    ]


def test_texts_are_the_literals_the_values_they_are_compared_with_and_anything_else() -> None:
    found = parameter(
        "payee",
        forbid("named", '["zorro", "acme"].contains(context.payee)')
        + forbid("own", "context.payee == resource.owner", escalate="risk"),
    )
    assert dict(told(found)) == {
        Only("acme"): DENY,
        Only("zorro"): DENY,
        Only("c-1"): ESCALATE,
        Only("o-1"): ALLOW,  # the agent knows it: other facts are found for it
        AnythingElse(): ALLOW,
    }
    assert found.opaque == ()


def test_a_text_that_stands_for_anything_else_is_not_one_that_a_policy_names() -> None:
    found = parameter("payee", forbid("r", 'context.payee == "something-else" || context.payee == "ZZZ"'))
    assert dict(told(found))[AnythingElse()] is ALLOW
    assert dict(told(found))[Only("something-else")] is DENY


def test_what_may_be_absent_is_asked_absent_too() -> None:
    found = parameter("tip", forbid("r", "context has tip && context.tip > 5"))
    assert told(found) == [((0, 5), ALLOW), ((6, MAX_INTEGER), DENY), (Only(None), ALLOW)]
    found = parameter("tip", forbid("r", "!(context has tip)"))
    assert told(found) == [((0, MAX_INTEGER), ALLOW), (Only(None), DENY)]


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("amount", "context.amount * context.amount > 100"),
        ("amount", "context.dear"),
        ("at", 'context.at.toTime() < duration("8h")'),
        ("payee", 'context.payee like "a*"'),
        ("payee", "context.payee_known"),
        ("notes", "context.notes.isEmpty()"),
    ],
)
def test_what_is_not_understood_is_opaque_and_never_refused_beforehand(name: str, when: str) -> None:
    found = parameter(name, forbid("odd", when))
    assert found.opaque == ("odd",)
    assert not any(span.firm for span in found.spans if not isinstance(span.of, Only))
    assert [span.verdict for span in found.spans if not isinstance(span.of, Only)] == [None] * sum(
        not isinstance(span.of, Only) for span in found.spans
    )


def test_an_understood_refusal_stands_beside_an_opaque_policy() -> None:
    found = parameter("amount", forbid("odd", "context.dear") + forbid("cap", "context.amount > 500"), BASE)
    assert found.opaque == ("odd",)
    assert told(found) == [((-1_000, 500), None), ((501, 2_000_000), DENY)]
    assert found.spans[1].firm, "other parameters exist, but none of them moves what `cap` reads"


def test_a_refusal_is_firm_only_where_no_other_parameter_can_lift_it() -> None:
    found = space_of(
        forbid("cap", "context.amount > 500") + forbid("small", "context.amount < 10 && context.urgent"),
        BASE.model_copy(update={"urgent": True}),
    )
    amount = next(one for one in found.parameters if one.name == "amount")
    firm = {span.policies: span.firm for span in amount.spans if span.verdict is DENY}
    assert firm == {("cap",): True, ("small",): False}
    assert found.is_offered


def test_a_short_range_is_asked_value_by_value() -> None:
    """Even what is not linear is known then."""
    judge = engine(GRANT + forbid("odd", "context.amount * context.amount == 9", action="pay"))

    def ask(_name: str, value: object) -> Judgement:
        facts = PayFacts.model_validate({"amount": value})
        return judge.judge(PolicyRequest("spender", "pay", PURSE, facts, now=NOW))

    (found,) = explore(
        judge.bundle, "pay", [Axis("amount", Kind.INTEGER, low=-5, high=5)], base=ask("amount", 0), ask=ask
    )
    assert [of for of, verdict in told(found) if verdict is DENY] == [(-3, -3), (3, 3)]
    assert found.opaque == ()


def test_an_action_that_is_denied_everywhere_is_not_offered() -> None:
    assert not space_of(forbid("never", "resource.total > 0", action="pay"), Pay(amount=1)).is_offered
    assert not space_of(
        forbid("low", "context.amount < 5", action="pay")
        + forbid("high", "context.amount >= 5", action="pay"),
        Pay(amount=1),
    ).is_offered
    never = forbid("never", "true", action="stop")
    assert not action_space(spender(), situation(), engine(GRANT + never), Stop).is_offered
    lifted = forbid("ask", "true", action="stop", escalate="lead")
    assert action_space(spender(), situation(), engine(GRANT + lifted), Stop).is_offered


def test_without_a_permit_nothing_is_offered() -> None:
    judge = engine(GRANT.replace("action,", 'action == Jurat::Action::"stop",'))
    assert not action_space(spender(Pay(amount=1)), situation(), judge, Pay).is_offered
    assert action_space(spender(), situation(), judge, Stop).is_offered


def test_approvals_that_were_given_count() -> None:
    judge = engine(GRANT + forbid("over", "context.amount > 500", escalate="lead", action="pay"))
    found = action_space(spender(Pay(amount=1)), situation(), judge, Pay, approvals=frozenset({"lead"}))
    assert told(found.parameters[0]) == [((-MAX_INTEGER, MAX_INTEGER), ALLOW)]


def test_a_bundle_that_turns_too_often_is_opaque_not_slow() -> None:
    listed = ", ".join(str(number * 10) for number in range(150))
    found = parameter(
        "amount", forbid("many", f"[{listed}].contains(context.amount)", action="pay"), Pay(amount=1)
    )
    assert found.opaque == ("grant", "many")
    assert found.probes < 10
    assert [span.verdict for span in found.spans] == [None]


def test_points_of_a_policy_and_what_it_reads() -> None:
    judge = engine(GRANT + forbid("r", "context.amount > resource.total && context has tip", escalate="lead"))
    policies = judge.bundle.compiled.policies_of("spend")
    assert reads(policies["r"]) == {
        "context.amount",
        "context.tip",
        "context.approvals",
        "resource.total",
    }
    asked = {"context": {"amount": 1, "tip": 2}, "entities": [{"attrs": {"total": 70}}]}
    found = points(policies, asked, parameter="amount", is_text=False, moving=frozenset())  # type: ignore[arg-type]
    assert (found.at, found.opaque) == ({70}, ())
    found = points(
        policies,
        asked,
        parameter="amount",
        is_text=False,
        moving=frozenset({"resource.total"}),  # type: ignore[arg-type]
    )
    assert found.opaque == ("r",)


def test_values_that_the_agent_cannot_make_facts_of_are_neither_offered_as_allowed_nor_hidden() -> None:
    def judged(seen: Situation[OrderCancelled], action: Action) -> Judged:
        if isinstance(action, Spend):
            action.at + timedelta(days=1)  # OverflowError at the end of time
            {"acme": 1, "c-1": 2}[action.payee]
        return spender().judged(seen, action)

    agent = replace(spender(BASE), judged=judged)
    rule = forbid("late", 'context.at > datetime("2026-04-01")')
    found = action_space(agent, situation(), engine(GRANT + rule), Spend)
    at, payee = (next(one for one in found.parameters if one.name == name) for name in ("at", "payee"))
    april = ms(datetime(2026, 4, 1, tzinfo=UTC))
    assert [verdict for of, verdict in told(at)] == [ALLOW, DENY, None, DENY]
    assert [span.firm for span in at.spans] == [False, True, False, False]
    assert at.spans[0].of == Range(ms(datetime.min.replace(tzinfo=UTC)), april)
    assert "out of range" in at.spans[3].errors[0]
    assert dict(told(payee)) == {Only("acme"): ALLOW, Only("c-1"): ALLOW, AnythingElse(): None}


def test_a_space_in_words() -> None:
    found = space_of(
        forbid("over", "context.amount > 500", escalate="lead", action="pay")
        + forbid("odd", "context.amount < 0 && context.amount * context.amount > 9", action="pay"),
        Pay(amount=1),
    )
    assert list(lines(found)) == [
        "pay: Pay",
        "  amount",
        "    any  checked afterwards",
        "    only checked afterwards: odd",
    ]
    found = space_of(forbid("over", "context.amount > 500", escalate="lead", action="pay"), Pay(amount=1))
    assert list(lines(found)) == [
        "pay: Pay",
        "  amount",
        "    up to 500  allow: Spenders spend [grant]",
        "    from 501   escalate(lead): Rule over [over]",
    ]


def test_moments_durations_and_absence_in_words() -> None:
    found = space_of(
        forbid("late", 'context.at > datetime("2026-03-03T10:00:00Z")')
        + forbid("slow", 'context.wait > duration("36h")')
        + forbid("tip", "context has tip"),
    )
    text = "\n".join(lines(found))
    assert "up to 2026-03-03T10:00:00Z " in text
    assert "from 2026-03-03T10:00:00.001Z " in text
    assert "up to 1d12h " in text
    assert "none" in text
    assert Channel.CARD.value in text
