"""`jurat worker`: where health is served and how it logs, by flag, then environment; nonsense is refused by name."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from jurat import settings
from jurat.cli import worker
from jurat.cli.main import entry
from jurat.schemas.errors import BrokerUnreachable, ConfigurationError
from jurat.streams.intake import MAX_IN_FLIGHT
from jurat.streams.logs import LogFormat, LogLevel

VARIABLES = (settings.METRICS_PORT, settings.METRICS_HOST, settings.LOG_FORMAT, settings.LOG_LEVEL)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_metrics_are_served_where_the_flag_says_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.metrics_address() is None
    assert settings.metrics_address(port=0) == ("127.0.0.1", 0)
    monkeypatch.setenv(settings.METRICS_HOST, "::1")
    assert settings.metrics_address() is None
    monkeypatch.setenv(settings.METRICS_PORT, "9464")
    assert settings.metrics_address() == ("::1", 9464)
    assert settings.metrics_address(port=1, host="0.0.0.0") == ("0.0.0.0", 1)


@pytest.mark.parametrize("text", ["x", "-1", "65536", "1.5", " 1", "\u0661", "9464\n"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(settings.METRICS_PORT, text)
    with pytest.raises(ConfigurationError, match=settings.METRICS_PORT):
        settings.metrics_address()


def test_logs_look_as_the_flag_says_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings.log_format(), settings.log_level()) == (LogFormat.TEXT, None)
    monkeypatch.setenv(settings.LOG_FORMAT, "json")
    monkeypatch.setenv(settings.LOG_LEVEL, "debug")
    assert (settings.log_format(), settings.log_level()) == (LogFormat.JSON, LogLevel.DEBUG)
    assert (settings.log_format("text"), settings.log_level("error")) == (LogFormat.TEXT, LogLevel.ERROR)
    monkeypatch.setenv(settings.LOG_FORMAT, "xml")
    monkeypatch.setenv(settings.LOG_LEVEL, "DEBUG")
    with pytest.raises(ConfigurationError, match=settings.LOG_FORMAT):
        settings.log_format()
    with pytest.raises(ConfigurationError, match=settings.LOG_LEVEL):
        settings.log_level()


@pytest.fixture
def handler() -> Iterator[logging.StreamHandler[Any]]:
    """The process's own log handler, so that the command changes this one and no other."""
    root = logging.getLogger()
    one = logging.StreamHandler()
    root.addHandler(one)
    yield one
    root.removeHandler(one)
    logging.getLogger("jurat").setLevel(logging.NOTSET)


def run(
    monkeypatch: pytest.MonkeyPatch, *words: str, failure: Exception | None = None
) -> tuple[Any, dict[str, Any]]:
    """Run the command with an agent that ends at once, or fails."""
    given: dict[str, Any] = {}

    async def run_agent(agent: object, **keywords: Any) -> int:
        given.update(keywords)
        if failure is not None:
            raise failure
        return 7

    monkeypatch.setattr(worker, "run_agent", run_agent)
    words = ("worker", "fulfilment-router", "--bootstrap-servers", "h:1", *words)
    return CliRunner().invoke(entry, words), given


def test_the_options_reach_the_agent(
    monkeypatch: pytest.MonkeyPatch, handler: logging.StreamHandler[Any]
) -> None:
    result, given = run(monkeypatch)
    assert result.exit_code == 0, result.output
    assert (given["metrics_at"], given["max_in_flight"]) == (None, MAX_IN_FLIGHT)
    assert "fulfilment-router: 7 inputs committed" in result.stderr
    _result, given = run(
        monkeypatch,
        "--metrics-port",
        "0",
        "--metrics-host",
        "::1",
        "--max-in-flight",
        "5",
        "--log-level",
        "info",
    )
    assert (given["metrics_at"], given["max_in_flight"]) == (("::1", 0), 5)
    assert logging.getLogger("jurat").level == logging.INFO


@pytest.mark.parametrize(
    "words",
    [
        ("--metrics-port", "65536"),
        ("--metrics-host", "::1"),
        ("--max-in-flight", "0"),
        ("--log-format", "xml"),
        ("--log-level", "7"),
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], handler: logging.StreamHandler[Any]
) -> None:
    result, given = run(monkeypatch, *words)
    assert (result.exit_code, given) == (2, {})


def test_json_all_the_way(
    monkeypatch: pytest.MonkeyPatch, handler: logging.StreamHandler[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(handler.format(record)))
    result, _given = run(monkeypatch, "--log-format", "json", "--log-level", "info")
    failed, _given = run(monkeypatch, "--log-format", "json", failure=BrokerUnreachable("no broker at h:1"))
    assert (result.exit_code, result.output) == (0, "")
    assert (failed.exit_code, failed.output) == (1, "")
    ended, told = map(json.loads, lines)
    assert (ended["agent"], ended["inputs"]) == ("fulfilment-router", 7)
    assert (told["level"], told["error"]) == ("error", "BrokerUnreachable")
    assert "no broker at h:1" in told["message"]


def test_an_error_in_text_is_left_to_the_command_line(
    monkeypatch: pytest.MonkeyPatch, handler: logging.StreamHandler[Any]
) -> None:
    result, _given = run(monkeypatch, failure=BrokerUnreachable("no broker at h:1"))
    assert isinstance(result.exception, BrokerUnreachable)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("-v", "worker", "payment-retrier"), 0),
        (("notary", "run", "--org", "example.com"), 0),
        (("notary", "tiles"), -signal.SIGTERM),
        (("publish", "worker"), -signal.SIGTERM),
    ],
    ids=["worker", "notary", "tiles", "another"],
)
def test_a_worker_that_is_stopped_before_it_began_ends_well(words: tuple[str, ...], code: int) -> None:
    """The signal comes while its module is imported, which takes a second or two."""
    program = (
        "import os, signal, sys\n"
        "from jurat.cli import main\n"
        "main.LazyGroup.get_command = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['jurat', *{words!r}]\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=180)
    assert (done.returncode, done.stderr) == (code, b"")
