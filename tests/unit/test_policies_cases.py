"""The cases of a bundle, and the commands that run them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurat.cli.policy import command
from jurat.policies import CaseReport, PolicyEngine, load_bundle, run_cases
from jurat.schemas.errors import BundleError
from tests.fixtures.policies.refund_models import REFUNDS

CASES = (REFUNDS / "tests" / "refunds.yaml").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))


def run(folder: Path, text: str) -> CaseReport:
    (folder / "tests" / "refunds.yaml").write_text(text, encoding="utf-8")
    return run_cases(PolicyEngine(load_bundle(folder)))


def jurat(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_cases_that_hold_do_not_fail(folder: Path) -> None:
    assert run(folder, CASES) == CaseReport(run=5, failures=())


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("deny, policies: [refund.cap-200]", "allow", "got deny by refund.cap-200, expected allow"),
        ("[refund.cap-200]", "[refund.grant]", "got deny by refund.cap-200, expected it by refund.grant"),
        ("[refund.cap-200]", "[]", "got deny by refund.cap-200, expected it by none"),
        ("approvers: [payments-lead]", "approvers: [risk]", "got the approvers payments-lead, expected risk"),
        ("deny, error: frozen", "deny", "got the error"),
        ("deny, error: frozen", "deny, error: other", "expected other"),
        ("[refund.cap-200] }", "[refund.cap-200], error: x }", "got no error, expected x"),
        ("action: refund", "action: refnd", "got the error got the action refnd"),
    ],
)
def test_a_case_that_does_not_hold_says_why(folder: Path, was: str, becomes: str, message: str) -> None:
    assert was in CASES
    report = run(folder, CASES.replace(was, becomes))
    assert any(message in failure.message for failure in report.failures)
    assert {failure.file for failure in report.failures} == {"tests/refunds.yaml"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "expected a mapping with `cases`"),
        ("cases: []\n", "at least one case"),
        ("cases: [a]\n", "case 1: expected a mapping"),
        ("cases:\n- {name: a}\n", "agent: Field required"),
        (
            CASES.replace("expect: { verdict: deny, policies", "expects: { verdict: deny, policies"),
            "expects: Extra",
        ),
        (CASES.replace("verdict: deny", "verdict: no"), "expect.verdict"),
        (CASES.replace("300 EUR to a standard customer is not", "a small refund is paid"), "the name twice"),
        (CASES.replace("1000", "10.5"), "amount_minor"),
    ],
)
def test_a_file_of_another_format_is_refused(folder: Path, text: str, expected: str) -> None:
    if "10.5" in text:  # what is no integer is a string to YAML, and no Long to Cedar
        assert run(folder, text).failures
        return
    with pytest.raises(BundleError, match="cannot be read") as caught:
        run(folder, text)
    assert any(expected in fault for fault in caught.value.faults)


def test_the_commands_say_that_all_is_well() -> None:
    assert jurat("check", str(REFUNDS)).exit_code == 0
    result = jurat("test", str(REFUNDS))
    assert (result.exit_code, result.output) == (0, "refunds: 5 cases, 0 failed\n")


def test_check_prints_every_fault_and_exits_with_1(folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    (folder / "common.cedar").write_text("permit (")
    result = jurat("check", str(folder), str(REFUNDS))
    assert result.exit_code == 1
    assert "notes.txt" in result.output
    assert "common.cedar:1" in result.output
    assert "refunds: 8 policies" in result.output


def test_check_reads_the_cases_too(folder: Path) -> None:
    path = folder / "tests" / "refunds.yaml"
    path.write_text(CASES.replace("expect: { verdict: deny, policies", "expects: { verdict: deny, policies"))
    result = jurat("check", str(folder))
    assert result.exit_code == 1
    assert "did you mean `expect`?" in result.output


def test_test_prints_the_case_that_failed_and_exits_with_1(folder: Path) -> None:
    path = folder / "tests" / "refunds.yaml"
    path.write_text(CASES.replace("[refund.cap-200]", "[]"), encoding="utf-8")
    result = jurat("test", str(folder))
    assert result.exit_code == 1
    assert "300 EUR to a standard customer is not: got deny by refund.cap-200" in result.output
    assert "5 cases, 1 failed" in result.output


def test_a_bundle_without_cases_does_not_pass(folder: Path) -> None:
    shutil.rmtree(folder / "tests")
    result = jurat("test", str(folder))
    assert (result.exit_code, result.output.count("got no case in tests/*.yaml")) == (1, 1)


def test_a_hostile_file_name_does_not_steer_the_terminal(folder: Path) -> None:
    (folder / "\x1b[2J.txt").touch()
    result = jurat("check", str(folder))
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\\x1b[2J.txt: got an unknown file" in result.output


def test_words_of_a_bundle_are_printed_as_they_are(folder: Path) -> None:
    """Neither emoji codes nor markup are anything but text."""
    name = "a smile :smile: costs [bold red]300 EUR[/bold red] [link=https://example.org]more[/link]"
    path = folder / "tests" / "refunds.yaml"
    text = CASES.replace("[refund.cap-200]", "[]")
    assert "300 EUR to a standard customer is not" in text
    path.write_text(text.replace("300 EUR to a standard customer is not", f'"{name}"'), encoding="utf-8")
    result = jurat("test", str(folder))
    assert f"{name}: got deny by refund.cap-200" in result.output


@pytest.mark.parametrize(
    "member", ["usage: {refunds_day: 1}", "approvals: [payments-lead]", "now: 2026-01-01T00:00:00Z"]
)
def test_what_the_engine_adds_to_the_context_does_not_go_into_it(folder: Path, member: str) -> None:
    text = CASES.replace("context: {", f"context: {{ {member}, ", 1)
    assert text != CASES
    with pytest.raises(BundleError, match="cannot be read") as caught:
        run(folder, text)
    assert f"got {member.partition(':')[0]} in `context`" in str(caught.value.faults)
