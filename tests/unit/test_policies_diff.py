"""`jurat policy diff`: equivalence, confirmed examples of every difference, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli.policy import command
from jurat.policies import Bundle, PolicyEngine, load_bundle, run_cases, shipped_bundle, shipped_bundles
from jurat.policies.analysis import Example, Proved
from jurat.policies.analysis_ask import answer, parse
from jurat.policies.analysis_check import analyse
from jurat.policies.analysis_diff import compare
from jurat.policies.analysis_witness import as_case
from jurat.policies.bundle_tests import full_type, short_type
from jurat.schemas.decision import Verdict
from tests.analysis_stage import ROLES, SCHEMA, bundle, forbid, newly


def edited(tmp_path: Path, file: str, *edits: tuple[str, str]) -> Bundle:
    """The shop's bundle with a file of it edited."""
    folder = Path(shutil.copytree(shipped_bundle("shop"), tmp_path / "shop"))
    path = folder / file
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return load_bundle(folder)


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_bundle_is_equivalent_to_itself(name: str) -> None:
    loaded = load_bundle(shipped_bundle(name))
    difference = compare(loaded, loaded)
    assert difference.notes == ()
    assert [action.equivalent for action in difference.actions] == [True] * len(loaded.actions)


def test_another_wording_is_equivalent(tmp_path: Path) -> None:
    reworded = edited(
        tmp_path,
        "disputes.cedar",
        ("context.amount_minor > resource.amount_minor", "resource.amount_minor < context.amount_minor"),
        ("{ context.amount_minor > 50000 }", "{ !(context.amount_minor <= 50000) }"),
    )
    assert all(action.equivalent for action in compare(load_bundle(shipped_bundle("shop")), reworded).actions)


def test_a_higher_limit_allows_exactly_what_lies_between(tmp_path: Path) -> None:
    old = load_bundle(shipped_bundle("shop"))
    new = edited(tmp_path, "disputes.cedar", ("amount_minor > 50000", "amount_minor > 60000"))
    found = newly(old, new, "partial_refund")
    example = found[Verdict.ALLOW]
    assert isinstance(example, Example)
    assert 50_000 < as_case(example.requests[1])["context"]["amount_minor"] <= 60_000  # type: ignore[index,call-overload,operator]
    assert [judgement.verdict for judgement in example.judgements] == [Verdict.ESCALATE, Verdict.ALLOW]
    assert (found[Verdict.ESCALATE], found[Verdict.DENY]) == (Proved(), Proved())
    back = newly(new, old, "partial_refund")
    assert isinstance(back[Verdict.ESCALATE], Example)
    assert (back[Verdict.ALLOW], back[Verdict.DENY]) == (Proved(), Proved())
    refunds = ("refund_buyer", "partial_refund", "offer_settlement", "settle_as_agreed")
    assert all(one.equivalent != (one.action.endswith(refunds)) for one in compare(old, new).actions)


def test_a_refusal_that_nobody_can_lift_any_more_is_newly_denied(tmp_path: Path) -> None:
    old = load_bundle(shipped_bundle("shop"))
    lifted = (
        'when { resource.amount_minor > 100000 }\nunless { context.approvals.contains("payments-lead") };'
    )
    head = 'forbid (principal, action == Jurat::Action::"give_up", resource)\n'
    for_good = f"{head}when {{ resource.amount_minor > 100000 }};"
    new = edited(tmp_path, "retries.cedar", (f'@escalate("payments-lead")\n{head}{lifted}', for_good))
    found = newly(old, new, "give_up")
    assert isinstance(found[Verdict.DENY], Example)
    assert (found[Verdict.ALLOW], found[Verdict.ESCALATE]) == (Proved(), Proved())


def test_another_approver_is_a_difference(tmp_path: Path) -> None:
    old = bundle(tmp_path / "old", forbid("cap", "context.amount > 5", role="lead"))
    new = bundle(tmp_path / "new", forbid("cap", "context.amount > 5", role="risk"))
    found = newly(old, new, "refund")
    allowed = found[Verdict.ALLOW]
    assert isinstance(allowed, Example)
    assert as_case(allowed.requests[1])["approvals"] == ["risk"]
    assert [judgement.approvers for judgement in allowed.judgements] == [("lead",), ()]


def test_schemas_that_differ_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    old = bundle(tmp_path / "old", forbid("cap", "context.amount > 5"))
    schema = SCHEMA.replace("amount: Long", "amount: Long, vip: Bool").replace("paid?: Long", "paid: Long")
    new = bundle(tmp_path / "new", forbid("cap", "context.amount > 5 && !context.vip"), schema=schema)
    difference = compare(old, new)
    (refund,) = (one for one in difference.actions if one.action == "refund")
    assert refund.notes == (
        "context.vip is only in the new schema: the old bundle judges without it",
        "resource.paid is optional in the old schema alone: requests without it are not compared",
    )
    example = refund.newly[Verdict.ALLOW]
    assert isinstance(example, Example)
    before, after = (as_case(request)["context"] for request in example.requests)
    assert before == {"amount": 6}
    assert after == {"amount": 6, "vip": True}
    assert refund.newly[Verdict.DENY] == Proved()


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    old = bundle(tmp_path / "old")
    schema = SCHEMA.replace("amount: Long", "amount: String").replace('"close"', '"shut"')
    new = bundle(tmp_path / "new", schema=schema, roles=ROLES.replace("a-2", "a-3"))
    difference = compare(old, new)
    assert difference.notes == (
        "the action close is only in the old bundle",
        "the action shut is only in the new bundle",
        "the agent a-2 is only in the old bundle",
        "the agent a-3 is only in the new bundle",
    )
    (refund,) = difference.actions
    assert refund.notes == ("context.amount is of the type Long in the old schema and String in the new one",)
    assert not refund.equivalent
    told = CliRunner().invoke(command, ["diff", str(tmp_path / "old"), str(tmp_path / "new")])
    assert told.exit_code == 1
    assert "refund on Order: cannot be compared: context.amount is of the type Long" in told.output


def test_the_same_open_test_in_both_bundles_is_no_difference(tmp_path: Path) -> None:
    cheap = forbid("cheap", 'resource.price.lessThan(decimal("1.5"))')
    old, new = (
        bundle(tmp_path / "old", cheap),
        bundle(tmp_path / "new", cheap, forbid("cap", "context.amount > 5")),
    )
    found = newly(old, new, "refund")
    assert found[Verdict.ALLOW] == Proved()
    assert all(one.equivalent for one in compare(old, old).actions)


def test_diff_prints_what_both_engines_say(tmp_path: Path) -> None:
    bundle(tmp_path / "old", forbid("cap", "context.amount > 5", role="lead"))
    bundle(tmp_path / "new", forbid("cap", "context.amount > 9", role="lead"))
    told = CliRunner().invoke(command, ["diff", str(tmp_path / "old"), str(tmp_path / "new")])
    lines = told.output.splitlines()
    assert told.exit_code == 1
    assert lines[0] == "close on Order: equivalent (proved)"
    assert lines[1] == (
        "refund on Order: newly allowed, for example (was escalate to lead by cap; is allow by grant):"
    )
    assert json.loads(lines[5].partition(": ")[2])["amount"] in range(6, 10)
    same = CliRunner().invoke(command, ["diff", str(tmp_path / "old"), str(tmp_path / "old")])
    assert same.exit_code == 0


def test_only_the_roles_that_refuse_are_granted(tmp_path: Path) -> None:
    schema = SCHEMA.replace("total: Long", "total: Long, flag: Bool")
    overflows = "context.amount * 9223372036854775807 > 0"

    def lifted(id_: str, role: str, unless: str) -> str:
        head = f'@id("{id_}") @title("T") @escalate("{role}")'
        scope = 'forbid (principal, action == T::Action::"refund", resource)'
        return f"{head}\n{scope}\nunless {{ {unless} }};\n"

    both = (
        forbid("small", "context.amount < 2"),
        lifted("lead", "lead", 'context.approvals.contains("lead")'),
        lifted("risk", "risk", f'context.approvals.contains("risk") && {overflows} || resource.flag'),
    )
    more = lifted("more", "lead", f'context.approvals.contains("lead") || resource.flag && {overflows}')
    old, new = (
        bundle(tmp_path / "old", *both, schema=schema),
        bundle(tmp_path / "new", *both, more, schema=schema),
    )
    denied = newly(old, new, "refund")[Verdict.DENY]
    assert isinstance(denied, Example)
    assert [judgement.verdict for judgement in denied.judgements] == [Verdict.ESCALATE, Verdict.DENY]
    # Whoever else would approve: risk's `unless` errs only once risk has.
    alone = bundle(tmp_path / "alone", *both[1:], schema=schema)
    assert isinstance(newly(new, alone, "refund")[Verdict.ESCALATE], Example)


def test_a_resource_of_another_namespace_is_analysed_like_any(tmp_path: Path) -> None:
    schema = "namespace Other { entity Thing; }\n" + SCHEMA.replace(
        "[Order], context: { amount", "[Order, Other::Thing], context: { amount"
    )
    old = bundle(tmp_path / "old", schema=schema)
    new = bundle(tmp_path / "new", forbid("cap", "context.amount > 5"), schema=schema)
    assert analyse(new) == ()
    assert all(one.equivalent for one in compare(old, old).actions)
    thing = {one.resource: one for one in compare(old, new).actions if one.action == "refund"}["Other::Thing"]
    denied = thing.newly[Verdict.DENY]
    assert isinstance(denied, Example)
    assert denied.requests[0]["resource"] == {"type": "Other::Thing", "id": "example-1"}
    assert isinstance(answer(old, parse(old, "refund where resource is Other::Thing")), Example)
    assert as_case(denied.requests[0])["resource"] == {"type": "Other::Thing", "id": "example-1", "attrs": {}}


@pytest.mark.parametrize("named", ["Other::Thing", "::Bare", "Order"])
def test_an_example_of_any_namespace_is_a_case(named: str, tmp_path: Path) -> None:
    """What diff shows is pasted as a case, and found again."""
    schema = "entity Bare;\nnamespace Other { entity Thing; }\n" + SCHEMA.replace(
        "[Order], context: { amount", "[Order, Other::Thing, Bare], context: { amount"
    )
    new = bundle(tmp_path / "new", forbid("cap", "context.amount > 5"), schema=schema)
    full = full_type(named, new.namespace)
    assert short_type(full, new.namespace) == named
    (found,) = [
        one.newly[Verdict.DENY]
        for one in compare(bundle(tmp_path / "old", schema=schema), new).actions
        if one.action == "refund" and one.resource == full.removeprefix(f"{new.namespace}::")
    ]
    assert isinstance(found, Example)
    case = {
        **as_case(found.requests[1]),
        "name": "as found",
        "expect": {"verdict": "deny", "policies": ["cap"]},
    }
    assert case["resource"]["type"] == named  # type: ignore[index,call-overload]
    (tmp_path / "new" / "tests").mkdir(exist_ok=True)
    (tmp_path / "new" / "tests" / "found.yaml").write_text(json.dumps({"cases": [case]}), encoding="utf-8")
    report = run_cases(PolicyEngine(load_bundle(tmp_path / "new")))
    assert report.failures == ()
