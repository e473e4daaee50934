"""`jurat approvals` without Kafka: what is shown, for whom somebody may speak, what is refused before it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jurat.audit.approval import action_digest, verify_answer
from jurat.audit.key_store import init_approver, trust_approver
from jurat.audit.keys import Trust, TrustedApprover
from jurat.cli import approvals
from jurat.cli.approvals_text import lines, money, parameter_lines, span
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.errors import ConfigurationError, KeyNotFound, RecordInvalid
from jurat.streams.approval_desk import Desk
from tests.approval_stage import trust
from tests.examples import REQUEST, WHEN
from tests.tree import ROOT


def asked(**change: Any) -> ApprovalRequested:
    """A request that asks for what it shows."""
    made = REQUEST.model_copy(update=change)
    digest = action_digest(
        agent=made.agent,
        decision_id=made.decision_id,
        action=made.action,
        parameters=made.parameters,
        resource_type=made.resource_type,
        resource_id=made.resource_id,
    )
    return made.model_copy(update={"action_sha256": digest})


@pytest.mark.parametrize(
    ("amount_minor", "currency", "said"),
    [
        (45_213, "EUR", "452.13 EUR"),
        (5, "USD", "0.05 USD"),
        (-5, "USD", "-0.05 USD"),
        (-12_300, "EUR", "-123.00 EUR"),
        (300, "JPY", "300 JPY"),
        (1_234, "KWD", "1.234 KWD"),
        (12_345, "CLF", "1.2345 CLF"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_money(amount_minor: int, currency: str, said: str) -> None:
    assert money(amount_minor, currency) == said


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(hours=24), "1 d"),
        (timedelta(hours=26, minutes=5), "1 d 2 h"),
        (timedelta(hours=1, seconds=5), "1 h"),
    ],
)
def test_spans(time: timedelta, said: str) -> None:
    assert span(time) == said


def test_parameters_in_plain_words() -> None:
    said = list(
        parameter_lines(
            {
                "amount_minor": 45_213,
                "currency": "EUR",
                "note": "for\nnothing",
                "fee": {"amount_minor": 300, "currency": "JPY"},
                "items": ["a", 1],
                "delay_minor": None,
            }
        )
    )
    assert said == [
        "  amount: 452.13 EUR",
        "  note: for\nnothing",
        "  fee:",
        "    amount: 300 JPY",
        '  items: ["a", 1]',
        "  delay_minor: null",
    ]
    assert list(parameter_lines({"amount_minor": 7, "n": 1})) == ["  amount_minor: 7", "  n: 1"]
    assert list(parameter_lines({"currency": "EUR"})) == ["  currency: EUR"]


def test_the_story() -> None:
    request = asked(title="Refund\x1b[2J", reasons=("because\nof this",))
    now = WHEN + timedelta(minutes=3)
    said = list(lines(request, now=now, trust=trust()))
    assert "Refund\\x1b[2J (refund_buyer)" in said[4]
    assert "  amount: 452.13 EUR" in said
    assert "  because\\nof this (dispute.unauthorised)" in said
    assert "  fraud-desk: bob, carol" in said
    assert "Approved already as risk by carol." in said
    assert said[1].endswith("since 3 min.")
    assert "(in 23 h 57 min)" in said[2]
    assert "no answer counts any more" in list(lines(request, now=now + timedelta(days=2), trust=None))[2]
    assert "  fraud-desk" in list(lines(request, now=now, trust=None))
    assert "nobody" in "".join(lines(request, now=now, trust=trust(["alice"])))


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`jurat approvals` with these requests; what is sent is kept in `sent` of the function."""
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path))
    monkeypatch.setenv("JURAT_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.delenv("JURAT_KEYS_PASSPHRASE", raising=False)
    monkeypatch.delenv("JURAT_SCHEMA_REGISTRY_URL", raising=False)
    sent: list[ApprovalAnswered] = []

    def invoke(*words: str, requests: tuple[ApprovalRequested, ...] = (), foreign: int = 0) -> Result:
        async def waiting(*_arguments: object, **_named: object) -> Desk:
            return Desk({one.decision_id: one for one in requests}, foreign)

        async def send(
            _connection: object, _request: object, answer: ApprovalAnswered, **_named: object
        ) -> str:
            sent.append(answer)
            return "dec_record"

        monkeypatch.setattr(approvals, "waiting", waiting)
        monkeypatch.setattr(approvals, "send", send)
        return CliRunner().invoke(approvals.command, list(words))

    invoke.sent = sent  # type: ignore[attr-defined]
    return invoke


def soon(**change: Any) -> ApprovalRequested:
    return asked(due_at=WHEN.replace(year=9000), **change)


def test_list_filters_and_prints(call: Callable[..., Result]) -> None:
    requests = (asked(), asked(decision_id="dec_2", agent="payment-retrier", roles=("risk",)))
    everything = call("list", requests=requests, foreign=2)
    assert everything.exit_code == 0
    assert all(one.decision_id in everything.stdout for one in requests)
    assert "2 records of approvals.requests are no requests" in everything.stderr
    lines_ = call("list", "--json", "--role", "risk", requests=requests).stdout.splitlines()
    assert [json.loads(line)["decision_id"] for line in lines_] == ["dec_2"]
    assert json.loads(lines_[0])["age_s"] > 0
    nothing = call("list", "--agent", "after-sales", requests=requests)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "nothing waits" in nothing.stderr


def test_show_refuses_what_asks_for_something_else(call: Callable[..., Result]) -> None:
    good = asked()
    assert "452.13 EUR" in call("show", good.decision_id, requests=(good,)).stdout
    forged = good.model_copy(update={"parameters": {"amount_minor": 1, "currency": "EUR"}})
    for words in (("show", good.decision_id), ("show", "--json", good.decision_id)):
        result = call(*words, requests=(forged,))
        assert isinstance(result.exception, RecordInvalid)
        assert result.stdout == ""
    missing = call("show", "dec_none", requests=(good,))
    assert isinstance(missing.exception, ConfigurationError)
    assert "jurat audit show" in str(missing.exception)


def test_an_answer_is_signed_for_the_one_role_that_fits(call: Callable[..., Result], tmp_path: Path) -> None:
    keyid, _made = init_approver(tmp_path, "dora")
    trust_approver(tmp_path, TrustedApprover("dora", keyid, ("risk", "fraud-desk")))
    one = soon(roles=("fraud-desk", "payments-lead"))
    granted = call("grant", one.decision_id, "--as", "dora", "--why", "fine", requests=(one,))
    assert granted.exit_code == 0, granted.exception
    assert granted.stdout == f"granted {one.decision_id} as fraud-desk, signed with {keyid}\n"
    assert "jurat audit show dec_record" in granted.stderr
    (answer,) = call.sent  # type: ignore[attr-defined]

    known = Trust((), (TrustedApprover("dora", keyid, ("fraud-desk",)),))
    verified = verify_answer(answer.payload_type, answer.payload, answer.signatures, known)
    assert (verified.action_sha256, verified.said.why) == (one.action_sha256, "fine")
    two = soon(roles=("fraud-desk", "risk"))
    unclear = call("grant", two.decision_id, "--as", "dora", requests=(two,))
    assert "say for which you speak, such as --role fraud-desk" in str(unclear.exception)
    assert call("grant", two.decision_id, "--as", "dora", "--role", "risk", requests=(two,)).exit_code == 0
    other = soon(roles=("logistics-lead",))
    wrong = call("refuse", other.decision_id, "--as", "dora", "--why", "no", requests=(other,))
    assert "the trust file gives this key fraud-desk, risk" in str(wrong.exception)
    assert len(call.sent) == 2  # type: ignore[attr-defined]


def test_what_is_not_sent(call: Callable[..., Result], tmp_path: Path) -> None:
    init_approver(tmp_path, "dora")
    one, late = soon(), asked()
    name = one.decision_id
    nobody = call("grant", name, "--as", "nobody", requests=(one,))
    assert isinstance(nobody.exception, KeyNotFound)
    assert "jurat keys init --approver nobody" in str(nobody.exception)
    assert "its time is over" in str(call("grant", name, "--as", "dora", requests=(late,)).exception)
    assert call("refuse", name, "--as", "dora", requests=(one,)).exit_code == 2
    assert call("refuse", name, "--as", "dora", "--why", " ", requests=(one,)).exit_code == 2
    assert call("grant", name, "--as", "dora", "--why", "x" * 501, requests=(one,)).exit_code == 2
    assert call("grant", name, requests=(one,)).exit_code == 2
    forged = one.model_copy(update={"resource_id": "d-2"})
    assert isinstance(call("grant", name, "--as", "dora", requests=(forged,)).exception, RecordInvalid)
    assert call.sent == []  # type: ignore[attr-defined]


def test_the_document_shows_what_is_printed() -> None:
    text = (ROOT / "docs" / "approvals.md").read_text(encoding="utf-8")
    said = "\n".join(lines(REQUEST, now=WHEN + timedelta(minutes=3), trust=trust()))
    assert f"```text\n{said}\n```" in text
