"""Log lines: ids as fields, one line whatever a value holds, and no words of exceptions that may quote events."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from jurat.schemas.errors import BrokerUnreachable, DecodeError, InputRejected
from jurat.streams import logs
from jurat.streams.logs import JsonFormatter, LogFormat, LogLevel, TextFormatter

SECRET = "4111-1111-1111-1111"
FORGED = 'x\n2026-01-01 ERROR jurat forged\r\x1b[2J\u2028{"level":"error"}'


def record(
    template: object, *values: object, error: BaseException | None = None, name: str = "jurat.streams.worker"
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, logging.WARNING, "worker.py", 1, template, values, info)


def as_json(one: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(one)
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, object] = json.loads(line)
    return found


def as_text(one: logging.LogRecord) -> str:
    return TextFormatter("%(levelname)s %(name)s %(message)s").format(one)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - it is what the test wants
        return caught


def test_pairs_of_the_template_are_fields_with_their_types() -> None:
    line = as_json(
        record("partition open agent=%s topic=%s partition=%d offset=%d took_s=%.1f", "a", "t", 3, 42, 0.25)
    )
    assert line.pop("ts")
    assert line == {
        "level": "warning",
        "logger": "jurat.streams.worker",
        "message": "partition open agent=a topic=t partition=3 offset=42 took_s=0.2",
        "agent": "a",
        "topic": "t",
        "partition": 3,
        "offset": 42,
        "took_s": 0.25,
    }


@pytest.mark.parametrize(
    ("template", "values", "fields"),
    [
        ("failed attempt=%d %s: %s", (2, "t-0", "why"), {"attempt": 2}),
        ("100%% of agent=%s", ("a",), {"agent": "a"}),
        ("no values agent=a", (), {}),
        ("a.b=%s c-d=%s e=%r", (1, 2, 3), {"e": 3}),
        ("level=%s message=%s ts=%s agent=%s", ("forged", "f", "f", "a"), {"agent": "a"}),
        ("x=%s y=%s z=%s", (float("nan"), None, True), {"x": "nan", "y": None, "z": True}),
        ("x=%s", (1 << 80,), {"x": 1 << 80}),
        ("x=%s", (b"bytes",), {"x": "b'bytes'"}),
    ],
)
def test_fields(template: str, values: tuple[object, ...], fields: dict[str, object]) -> None:
    line = as_json(record(template, *values))
    assert {name: line[name] for name in line if name not in logs.OWN_FIELDS} == fields
    assert line["level"] == "warning"


def test_a_message_that_is_no_template_and_named_values_are_let_be() -> None:
    assert as_json(record(ValueError("x")))["message"] == "x"
    named = logging.LogRecord("n", logging.INFO, "f", 1, "agent=%(agent)s", ({"agent": "a"},), None)
    assert as_json(named)["message"] == "agent=a"


def test_no_value_forges_a_line_or_a_field() -> None:
    one = record("topic=%s", FORGED)
    assert as_json(one)["topic"] == FORGED
    text = as_text(one)
    assert len(text.splitlines()) == 2
    assert text.splitlines()[1].startswith("    2026-01-01")
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_lone_surrogate_is_printed() -> None:
    assert as_json(record("x=%s", "\ud800"))["x"] == "\ud800"


def test_lines_are_bounded() -> None:
    line = JsonFormatter().format(record("x=%s", "y" * 1_000_000))
    assert len(line) < 3 * logs.MAX_CHARS


@pytest.mark.parametrize("error", [ValueError(SECRET), DecodeError(SECRET), InputRejected(SECRET)])
def test_what_may_quote_an_event_is_told_by_its_class(error: BaseException) -> None:
    one = record("failed offset=%d: %s", 7, raised(error), error=raised(RuntimeError(SECRET), error))
    for text in (JsonFormatter().format(one), as_text(one)):
        assert SECRET not in text
        assert type(error).__name__ in text
        assert "RuntimeError" in text
        assert "in raised" in text, "the frames are told"
    assert as_json(one)["offset"] == 7


@pytest.mark.parametrize("error", [BrokerUnreachable("no broker at h:1"), OSError(28, "no space left")])
def test_what_is_about_the_system_is_told(error: BaseException) -> None:
    said = "no broker at h:1" if isinstance(error, BrokerUnreachable) else "no space left"
    one = record("failed: %s", error, error=raised(error))
    line = as_json(one)
    assert said in str(line["message"])
    assert said in str(line["exception"])
    assert said in as_text(one)


def test_causes_end() -> None:
    error: BaseException = ValueError("0")
    for n in range(50):
        error = raised(ValueError(str(n)), error)
    assert str(as_json(record("x", error=error))["exception"]).count("caused by") == logs.MAX_CAUSES - 1


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A handler of a process's own on the root logger, and every level put back."""
    root = logging.getLogger()
    names = ("jurat", "aiokafka", "asyncio", "httpcore", "httpx", "openai", "urllib3")
    before = {name: logging.getLogger(name).level for name in names}
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    root.addHandler(handler)
    yield out
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_configure_changes_the_process_log(stream: io.StringIO) -> None:
    handlers = list(logging.getLogger().handlers)
    logs.configure(LogFormat.JSON, level=LogLevel.INFO, text="%(message)s")
    assert logging.getLogger().handlers == handlers
    logging.getLogger("jurat.x").info("agent=%s", "a")
    logging.getLogger("jurat.x").debug("agent=%s", "b")
    logging.getLogger("openai").debug("a prompt")
    assert [json.loads(line)["agent"] for line in stream.getvalue().splitlines()] == ["a"]
    logs.configure(LogFormat.TEXT, level=LogLevel.DEBUG, text="> %(message)s")
    logging.getLogger("jurat.x").debug("agent=%s", "c")
    assert stream.getvalue().splitlines()[-1] == "> agent=c"


def test_libraries_do_not_log_requests_or_records(stream: io.StringIO) -> None:
    for name in ("openai", "httpx", "httpcore", "aiokafka"):
        logging.getLogger(name).setLevel(logging.DEBUG)  # as `jurat -vv` does
    logs.configure(LogFormat.TEXT, level=LogLevel.DEBUG, text="%(message)s")
    for name in ("openai", "httpx", "httpcore", "aiokafka", "asyncio"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG), name


async def test_what_nobody_awaits_is_logged_without_its_words(
    stream: io.StringIO,
) -> None:
    logs.configure(LogFormat.JSON, level=LogLevel.INFO, text="%(message)s")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.report)

    def fail() -> None:
        raise ValueError(SECRET)

    loop.call_soon(fail)
    await asyncio.sleep(0.01)
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line["error"] == "ValueError"
    assert "in fail" in line["exception"]
    assert SECRET not in stream.getvalue()
