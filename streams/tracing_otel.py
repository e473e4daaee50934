"""OpenTelemetry spans from an event's `traceparent` to its decision; the one module that imports opentelemetry.

=================  ==========  ============================================================================
span               kind        what it covers
=================  ==========  ============================================================================
`jurat.decide`     consumer    one input, from its bytes to its end; a child of the event's own span
`jurat.propose`    client      one call of a reasoner, below `jurat.decide`; the current span while it lasts
`jurat.judge`      internal    one judgement of the policies, below `jurat.decide`
`jurat.commit`     client      one transaction, a trace of its own with a link to each decision in it
=================  ==========  ============================================================================

Rules upheld here:

* the decision event carries the context of `jurat.decide`, so that the trace goes on with who reads it;
* attributes are ids, names and numbers, by the semantic conventions for messaging; never keys, values, prompts or the
  messages of errors;
* whether a trace is recorded is its beginner's choice, unless `OTEL_TRACES_SAMPLER` says otherwise;
* nothing here can fail or hold up a decision: spans are exported by a thread of the SDK, and dropped when it lags.

Not here: what is decided (`deciding.py`), tracing that is off (`tracing.py`); metrics and logs have ways of their own.

Source: https://www.w3.org/TR/trace-context/#traceparent-header and
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from jurat.agents.kernel import Judge
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner, ToolCall
from jurat.agents.tools import shown
from jurat.policies.request import Judgement, PolicyRequest
from jurat.schemas.decision import InputRef
from jurat.schemas.errors import ConfigurationError
from jurat.streams.tracing import OFF, DecisionTrace, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

MAX_LINKS: Final = 128
"""Decisions that one commit names; what the SDK keeps unless told otherwise."""

FLUSH_S: Final = 3.0
"""How long an ending worker waits for its last spans to be taken; orchestrators wait longer before they kill."""

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class Traced:
    """Tracing through an SDK.

    Args:
        provider: where the spans go.
        agent: the agent's name.
        group: the consumer group's full name.
    """

    def __init__(self, provider: trace.TracerProvider, *, agent: str, group: str) -> None:
        self._tracer = provider.get_tracer("jurat", version("jurat"))
        self._common = {
            "jurat.agent": agent,
            "messaging.consumer.group.name": group,
            "messaging.system": "kafka",
        }

    def decision(self, traceparent: str | None, *, where: InputRef, event_id: str | None) -> DecisionTrace:
        """See `Tracing`."""
        attributes: dict[str, str | int] = {
            **self._common,
            "messaging.destination.name": where.topic,
            "messaging.destination.partition.id": str(where.partition),
            "messaging.kafka.offset": where.offset,
            "messaging.operation.name": "decide",
            "messaging.operation.type": "process",
        }
        if event_id is not None:
            attributes["messaging.message.id"] = event_id
        parent = _context_of(traceparent)
        span = self._tracer.start_span(
            "jurat.decide",
            context=trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent else Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        return _Recorded(self._tracer, span)

    @contextmanager
    def commit(self, traceparents: Sequence[str | None], *, where: str) -> Iterator[None]:
        """See `Tracing`."""
        decisions = [
            found for one in traceparents if (found := _context_of(one)) and found.trace_flags.sampled
        ]
        if not decisions:
            yield
            return
        span = self._tracer.start_span(
            "jurat.commit",
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes={
                **self._common,
                "jurat.transactional_id": where,
                "messaging.batch.message_count": len(traceparents),
                "messaging.operation.name": "commit",
                "messaging.operation.type": "settle",
            },
            links=[Link(one) for one in decisions[:MAX_LINKS]],
        )
        with _ending(span):
            yield


class _Recorded:
    """A trace with a span of ours in it."""

    __slots__ = ("_span", "_tracer", "traceparent")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self.traceparent: str | None = _text_of(span.get_span_context())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            _failed(self._span, kind)
        self._span.end()

    def asking(self, reasoner: Reasoner) -> Reasoner:
        return _AskedInSpan(reasoner, self._tracer, self._span)

    def judging(self, judge: Judge) -> Judge:
        return _JudgedInSpan(judge, self._tracer, self._span)

    def ended(self, outcome: str, decision_id: str) -> None:
        self._span.set_attributes({"jurat.outcome": outcome, "jurat.decision_id": decision_id})


class _AskedInSpan:
    """A reasoner whose calls are spans; what the call does itself is traced below."""

    def __init__(self, reasoner: Reasoner, tracer: trace.Tracer, parent: trace.Span) -> None:
        self._reasoner = reasoner
        self._tracer = tracer
        self._parent = parent

    @property
    def name(self) -> str:
        return self._reasoner.name

    @property
    def deterministic(self) -> bool:
        return self._reasoner.deterministic

    async def propose(self, request: ProposalRequest) -> Proposal | ToolCall | None:
        span = self._tracer.start_span(
            "jurat.propose",
            context=trace.set_span_in_context(self._parent),
            kind=SpanKind.CLIENT,
            attributes={
                "jurat.agent": request.agent.name,
                "jurat.reasoner": self.name,
                "jurat.refused_before": len(request.refused),
            },
        )
        with _ending(span), trace.use_span(span, record_exception=False, set_status_on_exception=False):
            answer = await self._reasoner.propose(request)
            if isinstance(answer, Proposal):
                span.set_attribute("jurat.action", answer.action.action_name)
            elif isinstance(answer, ToolCall):
                span.set_attribute("jurat.tool", shown(answer.tool))
            return answer


class _JudgedInSpan:
    """A judge whose judgements are spans."""

    def __init__(self, judge: Judge, tracer: trace.Tracer, parent: trace.Span) -> None:
        self._judge = judge
        self._tracer = tracer
        self._parent = parent

    def judge(self, request: PolicyRequest) -> Judgement:
        span = self._tracer.start_span(
            "jurat.judge",
            context=trace.set_span_in_context(self._parent),
            attributes={"jurat.agent": request.agent, "jurat.action": request.action},
        )
        with _ending(span):
            judgement = self._judge.judge(request)
            span.set_attributes(
                {"jurat.verdict": judgement.verdict.value, "jurat.policies": list(judgement.policies)}
            )
            return judgement


@contextmanager
def _ending(span: trace.Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _failed(span, type(error))
        raise
    finally:
        span.end()


def _failed(span: trace.Span, kind: type[BaseException]) -> None:
    # The class alone: the message of an error may quote what the event holds.
    span.set_attribute("error.type", kind.__name__)
    span.set_status(Status(StatusCode.ERROR))


def _context_of(traceparent: str | None) -> SpanContext | None:
    """The context that a valid traceparent names."""
    if traceparent is None:
        return None
    _version, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _text_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def tracing(agent: str, *, group: str) -> Iterator[Tracing]:
    """Trace for the time of a block, if the program or the environment asks for it.

    A provider that the program has set is used, and left to it. Otherwise the variables that OpenTelemetry names switch
    an SDK on: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`), unless `OTEL_SDK_DISABLED` is `true` or
    `OTEL_TRACES_EXPORTER` is `none`. The SDK reads the others itself.

    Args:
        agent: the agent's name; the service is called `jurat-<agent>` unless `OTEL_SERVICE_NAME` names it.
        group: the consumer group's full name.

    Raises:
        ConfigurationError: the SDK is not installed, or cannot do what the environment asks for.
    """
    given = trace.get_tracer_provider()
    if not isinstance(given, trace.ProxyTracerProvider):
        yield Traced(given, agent=agent, group=group)
        return
    if not _asked_for():
        yield OFF
        return
    provider = _provider(agent)
    try:
        yield Traced(provider, agent=agent, group=group)
    finally:
        # In a thread, as a receiver that does not answer would hold it for half a minute.
        flush = threading.Thread(target=provider.shutdown, name="jurat-spans", daemon=True)
        flush.start()
        flush.join(FLUSH_S)


def _asked_for() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() or "otlp"
    if exporter not in ("otlp", "none"):
        raise ConfigurationError(
            f"got OTEL_TRACES_EXPORTER={exporter!r}, expected `otlp` or `none`: spans are exported by OTLP over HTTP"
        )
    return exporter == "otlp" and any(os.environ.get(name) for name in ENDPOINTS)


def _provider(agent: str) -> TracerProvider:
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigurationError(
            f"got the OTLP protocol {protocol!r}, expected http/protobuf ({PROTOCOLS[1]})"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - the extra `otel`
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider as Provider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"got {' or '.join(ENDPOINTS)}, but OpenTelemetry's SDK is not installed: install `jurat[otel]`, or"
            " leave the variable out"
        ) from error
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: f"jurat-{agent}"}))
    try:
        provider = Provider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise ConfigurationError(f"OpenTelemetry's settings are not understood: {error}") from error
    return provider
