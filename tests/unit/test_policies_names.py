"""Names that a bundle does not know: told with file and line, and with the name that was likely meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jurat.policies import load_bundle
from jurat.policies.bundle_tests import cases
from jurat.policies.cedar import parse_schema
from jurat.policies.declared import DeclaredError, Named, parse
from jurat.policies.faults import did_you_mean
from jurat.policies.places import line_of_name
from jurat.schemas.errors import BundleError
from tests.fixtures.policies.refund_models import REFUNDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))


def faults(folder: Path) -> tuple[str, ...]:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return caught.value.faults


HEAD = '@id("x") @title("T")\nforbid (principal, action == Jurat::Action::"refund", resource)\n'


DECLARES = ", expected one that the schema declares"
OF_ORDERS = "customer, delivered_at, placed_at, refunded_minor, total_minor"


@pytest.mark.parametrize(
    ("condition", "line", "got", "end"),
    [
        ("true &&\n context.amout_minor > 1", 4, "`amout_minor` in context", "context.amount_minor"),
        (
            'resource.customer.teir == "gold"',
            3,
            "`teir` in resource.customer",
            "resource.customer.tier",
        ),
        ('resource.tier == "gold"', 3, "`tier` in resource", "resource.customer.tier"),
        (
            'resource["customer"]["teir"] == "x"',
            3,
            "`teir` in resource.customer",
            "resource.customer.tier",
        ),
        ("context.total_minor > 1", 3, "`total_minor` in context", "resource.total_minor"),
        (
            'Jurat::Order::"a".total_mino > 1',
            3,
            '`total_mino` in Jurat::Order::"a"',
            'Jurat::Order::"a".total_minor',
        ),
        (
            '(if true then resource.customer else resource.customer).teir == "a"',
            3,
            "`teir` in (an expression)",
            "tier",
        ),
        ("resource.nothing > 1", 3, "`nothing` in resource", f": {OF_ORDERS}"),
        ("principal.name > 1", 3, "`name` in principal", ": none"),
        # What Cedar's validator lets pass: it looks only where a request could lead.
        ("context has labls", 3, "`labls` in context", "context.labels"),
        ("resource has x && resource.x > 1", 3, "`x` in resource", f": {OF_ORDERS}"),
        ("resource has customer.teir", 3, "`teir` in resource.customer", "resource.customer.tier"),
        (
            'false && resource.customr.tier == "gold"',
            3,
            "`customr` in resource",
            "resource.customer",
        ),
        ("true || context.amount_minor.foo > 1", 3, "`foo` in context.amount_minor", ": none"),
        ("action has x", 3, "`x` in action", ": none"),
    ],
)
def test_an_attribute_that_the_schema_does_not_declare(
    folder: Path, condition: str, line: int, got: str, end: str
) -> None:
    (folder / "x.cedar").write_text(f"{HEAD}when {{ {condition} }};\n")
    end = end if end.startswith(":") else f"; did you mean `{end}`?"
    assert faults(folder) == (f"x.cedar:{line}: x: got the attribute {got}{DECLARES}{end}",)


@pytest.mark.parametrize(
    "condition",
    [
        "context has reason",
        "resource has delivered_at && resource.delivered_at < context.now",
        "resource has customer.tier",
        '{ total_minor: 1 }.total_minor == 1 && "text.amout_minor" == resource.customer["tier"]',
    ],
)
def test_attributes_that_exist_are_accepted(folder: Path, condition: str) -> None:
    (folder / "x.cedar").write_text(f"{HEAD}when {{ {condition} }};\n")
    assert "x" in load_bundle(folder).policies


def test_an_attribute_of_one_of_the_actions_is_accepted(folder: Path) -> None:
    """A policy on several actions asks with `has` and `is` which of them it is."""
    (folder / "x.cedar").write_text(
        '@id("x") @title("T") forbid (principal, action, resource)'
        " when { resource is Jurat::Payment && resource.retries > 9 || context has reason };"
    )
    assert "x" in load_bundle(folder).policies


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '@id("x") @title("T") forbid (principal, action == Jurat::Action::"refnd", resource);',
            (
                'x.cedar:1: x: for policy `x`, unrecognized action `Jurat::Action::"refnd"`;'
                ' did you mean `Jurat::Action::"refund"`?'
            ),
        ),
        (
            '@id("x") @title("T") forbid (principal, action, resource)\nwhen { resource is Jurat::Odrer };',
            (
                "x.cedar:2: x: for policy `x`, unrecognized entity type `Jurat::Odrer`;"
                " did you mean `Jurat::Order`?"
            ),
        ),
        (
            '@id("x") @title("T") permit (principal in Jurat::Role::"refundr", action, resource);',
            (
                'x.cedar:1: x: got Jurat::Role::"refundr", expected one of roles.yaml: collector, refunder;'
                " did you mean `refunder`?"
            ),
        ),
        (
            '@id("x") @title("T") @onwer("me") forbid (principal, action, resource);',
            (
                "x.cedar:1: x: got the unknown annotation @onwer, expected one of"
                " @escalate, @id, @owner, @title, @why; did you mean `@owner`?"
            ),
        ),
        (
            (
                '@id("x") @title("T") @escalate("rsk") forbid (principal, action, resource)'
                ' unless { context.approvals.contains("rsk") };'
            ),
            (
                "x.cedar:1: x: got @escalate('rsk'), expected an approver of roles.yaml: payments-lead, risk;"
                " did you mean `risk`?"
            ),
        ),
        (
            f'{HEAD}when {{\n  context.labels\n  .contians("a") }};',
            "x.cedar:5: `contians` is not a valid method; did you mean `contains`?",
        ),
        (
            f"{HEAD}when {{ duratoin(1) }};",
            "x.cedar:3: `duratoin` is not a valid function; did you mean `duration`?",
        ),
        (
            "\nforbd (principal, action, resource);",
            "x.cedar:2: invalid policy effect: forbd; did you mean `forbid`?",
        ),
        (
            "permit (principal, action, resource)\nunles { true };",
            "x.cedar:2: invalid policy condition: unles; did you mean `unless`?",
        ),
        (
            "permit (principal, actoin, resource);",
            "x.cedar:1: found an invalid variable in the policy scope: actoin; did you mean `action`?",
        ),
        (f"{HEAD}when {{\n // a }}\n true &&\n (1 }};", "x.cedar:6: unexpected token `}`"),
    ],
)
def test_other_names_and_where_the_parser_stops(folder: Path, text: str, told: str) -> None:
    (folder / "x.cedar").write_text(text)
    assert faults(folder) == (told,)


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (
            "roles.yaml",
            "agents:\n  refunder-1: [refunder]\n  collector-1: [collector]\naprovers: [risk]\n",
            (
                "roles.yaml:4: aprovers: Extra inputs are not permitted, expected one of agents, approvers;"
                " did you mean `approvers`?"
            ),
        ),
        ("roles.yaml", "agents:\n  a:\n  - b\n  - 7\n", "roles.yaml:4: agents.a.1: "),
        ("roles.yaml", "agents: {}\n\n\nagents: {}\n", "roles.yaml:4: got the key 'agents' twice"),
        ("roles.yaml", "agents:\n  a: [b\n", "roles.yaml:3: got what is not YAML, "),
        ("objectives.yaml", "- a\n", "objectives.yaml: got no mapping"),
        (
            "objectives.yaml",
            "\nrefundr-1: {aim: x, weights: {a: 100}}\n",
            (
                "objectives.yaml:2: got the agent refundr-1, expected one of roles.yaml: collector-1, refunder-1;"
                " did you mean `refunder-1`?"
            ),
        ),
        (
            "objectives.yaml",
            "refunder-1:\n  aim: x\n  weights: {a: 60, b: 30}\n",
            "objectives.yaml:1: got weights of refunder-1 that add up to 90, expected 100",
        ),
        (
            "objectives.yaml",
            "refunder-1:\n  aim: x\n  wieghts: {a: 100}\n  weights: {a: 100}\n",
            (
                "objectives.yaml:3: wieghts: Extra inputs are not permitted, expected one of aim, weights;"
                " did you mean `weights`?"
            ),
        ),
        ("objectives.yaml", "refunder-1:\n  aim: x\n  weights: {a: 0.5}\n", "objectives.yaml:3: weights.a: "),
        ("objectives.yaml", "refunder-1:\n  weights: {a: 100}\n", "objectives.yaml:1: aim: Field required"),
    ],
)
def test_a_fault_in_yaml_has_its_line(folder: Path, file: str, text: str, told: str) -> None:
    (folder / file).write_text(text)
    assert any(fault.startswith(told) for fault in faults(folder)), faults(folder)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        (
            "policies: [refund.cap-200]",
            "policies: [refund.cap-20]",
            "got the policy refund.cap-20 in `expect`, expected one of the bundle; did you mean `refund.cap-200`?",
        ),
        (
            "expect: { verdict: deny, policies",
            "expect: { verdct: deny, policies",
            (
                "expect.verdct: Extra inputs are not permitted, expected one of approvers, error, policies, verdict;"
                " did you mean `verdict`?"
            ),
        ),
    ],
)
def test_a_case_that_cannot_be_read_has_its_line(folder: Path, was: str, becomes: str, told: str) -> None:
    path = folder / "tests" / "refunds.yaml"
    text = path.read_text(encoding="utf-8")
    line = text[: text.index(was)].count("\n") + 1
    path.write_text(text.replace(was, becomes, 1), encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        cases(load_bundle(folder))
    assert any(f.startswith(f"tests/refunds.yaml:{line}: ") and told in f for f in caught.value.faults)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("      approvals: Set<String>,\n", "", "got the action"),
        ("now: datetime", "now: String", "has no `now: datetime`"),
        ("now: datetime", "now?: datetime", "has no `now: datetime`"),
    ],
)
def test_a_schema_without_what_the_engine_adds_is_a_fault(
    folder: Path, was: str, becomes: str, told: str
) -> None:
    path = folder / "schema.cedarschema"
    path.write_text(path.read_text(encoding="utf-8").replace(was, becomes), encoding="utf-8")
    found = [fault for fault in faults(folder) if told in fault and "the engine adds it" in fault]
    assert len(found) == 2
    assert all(fault.startswith("schema.cedarschema:") for fault in found)


def test_a_schema_that_does_not_parse_has_its_line(folder: Path) -> None:
    path = folder / "schema.cedarschema"
    path.write_text(path.read_text(encoding="utf-8").replace("retries: Long,", "retries Long,"))
    assert faults(folder)[0].startswith("schema.cedarschema:14: error parsing schema: unexpected token")


# What a schema declares is read from Cedar's own print of it.

WIDE = """
namespace A::B {
  @doc("x") entity Role { @doc("y") a: Long, "if"?: String, "a\\"b": Bool };
  entity C in [Role, X::Y];
  action "v\\"iew";
  action w in [A::B::Action::"v\\"iew", X::Action::"g"]
    appliesTo { principal: Role, resource: [Role, C], context: X::T };
}
namespace X {
  entity Y; action g; type T = { role: A::B::Role, deep: { set: Set<Long> } };
  entity Z {} tags { a: Set<T> }; entity E enum ["a;}", "b"];
}
"""


def test_what_a_schema_declares() -> None:
    declared = parse_schema(WIDE).declared
    assert set(declared.entities) == {"A::B::Role", "A::B::C", "X::Y", "X::Z", "X::E"}
    assert set(declared.actions) == {'A::B::Action::"v"iew"', 'A::B::Action::"w"', 'X::Action::"g"'}
    action = declared.actions['A::B::Action::"w"']
    assert (action.principals, action.resources) == (("A::B::Role",), ("A::B::Role", "A::B::C"))
    context = declared.record(action.context)
    assert context is not None
    role = declared.record(context.fields["role"].type)
    assert role is not None
    assert {name: field.required for name, field in role.fields.items()} == {
        "a": True,
        'a"b': True,
        "if": False,
    }
    tags = declared.record(declared.tags(Named("Z", "X")))
    assert tags is not None
    assert str(tags.fields["a"].type) == "Set<T>"
    assert declared.tags(Named("Y", "X")) is None
    assert declared.record(Named("Long")) is None


@pytest.mark.parametrize(
    "text", ["entity", "entity A", "entity A = { a: };", "policy A;", "entity A tags 7;"]
)
def test_what_cedar_would_not_print_is_refused(text: str) -> None:
    with pytest.raises(DeclaredError):
        parse(text)


# Suggestions and places.


@pytest.mark.parametrize(
    ("got", "known", "expected"),
    [
        ("Tier", ["tier", "tiers"], "; did you mean `tier`?"),
        ("teir", ["tier", "risk"], "; did you mean `tier`?"),
        ("colour", ["tier", "risk"], ""),
        ("", ["tier"], ""),
        ("x", [], ""),
        ("a" * 100_000, ["tier"], ""),
    ],
)
def test_a_suggestion_is_a_name_that_exists(got: str, known: list[str], expected: str) -> None:
    assert did_you_mean(got, known) == expected


def test_a_name_in_a_comment_or_a_text_is_not_where_it_stands() -> None:
    statement = (
        'forbid (principal, action, resource) // amount\nwhen { "amount" == "b" &&\n context.amount > 1 };'
    )
    assert line_of_name(statement, 10, "amount") == 12
    assert line_of_name(statement, 10, "absent") is None
