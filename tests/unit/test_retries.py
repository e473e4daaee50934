"""Retries: the numbers that the docstring gives, and what a policy may not be."""

from __future__ import annotations

import pytest

from jurat.schemas.errors import ConfigurationError
from jurat.streams.retries import MAX_ATTEMPTS, MAX_CAP_S, RetryPolicy

NEARLY_ONE = 1 - 2**-53


def test_the_defaults_wait_as_long_as_they_say() -> None:
    policy = RetryPolicy()
    longest = [policy.next_delay_s(attempt, draw=NEARLY_ONE) for attempt in range(1, 10)]
    assert longest == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60])
    shortest = [policy.next_delay_s(attempt, draw=0.0) for attempt in range(1, 10)]
    assert shortest == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert policy.next_delay_s(10, draw=0.0) is None
    assert policy.longest_s == 183.5


def test_one_attempt_is_no_retry() -> None:
    assert RetryPolicy(attempts=1).next_delay_s(1, draw=0.0) is None
    assert RetryPolicy(attempts=1).longest_s == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attempts": 0}, "0 attempts"),
        ({"attempts": MAX_ATTEMPTS + 1}, "1001 attempts"),
        ({"base_s": 0.0}, "first wait of 0.0 s"),
        ({"base_s": float("nan")}, "first wait of nan"),
        ({"base_s": float("inf")}, "first wait of inf"),
        ({"base_s": 2.0, "cap_s": 1.0}, "longest wait of 1.0 s"),
        ({"cap_s": MAX_CAP_S * 2}, "longest wait of 172800.0 s"),
        ({"cap_s": float("nan")}, "longest wait of nan"),
    ],
)
def test_a_policy_that_does_not_end_or_does_not_wait_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RetryPolicy(**given)  # type: ignore[arg-type]  # attempts is whole in every row
