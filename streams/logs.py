"""How a worker's log lines look: text for people, JSON for machines; ids in both, never what events hold.

Rules upheld here:

* a JSON line is one object: `ts` (RFC 3339, UTC), `level`, `logger`, `message`, the `key=value` pairs of the message as
  fields, and `exception` where there was one. The pairs are read off the *template* of the message
  (`"partition open agent=%s offset=%d"`), which is program text, and keep their types; nothing is parsed, so that no
  value can forge a field;
* a text line that holds line breaks is indented after the first, so that no value can forge a line;
* an exception, in a message or beside it, is told by its class and frames. What it says itself is told only where it is
  about Kafka, the system or a setting: others may quote what an event holds;
* libraries that would log requests or records are held at a level where they do not.

Not here: what is logged.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import math
import re
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from jurat.schemas.errors import AgentError, JuratError, SchemaError

log = logging.getLogger(__name__)

MAX_CHARS: Final = 16_000
"""Of a message, a field or an exception: a long traceback. Collectors cut lines off not far above."""

MAX_CAUSES: Final = 10
"""Exceptions told of one chain."""

OWN_FIELDS: Final = frozenset({"ts", "level", "logger", "message", "exception"})

_PLACEHOLDER = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-zA-Z])")
_NAME_BEFORE = re.compile(r"(?<![\w.-])([a-z_][a-z0-9_]*)=\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class LogFormat(StrEnum):
    """How lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TextFormatter(logging.Formatter):
    """One line for each message; what follows a line break is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Print without characters that would move the cursor."""
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Print classes and frames."""
        return _described(ei[1])

    def format(self, record: logging.LogRecord) -> str:
        """Print the record."""
        safe = _without_quotes(record)
        safe.exc_text = None  # another formatter's words may be kept there
        return super().format(safe).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Print the record."""
        record = _without_quotes(record)
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MAX_CHARS],
        }
        line |= {name: value for name, value in fields_of(record).items() if name not in OWN_FIELDS}
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _described(record.exc_info[1])
        return json.dumps(line)  # as ASCII: whatever a value holds, it is one line


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The `key=value` pairs of a message, by its template."""
    values = record.args
    if not isinstance(record.msg, str) or not isinstance(values, tuple):
        return {}
    found: dict[str, object] = {}
    position = 0
    for placeholder in _PLACEHOLDER.finditer(record.msg):
        if placeholder[0] == "%%":
            continue
        if position >= len(values):
            break
        named = _NAME_BEFORE.search(record.msg, 0, placeholder.start())
        if named is not None:
            found[named[1]] = _plain(values[position])
        position += 1
    return found


def configure(log_format: LogFormat, *, level: LogLevel | None, text: str) -> None:
    """Make the process log like this on standard error.

    Args:
        log_format: text or JSON.
        level: how much of our own is logged; None leaves it as it is.
        text: the format of a text line, in the words of `logging.Formatter`.
    """
    formatter = JsonFormatter() if log_format is LogFormat.JSON else TextFormatter(text)
    root = logging.getLogger()
    # Handlers of others, a test's for example, are theirs.
    ours = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    if not ours:
        ours = [logging.StreamHandler(sys.stderr)]
        root.addHandler(ours[0])
    for handler in ours:
        handler.setFormatter(formatter)
    if level is not None:
        logging.getLogger("jurat").setLevel(level.upper())
    for name, least in (
        ("aiokafka", logging.INFO),  # at DEBUG it logs responses
        (
            "asyncio",
            logging.CRITICAL,
        ),  # prints exceptions and results of tasks; `report` says what is to be said
        ("httpcore", logging.WARNING),
        ("httpx", logging.WARNING),
        ("openai", logging.WARNING),  # at DEBUG it logs prompts
        ("urllib3", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(max(least, logger.level))


def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop could not give to anybody: set it as the loop's exception handler."""
    error = context.get("exception")
    log.error(
        "unhandled in the event loop error=%s",
        type(error).__name__ if error else "none",
        exc_info=error,
    )


def _may_speak(error: BaseException) -> bool:
    """Whether what an exception says is known not to quote events."""
    if isinstance(error, JuratError):
        return not isinstance(error, AgentError | SchemaError)
    return isinstance(error, OSError) or type(error).__module__.startswith("aiokafka.")


def _without_quotes(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of the record in which exceptions that may quote events are told by their class."""
    safe = copy.copy(record)
    if isinstance(record.args, tuple):
        safe.args = tuple(
            type(one).__name__ if isinstance(one, BaseException) and not _may_speak(one) else one
            for one in record.args
        )
    return safe


def _described(error: BaseException) -> str:
    """Classes and frames of an exception and of what caused it, in one string."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None and len(told) < MAX_CAUSES:
        said = f": {current}" if _may_speak(current) else ""
        frames = "".join(traceback.format_tb(current.__traceback__))
        told.append(f"{type(current).__name__}{said}\n{frames}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "caused by ".join(told)[:MAX_CHARS].rstrip("\n")


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)[:MAX_CHARS]
