"""CloudEvents 1.0 in Kafka headers, binary content mode.

Rules upheld here: the attributes travel as `ce_*` headers, the value is the event's data alone; `traceparent` is
carried on as it came; a header that appears twice, is not UTF-8 or breaks the attribute's rules is refused.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md, section 3.2;
https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from jurat.schemas.codec import AVRO_CONTENT_TYPE
from jurat.schemas.errors import EnvelopeError
from jurat.schemas.model import Event
from jurat.schemas.moments import parse_moment, print_moment

SPEC_VERSION = "1.0"
MAX_ATTRIBUTE_CHARS = 2000
"""No source or content type of ours is longer."""

MAX_ID_CHARS = 200
"""An id or type is written into every audit record, so it is bounded like any other identifier."""

Headers = Sequence[tuple[str, bytes]]
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUIRED = ("ce_specversion", "ce_id", "ce_source", "ce_type")
_LIMITS = MappingProxyType(
    {
        "ce_specversion": MAX_ATTRIBUTE_CHARS,
        "ce_id": MAX_ID_CHARS,
        "ce_source": MAX_ATTRIBUTE_CHARS,
        "ce_type": MAX_ID_CHARS,
        "ce_time": MAX_ATTRIBUTE_CHARS,
        "ce_subject": MAX_ATTRIBUTE_CHARS,
        "content-type": MAX_ATTRIBUTE_CHARS,
        "traceparent": MAX_ATTRIBUTE_CHARS,
        "ce_traceparent": MAX_ATTRIBUTE_CHARS,
    }
)
"""The headers that are read, and how long each may be."""

_SPEC_VERSION_BYTES = SPEC_VERSION.encode()
_AVRO_BYTES = AVRO_CONTENT_TYPE.encode()


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one event.

    Attributes:
        id: unique together with `source`.
        source: who published it, a URI reference.
        type: the event type's name.
        time: when it happened, if known.
        subject: what it is about, if said.
        content_type: how the value is written, if said.
        traceparent: the W3C trace context it belongs to, if any.
    """

    id: str
    source: str
    type: str
    time: datetime | None = None
    subject: str | None = None
    content_type: str | None = None
    traceparent: str | None = None


def headers_for(
    event: Event,
    *,
    event_id: str,
    source: str,
    time: datetime | None = None,
    subject: str | None = None,
    traceparent: str | None = None,
) -> list[tuple[str, bytes]]:
    """Write the headers of an event whose value is Avro."""
    headers = [
        ("ce_specversion", _SPEC_VERSION_BYTES),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event.event_type().encode()),
    ]
    if time is not None:
        headers.append(("ce_time", format_time(time).encode()))
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    headers.append(("content-type", _AVRO_BYTES))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def read_headers(headers: Iterable[tuple[str, bytes]]) -> Attributes:
    """Read the attributes of an event.

    Raises:
        EnvelopeError: an attribute is missing, repeated or malformed.
    """
    found: dict[str, str] = {}
    for raw_name, raw in headers:
        name = raw_name.lower()
        limit = _LIMITS.get(name)
        if limit is None:
            continue
        if name in found:
            raise EnvelopeError(f"got the header {name} twice, expected it once")
        try:
            text = raw.decode()
        except (UnicodeDecodeError, AttributeError) as error:
            raise EnvelopeError(f"got a header {name} that is not UTF-8 text") from error
        if len(text) > limit:
            raise EnvelopeError(f"got a header {name} of {len(text)} characters, expected at most {limit}")
        found[name] = text
    if not all(map(found.get, _REQUIRED)):
        missing = [name for name in _REQUIRED if not found.get(name)]
        raise EnvelopeError(
            f"got a record without {', '.join(missing)}, expected CloudEvents 1.0 attributes as Kafka headers"
        )
    if found["ce_specversion"] != SPEC_VERSION:
        raise EnvelopeError(f"got CloudEvents {found['ce_specversion']!r}, expected {SPEC_VERSION!r}")
    return Attributes(
        id=found["ce_id"],
        source=found["ce_source"],
        type=found["ce_type"],
        time=parse_time(found["ce_time"]) if "ce_time" in found else None,
        subject=found.get("ce_subject"),
        content_type=found.get("content-type"),
        traceparent=_trace(found.get("traceparent") or found.get("ce_traceparent")),
    )


def format_time(time: datetime) -> str:
    """Print a moment as RFC 3339 in UTC with microseconds."""
    return print_moment(time)


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 moment; digits beyond microseconds are cut off.

    Raises:
        EnvelopeError: malformed, or without a zone.
    """
    try:
        return parse_moment(text)
    except ValueError as error:
        raise EnvelopeError(str(error)) from error


def _trace(text: str | None) -> str | None:
    # A broken trace context is dropped, not refused: W3C asks receivers to start a new trace then.
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None
