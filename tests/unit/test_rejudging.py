"""Policies evaluated again for the verifier: who is asked, what cannot be asked, and what a shadow said."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from jurat.audit.record import DecisionRecord, Outcome
from jurat.audit.shadow_verdict import ShadowVerdict
from jurat.audit.verifier_record import SAME, Again, check_again
from jurat.policies import shipped_bundle
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import ConfigurationError, RecordInvalid
from jurat.streams.rejudging import Rejudging, bundles_in
from tests import honest_log
from tests.shop import shop_engine

SHOP = shop_engine().digest
ALLOWED, ESCALATED = (honest_log.record(honest_log.entries()[number]) for number in (0, 2))


def used(record: DecisionRecord, **update: Any) -> DecisionRecord:
    assert record.policy is not None
    return record.model_copy(update={"policy": record.policy.model_copy(update=update)})


def shadow(
    verdict: Verdict, *policies: str, digest: str = SHOP, errors: tuple[str, ...] = ()
) -> ShadowVerdict:
    return ShadowVerdict(digest=digest, verdict=verdict, policies=policies, errors=errors)


def test_what_was_judged_is_judged_the_same_in_another_process() -> None:
    asked = honest_log.rejudging()
    there = pickle.loads(pickle.dumps(asked))
    for record in (ALLOWED, ESCALATED):
        assert check_again(record, asked) == check_again(record, there) == SAME
    assert ALLOWED.policy is not None
    assert there(SHOP, ALLOWED.policy.input) == Again(Verdict.ALLOW, ALLOWED.proposals[-1].policies)


def test_what_is_not_known_is_told() -> None:
    assert check_again(used(ALLOWED, digest="ab" * 32), honest_log.rejudging()) == (
        f"no policies with the digest {'ab' * 32} were given (--policies)"
    )
    broken = Rejudging({SHOP: {"schema.cedarschema": b"nonsense"}})
    assert "do not load" in str(check_again(ALLOWED, broken))
    skipped = ALLOWED.model_copy(update={"outcome": Outcome.SKIPPED, "policy": None, "proposals": ()})
    assert check_again(skipped, honest_log.rejudging()) is None


def test_what_a_shadow_said_is_judged_again() -> None:
    asked = honest_log.rejudging()
    right = shadow(Verdict.ALLOW, *ALLOWED.proposals[-1].policies)
    assert check_again(used(ALLOWED, shadow=right), asked) == SAME
    with pytest.raises(RecordInvalid, match=r"the policies beside .* the record says deny by no policy"):
        check_again(used(ALLOWED, shadow=shadow(Verdict.DENY)), asked)
    # One that could not be evaluated proves nothing, and one that nobody has is told.
    assert check_again(used(ALLOWED, shadow=shadow(Verdict.DENY, errors=("down",))), asked) == SAME
    unknown = used(ALLOWED, shadow=shadow(Verdict.DENY, digest="cd" * 32))
    assert "cd" * 32 in str(check_again(unknown, asked))


def test_what_no_policies_can_have_been_asked_is_invalid() -> None:
    with pytest.raises(RecordInvalid, match="the recorded policy input is none"):
        check_again(used(ALLOWED, input={"action": "refund"}), honest_log.rejudging())


def test_an_outcome_that_its_proposal_did_not_have_is_invalid() -> None:
    assert ESCALATED.policy is not None
    lie = ESCALATED.proposals[-1].model_copy(update={"verdict": Verdict.ALLOW})
    with pytest.raises(RecordInvalid, match="a proposal that was judged allow"):
        check_again(
            ESCALATED.model_copy(update={"proposals": (*ESCALATED.proposals[:-1], lie)}),
            honest_log.rejudging(),
        )


def test_bundles_are_found_by_folder_or_one_above(tmp_path: Path) -> None:
    alone = bundles_in([shipped_bundle("shop")])
    assert SHOP in alone
    assert SHOP in bundles_in([shipped_bundle("shop").parent])
    with pytest.raises(ConfigurationError, match="no policy bundle"):
        bundles_in([tmp_path])
