"""Traces: the input's goes on through reasoning to the decision; off, it passes unchanged; spans hold ids only."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from jurat.agents.catalogue import AGENTS
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.cloudevents import read_headers
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import ConfigurationError, ReasonerUnavailable
from jurat.streams import tracing_otel
from jurat.streams.tracing import OFF
from jurat.streams.tracing_otel import Traced, tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"
WHERE = InputRef(topic="ns.commerce.orders", partition=3, offset=42)
AGENT = "fulfilment-router"
SECRET = "4111-1111-1111-1111"


class Spans:
    """Tracing into memory."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = provider or TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Traced(self._provider, agent=AGENT, group=f"ns.{AGENT}")

    @property
    def found(self) -> dict[str, ReadableSpan]:
        spans = self._exporter.get_finished_spans()
        assert len({span.name for span in spans}) == len(spans)
        return {span.name: span for span in spans}


@pytest.fixture
def spans() -> Spans:
    return Spans()


class Asked:
    name = "asked"
    deterministic = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[int] = []

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        self.seen.append(trace.get_current_span().get_span_context().span_id)
        if self.error:
            raise self.error
        return None


class Judged:
    def judge(self, request: PolicyRequest) -> Judgement:
        return Judgement(Verdict.DENY, ("no-1",), (SECRET,))


def a_policy_request() -> PolicyRequest:
    return PolicyRequest(agent=AGENT, action="route", resource=None, facts=None, now=None)  # type: ignore[arg-type]


def a_request() -> ProposalRequest:
    return ProposalRequest(AGENTS[AGENT], None)  # type: ignore[arg-type]


def sampled(traceparent: str | None) -> bool:
    """The lowest bit of the flags; the next one says that the trace id is random."""
    assert traceparent is not None
    return bool(int(traceparent[-2:], 16) & 1)


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def test_the_trace_goes_from_the_event_to_the_decision(spans: Spans) -> None:
    reasoner = Asked()
    with spans.tracing.decision(PARENT, where=WHERE, event_id="e-1") as one:
        assert await one.asking(reasoner).propose(a_request()) is None
        assert one.judging(Judged()).judge(a_policy_request()).verdict is Verdict.DENY
        one.ended("denied", "d-1")
    decide, propose, judge = (spans.found[f"jurat.{name}"] for name in ("decide", "propose", "judge"))
    assert {span.context.trace_id for span in (decide, propose, judge)} == {int(TRACE, 16)}
    assert parent_of(decide) == int("b7ad6b7169203331", 16)
    assert decide.parent is not None
    assert decide.parent.is_remote
    assert parent_of(propose) == parent_of(judge) == decide.context.span_id
    assert reasoner.seen == [propose.context.span_id], "what the reasoner does is traced below its span"
    assert not trace.get_current_span().get_span_context().is_valid
    assert one.traceparent == f"00-{TRACE}-{decide.context.span_id:016x}-01"
    assert (decide.kind, propose.kind, judge.kind) == (SpanKind.CONSUMER, SpanKind.CLIENT, SpanKind.INTERNAL)
    assert dict(decide.attributes or {}) == {
        "jurat.agent": AGENT,
        "jurat.decision_id": "d-1",
        "jurat.outcome": "denied",
        "messaging.consumer.group.name": f"ns.{AGENT}",
        "messaging.destination.name": "ns.commerce.orders",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 42,
        "messaging.message.id": "e-1",
        "messaging.operation.name": "decide",
        "messaging.operation.type": "process",
        "messaging.system": "kafka",
    }
    assert dict(propose.attributes or {}) == {
        "jurat.agent": AGENT,
        "jurat.reasoner": "asked",
        "jurat.refused_before": 0,
    }
    assert dict(judge.attributes or {}) == {
        "jurat.agent": AGENT,
        "jurat.action": "route",
        "jurat.verdict": "deny",
        "jurat.policies": ("no-1",),
    }


def test_an_event_without_a_trace_begins_one(spans: Spans) -> None:
    with spans.tracing.decision(None, where=WHERE, event_id=None) as one:
        pass
    decide = spans.found["jurat.decide"]
    assert decide.parent is None
    assert one.traceparent is not None
    assert one.traceparent.startswith(f"00-{decide.context.trace_id:032x}-{decide.context.span_id:016x}-")
    assert sampled(one.traceparent)
    assert "messaging.message.id" not in (decide.attributes or {})


def test_what_is_passed_on_is_what_is_read(spans: Spans) -> None:
    with spans.tracing.decision(PARENT, where=WHERE, event_id="e") as one:
        pass
    assert one.traceparent is not None
    named = {
        "ce_specversion": "1.0",
        "ce_id": "i",
        "ce_source": "/s",
        "ce_type": "t",
        "traceparent": one.traceparent,
    }
    read = read_headers([(name, text.encode()) for name, text in named.items()])
    assert read.traceparent == one.traceparent


def test_a_trace_that_is_not_recorded_goes_on_unrecorded(spans: Spans) -> None:
    with spans.tracing.decision(UNSAMPLED, where=WHERE, event_id="e") as one:
        one.ended("decided", "d")
    assert spans.found == {}
    assert one.traceparent is not None
    assert one.traceparent.startswith(f"00-{TRACE}-")
    assert one.traceparent.endswith("-00")


def test_a_span_of_the_host_program_is_no_parent(spans: Spans) -> None:
    with TracerProvider().get_tracer("host").start_as_current_span("host"):
        with spans.tracing.decision(None, where=WHERE, event_id="e"):
            pass
        with spans.tracing.commit([PARENT], where="id"):
            pass
    assert spans.found["jurat.decide"].parent is None
    assert spans.found["jurat.commit"].parent is None


async def test_errors_are_told_by_their_class(spans: Spans) -> None:
    with (
        pytest.raises(ReasonerUnavailable),
        spans.tracing.decision(PARENT, where=WHERE, event_id="e") as one,
    ):
        await one.asking(Asked(ReasonerUnavailable(SECRET))).propose(a_request())
    for name in ("jurat.decide", "jurat.propose"):
        span = spans.found[name]
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ReasonerUnavailable"
        assert not span.events
        assert SECRET not in span.to_json()


async def test_a_reasoner_keeps_its_name_and_nature(spans: Spans) -> None:
    with spans.tracing.decision(PARENT, where=WHERE, event_id="e") as one:
        asked = one.asking(Asked())
        assert (asked.name, asked.deterministic) == ("asked", False)


async def test_calls_beside_each_other_do_not_mix(spans: Spans) -> None:
    parents = {}

    class Slow(Asked):
        async def propose(self, request: ProposalRequest) -> Proposal | None:
            before = trace.get_current_span()
            await asyncio.sleep(0.01)
            assert trace.get_current_span() is before
            parents[request.call_id] = before.parent.span_id  # type: ignore[attr-defined]
            return None

    async def decide(call_id: str) -> str | None:
        with spans.tracing.decision(PARENT, where=WHERE, event_id="e") as one:
            request = ProposalRequest(AGENTS[AGENT], None, (), call_id)  # type: ignore[arg-type]
            await one.asking(Slow()).propose(request)
            return one.traceparent

    given = await asyncio.gather(*(decide(str(n)) for n in range(20)))
    assert [f"{parents[str(n)]:016x}" for n in range(20)] == [one and one.split("-")[2] for one in given]


def test_a_commit_links_its_decisions(spans: Spans) -> None:
    other = PARENT.replace("b7ad6b7169203331", "00000000000000aa")
    with spans.tracing.commit([PARENT, None, UNSAMPLED, other], where="ns.a-orders-3"):
        pass
    commit = spans.found["jurat.commit"]
    assert commit.parent is None
    assert [link.context.span_id for link in commit.links] == [int("b7ad6b7169203331", 16), 0xAA]
    assert commit.kind is SpanKind.CLIENT
    assert (commit.attributes or {})["messaging.batch.message_count"] == 4
    assert (commit.attributes or {})["jurat.transactional_id"] == "ns.a-orders-3"


def test_links_are_bounded_and_a_commit_without_recorded_decisions_has_no_span(spans: Spans) -> None:
    with spans.tracing.commit([UNSAMPLED, None], where="id"):
        pass
    assert spans.found == {}
    with spans.tracing.commit([PARENT] * 1_000, where="id"):
        pass
    assert len(spans.found["jurat.commit"].links) == tracing_otel.MAX_LINKS


def test_an_aborted_commit_says_so(spans: Spans) -> None:
    with pytest.raises(ValueError, match="x"), spans.tracing.commit([PARENT], where="id"):
        raise ValueError("x")
    assert (spans.found["jurat.commit"].attributes or {})["error.type"] == "ValueError"


def test_a_sampler_has_the_last_word() -> None:
    spans = Spans(TracerProvider(sampler=ParentBased(ALWAYS_OFF)))
    with spans.tracing.decision(None, where=WHERE, event_id="e") as one:
        pass
    assert spans.found == {}
    assert not sampled(one.traceparent)


@pytest.mark.parametrize("given", [PARENT, UNSAMPLED, None])
def test_off_passes_the_trace_on_and_wraps_nothing(given: str | None) -> None:
    reasoner, judge = Asked(), Judged()
    with OFF.decision(given, where=WHERE, event_id="e") as one:
        assert one.traceparent is given
        assert one.asking(reasoner) is reasoner
        assert one.judging(judge) is judge
        one.ended("decided", "d")
    with OFF.commit([given], where="id"):
        pass


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in (
        *tracing_otel.ENDPOINTS,
        *tracing_otel.PROTOCOLS,
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_asked_for(
    environment: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with tracing(AGENT, group=AGENT) as one:
        assert one is OFF


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` or `none`"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "not understood"),
    ],
)
def test_what_cannot_be_is_said(environment: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=words), tracing(AGENT, group=AGENT):
        pass


def test_without_the_sdk_the_extra_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for name in [
        name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
    ]:
        environment.setitem(sys.modules, name, None)  # type: ignore[arg-type]  # what an absent module looks like
    with pytest.raises(ConfigurationError, match=r"jurat\[otel\]"), tracing(AGENT, group=AGENT):
        pass


def test_a_provider_of_the_host_program_is_used(environment: pytest.MonkeyPatch) -> None:
    provider = TracerProvider()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    environment.setattr(trace, "get_tracer_provider", lambda: provider)
    with tracing(AGENT, group=AGENT) as one, one.decision(None, where=WHERE, event_id="e"):
        pass
    assert [span.name for span in exporter.get_finished_spans()] == ["jurat.decide"]


class Stuck(SpanExporter):
    """A receiver that never answers."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let_go.wait(120)
        return SpanExportResult.FAILURE


def test_a_receiver_that_does_not_answer_holds_nothing_up(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    environment.setattr(tracing_otel, "FLUSH_S", 0.3)
    exporter = Stuck()
    module = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    environment.setattr(module, "OTLPSpanExporter", lambda: exporter)
    began = time.monotonic()
    with tracing(AGENT, group=AGENT) as one, one.decision(None, where=WHERE, event_id="e"):
        pass
    assert 0.2 < time.monotonic() - began < 60
    exporter.let_go.set()
    for thread in threading.enumerate():
        if thread.name == "jurat-spans":
            thread.join(10)
