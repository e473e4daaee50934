"""The health server: what is live and ready, that it answers when the worker's loop does not, and bad clients."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jurat.schemas.errors import ConfigurationError
from jurat.streams import health
from jurat.streams.health import Check, HealthServer, live, ready
from jurat.streams.metrics import Meters, WorkerStatus
from tests.unit.test_metrics import NOW, a_partition

LOOPBACK = "127.0.0.1"


def of(*partitions: object, at: float = NOW, joined: bool = True) -> Meters:
    meters = Meters("fulfilment-router")
    meters.status = WorkerStatus(at, joined, tuple(partitions))  # type: ignore[arg-type]
    return meters


def failing(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if check.why]


def test_a_worker_that_starts_is_live_and_not_ready() -> None:
    assert failing(live(Meters("a"), now=NOW)) == []
    assert failing(ready(Meters("a"), now=NOW)) == ["joined"]


def test_a_worker_that_turns_and_goes_on_is_live_and_ready() -> None:
    meters = of(a_partition())
    assert failing(live(meters, now=NOW)) == []
    assert failing(ready(meters, now=NOW)) == []


def test_a_loop_that_does_not_turn_is_neither() -> None:
    meters = of(a_partition())
    assert failing(live(meters, now=NOW + health.TURN_BOUND_S)) == []
    assert failing(live(meters, now=NOW + health.TURN_BOUND_S + 1)) == ["event-loop"]
    assert failing(ready(meters, now=NOW + health.TURN_BOUND_S + 1)) == ["event-loop"]


def test_a_partition_with_inputs_and_without_progress_is_stuck() -> None:
    long_ago = NOW - health.STUCK_AFTER_S - 1
    stuck = a_partition(partition=7, progress_at=long_ago)
    (why,) = [check.why for check in live(of(a_partition(), stuck), now=NOW) if check.why]
    assert "commerce.orders 7" in why
    assert "commerce.orders 3" not in why
    assert failing(live(of(a_partition(progress_at=NOW - health.STUCK_AFTER_S)), now=NOW)) == []


def test_a_partition_that_holds_nothing_is_not_stuck() -> None:
    """It waits for events, or all of its inputs are parked until their next attempt."""
    waiting = a_partition(progress_at=0.0, held_records=0, in_flight=0, parked=5)
    assert failing(live(of(waiting), now=NOW)) == []


def test_a_partition_that_is_being_opened_is_live_and_not_ready() -> None:
    opening = a_partition(open=False, progress_at=0.0)
    assert failing(live(of(opening), now=NOW)) == []
    assert failing(ready(of(a_partition(partition=0), opening), now=NOW)) == ["partitions"]


def test_joined_and_without_partitions_is_ready() -> None:
    assert failing(ready(of(), now=NOW)) == []
    assert failing(ready(of(joined=False), now=NOW)) == ["joined"]


def test_a_broker_that_is_silent_makes_unready_and_not_dead() -> None:
    meters = Meters("a")
    for silence_s, checks in ((health.SILENCE_BOUND_S, []), (health.SILENCE_BOUND_S + 1, ["broker"])):
        meters.status = WorkerStatus(NOW, True, (a_partition(),), heard_at=NOW - silence_s)
        assert failing(ready(meters, now=NOW)) == checks
        assert failing(live(meters, now=NOW)) == []


def test_an_answer_names_a_bounded_number_of_partitions() -> None:
    closed = [a_partition(partition=n, open=False) for n in range(100)]
    (why,) = [check.why for check in ready(of(*closed), now=NOW) if check.why]
    assert why.count("commerce.orders") == health.MAX_NAMED
    assert why.endswith("and 80 more")


@contextmanager
def serving(meters: Meters, now: float = NOW) -> Iterator[HealthServer]:
    with HealthServer(meters, host=LOOPBACK, port=0, clock=lambda: now) as server:
        yield server


@pytest.fixture
def server() -> Iterator[HealthServer]:
    with serving(of(a_partition())) as one:
        yield one


def get(server: HealthServer, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def body(response: http.client.HTTPResponse) -> bytes:
    found: bytes = response.body  # type: ignore[attr-defined]
    return found


def test_the_three_pages(server: HealthServer) -> None:
    metrics = get(server, "/metrics?name=x")
    assert (metrics.status, metrics.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert b'jurat_partition_lag_records{agent="fulfilment-router",partition="3"' in body(metrics)
    for path in ("/livez", "/readyz"):
        page = get(server, path)
        assert (page.status, page.headers["Content-Type"]) == (200, "application/json")
        told = json.loads(body(page))
        assert told["status"] == "ok"
        assert all(check["ok"] for check in told["checks"])


def test_what_fails_is_said() -> None:
    with serving(of(a_partition(open=False)), now=NOW + 100) as server:
        page = get(server, "/readyz")
        assert page.status == 503
        told = json.loads(body(page))
        assert told["status"] == "failing"
        assert {check["name"]: check["ok"] for check in told["checks"]} == {
            "event-loop": False,
            "progress": True,
            "broker": True,
            "joined": True,
            "partitions": False,
        }
        assert "100 s ago" in told["checks"][0]["why"]
        assert get(server, "/livez").status == 503


async def test_it_answers_while_the_event_loop_is_blocked() -> None:
    with serving(of(), now=NOW + 60) as server:
        # This test runs in an event loop, and blocks it.
        assert get(server, "/livez").status == 503


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", 404),
        (b"GET http://example.org/metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /livez HTTP/1.0\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nAccept: text/plain; version=abc\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=9\nX: y\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nAccept: \xff;;;===,,\r\n\r\n", 200),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n", 431),
    ],
    ids=lambda value: value[:24].decode("latin-1").strip() if isinstance(value, bytes) else None,
)
def test_bad_requests_are_answered(server: HealthServer, request_bytes: bytes, status: int) -> None:
    with socket.create_connection((server.host, server.port), timeout=60) as client:
        client.sendall(request_bytes)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.split(b" ")[1] == str(status).encode()
    assert b"X: y" not in answer
    assert get(server, "/livez").status == 200


def test_head_has_no_body(server: HealthServer) -> None:
    page = get(server, "/metrics", method="HEAD")
    assert (page.status, body(page)) == (200, b"")
    assert int(page.headers["Content-Length"]) > 0


def test_a_slow_client_is_let_go(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CLIENT_BOUND_S", 0.3)

    def drip(client: socket.socket) -> None:
        for _ in range(1_000):
            client.sendall(b"X")
            time.sleep(0.05)

    with (
        socket.create_connection((server.host, server.port), timeout=60) as client,
        pytest.raises(ConnectionError),
    ):
        drip(client)


def test_a_client_that_does_not_read_is_let_go(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CLIENT_BOUND_S", 0.3)
    many = tuple(a_partition(partition=n) for n in range(6_000))  # more than the kernel's buffers hold
    server._meters.status = WorkerStatus(NOW, True, many)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect((server.host, server.port))
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        deadline = time.monotonic() + 60
        while not server._clients and time.monotonic() < deadline:
            time.sleep(0.01)
        while server._clients and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server._clients


def test_many_clients_do_not_keep_a_probe_out(server: HealthServer) -> None:
    idle = [
        socket.create_connection((server.host, server.port), timeout=60)
        for _ in range(health.MAX_CLIENTS * 2)
    ]
    try:
        assert get(server, "/livez").status == 200
        assert len(server._clients) <= health.MAX_CLIENTS
        assert idle[0].recv(1) == b"", "the first client was not let go"
    except ConnectionError:
        pass  # let go as well
    finally:
        for client in idle:
            client.close()


def test_a_port_that_is_taken_is_said(server: HealthServer) -> None:
    with pytest.raises(ConfigurationError, match=rf"port {server.port}: .*--metrics-port"):  # noqa: SIM117
        with HealthServer(Meters("a"), host=server.host, port=server.port):
            pass


@pytest.mark.parametrize("host", ["host.invalid", "192.0.2.1", "no address"])
def test_an_address_that_is_not_ours_is_said(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--metrics-host"):  # noqa: SIM117
        with HealthServer(Meters("a"), host=host, port=0):
            pass


def test_a_free_port_is_logged_where_everybody_sees_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"), serving(of()) as server:
        assert f"port={server.port}" in caplog.text
        assert server.port > 0


def test_the_thread_ends_with_the_block_and_may_be_had_again() -> None:
    with serving(of()) as server:
        idle = socket.create_connection((server.host, server.port), timeout=60)
        port = server.port
    assert not server._thread.is_alive()
    idle.close()
    with HealthServer(of(), host=LOOPBACK, port=port) as again:
        assert get(again, "/readyz").status in (200, 503)
