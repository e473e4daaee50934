"""Every way in which a model server can fail, over real HTTP: what becomes of the call, and that its usage survives."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from jurat.agents import model_calls
from jurat.agents.action_space import LazySpace
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR, PartialRefund
from jurat.agents.model_answer import Price
from jurat.agents.openai_client import MAX_BODY_BYTES, OpenAIClient
from jurat.agents.openai_reasoner import OpenAIReasoner
from jurat.agents.reasoner import Proposal, ProposalRequest, Spent
from jurat.policies.usage import Assumed
from jurat.schemas.errors import ConfigurationError, JuratError, ProposalInvalid, ReasonerUnavailable
from jurat.schemas.marketplace import DisputeCategory
from tests.llmock import HANG_S, LLMock, Reply, completion, says
from tests.shop import euros, shop_engine, situation
from tests.unit.test_agents_disputes import dispute

pytestmark = pytest.mark.model_calls  # of a server of our own

KEY = "sk-a-key-that-nobody-may-see"
WITHIN_S = 30.0
"""A server on this machine answers in milliseconds."""

SHORT_S = 0.5
"""For a server that takes its time."""

GOOD = says("partial_refund", amount_minor=45_000, currency="EUR")
CHARGE = Price(input_micros=2_000_000, output_micros=8_000_000, currency="USD")
SPENT_MICROS = (1_000 * 2_000_000 + 50 * 8_000_000) // 1_000_000


def request() -> ProposalRequest:
    seen = situation(DISPUTE_MEDIATOR, dispute(DisputeCategory.NOT_RECEIVED, amount=euros(90_000)))
    space = LazySpace(DISPUTE_MEDIATOR, seen, shop_engine(), usage=Assumed({}))
    return ProposalRequest(DISPUTE_MEDIATOR, seen, call_id="decision-1/0/0", space=space)


async def ask(reply: Reply) -> tuple[Any, LLMock]:
    """What the reasoner makes of a reply: an answer or the error that it raised."""
    async with LLMock(lambda _number, _got: reply) as server:
        within_s = SHORT_S if reply.delay_s or reply.drip_s else WITHIN_S
        client = OpenAIClient(base_url=server.base_url, api_key=KEY, within_s=within_s)
        try:
            answer: object = await OpenAIReasoner(client, model="mock", price=CHARGE).propose(request())
        except JuratError as error:
            answer = error
        finally:
            await client.close()
    assert KEY not in f"{answer!r} {answer} {client!r} {getattr(answer, '__cause__', '')!r}"
    return answer, server


async def test_a_good_answer_is_a_proposal_with_what_it_took() -> None:
    got, server = await ask(Reply(completion(GOOD)))
    assert isinstance(got, Proposal)
    assert got.action == PartialRefund(amount_minor=45_000, currency="EUR")
    assert (got.confidence, got.rationale) == (70, "The case says so.")
    assert got.call is not None
    assert got.call.model == "mock-1"
    assert (got.call.spent.calls, got.call.spent.input_tokens, got.call.spent.output_tokens) == (1, 1_000, 50)
    assert (got.call.spent.cost_micros, got.call.spent.currency) == (SPENT_MICROS, "USD")
    [asked] = server.got
    assert asked.headers["idempotency-key"] == "decision-1/0/0/mock", "its own for each model"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    form = asked.sent["response_format"]["json_schema"]
    assert form["strict"] is True
    bounds = [
        one["properties"]["parameters"]["properties"]["amount_minor"]
        for one in form["schema"]["properties"]["action"]["anyOf"]
        if one["properties"]["name"]["enum"] == ["partial_refund"]
    ]
    assert bounds == [{"type": "integer", "minimum": 1, "maximum": 89_999}], "narrowed by the policies"


async def test_what_the_client_finds_in_the_environment_goes_to_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    custom = (
        "X-Own: 1",
        "Authorization: Bearer other",
        "accept-encoding: gzip",
        "host: other",
        "cookie: a=b",
    )
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS", "\n".join((*custom, "content-length: 5", "idempotency-key: x"))
    )
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "somebody-elses")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    got, server = await ask(Reply(completion(GOOD)))
    assert isinstance(got, Proposal)
    [asked] = server.got
    assert asked.headers["host"] == server.base_url.removeprefix("http://").removesuffix("/v1")
    assert {
        name: asked.headers[name] for name in asked.headers if name not in ("host", "content-length", "")
    } == {
        "authorization": f"Bearer {KEY}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "jurat",
        "idempotency-key": "decision-1/0/0/mock",
    }


async def test_a_question_without_an_id_is_given_none_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "idempotency-key: x\nIdempotency-Key: y")
    async with LLMock(lambda _number, _got: Reply(completion(GOOD))) as server:
        client = OpenAIClient(base_url=server.base_url, api_key=KEY, within_s=WITHIN_S)
        await client.complete({"model": "m", "messages": []}, call_id="")
        await client.close()
    assert "idempotency-key" not in server.got[0].headers, "all calls would be one"


ANSWERED = {
    "no-json": b"Certainly! Here is the action that you asked for:",
    "json-but-no-object": b"[]",
    "html": b"<html><body>Please log in</body></html>",
    "choices-none": json.dumps({**json.loads(completion(GOOD)), "choices": None}).encode(),
    "choices-empty": json.dumps({**json.loads(completion(GOOD)), "choices": []}).encode(),
    "message-none": json.dumps({**json.loads(completion(GOOD)), "choices": [{"message": None}]}).encode(),
    "length": completion('{"action": {"na', finish="length"),
    "length-that-parses": completion(GOOD, finish="length"),
    "content-filter": completion(GOOD, finish="content_filter"),
    "refusal": completion(None, refusal="I cannot help with that."),
    "content-none": completion(None),
    "content-empty": completion("  \n"),
    "content-no-json": completion("```json\n{}\n```"),
    "content-no-object": completion("7"),
    "a-name-twice": completion(
        json.dumps(GOOD).replace('"amount_minor"', '"amount_minor": 1, "amount_minor"')
    ),
    "an-action-twice": completion(json.dumps(GOOD).replace('"action"', '"action": {}, "action"')),
    "not-a-number": completion(json.dumps(GOOD).replace("45000", "NaN")),
    "half-of-a-pair": completion(json.dumps(GOOD).replace("The case", "\\ud800")),
    "no-utf-8": completion(GOOD).replace(b"The case", b"\xff").replace(b"usage", b"used"),
    "content-too-deep": completion("[" * 5_000),
    "no-such-action": completion(says("ship_a_pony")),
    "parameters-of-another-type": completion(says("partial_refund", amount_minor="much", currency="EUR")),
    "parameters-missing": completion(says("partial_refund", currency="EUR")),
    "parameters-unknown": completion({**GOOD, "action": {**GOOD["action"], "parameters": {"x": 1}}}),  # type: ignore[dict-item]
    "float-for-an-integer": completion(says("partial_refund", amount_minor=450.5, currency="EUR")),
    "confidence-out-of-bounds": completion({**GOOD, "confidence": 101}),
    "confidence-as-text": completion({**GOOD, "confidence": "high"}),
    "rationale-missing": completion({key: value for key, value in GOOD.items() if key != "rationale"}),
    "action-null": completion({**GOOD, "action": None}),
}


@pytest.mark.parametrize("body", ANSWERED.values(), ids=ANSWERED)
async def test_an_answer_that_is_no_proposal_is_invalid_and_its_usage_survives(body: bytes) -> None:
    got, _server = await ask(Reply(body))
    assert type(got) is ProposalInvalid
    call = got.details["call"]
    assert call.spent.calls == 1  # type: ignore[attr-defined]
    if b'"usage"' in body:
        assert call.spent.cost_micros == SPENT_MICROS  # type: ignore[attr-defined]
    assert "pony" not in str(got), "what a model makes up is not quoted"


async def test_what_a_server_does_not_say_that_it_took_has_no_cost() -> None:
    silent = json.dumps({**json.loads(completion(GOOD)), "usage": None}).encode()
    got, _server = await ask(Reply(silent))
    assert isinstance(got, Proposal)
    assert got.call is not None
    assert got.call.spent == Spent(calls=1, input_tokens=0, output_tokens=0), "not free: nobody knows"


async def test_an_action_that_the_space_leaves_out_is_left_to_the_policies() -> None:
    got, _server = await ask(
        Reply(completion(says("partial_refund", amount_minor=10_000_000, currency="EUR")))
    )
    assert isinstance(got, Proposal)
    assert got.action == PartialRefund(amount_minor=10_000_000, currency="EUR")


FAILED = {
    "reset": Reply(reset=True),
    "cut-body": Reply(completion(GOOD), cut_at=40),
    "closed-before-a-body": Reply(completion(GOOD), cut_at=0),
    "stall": Reply(completion(GOOD), delay_s=HANG_S),
    "drip": Reply(completion(GOOD), drip_s=0.05),
    "flood": Reply(flood=True),
    "flood-of-an-error": Reply(flood=True, status=500),
    "zipped": Reply(gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}),
    "bigger-than-the-bound": Reply(b" " * (MAX_BODY_BYTES + 1)),
    "500": Reply(b"oh", status=500),
    "502-html": Reply(b"<html>", status=502, headers={"Content-Type": "text/html"}),
    "503": Reply(b"busy", status=503),
    "408": Reply(status=408),
    "429": Reply(status=429),
}


@pytest.mark.parametrize("reply", FAILED.values(), ids=FAILED)
async def test_a_server_that_fails_is_unavailable_and_asked_once(reply: Reply) -> None:
    got, server = await ask(reply)
    assert type(got) is ReasonerUnavailable
    assert got.details["spent"].calls == (0 if reply.status == 429 else 1)  # type: ignore[attr-defined]
    assert len(server.got) == 1, "the client tries nothing again by itself"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("86400", 86_400),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 90),
        ("Wed, 21 Oct 2026 07:28:00 -0000", None),  # no zone, says RFC 2822
        ("Wed, 21 Oct 2026 07:20:00 GMT", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("soon", None),
        ("-1", None),
        ("9" * 50, None),
    ],
)
async def test_how_long_to_wait_is_passed_on(header: str, seconds: int | None) -> None:
    dated = {"Retry-After": header, "Date": "Wed, 21 Oct 2026 07:26:30 GMT"}
    got, _server = await ask(Reply(status=429, headers=dated))
    assert got.details["retry_after_s"] == seconds


async def test_a_date_to_wait_for_says_nothing_without_the_servers_own() -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    got, _server = await ask(Reply(status=429, headers={"Retry-After": date}))
    assert got.details["retry_after_s"] is None


async def test_a_test_that_may_not_call_a_model_is_stopped_before_it_is_sent() -> None:
    model_calls.forbid("this test says so")
    try:
        got, server = await ask(Reply(completion(GOOD)))
    finally:
        model_calls.allow()
    assert type(got) is ConfigurationError
    assert "this test says so" in str(got)
    assert server.got == []


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_setting_that_is_wrong_says_which(status: int) -> None:
    got, _server = await ask(Reply(b'{"error": {"message": "no, sk-a-key"}}', status=status))
    assert type(got) is ConfigurationError
    assert any(name in str(got) for name in ("OPENAI_API_KEY", "JURAT_MODEL"))


@pytest.mark.parametrize(
    ("status", "calls", "why"),
    [
        (204, 1, "formats"),
        (301, 0, "redirects"),
        (400, 0, "formats"),
        (413, 0, "formats"),
        (422, 0, "formats"),
    ],
)
async def test_a_question_that_the_server_does_not_take_is_invalid(status: int, calls: int, why: str) -> None:
    got, server = await ask(Reply(status=status, headers={"Location": "http://127.0.0.1:1/"}))
    assert type(got) is ProposalInvalid
    assert why in str(got)
    assert got.details["spent"].calls == calls  # type: ignore[attr-defined]
    assert len(server.got) == 1


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    client = OpenAIClient(base_url="http://127.0.0.1:1/v1", api_key=KEY, within_s=WITHIN_S)
    with pytest.raises(ReasonerUnavailable, match="no whole answer"):
        await OpenAIReasoner(client, model="mock").propose(request())
    await client.close()


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/v1",
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:99999/v1",
        "http:///v1",
        "http://ü..example/v1",
    ],
)
def test_what_is_no_address_is_said_at_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        OpenAIClient(base_url=address, api_key=KEY, within_s=WITHIN_S)


@pytest.mark.parametrize("key", [f"{KEY} ", f" {KEY}"])
def test_a_key_with_white_space_around_it_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught:
        OpenAIClient(base_url="http://127.0.0.1:1/v1", api_key=key, within_s=WITHIN_S)
    assert KEY not in str(caught.value)


async def test_whatever_the_client_raises_is_no_fault_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_transport: object, _request: object) -> object:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [OverflowError("port")])

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", broken)
    client = OpenAIClient(base_url="http://127.0.0.1:1/v1", api_key=KEY, within_s=WITHIN_S)
    with pytest.raises(ReasonerUnavailable, match="no whole answer"):
        await OpenAIReasoner(client, model="mock").propose(request())
    await client.close()


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "rot_13", "hex_codec"])
async def test_the_charset_of_an_error_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, charset: str
) -> None:
    def looked_at(*_args: object) -> str:
        raise AssertionError("the charset was looked at")

    monkeypatch.setattr(f"encodings.{charset}.IncrementalDecoder.decode", looked_at)
    headers = {"Content-Type": f"application/json; charset={charset}"}
    got, _server = await ask(Reply(b"a-" + b"a" * 1_000, status=500, headers=headers))
    assert type(got) is ReasonerUnavailable
    assert "status 500" in str(got)


async def test_no_cookie_of_a_server_is_kept() -> None:
    headers = {"Content-Type": "application/json", "Set-Cookie": f"a={'x' * 1_000}; Path=/"}
    async with LLMock(lambda _number, _got: Reply(completion(GOOD), headers=headers)) as server:
        client = OpenAIClient(base_url=server.base_url, api_key=KEY, within_s=WITHIN_S)
        for _ in range(2):
            await OpenAIReasoner(client, model="mock").propose(request())
        await client.close()
    assert ["cookie" in asked.headers for asked in server.got] == [False, False]


async def test_nothing_is_asked_where_nothing_is_left() -> None:
    asked = request()
    nothing = replace(asked.space(), actions=())
    async with LLMock(lambda _number, _got: Reply(completion(GOOD))) as server:
        client = OpenAIClient(base_url=server.base_url, api_key=KEY, within_s=WITHIN_S)
        assert (
            await OpenAIReasoner(client, model="mock").propose(replace(asked, space=lambda: nothing)) is None
        )
        await client.close()
    assert server.got == []


async def test_what_counts_is_the_body_and_not_what_the_server_calls_it() -> None:
    got, _server = await ask(Reply(completion(GOOD), headers={"Content-Type": "text/plain"}))
    assert isinstance(got, Proposal)
    stream = b"data: " + completion(GOOD) + b"\n\ndata: [DONE]\n\n"
    got, _server = await ask(Reply(stream, headers={"Content-Type": "text/event-stream"}))
    assert type(got) is ProposalInvalid
