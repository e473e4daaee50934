"""A customer's own clock: what time it is there, whether it is a quiet time, and when the next loud moment is.

Rules upheld here: every moment is turned into the customer's zone by the rules of that zone on that day, so that
clocks which go forward or back are right on both days; an hour that a day does not have is the moment after the gap.
Time zones are data of the system, or of the package `tzdata`. Not here: what may be sent when (the policies).

Source: https://www.iana.org/time-zones
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from jurat.schemas.errors import InputRejected

KEPT_ZONES = 512
"""Zones kept: more than there are in use."""

DAY = timedelta(days=1)


@lru_cache(KEPT_ZONES)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        InputRejected: there is none.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise _unknown(name) from error
    except KeyError as error:
        raise _unknown(name) from error


def is_quiet(moment: datetime, zone: ZoneInfo, *, begins: int, ends: int) -> bool:
    """Whether a moment lies in the quiet hours, from `begins` up to but without `ends`; equal hours are no quiet.

    At the ends of the calendar, where the customer's clock shows no year from 1 to 9999, UTC is taken.
    """
    try:
        hour = moment.astimezone(zone).hour
    except OverflowError:
        hour = moment.hour
    return begins <= hour < ends if begins <= ends else hour >= begins or hour < ends


def next_at(moment: datetime, zone: ZoneInfo, hour: int) -> datetime:
    """The next moment, after this one, at which it is this hour on the customer's clock; in UTC."""
    here = moment.astimezone(zone)
    day = here.date()
    for _ in range(3):  # today, tomorrow, and one more where tomorrow has no such hour
        found = datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC)
        if found > moment:
            return found
        day += DAY
    return found


def _unknown(name: str) -> InputRejected:
    return InputRejected(
        f"got the time zone {name!r}, expected a name of the IANA database such as Europe/Berlin"
    )
