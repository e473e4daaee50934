"""`jurat policy ask`: proofs, confirmed examples, and questions that are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.cli.policy import command
from jurat.policies import PolicyEngine, load_bundle, run_cases, shipped_bundle
from jurat.policies.analysis import Example, Proved, Unknown
from jurat.policies.analysis_ask import answer, parse
from jurat.policies.analysis_witness import as_case
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError
from tests.analysis_stage import asked, bundle, forbid
from tests.fixtures.policies.refund_models import REFUNDS


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("shop", "refund_buyer where context.amount_minor > 50000 without approval"),
        ("shop", "refund_buyer where context.amount_minor > resource.amount_minor"),
        ("shop", 'retry_charge where resource.failure_code == "suspected_fraud"'),
        ("shop", 'ship_from where principal == Jurat::Agent::"payment-retrier"'),
        ("shop", "release_to_seller where resource.settled"),
        ("shop", "refund_buyer where context.usage.refunds_day < 0"),
        (
            "shop",
            "refund_buyer where context.usage.refunds_day + context.amount_minor > 100000 without approval",
        ),
        ("after_sales", 'cancel_pending_order where resource.status == "delivered"'),
        (
            "after_sales",
            "exchange_delivered_order_items where !context.unchanged.isEmpty() && context.requester != resource.owner",
        ),
        ("refunds", 'retry_payment where context.labels.contains("test")'),
        ("refunds", "refund where context.amount_minor + resource.refunded_minor > resource.total_minor"),
    ],
)
def test_what_is_never_allowed_is_proved(name: str, question: str) -> None:
    assert asked(name, question) == Proved()


@pytest.mark.parametrize(
    ("name", "question", "approvals"),
    [
        ("shop", "refund_buyer where context.amount_minor == 50000 without approval", []),
        ("shop", "refund_buyer without approval", []),
        ("shop", "give_up where resource.amount_minor > 100000", ["payments-lead"]),
        ("shop", "refund_buyer where context.usage.refunds_day > 99000 without approval", []),
        ("after_sales", "exchange_delivered_order_items", []),
        ("refunds", "retry_payment where resource has last_attempt without approval", []),
        (
            "refunds",
            'refund where context.amount_minor > 50000 && resource.customer.tier like "g*d"',
            ["payments-lead"],
        ),
    ],
)
def test_what_is_allowed_has_an_example_that_the_engine_allows(
    name: str, question: str, approvals: list[str]
) -> None:
    outcome = asked(name, question)
    assert isinstance(outcome, Example)
    (request,), (judgement,) = outcome.requests, outcome.judgements
    assert judgement.verdict is Verdict.ALLOW
    folder = REFUNDS if name == "refunds" else shipped_bundle(name)
    assert PolicyEngine(load_bundle(folder)).rejudge(request).verdict is Verdict.ALLOW
    assert as_case(request)["approvals"] == approvals


@pytest.mark.parametrize(
    ("bundle_folder", "question", "by"),
    [
        (REFUNDS, "retry_payment where resource has last_attempt", "retry.grant"),
        (shipped_bundle("shop"), "refund_buyer where context.usage.refunds_day > 0", "dispute.refund.grant"),
    ],
    ids=["plain", "with-usage"],
)
def test_an_example_is_a_case_that_can_be_pasted(
    bundle_folder: Path, question: str, by: str, tmp_path: Path
) -> None:
    told = CliRunner().invoke(command, ["ask", str(bundle_folder), question])
    assert told.exit_code == 1
    first, *lines = told.output.splitlines()
    assert first == f"allowed, for example (allow by {by}):"
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "pasted"))
    case = "\n".join(
        ["cases:", "  - name: as found", *(f"  {line}" for line in lines), "    expect: {verdict: allow}", ""]
    )
    for old in (folder / "tests").iterdir():
        old.unlink()
    (folder / "tests" / "found.yaml").write_text(case, encoding="utf-8")
    report = run_cases(PolicyEngine(load_bundle(folder)))
    assert (report.run, report.failures) == (1, ())


def test_ask_prints_a_proof() -> None:
    question = "refund_buyer where context.amount_minor > 50000 without approval"
    told = CliRunner().invoke(command, ["ask", "shop", question])
    assert (told.exit_code, told.output) == (0, f"never allowed (proved): {question}\n")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("", "expected one such as: refund where"),
        ("refund_buyer if resource.settled", "expected one such as: refund where"),
        ("refund_buyer where", "expected one such as: refund where"),
        (
            "refund where context.amount_minor > 5",
            "got the action 'refund', expected one of ask_for_new_method",
        ),
        ("refund_buyer where context.amount_minor >", "which Cedar does not read"),
        ("refund_buyer where context.amount > 5", "attribute `amount`"),
        ('refund_buyer where context.amount_minor > "5"', "which the schema does not fit"),
        ("refund_buyer where true } unless { false", "expected one condition as it stands in a `when`"),
        (
            "refund_buyer where true }; permit (principal, action, resource) when { true",
            "expected one condition",
        ),
    ],
)
def test_a_question_that_is_none_is_refused(question: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match="got") as refused:
        asked("shop", question)
    assert told in str(refused.value)


def test_a_question_about_what_is_not_covered_is_unknown_or_confirmed(tmp_path: Path) -> None:
    cheap = 'resource.price.lessThan(decimal("1.5"))'
    loaded = bundle(tmp_path / "t", forbid("cheap", cheap), forbid("cap", "context.amount > 5"))
    # Whatever the open test comes to, this is proved.
    assert answer(loaded, parse(loaded, f"refund where {cheap} && context.amount > 5")) == Proved()
    # An example would need a price that the encoding cannot choose.
    outcome = answer(loaded, parse(loaded, "refund where context.amount > 3"))
    assert isinstance(outcome, Unknown)
    assert any("lessThan" in reason for reason in outcome.because)


def test_an_open_test_in_the_question_is_answered_where_the_engine_confirms(tmp_path: Path) -> None:
    loaded = bundle(tmp_path / "t")
    outcome = answer(loaded, parse(loaded, 'refund where resource.price.lessThan(decimal("1.5"))'))
    assert isinstance(outcome, Example)
    other = answer(loaded, parse(loaded, 'refund where resource.price.greaterThan(decimal("1.5"))'))
    assert isinstance(other, Unknown)
