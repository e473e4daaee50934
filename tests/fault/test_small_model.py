"""The reasoner against a real model on a real server: what it is held to, it keeps, for every shipped agent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jurat.agents.action_space import LazySpace
from jurat.agents.agent import Agent, Situation
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.model_prompt import answer_schema
from jurat.agents.openai_client import OpenAIClient
from jurat.agents.openai_reasoner import OpenAIReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.agents.proposals import checked
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.marketplace import DisputeCategory
from tests.shop import NOTHING_USED, euros, shop_engine, situation
from tests.small_model import needs_small_model, small_model
from tests.unit.test_agents_disputes import dispute
from tests.unit.test_agents_fulfilment import order, warehouse
from tests.unit.test_agents_payments import failed

pytestmark = [needs_small_model, pytest.mark.slow, pytest.mark.timeout(300)]

CASES: dict[str, tuple[Agent[Any], Situation[Any]]] = {
    "dispute": (
        DISPUTE_MEDIATOR,
        situation(DISPUTE_MEDIATOR, dispute(DisputeCategory.NOT_RECEIVED, amount=euros(90_000))),
    ),
    "payment": (PAYMENT_RETRIER, situation(PAYMENT_RETRIER, failed())),
    "order": (FULFILMENT_ROUTER, situation(FULFILMENT_ROUTER, order(), warehouse("wh-1"))),
}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with small_model() as address:
        yield address


@pytest.mark.parametrize("case", CASES)
async def test_a_real_model_answers_inside_the_narrowed_space(base_url: str, case: str) -> None:
    agent, seen = CASES[case]
    space = LazySpace(agent, seen, shop_engine(), usage=NOTHING_USED)
    request = ProposalRequest(agent, seen, call_id=case, space=space)
    client = OpenAIClient(base_url=base_url, api_key="none", within_s=120.0)
    got = await OpenAIReasoner(client, model="smollm2").propose(request)
    await client.close()
    assert isinstance(got, Proposal)
    assert checked(agent, got) == got
    said = {
        "action": {
            "name": got.action.action_name,
            "parameters": json.loads(got.action.model_dump_json()),
        },
        "rationale": got.rationale,
        "confidence": got.confidence,
        "alternatives": [*got.alternatives],
    }
    schema = answer_schema(request)
    assert schema is not None
    Draft202012Validator(schema).validate(said)
    assert got.call is not None
    assert got.call.spent.input_tokens > 100
    assert got.call.spent.output_tokens > 5
