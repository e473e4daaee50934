"""What a published bundle must pass, and what a shadow leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from jurat.agents.agent import Agent
from jurat.agents.catalogue import AGENTS
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit import record as record_module
from jurat.audit import shadow_verdict
from jurat.audit.draft import draft
from jurat.audit.kept import MAX_ERROR
from jurat.audit.record import MAX_PAYLOAD_BYTES, PolicyUsed, parse
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.policies.bundle import Bundle
from jurat.policies.bundle_tests import run_cases
from jurat.policies.covering import check_covers
from jurat.policies.folder import digest_of
from jurat.policies.publication import PublishedBundle
from jurat.policies.request import Judgement
from jurat.policies.trial import try_bundle
from jurat.schemas.canonical import JsonObject
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import BundleError, BundleUnfit, RecordInvalid
from jurat.streams.metrics import Meters
from jurat.streams.shadow import Compared, Shadow
from tests.deciding_stage import decider, ended
from tests.golden.audit import sample_log
from tests.policy_stage import SHOP, shop_for_others, shop_that_denies, shop_that_fails, shop_with
from tests.shop import shop_engine

ACTIONS = {PAYMENT_RETRIER.name: PAYMENT_RETRIER.actions}


def tried(files: Mapping[str, bytes], *, digest: str | None = None) -> PolicyEngine:
    published = PublishedBundle(files, digest_of(files))
    return try_bundle("shop", published, digest=digest or published.digest, agents=ACTIONS)


def unfit(files: Mapping[str, bytes]) -> str:
    with pytest.raises(BundleUnfit) as caught:
        tried(files)
    return str(caught.value)


def shop_schema(change: tuple[str, str]) -> dict[str, bytes]:
    schema = SHOP["schema.cedarschema"].decode()
    assert change[0] in schema
    return {**SHOP, "schema.cedarschema": schema.replace(*change).encode()}


def test_a_fit_bundle_becomes_an_engine() -> None:
    engine = tried(shop_with("a new one"))
    assert engine.digest == digest_of(shop_with("a new one"))
    assert engine.bundle.name == "shop"


def test_one_that_does_not_load_is_refused() -> None:
    with pytest.raises(BundleError, match=r"schema\.cedarschema"):
        tried({**SHOP, "schema.cedarschema": b"nonsense"})


def test_one_that_fails_its_own_cases_is_refused() -> None:
    told = unfit(shop_that_fails())
    run = run_cases(tried(SHOP)).run
    assert f"of its own {run} cases" in told
    assert "expected allow" in told
    assert len(told.splitlines()) <= 21


def test_one_without_a_case_is_refused() -> None:
    assert "has no cases of its own, expected at least one in tests/*.yaml" in unfit(
        {name: text for name, text in SHOP.items() if not name.startswith("tests/")}
    )


def test_one_that_is_not_the_one_asked_for_is_refused() -> None:
    with pytest.raises(BundleUnfit, match="expected 000"):
        tried(SHOP, digest="0" * 64)


def test_one_for_other_agents_is_refused() -> None:
    assert "expected payment-retrier among them" in unfit(shop_for_others())


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_shipped_bundle_covers_its_agents(name: str) -> None:
    agent = AGENTS[name]
    check_covers(load_bundle(shipped_bundle(agent.bundle)), agent=name, actions=agent.actions)


def covers(files: Mapping[str, bytes], agent: Agent[object] = PAYMENT_RETRIER) -> None:
    schema = files["schema.cedarschema"].decode()
    bundle = replace(load_bundle(shipped_bundle("shop")), schema_text=schema)
    check_covers(cast("Bundle", bundle), agent=agent.name, actions=agent.actions)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("fraud_score: Long", "fraud_score?: Long"), "entity Payment"),
        (("fraud_score: Long", "fraud_score: String"), "entity Payment"),
        (("fraud_score: Long,", "fraud_score: Long, extra: Long,"), "entity Payment"),
        (("    fraud_score: Long,\n", ""), "entity Payment"),
        (('action "give_up"', 'action "let_go"'), 'no declaration of action "give_up"'),
        (("after_minutes: Long", "after_seconds: Long"), 'another declaration of action "retry_charge"'),
    ],
)
def test_a_schema_that_says_something_else_than_the_agent_does_not_cover_it(
    change: tuple[str, str], named: str
) -> None:
    with pytest.raises(BundleUnfit, match="is not one for payment-retrier") as caught:
        covers(shop_schema(change))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        ("\n", '\n\n // "a comment"; {\n'),
        ("    fraud_score: Long,\n", "    fraud_score: Long\n"),
        ("express: Bool", "express: String"),  # of the fulfilment router's orders
    ],
)
def test_layout_and_what_is_declared_for_others_do_not_matter(change: tuple[str, str]) -> None:
    covers(shop_schema(change))


def denying() -> PolicyEngine:
    return tried(shop_that_denies())


async def test_a_shadow_stands_beside_the_decision_and_changes_nothing() -> None:
    meters = Meters("payment-retrier")
    plain, plain_record, _ = await ended(decider())
    one = replace(decider(), shadow=Shadow(denying(), meters))
    result, record, _ = await ended(one)
    assert result.decision == plain.decision
    assert record.policy is not None
    assert record.policy.shadow == ShadowVerdict(
        digest=denying().digest, verdict=Verdict.DENY, policies=("trial.nothing-at-all",), errors=()
    )
    assert plain_record.policy is not None
    assert plain_record.policy.shadow is None
    assert record.policy.digest == plain_record.policy.digest == shop_engine().digest
    assert denying().rejudge(record.policy.input).verdict is Verdict.DENY
    assert counted(meters) == {Compared.VERDICT.value: 1}


async def test_a_shadow_that_agrees_is_counted_as_such() -> None:
    meters = Meters("payment-retrier")
    _, record, _ = await ended(replace(decider(), shadow=Shadow(tried(shop_with("same")), meters)))
    assert record.policy is not None
    assert record.policy.shadow is not None
    assert record.policy.shadow.policies == record.proposals[-1].policies
    assert counted(meters) == {Compared.SAME.value: 1}


class Talkative:
    """A bundle with more determining policies than a record holds."""

    digest = "2" * 64

    def rejudge(self, _normalised: JsonObject) -> Judgement:
        return Judgement(Verdict.ALLOW, tuple(f"p.{number}" for number in range(1_000)), ())


async def test_a_shadow_that_says_too_much_is_an_error_of_the_shadow() -> None:
    meters = Meters("payment-retrier")
    one = replace(decider(), shadow=Shadow(cast("PolicyEngine", Talkative()), meters))
    result, record, _ = await ended(one)
    assert result.decision == (await ended(decider()))[0].decision
    assert record.policy is not None
    assert record.policy.shadow is not None
    assert record.policy.shadow.errors
    assert counted(meters) == {Compared.ERROR.value: 1}


async def test_a_shadow_with_other_reasons_is_counted_as_such() -> None:
    meters = Meters("payment-retrier")
    renamed = {name: text.replace(b"retry.grant", b"retry.granted") for name, text in SHOP.items()}
    _, record, _ = await ended(replace(decider(), shadow=Shadow(tried(renamed), meters)))
    assert record.policy is not None
    assert record.policy.shadow is not None
    assert record.policy.shadow.verdict is Verdict.ALLOW
    assert counted(meters) == {Compared.REASONS.value: 1}


def test_a_shadow_is_bounded_as_a_proposal_is() -> None:
    for name in ("MAX_POLICIES", "MAX_ERRORS", "MAX_ERROR"):
        assert getattr(shadow_verdict, name) == getattr(record_module, name)


@pytest.mark.parametrize("free_form", [{"fits": "yes"}, {"odd": Verdict.DENY}], ids=["plain", "the-long-way"])
def test_a_record_without_a_shadow_prints_none(free_form: dict[str, object]) -> None:
    for shadow in (None, sample_log.SHADOW):
        record = sample_log.record("after-sales", offset=0, outcome=sample_log.Outcome.DECIDED)
        assert record.policy is not None
        policy = record.policy.model_copy(update={"shadow": shadow, "input": free_form})
        payload = draft(record.model_copy(update={"policy": policy}), record.decision_id, "0" * 64).finish(
            sample_log.ChainHead()
        )
        assert (b'"shadow":' in payload) == (shadow is not None)
        made = parse(payload).predicate.policy
        assert made is not None
        assert made.shadow == shadow
        with_null = payload.replace(b'"input":', b'"shadow":null,"input":')
        with pytest.raises(RecordInvalid, match="one form"):
            parse(with_null)


class Breaking:
    """A shadow that cannot be asked."""

    digest = "b" * 64

    def rejudge(self, _normalised: object) -> object:
        raise RuntimeError("x" * 2 * MAX_ERROR)


async def test_an_error_in_the_shadow_does_not_disturb_the_decision() -> None:
    meters = Meters("payment-retrier")
    plain, _, _ = await ended(decider())
    broken = Shadow(cast("PolicyEngine", Breaking()), meters)
    result, record, _ = await ended(replace(decider(), shadow=broken))
    assert result.decision == plain.decision
    assert record.policy is not None
    assert record.policy.shadow is not None
    (error,) = record.policy.shadow.errors
    assert error.startswith("RuntimeError: xxx")
    assert len(error) == MAX_ERROR
    assert counted(meters) == {Compared.ERROR.value: 1}


@pytest.mark.parametrize(("spare", "kept"), [(2_000, "all"), (800, "without errors"), (283, "nothing")])
def test_a_record_is_never_too_large_for_what_the_shadow_said(spare: int, kept: str) -> None:
    shadow = ShadowVerdict(digest="60" * 32, verdict=Verdict.DENY, policies=(), errors=("e" * MAX_ERROR,))
    record = sample_log.record("after-sales", offset=0, outcome=sample_log.Outcome.DECIDED)
    assert record.policy is not None

    def sized(padding: int, beside: ShadowVerdict | None) -> PolicyUsed:
        assert record.policy is not None
        return record.policy.model_copy(update={"input": {"pad": "x" * padding}, "shadow": beside})

    size = len(
        draft(record.model_copy(update={"policy": sized(0, None)}), record.decision_id, "0" * 64).finish(
            sample_log.ChainHead()
        )
    )
    full = record.model_copy(update={"policy": sized(MAX_PAYLOAD_BYTES - size - spare, shadow)})
    made = parse(draft(full, record.decision_id, "0" * 64).finish(sample_log.ChainHead())).predicate
    assert made.policy is not None
    expected = {"all": shadow, "without errors": shadow.model_copy(update={"errors": ()}), "nothing": None}
    assert made.policy.shadow == expected[kept]


def counted(meters: Meters) -> dict[str, float]:
    return {
        one.labels[0]: float(str(one.value))
        for one in meters.samples()
        if one.metric.name == "jurat_shadow_judgements_total"
    }
