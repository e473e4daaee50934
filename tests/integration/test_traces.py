"""Traces end to end: from the event through a worker to a receiver of the test's own, and on with the decision."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from jurat.streams import topics
from jurat.streams.subscriber import subscribe
from tests.command import Shell
from tests.oracle import examine
from tests.watched import AGENT, publish, seen

pytestmark = pytest.mark.integration
STOPPED_WITHIN_S = 15
"""It takes a second or two on an idle machine; spans that wait for a receiver would hold it up for minutes."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Receiver:
    """An OTLP/HTTP receiver: keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *values: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def attributes(span: Span) -> dict[str, object]:
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
        for one in span.attributes
    }


async def passed_on(shell: Shell) -> dict[str, str | None]:
    """The traceparent of each decision event, by the decision's id."""
    found = {}
    topic = topics.decisions(AGENT.name).name
    async for one in subscribe(shell.connection, topic, from_beginning=True, until_idle_s=0.2):
        assert one.attributes is not None
        found[one.attributes.id] = one.attributes.traceparent
    return found


async def test_a_trace_goes_from_the_event_to_the_decision(
    shell: Shell, tmp_path: Path, receiver: Receiver
) -> None:
    await publish(shell, 10, traceparent=TRACEPARENT)
    await publish(shell, 5, first=10)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with seen(shell, tmp_path, variables=variables) as worker:
        await worker.until_counted("jurat_inputs_committed_total", 15)
    decisions = await passed_on(shell)
    assert len(decisions) == 15
    decides = {str(attributes(span)["jurat.decision_id"]): span for span in receiver.named("jurat.decide")}
    for decision_id, span in decides.items():
        assert (decisions[decision_id] or "").split("-")[1:3] == [span.trace_id.hex(), span.span_id.hex()]
        assert attributes(span)["messaging.destination.name"] == shell.connection.topic(AGENT.topic)
    ours = [span for span in decides.values() if span.trace_id.hex() == TRACE]
    assert len(decides) == 15
    assert len(ours) == 10
    assert {span.parent_span_id.hex() for span in ours} == {"b7ad6b7169203331"}
    below = {span.span_id for span in decides.values()}
    assert len(receiver.named("jurat.propose")) >= 15
    assert len(receiver.named("jurat.judge")) >= 15
    assert {
        span.parent_span_id for span in receiver.named("jurat.propose") + receiver.named("jurat.judge")
    } == below
    linked = {link.span_id for span in receiver.named("jurat.commit") for link in span.links}
    assert linked == below
    assert receiver.services == {f"jurat-{AGENT.name}"}
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert sorted(str(record.trace) for record in found.records.values()) == [TRACEPARENT] * 10 + ["None"] * 5


async def test_without_tracing_the_trace_is_passed_on_as_it_came(shell: Shell) -> None:
    await publish(shell, 3, traceparent=TRACEPARENT)
    await publish(shell, 2, first=3)
    shell.run("worker", AGENT.name, "--until-idle", "200ms")
    assert sorted(map(str, (await passed_on(shell)).values())) == [TRACEPARENT] * 3 + ["None"] * 2


async def test_a_receiver_that_is_down_holds_nothing_up(shell: Shell, tmp_path: Path) -> None:
    await publish(shell, 50)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with seen(shell, tmp_path, variables=variables) as worker:
        await worker.until_counted("jurat_inputs_committed_total", 50)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(STOPPED_WITHIN_S) == 0
