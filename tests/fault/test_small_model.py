"""The reasoner against a real model on a real server: what it is held to, it keeps.

A model takes ten to thirty seconds of a core for each agent: these stand for integers in ranges, names, moments and
lists. Every shipped agent is asked on Kafka, in `tests/integration/test_small_model_agents.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from jurat.agents.catalogue import SHIPPED
from jurat.agents.model_prompt import answer_schema
from jurat.agents.openai_client import OpenAIClient
from jurat.agents.openai_reasoner import OpenAIReasoner
from jurat.agents.proposals import checked
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall
from jurat.audit.record import Outcome
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.streams.rehearsal import Rehearsal, Rehearsed
from jurat.testing import Recorded
from tests.every_agent import cases
from tests.shop import NOW
from tests.small_model import needs_small_model, small_model

pytestmark = [
    needs_small_model,
    pytest.mark.slow,
    pytest.mark.model_calls,  # of the small one, here
]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with small_model() as address:
        yield address


@cache
def engine_of(bundle: str) -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle(bundle)))


CASES = cases(NOW)
ASKED = ("dispute-mediator", "notifier", "payment-retrier", "ranker")


class Once:
    """Asks once in a decision, as a small model takes its time, and keeps question and answer."""

    name = "once"
    deterministic = False

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner
        self.asked: list[tuple[ProposalRequest, Proposal | ToolCall | None]] = []

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        if request.refused:
            return None
        answer = await self._reasoner.propose(request)
        self.asked.append((request, answer))
        return answer


async def decided(name: str, reasoner: Reasoner) -> Rehearsed:
    """Decide the agent's event with a worker's own code."""
    agent, case = SHIPPED[name], CASES[name]
    rehearsal = Rehearsal(agent, engine=engine_of(agent.bundle), reasoner=reasoner, at=NOW)
    try:
        for event in case.known:
            await rehearsal.send(event)
        ended = await rehearsal.send(case.event)
    finally:
        rehearsal.close()
    assert ended is not None
    return ended


def test_no_shipped_agent_is_left_out() -> None:
    assert sorted(CASES) == sorted(SHIPPED)


@pytest.mark.parametrize("name", ASKED)
async def test_a_real_model_answers_inside_the_narrowed_space_and_is_judged(base_url: str, name: str) -> None:
    client = OpenAIClient(base_url=base_url, api_key="none", within_s=120.0)
    once = Once(OpenAIReasoner(client, model="smollm2"))
    ended = await decided(name, once)
    await client.close()
    [(request, got)] = once.asked
    assert isinstance(got, Proposal)
    assert checked(SHIPPED[name], got) == got
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
    assert ended.outcome in (Outcome.DECIDED, Outcome.DENIED, Outcome.ESCALATED)
    first = ended.record.proposals[0]
    assert (first.action, first.parameters) == (got.action.action_name, said["action"]["parameters"])
    assert first.policies, "policies judged what the model said"
    assert ended.record.reasoner is not None
    assert ended.record.reasoner.usage is not None
    assert ended.record.reasoner.usage.input_tokens == got.call.spent.input_tokens


async def test_answers_of_a_real_model_are_replayed_from_a_file(base_url: str, tmp_path: Path) -> None:
    client = OpenAIClient(base_url=base_url, api_key="none", within_s=120.0)
    file, name = tmp_path / "answers.jsonl", "after-sales"  # the quickest
    first = await decided(name, Once(Recorded(file, OpenAIReasoner(client, model="smollm2"))))
    await client.close()
    assert file.read_text().count("\n") == 1
    again = await decided(name, Once(Recorded(file)))  # nobody is asked
    assert again.decision is not None
    assert first.decision is not None
    assert again.decision.parameters == first.decision.parameters
    assert again.record.proposals == first.record.proposals
