"""Cedar's `datetime("...")` and `duration("...")` as milliseconds.

Rules upheld here: a text that is not of Cedar's form, or stands for a moment that Python has none for (the year 0),
raises; nothing is rounded. Not here: moments that come in as data (`normal.py`).
Source: https://docs.cedarpolicy.com/policies/syntax-datatypes.html#datatype-datetime
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from jurat.policies.smt import NotCoveredError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

DAY_MS: Final = 86_400_000

LEAST_LONG: Final = -(2**63)
GREATEST_LONG: Final = 2**63 - 1

_DATETIME: Final = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:T(?P<time>\d{2}:\d{2}:\d{2})(?:\.(?P<ms>\d{3}))?(?P<zone>Z|[+-]\d{4}))?",
    re.ASCII,
)
_DURATION: Final = re.compile(
    r"(?P<sign>-?)(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?",
    re.ASCII,
)
_UNITS_MS: Final = {"d": DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def datetime_ms(text: str) -> int:
    """A moment as milliseconds since 1970 in UTC.

    Raises:
        NotCoveredError: it is no such moment.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise NotCoveredError(f"got {text!r}, expected a moment such as 2026-01-31T12:00:00Z")
    zone = match["zone"] or "Z"
    written = f"{match['date']}T{match['time'] or '00:00:00'}.{match['ms'] or '000'}"
    try:
        moment = datetime.fromisoformat(f"{written}{'+00:00' if zone == 'Z' else zone}")
    except ValueError as error:
        raise NotCoveredError(f"got {text!r}, which is no moment of the years 1 to 9999") from error
    return (moment - EPOCH) // MILLISECOND


def duration_ms(text: str) -> int:
    """A duration as milliseconds.

    Raises:
        NotCoveredError: it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match[unit] for unit in _UNITS_MS):
        raise NotCoveredError(f"got {text!r}, expected a duration such as 1d12h")
    total = sum(int(match[unit] or 0) * ms for unit, ms in _UNITS_MS.items())
    return -total if match["sign"] else total
