"""`jurat policy space`: from files to words and JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurat.agents.dispute_actions import PartialRefund
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.cli.main import entry
from jurat.policies import PolicyRequest
from jurat.schemas.commerce import AfterSalesRequested
from jurat.schemas.errors import ConfigurationError, JuratError, PolicyInputError
from jurat.schemas.marketplace import DisputeCategory
from tests.shop import NOTHING_USED, documents, euros, shop_engine, situation
from tests.unit.test_agents_disputes import dispute
from tests.unit.test_agents_fulfilment import order, warehouse

EVENT = dispute(DisputeCategory.NOT_RECEIVED, amount=euros(90_000))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(entry, ["policy", "space", *arguments])


def printed(*arguments: str) -> str:
    result = run(*arguments)
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def event(tmp_path: Path) -> str:
    file = tmp_path / "dispute.json"
    file.write_text(EVENT.model_dump_json(indent=2))
    return str(file)


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    action = PartialRefund(amount_minor=45_000, currency="EUR")
    seen = situation(DISPUTE_MEDIATOR, EVENT)
    facts = DISPUTE_MEDIATOR.judged(seen, action)
    judgement = shop_engine().judge(
        PolicyRequest(
            DISPUTE_MEDIATOR.name,
            action.action_name,
            facts.resource,
            facts.facts,
            now=seen.now,
            usage=NOTHING_USED,
        )
    )
    file = tmp_path / "input.json"
    file.write_text(json.dumps(judgement.normalised))
    return str(file)


GUIDE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_guide_shows_what_is_printed(event: str) -> None:
    command, _, words = (
        GUIDE.partition("```text\n$ jurat policy space ")[2].partition("```")[0].partition("\n")
    )
    assert command == "dispute-mediator partial_refund --event dispute.json"
    assert printed(*command.replace("dispute.json", event).split(" ")) == words


def test_the_space_of_an_event_in_words(event: str) -> None:
    text = printed("dispute-mediator", "partial_refund", "--event", event)
    assert text.startswith('partial_refund: Refund the buyer in part\n  amount_minor, with currency "EUR"\n')
    assert '  currency, with amount_minor 45000\n    "EUR"          allow:' in text


def test_what_was_used_of_budgets_can_be_said(event: str) -> None:
    words = printed("dispute-mediator", "partial_refund", "--event", event, "--used", "refunds_day=97000")
    assert "    1 to 3000       allow: " in words
    assert "    3001 to 50000   escalate(payments-lead): More than 1000.00 to one buyer" in words


def test_the_space_of_a_recorded_input_is_the_same(event: str, recorded: str) -> None:
    assert printed("dispute-mediator", "partial_refund", "--input", recorded) == printed(
        "dispute-mediator", "partial_refund", "--event", event
    )


def test_without_an_action_all_are_told(event: str) -> None:
    text = printed("dispute-mediator", "--event", event)
    for action in DISPUTE_MEDIATOR.actions:
        assert f"{action.action_name}: {action.title}" in text
    assert "release_to_seller: Release the money to the seller (not offered)\n  deny: " in text


def test_as_json_with_the_schema_for_structured_output(event: str, recorded: str) -> None:
    told = json.loads(printed("dispute-mediator", "partial_refund", "--event", event, "--json"))
    assert told["offered"] is True
    assert told["schema"]["properties"]["amount_minor"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 89_999,
    }
    assert [one["name"] for one in told["parameters"]] == ["amount_minor", "currency"]
    refused = json.loads(printed("dispute-mediator", "release_to_seller", "--event", event, "--json"))
    assert (refused["offered"], refused["schema"]) == (False, None)
    recalled = json.loads(printed("dispute-mediator", "partial_refund", "--input", recorded, "--json"))
    assert "schema" not in recalled, "what is worked out from a parameter is not worked out anew"
    assert recalled["parameters"] == told["parameters"]


def test_documents_are_read_as_the_worker_reads_them(tmp_path: Path) -> None:
    held: dict[str, dict[str, object]] = {}
    for (view, key), document in documents(FULFILMENT_ROUTER, warehouse("WH-1")).items():
        assert document is not None
        held.setdefault(view, {})[key] = json.loads(document.model_dump_json())
    (tmp_path / "documents.json").write_text(json.dumps(held))
    (tmp_path / "order.json").write_text(order().model_dump_json())
    arguments = ("fulfilment-router", "ship_from", "--event", str(tmp_path / "order.json"))
    assert '"WH-1"' not in printed(*arguments)
    text = printed(
        *arguments, "--documents", str(tmp_path / "documents.json"), "--now", "2026-03-02T09:00:00Z"
    )
    assert '"WH-1"         allow: ' in text
    assert "anything else  checked afterwards" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "x", "--event", "{event}"), "got the agent 'nobody', expected one of: after-sales"),
        (("dispute-mediator", "x", "--event", "{event}"), "expected one of dispute-mediator: refund_buyer"),
        (("dispute-mediator", "partial_refund"), "got neither or both of --event and --input"),
        (("dispute-mediator", "--event", "{event}", "--input", "{event}"), "got neither or both"),
        (("payment-retrier", "--event", "{event}"), "no event that payment-retrier reads: PaymentFailed: "),
        (
            ("dispute-mediator", "--event", "{event}", "--now", "noon"),
            "--now that is no moment: got the time 'noon'",
        ),
        (("dispute-mediator", "--event", "{event}", "--documents", "{broken}"), "expected a JSON object"),
        (("dispute-mediator", "--event", "{event}", "--documents", "{list}"), "got .* with a JSON list"),
        (
            ("after-sales", "--event", "{asked}", "--documents", "{typo}"),
            "got documents of 'customer', .* did you mean `customers`",
        ),
        (
            ("after-sales", "--event", "{asked}"),
            'got no document \'ann\' of customers, .* in --documents FILE: {"customers": {"ann": ...}}',
        ),
        (("dispute-mediator", "--event", "{event}", "--bundle", "none"), "got the bundle 'none'"),
        (
            ("dispute-mediator", "--input", "{recorded}", "--now", "2026-03-02T09:00:00Z"),
            "stand in the input already",
        ),
        (("dispute-mediator", "--input", "{recorded}", "--used", "refunds_day=1"), "in the input already"),
        (
            ("dispute-mediator", "--event", "{event}", "--used", "refund_day=1"),
            "expected one of shop: refunds_day; did you mean `refunds_day`",
        ),
        (("dispute-mediator", "--event", "{event}", "--used", "refunds_day=-1"), "the number 0 or above"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], said: str, event: str, recorded: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "typo.json").write_text('{"customer": {}}')
    args = {"order_id": "W1", "reason": "no longer needed"}
    asked = AfterSalesRequested(request_id="r", customer_id="ann", action="cancel_pending_order", args=args)
    (tmp_path / "asked.json").write_text(asked.model_dump_json())
    files = {
        "event": event,
        "recorded": recorded,
        **{name: str(tmp_path / f"{name}.json") for name in ("broken", "list", "typo", "asked")},
    }
    with pytest.raises(ConfigurationError, match=said):
        printed(*(argument.format(**files) for argument in arguments))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action": {"type": "Jurat::Action", "id": "refund_buyer"}}, "expected one of partial_refund"),
        ({"extra": 1}, "got a policy input with the fields"),
        ({"context": []}, "whose context is no object"),
    ],
)
def test_an_input_that_is_none_is_refused(change: dict[str, object], said: str, recorded: str) -> None:
    file = Path(recorded)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(PolicyInputError, match=said):
        printed("dispute-mediator", "partial_refund", "--input", recorded)


def test_an_input_of_a_request_that_could_not_be_asked_has_no_space(recorded: str) -> None:
    file = Path(recorded)
    given = json.loads(file.read_text())
    file.write_text(
        json.dumps({k: given[k] for k in ("principal", "action", "resource")} | {"unfit": "too large"})
    )
    with pytest.raises(JuratError, match="with a context"):
        printed("dispute-mediator", "partial_refund", "--input", recorded)
