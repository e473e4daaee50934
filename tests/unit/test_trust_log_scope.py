"""Credentials under credentials: what a scope, a time or a chain must not grow to, and which rule catches it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jurat.audit.credential import (
    AgentCredential,
)
from jurat.audit.credential_issue import (
    request,
)
from jurat.audit.credential_scope import Limit, Scope
from jurat.audit.trust_log import MAX_DEPTH
from jurat.schemas.errors import (
    StatementInvalid,
)
from tests.trust_stage import (
    AGENT,
    ISSUER,
    SCOPE,
    at,
    changed,
    digest,
    key,
    refused,
    root,
    sealed,
    settled,
    signed,
    statements,
)


def wider(**values: Any) -> Scope:
    return Scope.model_validate(SCOPE.model_dump() | values)


WIDER = {
    "actions": (wider(actions=("exchange", "refund_all", "return")), "refund_all"),
    "inputs": (wider(inputs=("commerce.payments",)), "commerce.payments"),
    "outputs": (wider(outputs=("decisions.other",)), "decisions.other"),
    "limit": (wider(limits=(Limit(most=50_001, of="context.amount_minor"),)), "50001"),
    "no limit": (wider(limits=()), "any at context.amount_minor"),
}


@pytest.mark.parametrize("what", WIDER)
@pytest.mark.parametrize("kind", ["session", "delegation"])
def test_a_scope_is_never_widened(what: str, kind: str) -> None:
    stage = settled()
    scope, match = WIDER[what]
    make = stage.org.session if kind == "session" else stage.org.agent
    made = make(stage.agent, holder="new", scope=scope)
    refused(stage, signed(made, AGENT), StatementInvalid, match)


def test_policies_are_never_widened() -> None:
    stage = settled()
    narrow = stage.org.agent(stage.issuer, holder="narrow", scope=wider(policies=("5f" * 32,)))
    stage.org.add(signed(narrow, ISSUER))
    for policies in ((), ("60" * 32,), ("5f" * 32, "60" * 32)):
        made = stage.org.session(narrow, holder="s", scope=wider(policies=policies))
        refused(stage, signed(made, "narrow"), StatementInvalid, "other policies")


def test_a_credential_lasts_no_longer_than_its_parent() -> None:
    stage = settled()
    late = {"not_before": at(days=80, hours=-1), "expiry": at(days=80, hours=1)}
    refused(
        stage, signed(stage.org.session(stage.agent, holder="s", **late), AGENT), StatementInvalid, "within"
    )
    early = {"not_before": at(hours=-2), "expiry": at(hours=1)}
    refused(
        stage, signed(stage.org.session(stage.agent, holder="s", **early), AGENT), StatementInvalid, "within"
    )


@pytest.mark.parametrize(
    ("kind", "expiry"),
    [("session", at(hours=24)), ("agent", at(days=90)), ("issuer", at(days=366)), ("agent", at(hours=-1))],
)
def test_a_credential_lasts_no_longer_than_its_kind_may(kind: str, expiry: str) -> None:
    stage = settled()
    made, names = statements(stage)[kind]
    refused(stage, sealed(changed(made, expiry=expiry), *names), StatementInvalid, "it lasts")


def test_delegations_end_at_the_third() -> None:
    stage = settled()
    org, parent, holder = stage.org, stage.agent, AGENT
    for depth in range(2, MAX_DEPTH + 1):
        made: AgentCredential = org.agent(parent, holder=f"delegate {depth}")
        assert org.add(signed(made, holder)).depth == depth
        parent, holder = made, f"delegate {depth}"
    refused(stage, signed(org.session(parent, holder="s"), holder), StatementInvalid, "depth 4")


def test_who_may_issue_what() -> None:
    stage = settled()
    org = stage.org
    under = org.agent(stage.agent, holder="d")
    other = under.model_copy(update={"name": "payment-retrier"})
    refused(stage, signed(other, AGENT), StatementInvalid, "same agent")
    asked = asyncio.run(request("agent", key("d"), name=AGENT, parent=digest(stage.session)))
    by_session = under.model_copy(update=asked.model_dump())
    refused(stage, signed(by_session, "session 1"), StatementInvalid, "issues no such thing")
    by_issuer = stage.session.model_copy(update={"parent": digest(stage.issuer)})
    refused(stage, signed(by_issuer, ISSUER), StatementInvalid, "issues no such thing")
    to_nobody = under.model_copy(update={"parent": "ab" * 32})
    refused(stage, signed(to_nobody, AGENT), StatementInvalid, "or none")
    issuer = org.issuer("second").model_copy(update={"parent": digest(stage.issuer)})
    refused(stage, signed(issuer, "alice", "bob"), StatementInvalid, "another statement than the root")


def test_a_key_has_one_kind_and_one_name() -> None:
    stage = settled()
    org = stage.org
    refused(stage, signed(org.agent(stage.issuer, holder="alice"), ISSUER), StatementInvalid, "root acme's")
    refused(stage, signed(org.agent(stage.issuer, holder="session 1"), ISSUER), StatementInvalid, "session")
    again = org.session(stage.agent, holder="session 1", expiry=at(hours=2))
    refused(stage, signed(again, AGENT), StatementInvalid, "expected a fresh key")
    made = root(org.log.head, names=("alice", "bob", AGENT), version=2)
    refused(stage, signed(made, "alice", "bob"), StatementInvalid, "agent after-sales's")
    org.add(signed(org.agent(stage.issuer, expiry=at(days=30)), ISSUER))  # renewed for the same key
