"""jurat.testing: agents on a stage, scripts and recordings, assertions that say what happened, no model by accident."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jurat.agents import model_calls
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER, AskForNewMethod, GiveUp, RetryCharge
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.policies import shipped_bundle
from jurat.schemas.commerce import PaymentFailed
from jurat.schemas.errors import ConfigurationError, ReasonerUnavailable
from jurat.testing import (
    Recorded,
    Scripted,
    assert_decided,
    assert_denied,
    assert_escalated,
    policy_cases,
    rehearse,
)
from tests.deciding_stage import failed
from tests.shop import profile
from tests.tool_stage import Counted, counter, wish

SUSPICIOUS = failed().model_copy(
    update={"fraud_score": 60, "amount": failed().amount.model_copy(update={"amount_minor": 30_000})}
)
DAY = 24 * 60
LATER = RetryCharge(after_minutes=DAY)


def test_an_agent_decides_and_the_assertions_agree() -> None:
    with rehearse(PAYMENT_RETRIER) as stage:
        ended = stage.send(failed())
    for action in (LATER, RetryCharge, "retry_charge", None):
        assert_decided(ended, action=action, policies=["retry.grant"])
    assert_decided(ended)


def test_what_did_not_happen_is_told_with_what_did() -> None:
    with rehearse(PAYMENT_RETRIER, reasoner=Scripted(RetryCharge(after_minutes=1), LATER)) as stage:
        ended = stage.send(failed())
    with pytest.raises(
        AssertionError, match=r"got decided: retry_charge .*refused: retry_charge by retry.cool-down-funds"
    ):
        assert_denied(ended)
    with pytest.raises(AssertionError, match="expected give_up"):
        assert_decided(ended, action=GiveUp)
    with pytest.raises(AssertionError, match="after_minutes=7"):
        assert_decided(ended, action=RetryCharge(after_minutes=7))
    with pytest.raises(AssertionError, match="expected it by a, b"):
        assert_decided(ended, policies=["b", "a"])
    with pytest.raises(AssertionError, match="expected it by none"):
        assert_decided(ended, policies=[])
    with rehearse(replace(PAYMENT_RETRIER, expires_after=timedelta(0))) as stage:
        skipped = stage.send(failed(), event_id="a")
        again = stage.send(failed(), event_id="a")
    assert_decided(skipped)
    with pytest.raises(AssertionError, match="got duplicate, expected it to be decided"):
        assert_decided(again)


def test_people_are_asked_and_answer() -> None:
    with rehearse(PAYMENT_RETRIER, reasoner=Scripted(LATER, LATER)) as stage:
        first = stage.send(SUSPICIOUS)
        assert_escalated(first, action=LATER, policies=["retry.large-and-suspicious"], roles=["fraud-desk"])
        with pytest.raises(AssertionError, match=r"asking fraud-desk.*expected it to ask \['risk'\]"):
            assert_escalated(first, roles=["risk"])
        assert_decided(stage.grant(first, role="fraud-desk"), action=LATER)
        assert_denied(stage.refuse(stage.send(SUSPICIOUS), role="fraud-desk"))


def test_nobody_answers_in_time() -> None:
    with rehearse(PAYMENT_RETRIER, reasoner=Scripted(LATER)) as stage:
        stage.send(SUSPICIOUS)
        (ended,) = stage.advance(stage.now + PAYMENT_RETRIER.approval_within)
    assert_denied(ended, action=RetryCharge)


def test_views_are_published_to_and_inputs_are_sent() -> None:
    with rehearse(PAYMENT_RETRIER) as stage:
        stage.publish(profile(orders=3))
        assert stage.send(failed()).record.context[0].sha256 is not None
        with pytest.raises(ConfigurationError, match=r"expected send\(\)"):
            stage.publish(failed())
        with pytest.raises(ConfigurationError, match=r"publish\(\) it"):
            stage.send(profile(orders=4))
    assert stage.state("c-1") is None


def test_a_script_that_is_used_up_is_an_error_and_no_fallback_hides_it() -> None:
    with (
        pytest.raises(
            ConfigurationError, match=r"question 2 to a script of 1 .*retry_charge was refused by retry\.cool"
        ),
        rehearse(PAYMENT_RETRIER, reasoner=Scripted(RetryCharge(after_minutes=1))) as stage,
    ):
        stage.send(failed())


def test_a_script_that_is_not_used_up_is_an_error() -> None:
    with (
        pytest.raises(AssertionError, match="1 answers of the script"),
        rehearse(PAYMENT_RETRIER, reasoner=Scripted(LATER, LATER)) as stage,
    ):
        stage.send(failed())
    with pytest.raises(ZeroDivisionError), rehearse(PAYMENT_RETRIER, reasoner=Scripted(LATER)):
        1 / 0  # noqa: B018 - what fails inside is what is told


def test_a_script_proposes_nothing_or_fails_as_told() -> None:
    down = ReasonerUnavailable("got no answer within 5 s")
    for answer in (None, down):
        with rehearse(PAYMENT_RETRIER, reasoner=Scripted(answer)) as stage:
            assert_decided(stage.send(failed()), action=AskForNewMethod)
    said = Proposal(action=LATER, rationale="patience", confidence=7)
    script = Scripted(said)
    with rehearse(PAYMENT_RETRIER, reasoner=script) as stage:
        ended = stage.send(failed())
    assert ended.decision is not None
    assert (ended.decision.rationale, ended.decision.confidence) == ("patience", 7)
    assert [type(request.situation.event) for request in script.requests] == [PaymentFailed]


def test_what_was_recorded_is_answered_again(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with rehearse(PAYMENT_RETRIER, reasoner=Recorded(file, HeuristicReasoner())) as stage:
        first = stage.send(failed())
        stage.send(SUSPICIOUS)
    kept = file.read_bytes()
    assert len(kept.splitlines()) == 2
    with rehearse(PAYMENT_RETRIER, reasoner=Recorded(file)) as stage:
        again = stage.send(failed())
        with pytest.raises(ConfigurationError, match="no answer to"):
            stage.send(failed().model_copy(update={"fraud_score": 4}))
    assert again.decision is not None
    assert first.decision is not None
    assert again.action == first.action
    assert again.decision.rationale == first.decision.rationale
    assert file.read_bytes() == kept


def test_tools_are_used_on_the_stage_and_recorded_wishes_are_wished_again(tmp_path: Path) -> None:
    agent = replace(PAYMENT_RETRIER, tools=(counter(),))
    file = tmp_path / "answers.jsonl"
    script = Scripted(wish("four"), LATER)
    with rehearse(agent, reasoner=Recorded(file, script)) as stage:
        assert_decided(stage.send(failed()), action=LATER)
    assert [tool.result for tool in script.requests[1].tools] == [Counted(count=4)]
    with rehearse(agent, reasoner=Recorded(file)) as stage:
        assert_decided(stage.send(failed()), action=LATER)


def test_a_recording_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    class Silent(HeuristicReasoner):
        async def propose(self, request: ProposalRequest) -> Proposal | None:
            return None

    file = tmp_path / "answers.jsonl"
    for inner in (Silent(), None):
        with rehearse(PAYMENT_RETRIER, reasoner=Recorded(file, inner)) as stage:
            assert_decided(stage.send(failed()), action=AskForNewMethod)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make it once"):
        Recorded(tmp_path / "none")
    (tmp_path / "odd").write_text("{}\n")
    with pytest.raises(ConfigurationError, match=r"odd:1: got an entry"):
        Recorded(tmp_path / "odd")


def test_the_cases_of_a_bundle_are_tests(tmp_path: Path) -> None:
    found = policy_cases(shipped_bundle("shop"))
    assert {str(one) for one in found} >= {"tests/retry.yaml: a fifth time"}
    for one in found:
        one.check()
    wrong = replace(found[0], case=found[0].case.model_copy(update={"action": "nothing_of_the_kind"}))
    with pytest.raises(AssertionError, match=found[0].case.name):
        wrong.check()


@pytest.fixture
def forbidden() -> Iterator[None]:
    model_calls.forbid("this is a test")
    yield
    model_calls.allow()


@pytest.mark.usefixtures("forbidden")
def test_a_model_call_is_refused_until_it_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match="call of the model gpt-x, expected none: this is a test"):
        model_calls.check_allowed("gpt-x")
    model_calls.allow()
    model_calls.check_allowed("gpt-x")


def test_the_plugin_forbids_model_calls_in_tests_that_are_not_marked(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from jurat.agents.model_calls import check_allowed\n"
        "from jurat.schemas.errors import ConfigurationError\n"
        "@pytest.fixture\n"
        "def called():\n    check_allowed('m')\n"
        "@pytest.mark.model_calls\n"
        "def test_marked(called): pass\n"
        "def test_unmarked():\n"
        "    with pytest.raises(ConfigurationError, match='mark the test @pytest.mark.model_calls'):\n"
        "        check_allowed('m')\n"
        "def test_in_a_fixture(called): pass\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "jurat.testing",
            "--strict-markers",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR test_it.py::test_in_a_fixture" in done.stdout


def test_policies_that_a_test_changed_are_the_ones_that_count(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shipped_bundle("shop"), tmp_path / "shop"))
    with rehearse(PAYMENT_RETRIER, bundle=bundle) as stage:
        assert_decided(stage.send(failed()), action=LATER)
    for file in bundle.glob("*.cedar"):
        file.write_text(file.read_text().replace('@id("retry.grant")', '@id("retry.granted")'))
    with rehearse(PAYMENT_RETRIER, bundle=bundle) as stage:
        assert_decided(stage.send(failed()), action=LATER, policies=["retry.granted"])
