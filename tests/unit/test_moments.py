"""Moments in text: what is printed is read back, and the short way reads as the long way does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas.moments import parse_moment, print_moment

ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001 - bounds


@given(MOMENTS)
def test_a_printed_moment_is_read_back_in_utc(moment: datetime) -> None:
    text = print_moment(moment)
    read = parse_moment(text)
    assert (read, read.tzinfo) == (moment, UTC)
    assert parse_moment(text.replace("T", " ")) == read, "the long way"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2025-12-31T23:30:00.000000Z"),
        (datetime(33, 4, 3, 15, 0, 0, 7, tzinfo=UTC), "0033-04-03T15:00:00.000007Z"),
    ],
)
def test_moments_have_one_form(moment: datetime, text: str) -> None:
    assert print_moment(moment) == text


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00.000000Z", "0000-01-01T00:00:00.000000Z"])
def test_a_day_that_no_calendar_has_is_refused_in_the_printed_form_too(text: str) -> None:
    with pytest.raises(ValueError, match="no calendar has"):
        parse_moment(text)
