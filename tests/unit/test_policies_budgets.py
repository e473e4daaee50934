"""Budgets in bundles and in judgements: what is refused, what policies are told, what is denied for not being known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from jurat.policies import load_bundle, run_cases, strict_yaml
from jurat.policies.budgets import MAX_BUDGETS, MAX_SHARES, read_budgets
from jurat.policies.cedar_schema import generate
from jurat.policies.engine import NOT_EVALUATED, PolicyEngine
from jurat.policies.limits import Limit
from jurat.policies.usage import MAX_KEY_CHARS
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import BundleError, ConfigurationError
from tests.budget_stage import (
    BUDGETS,
    NOW,
    POLICIES,
    Facts,
    Letter,
    Refund,
    Told,
    engine,
    letter,
    refund,
    write_bundle,
)


def faults(folder: Path) -> tuple[str, ...]:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return caught.value.faults


def changed(old: str, new: str) -> str:
    assert old in BUDGETS
    return BUDGETS.replace(old, new, 1)


def test_a_bundle_says_which_budgets_it_has(tmp_path: Path) -> None:
    budgets = load_bundle(write_bundle(tmp_path)).budgets
    assert list(budgets.by_name) == ["letters_hour", "refunds_day", "refunds_seller"]
    day, seller, hour = (budgets.by_name[n] for n in ("refunds_day", "refunds_seller", "letters_hour"))
    assert (day.of, day.by, day.window, day.shares) == (
        "context.amount_minor",
        "resource.customer_id",
        timedelta(days=1),
        None,
    )
    assert (seller.window, seller.shares) == (timedelta(days=7), 4)
    assert (hour.of, hour.by, hour.window, hour.shares) == (None, None, timedelta(hours=1), 3)
    assert {action: [one.name for one in found] for action, found in budgets.of_action.items()} == {
        "letter": ["letters_hour"],
        "refund": ["refunds_day", "refunds_seller"],
    }


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("measure: sum", "measure: average", 4, "refunds_day.measure: Input should be 'count' or 'sum'"),
        ("  of: context.amount_minor\n", "", 2, "got `of` without `measure: sum`"),
        ("of: context.amount_minor", "of: amount", 5, "expected the path of an integer"),
        ("of: context.amount_minor", "of: principal.amount", 5, "expected the path of an integer"),
        ("actions: [refund]", "actions: []", 6, "refunds_day.actions"),
        ("actions: [refund]", "actions: [refund, refund]", 2, "expected each once"),
        ("key: resource.customer_id", "key: whole", 2, "expected `scope: {allotment: N}`"),
        ("key: resource.customer_id", "key: customer", 7, "expected `whole`, or the path of a string"),
        ("window: 24h", "window: 24", 8, "refunds_day.window: expected a number of minutes, hours or days"),
        ("window: 24h", "window: 0h", 8, "expected a number of minutes, hours or days"),
        ("window: 24h", "window: 367d", 8, "at most `366d`"),
        ("scope: partition-key", "scope: global", 9, "expected `partition-key`, or `{allotment: N}`"),
        ("{allotment: 4}", "{allotment: 1}", 18, f"with 2 to {MAX_SHARES} partitions"),
        ("  title: Letters within an hour\n", "", 20, "letters_hour.title: Field required"),
        ("  window: 60m\n", "  window: 60m\n  limit: 7\n", 26, "letters_hour.limit: Extra inputs"),
        ("refunds_day:", "RefundsDay:", 2, "expected lower-case letters"),
    ],
)
def test_what_is_not_of_the_format_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    told = faults(write_bundle(tmp_path, budgets=changed(old, new), schema_of=BUDGETS))
    assert any(fault.startswith(f"budgets.yaml:{line}: ") and says in fault for fault in told), told


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = changed("window: 24h", "window: 1y").replace("{allotment: 4}", "{allotment: 0}")
    told = faults(write_bundle(tmp_path, budgets=text, schema_of=BUDGETS))
    assert [fault.split(":")[1] for fault in told] == ["8", "18"]


@pytest.mark.parametrize("text", ["", "- a\n", "a: b: c\n", "refunds_day: 7\n"])
def test_what_is_no_mapping_of_budgets_is_refused(tmp_path: Path, text: str) -> None:
    told = faults(write_bundle(tmp_path, budgets=text, schema_of=BUDGETS))
    assert [fault.startswith("budgets.yaml:") for fault in told] == [True]


def test_there_are_not_more_budgets_than_one_keeps_in_mind() -> None:
    one = BUDGETS.split("\n\n")[0]
    text = "\n".join(one.replace("refunds_day", f"b{number}") for number in range(MAX_BUDGETS + 1))
    assert read_budgets(strict_yaml.load(text))[1] == [
        f"budgets.yaml: got {MAX_BUDGETS + 1} budgets, expected at most {MAX_BUDGETS}"
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("actions: [refund]", "actions: [refnd]", "budgets.yaml:6: refunds_day: got the action refnd"),
        (
            "resource.customer_id",
            "resource.custmer_id",
            "budgets.yaml:7: refunds_day: got resource.custmer_id for key",
        ),
        (
            "resource.customer_id",
            "resource.note",
            "unable to guarantee safety of access to optional attribute",
        ),
        (
            "resource.customer_id",
            "context.amount_minor",
            "expected a String that every request for refund has",
        ),
        (
            "of: context.amount_minor",
            "of: resource.customer_id",
            "budgets.yaml:5: refunds_day: got resource.customer",
        ),
        (
            "actions: [letter]",
            "actions: [letter, refund]",
            "got another `usage` in the context of the action refund",
        ),
        ("letters_hour:", "letters_day:", "expected exactly `usage: {letters_day: Long}`"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    told = faults(write_bundle(tmp_path, budgets=changed(old, new), schema_of=BUDGETS))
    assert any(says in fault for fault in told), told


def test_a_schema_with_usage_that_nothing_counts_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "budgets.yaml").unlink()
    told = [fault for fault in faults(folder) if fault.startswith("schema.cedarschema")]
    assert len(told) == 2
    assert all("expected none, as no budget of budgets.yaml counts it" in fault for fault in told)


@pytest.mark.parametrize("usage", ["{ refunds_day?: Long, refunds_seller: Long }", "{ refunds_day: Long }"])
def test_a_schema_must_require_exactly_the_budgets(tmp_path: Path, usage: str) -> None:
    file = write_bundle(tmp_path) / "schema.cedarschema"
    text = file.read_text().replace("{ refunds_day: Long, refunds_seller: Long }", usage)
    assert usage in text
    file.write_text(text)
    assert any(
        "expected exactly `usage: {refunds_day: Long, refunds_seller: Long}`" in f for f in faults(tmp_path)
    )


def test_a_model_cannot_declare_usage() -> None:
    class Sly(Facts):
        usage: int

    class Cheat(Letter):
        facts = Sly

    with pytest.raises(ConfigurationError, match="got the field usage in Sly"):
        generate("Jurat", [Cheat])


def test_only_counted_actions_have_usage_in_the_schema() -> None:
    text = generate("Jurat", [Refund, Letter], usage={"refund": ("a", "b")})
    assert text.count("usage") == 1
    assert "usage: { a: Long, b: Long }," in text


def test_limits_are_read_off_the_policies(tmp_path: Path) -> None:
    assert load_bundle(write_bundle(tmp_path)).limits == (
        Limit("letters_hour", "letter.hour", 7),
        Limit("refunds_day", "refund.day", 1000),
        Limit("refunds_seller", "refund.seller", 4000),
    )


@pytest.mark.parametrize(
    ("condition", "most"),
    [
        ("context.usage.refunds_day + context.amount_minor >= 1000", 999),
        ("1000 < context.usage.refunds_day + context.amount_minor", 1000),
        ("context.amount_minor > 1000 - context.usage.refunds_day", 1000),
        ("context.amount_minor + 50 + context.usage.refunds_day > 1000", 950),
        ("context.usage.refunds_day > 1000", 1000),
        ("!(context.usage.refunds_day + context.amount_minor <= 1000)", 1000),
        ("if context.amount_minor > 5 then context.usage.refunds_day > 10 else false", 10),
        ("context.usage.refunds_day + context.usage.refunds_seller > 1000", None),
        ("context.usage.refunds_day * 2 > 1000", None),
        ("context.usage.refunds_day > context.amount_minor", None),
        ("context.amount_minor > 1000", None),
    ],
)
def test_a_limit_is_a_number_or_not_told(tmp_path: Path, condition: str, most: int | None) -> None:
    folder = write_bundle(tmp_path)
    old = "context.usage.refunds_day + context.amount_minor > 1000 "
    assert old in POLICIES
    (folder / "p.cedar").write_text(POLICIES.replace(old, condition))
    found = [limit.most for limit in load_bundle(folder).limits if limit.budget == "refunds_day"]
    assert found == ([] if most is None else [most])


def test_the_policies_are_told_what_was_used_and_the_input_holds_it(tmp_path: Path) -> None:
    one, told = engine(tmp_path), Told(refunds_day=600, refunds_seller=100)
    got = one.judge(refund(400, told))
    assert (got.verdict, got.policies) == (Verdict.ALLOW, ("refund.grant",))
    assert told.asked == [("refunds_day", "c-1", NOW), ("refunds_seller", "s-1", NOW)]
    assert got.normalised["context"]["usage"] == {"refunds_day": 600, "refunds_seller": 4 * 100 + 3 * 400}  # type: ignore[index,call-overload]
    assert [(c.budget.name, c.key, c.amount, c.used) for c in got.charges] == [
        ("refunds_day", "c-1", 400, 600),
        ("refunds_seller", "s-1", 400, 100),
    ]
    assert one.rejudge(got.normalised).verdict is Verdict.ALLOW
    over = one.judge(refund(401, told))
    assert (over.verdict, over.policies) == (Verdict.DENY, ("refund.day",))
    assert one.rejudge(over.normalised).policies == ("refund.day",)


def test_shares_hold_for_all_partitions_together(tmp_path: Path) -> None:
    """Each of 4 partitions takes until it is refused: together they take the limit and no more."""
    one = engine(tmp_path)
    taken = 0
    for _partition in range(4):
        used = 0
        while one.judge(refund(100, Told(refunds_day=0, refunds_seller=used))).verdict is Verdict.ALLOW:
            used += 100
        taken += used
    assert taken == 4000
    hour = 0
    while one.judge(letter(Told(letters_hour=hour))).verdict is Verdict.ALLOW:
        hour += 1
    assert hour == 7 // 3


def test_an_escalation_is_lifted_by_its_role_alone(tmp_path: Path) -> None:
    one, told = engine(tmp_path), Told(refunds_day=0, refunds_seller=990)
    assert one.judge(refund(100, told)).verdict is Verdict.ESCALATE
    assert one.judge(refund(100, told, approvals=frozenset({"lead"}))).verdict is Verdict.ALLOW


@pytest.mark.parametrize("told", [None, Told(), Told(refunds_day=0)])
def test_what_was_used_and_cannot_be_told_denies(tmp_path: Path, told: Told | None) -> None:
    one = engine(tmp_path)
    got = one.judge(refund(1, told))
    assert (got.verdict, got.policies, got.reasons) == (Verdict.DENY, (), (NOT_EVALUATED,))
    assert any(error.startswith("budget refunds_seller: got n") for error in got.errors)
    assert one.rejudge(got.normalised).verdict is Verdict.DENY
    assert {c.budget.name for c in got.charges} == set(got.normalised["context"]["usage"])  # type: ignore[index,call-overload]


def test_an_action_that_nothing_counts_needs_no_usage(tmp_path: Path) -> None:
    request = letter(None)
    got = engine(tmp_path).judge(type(request)(request.agent, "look", request.resource, request.facts, NOW))
    assert (got.verdict, got.charges) == (Verdict.ALLOW, ())
    assert "usage" not in got.normalised["context"]  # type: ignore[operator]


def test_a_key_that_is_too_long_to_keep_denies(tmp_path: Path) -> None:
    told = Told(refunds_day=0, refunds_seller=0)
    assert engine(tmp_path).judge(refund(1, told, customer="c" * MAX_KEY_CHARS)).verdict is Verdict.ALLOW
    got = engine(tmp_path).judge(refund(1, told, customer="c" * (MAX_KEY_CHARS + 1)))
    assert got.verdict is Verdict.DENY
    assert "expected a string of at most 200 characters" in got.errors[0]


def test_a_key_that_is_no_text_denies_and_takes_nothing(tmp_path: Path) -> None:
    got = engine(tmp_path).judge(refund(1, Told(refunds_day=0, refunds_seller=0), customer="\ud800"))
    assert (got.verdict, got.charges) == (Verdict.DENY, ())
    assert "unfit" in got.normalised


def test_nothing_is_given_back(tmp_path: Path) -> None:
    got = engine(tmp_path).judge(refund(-500, Told(refunds_day=100, refunds_seller=100)))
    assert [charge.amount for charge in got.charges] == [0, 0]


def test_a_sum_that_no_record_could_hold_denies(tmp_path: Path) -> None:
    got = engine(tmp_path).judge(refund(1, Told(refunds_day=0, refunds_seller=MAX_INTEGER // 2)))
    assert got.verdict is Verdict.DENY
    assert "expected a sum that can be recorded" in got.errors[0]


def test_cases_say_what_was_used(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "tests").mkdir()
    (folder / "tests" / "refunds.yaml").write_text("""\
given:
  agent: refunder-1
  action: refund
  resource: {type: Order, id: o-1, attrs: {customer_id: c-1, seller_id: s-1}}
  context: {amount_minor: 100}
cases:
  - name: the first
    expect: {verdict: allow}
  - name: up to the limit
    usage: {refunds_day: 900}
    expect: {verdict: allow}
  - name: above the limit
    usage: {refunds_day: 901}
    expect: {verdict: deny, policies: [refund.day]}
  - name: of a budget that does not count it
    usage: {letters_hour: 1}
    expect: {verdict: allow}
""")
    report = run_cases(PolicyEngine(load_bundle(folder)))
    assert [failure.name for failure in report.failures] == ["of a budget that does not count it"]
    assert (
        "got the usage of letters_hour, expected of budgets that count refund" in report.failures[0].message
    )
