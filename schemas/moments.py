"""Moments in text: RFC 3339 and nothing beside it.

Rules upheld here: week dates, the basic format, commas, moments without seconds and bare numbers are refused, though
other readers of ISO 8601 take them; what is finer than a microsecond is cut off, never rounded into the future.

Source: RFC 3339, section 5.6, https://www.rfc-editor.org/rfc/rfc3339
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_FRACTION_DIGITS = 9
"""Nanoseconds, as Java and Go print them."""

CLOCK_SLACK: Final = timedelta(hours=1)
"""By how much the clock that stamps decisions may go back before a sliding window over them is not believed any more:
more than clocks of two machines differ by, and more than a decision takes. Part of `docs/spec/audit-record.md`."""

_KEPT_DIGITS = 6
_MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]"
    r"(?P<time>(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    rf"(?:\.(?P<fraction>[0-9]{{1,{MAX_FRACTION_DIGITS}}}))?"
    r"(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
_PRINTED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z")
"""The form that `print_moment` prints, which is nearly all that is read: nothing of it has to be cut off or moved."""


def parse_moment(text: str) -> datetime:
    """Parse an RFC 3339 moment.

    Args:
        text: date, `T` (or `t`, or a space), time with seconds, up to nine digits of a fraction, `Z` or an offset.

    Raises:
        ValueError: not that, without a zone, a leap second, or outside the years 1 to 9999 in UTC.
    """
    if _PRINTED.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # no calendar has it; said below
    shown = repr(text[:64])
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"got the time {shown}, expected RFC 3339 such as 2026-01-31T12:00:00Z")
    if found["zone"] is None:
        raise ValueError(f"got the time {shown} without a zone, expected one such as 2026-01-31T12:00:00Z")
    fraction = (found["fraction"] or "")[:_KEPT_DIGITS].ljust(_KEPT_DIGITS, "0")
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['time']}.{fraction}{found['zone'].upper()}")
        moment.astimezone(UTC)  # a moment that UTC cannot name could not be written again
    except (ValueError, OverflowError) as error:
        raise ValueError(f"got the time {shown}, which no calendar has: {error}") from error
    return moment


def print_moment(moment: datetime) -> str:
    """Print a moment as RFC 3339 in UTC, always with six digits of microseconds and `Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
