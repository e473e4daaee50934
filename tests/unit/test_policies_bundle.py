"""Loading a bundle: what is refused, where, and what its digest is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jurat.policies import load_bundle
from jurat.policies.folder import MAX_FILES, SCHEMA_FILE
from jurat.schemas.errors import BundleError
from tests.analysis_stage import SCHEMA
from tests.analysis_stage import bundle as stage_bundle
from tests.fixtures.policies.refund_models import REFUNDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))


def faults(folder: Path) -> tuple[str, ...]:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert caught.value.faults
    return caught.value.faults


def only_fault(folder: Path) -> str:
    (fault,) = faults(folder)
    return fault


def add(folder: Path, text: str, name: str = "refunds.cedar") -> None:
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(text)


def policy(body: str, *, notes: str = '@id("x") @title("An example")') -> str:
    return f"{notes}\n{body}\n"


FORBID = 'forbid (principal, action == Jurat::Action::"refund", resource)'
PERMIT = 'permit (principal, action == Jurat::Action::"refund", resource)'


def test_a_good_bundle_says_what_it_holds() -> None:
    bundle = load_bundle(REFUNDS)
    assert bundle.name == "refunds"
    assert bundle.namespace == "Jurat"
    assert bundle.actions == ("refund", "retry_payment")
    assert bundle.agents == {"collector-1": ("collector",), "refunder-1": ("refunder",)}
    assert bundle.approvers == ("payments-lead", "risk")
    assert bundle.objectives["refunder-1"].weights == {"goodwill": 30, "refunded_minor": 70}
    cap = bundle.policies["refund.gold-over-500"]
    assert (cap.effect, cap.escalate, cap.file, cap.line) == ("forbid", "payments-lead", "refunds.cedar", 15)
    assert cap.actions == {"refund"}
    assert bundle.policies["common.agents-only"].actions == {"refund", "retry_payment"}
    assert list(bundle.policies) == sorted(bundle.policies)


def test_the_digest_is_what_coreutils_print(folder: Path) -> None:
    # Names that sort differently by byte than by locale.
    add(folder, policy(f"{FORBID} when {{ context.frozen }};", notes='@id("b") @title("B")'), "Zebra.cedar")
    add(folder, policy(f"{FORBID} when {{ context.frozen }};", notes='@id("c") @title("C")'), "a-b.cedar")
    add(folder, policy(f"{FORBID} when {{ context.frozen }};", notes='@id("d") @title("D")'), "a_b.cedar")
    command = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True, text=True)
    assert load_bundle(folder).digest == printed.stdout.split()[0]


@pytest.mark.parametrize("name", ["refunds.cedar", "roles.yaml", "objectives.yaml", "tests/refunds.yaml"])
def test_the_digest_covers_every_file(folder: Path, name: str) -> None:
    before = load_bundle(folder).digest
    add(folder, "\n", name)
    assert load_bundle(folder).digest != before


@pytest.mark.parametrize(
    "name", ["notes.txt", "__pycache__/x.pyc", ".refunds.cedar.swp", "tests/x.py", "sub/a.cedar", "x y.cedar"]
)
def test_an_unknown_file_is_a_fault(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert any(name in fault and "unknown file" in fault for fault in faults(folder))


def test_a_link_is_a_fault(folder: Path) -> None:
    (folder / "more.cedar").symlink_to(REFUNDS / "refunds.cedar")
    assert "symbolic link" in only_fault(folder)


@pytest.mark.parametrize("name", ["tests", ""])
def test_a_folder_that_cannot_be_listed_is_a_fault(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walking a folder passes over it in silence, and a bundle would lose its cases."""
    real = os.scandir

    def scandir(path: str | os.PathLike[str]) -> object:
        if Path(path) == folder / name:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BundleError, match=r"cannot be listed \(Permission denied\)"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["schema.cedarschema", "roles.yaml"])
def test_a_required_file_that_is_missing_is_a_fault(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert any(fault.startswith(f"{name}: missing") for fault in faults(folder))


def test_no_policy_is_a_fault(folder: Path) -> None:
    for path in folder.glob("*.cedar"):
        path.write_text("// nothing yet\n")
    assert "got no policy" in only_fault(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected the folder"):
        load_bundle(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policy(f"{PERMIT};", notes='@title("T")'), "got no @id"),
        (policy(f"{PERMIT};", notes='@id("") @title("T")'), "got @id('')"),
        (policy(f"{PERMIT};", notes='@id("a b") @title("T")'), "got @id('a b')"),
        (
            policy(f"{PERMIT};", notes='@id("refund.grant") @title("T")'),
            "got the @id of refunds.cedar:3 again",
        ),
        (policy(f"{PERMIT};", notes='@id("x")'), "got no @title"),
        (policy(f"{PERMIT};", notes='@id("x") @title(" ")'), "got no @title"),
        (policy(f"{PERMIT};", notes='@id("x") @title("a\\nb")'), "expected one line"),
        (
            policy(f"{PERMIT};", notes='@id("x") @title("T") @why("\\x1b[2J")'),
            r"got @why('\x1b[2J'), expected one line",
        ),
        (
            policy(f"{PERMIT};", notes='@id("x") @title("T") @owner("a\\nb")'),
            r"got @owner('a\nb'), expected one line",
        ),
        (
            policy(f"{PERMIT};", notes='@id("x") @title("T") @obligation("deny")'),
            "unknown annotation @obligation",
        ),
        (policy(f"{PERMIT};", notes='@id("x") @title("T") @escalate("risk")'), "@escalate on a permit"),
        (policy("permit (principal == ?principal, action, resource);"), "got a template"),
        (policy(f"{FORBID} when {{ context.amout_minor > 1 }};"), "attribute `amout_minor` in context"),
        (policy(f'{FORBID} when {{ context.amount_minor > "a" }};'), "expected"),
        (
            policy(f"{FORBID} when {{ resource.delivered_at < context.now }};"),
            "optional attribute `delivered_at`",
        ),
        (policy('permit (principal, action == Jurat::Action::"refnd", resource);'), "refnd"),
        (policy(f"{FORBID} when {{ context.amount_minor > 1"), "unexpected end of input"),
        (policy(f"{PERMIT} when {{ 1.5 }};"), "refunds.cedar:30: "),
        (
            policy('permit (principal in Jurat::Role::"refundr", action, resource);'),
            'got Jurat::Role::"refundr"',
        ),
        (
            policy('permit (principal == Jurat::Agent::"nobody", action, resource);'),
            'got Jurat::Agent::"nobody"',
        ),
    ],
)
def test_a_bad_policy_is_a_fault_with_its_file_and_line(folder: Path, text: str, expected: str) -> None:
    add(folder, text)
    found = faults(folder)
    # The annotations stand on line 29, what Cedar and the schema do not know on the next.
    on_the_next = ("attribute `amout_minor`", "optional attribute", "refnd", "refunds.cedar:30")
    line = 30 if expected.startswith(on_the_next) else 29
    assert all(fault.startswith(f"refunds.cedar:{line}: ") for fault in found)
    assert expected in found[0]


LIFTED = 'unless { context.approvals.contains("risk") };'
RISK = '@id("x") @title("T") @escalate("risk")'


@pytest.mark.parametrize(
    ("notes", "body", "expected"),
    [
        (RISK, ";", "no approval that lifts it"),
        (RISK, 'unless { context.approvals.contains("payments-lead") };', "no approval that lifts it"),
        (RISK, 'unless { context.approvals.contains("risk") == false };', "got a use of `context.approvals`"),
        (RISK, 'unless { !context.approvals.contains("risk") };', "got a use of `context.approvals`"),
        (RISK, f'when {{ context.approvals.contains("risk") }} {LIFTED}', "got a use of"),
        (RISK, f'when {{ context.approvals.containsAny(["risk"]) }} {LIFTED}', "got a use of"),
        (RISK, f'when {{ context["approvals"].isEmpty() }} {LIFTED}', "got a use of"),
        (RISK, f"when {{ context has approvals }} {LIFTED}", "got a use of"),
        (RISK, f'when {{ {{ c: context }}.c.approvals.contains("risk") }} {LIFTED}', "got a use of"),
        (RISK, 'unless { if context.approvals.contains("risk") then true else false };', "got a use of"),
        ('@id("x") @title("T")', LIFTED, "got a use of"),
        (
            '@id("x") @title("T") @escalate("boss")',
            'unless { context.approvals.contains("boss") };',
            "expected an approver of roles.yaml: payments-lead, risk",
        ),
    ],
)
def test_approvals_only_lift_the_policy_that_asks_for_them(
    folder: Path, notes: str, body: str, expected: str
) -> None:
    add(folder, policy(f"{FORBID} {body}", notes=notes))
    assert any(expected in fault for fault in faults(folder))


@pytest.mark.parametrize(
    "body",
    [
        LIFTED,
        'unless { context.approvals.contains("risk") || resource.customer.risk_score < 1 };',
        'unless { context.amount_minor < 5 } unless { context.approvals.contains("risk") && !context.frozen };',
    ],
)
def test_an_escalation_that_an_approval_lifts_is_accepted(folder: Path, body: str) -> None:
    add(folder, policy(f"{FORBID} {body}", notes=RISK))
    assert load_bundle(folder).policies["x"].escalate == "risk"


def test_every_fault_is_told_at_once(folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    (folder / "roles.yaml").write_text(
        "agents: {refunder-1: [refunder], collector-1: [collector]}\nagent: {}\n"
    )
    add(
        folder,
        policy(f"{PERMIT};", notes="") + policy("permit (;") + policy("permit (principal, action, resource"),
    )
    found = faults(folder)
    assert len(found) == 6
    assert [fault.split(": ")[0] for fault in found] == [
        "notes.txt",
        "roles.yaml:2",
        "refunds.cedar:30",
        "refunds.cedar:30",
        "refunds.cedar:32",
        "refunds.cedar:33",
    ]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("agents: {}\n", "agents"),
        ("agents: {refunder-1: refunder}\n", "agents.refunder-1"),
        ("agents: {'a b': []}\n", "a b"),
        ("agents: {a: []}\nagents: {b: []}\n", "twice"),
        ("agents: {a: &x [], b: *x}\n", "alias"),
        ("agents: {a: !!python/object:os.system []}\n", "without tags"),
        ("agents: {a: [!!int '']}\n", "without tags"),
        ("agents: {a: [!!bool x]}\n", "without tags"),
        ("agents: {a: [99999999999999999999]}\n", "below 2**53"),
        ("agents: {a: [1.5, 7]}\n", "agents.a.1"),
        ("agents: &x {a: []}\n", "got the anchor &x"),
        ("agents: {&x a: []}\n", "got the anchor &x"),
        ("agents: !!map {a: []}\n", "without tags"),
        ("agents: {a: [!!str b]}\n", "without tags"),
        (f"agents: {'[' * 40}{']' * 40}\n", "nesting deeper"),
        ("agents: [", "roles.yaml"),
        ("- a\n", "roles.yaml"),
        ("", "roles.yaml"),
        ("agents: {a: [risk]}\napprovers: [risk]\n", "who decides does not approve"),
    ],
)
def test_roles_are_read_strictly(folder: Path, roles: str, expected: str) -> None:
    (folder / "roles.yaml").write_text(roles)
    assert any(re.match(r"roles\.yaml:[1-9]\d*: ", fault) and expected in fault for fault in faults(folder))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("namespace Jurat {", "unexpected end of input"),
        ("namespace Jurat { entity Agent { a: Strng }; }", "Strng"),
        ("namespace Jurat { entity Agent; }", "got no action"),
        (
            "entity Agent; action a appliesTo { principal: [Agent], resource: [Agent] };",
            "exactly one namespace",
        ),
    ],
)
def test_a_bad_schema_is_a_fault(folder: Path, schema: str, expected: str) -> None:
    (folder / "schema.cedarschema").write_text(schema)
    assert any(fault.startswith("schema.cedarschema:") and expected in fault for fault in faults(folder))


def test_a_schema_whose_agents_need_attributes_is_a_fault(folder: Path) -> None:
    path = folder / "schema.cedarschema"
    path.write_text(
        path.read_text().replace("entity Agent in [Role];", "entity Agent in [Role] { x: Long };")
    )
    assert "expected `entity Role;` and `entity Agent in [Role];`" in only_fault(folder)


def test_bytes_that_are_not_text_are_a_fault(folder: Path) -> None:
    (folder / "common.cedar").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in only_fault(folder)


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 20_000 + "true" + ")" * 20_000,
        "[" * 20_000 + "]" * 20_000 + " == []",
        " && ".join(["true"] * 20_000),
        "1" + " + 1" * 20_000 + " == 1",
        "resource" + ".a" * 20_000,
        "resource" + '["a"]' * 20_000,
        "if true then true else " * 20_000 + "true",
    ],
    ids=["brackets", "sets", "and", "plus", "dots", "indices", "conditions"],
)
def test_a_policy_that_would_overflow_the_parser_is_a_fault(folder: Path, condition: str) -> None:
    """Without the bound the process ends here: no exception, no message."""
    add(folder, policy(f"{FORBID} when {{ {condition} }};"))
    assert only_fault(folder).startswith("refunds.cedar:29: got more than ")


def test_a_schema_that_would_overflow_the_parser_is_a_fault(folder: Path) -> None:
    add(folder, "\nnamespace X { type T = " + "{ a: " * 20_000 + "Long" + "}" * 20_000 + "; }", SCHEMA_FILE)
    assert any(fault.startswith(f"{SCHEMA_FILE}:1: got more than ") for fault in faults(folder))


def test_wide_policies_are_not_deep(folder: Path) -> None:
    names = ", ".join(f'"p.({number}"' for number in range(5_000))
    add(folder, policy(f"{FORBID} when {{ [{names}].contains(principal.name) }};"))
    assert "attribute `name`" in only_fault(folder)  # Cedar read it


def test_a_string_that_does_not_end_is_found_at_once(folder: Path) -> None:
    """In linear time: a megabyte of quotes took hours."""
    add(folder, '@id("x' + '\\"' * 500_000)
    assert only_fault(folder).startswith("refunds.cedar:29: ")


def test_a_folder_that_is_no_bundle_is_not_walked_to_its_end(folder: Path) -> None:
    for number in range(MAX_FILES):
        (folder / f"{number}.txt").touch()
    assert any("more than 1000 files" in fault for fault in faults(folder))
    assert len(faults(folder)) < 10


def test_a_file_that_cannot_be_read_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "refunds.cedar: cannot be read (Permission denied), expected a file that can" in faults(folder)


def test_an_action_that_would_steer_a_terminal_is_a_fault(tmp_path: Path) -> None:
    schema = SCHEMA.replace('action "close"', r'action "\x1b[2J"')
    with pytest.raises(BundleError) as refused:
        stage_bundle(tmp_path / "t", schema=schema)
    (fault,) = refused.value.faults
    assert (
        fault
        == r"""schema.cedarschema: got the action 'T::Action::"\x1b[2J"', expected printable characters alone"""
    )
