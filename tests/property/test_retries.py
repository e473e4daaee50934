"""Retries, for every policy: delays stay in their half, grow up to the cap, and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jurat.streams.retries import MAX_ATTEMPTS, MAX_CAP_S, RetryPolicy

DRAWS = st.floats(min_value=0, max_value=1, exclude_max=True)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    cap_s = draw(st.floats(min_value=1e-3, max_value=MAX_CAP_S))
    return RetryPolicy(
        attempts=draw(st.integers(1, MAX_ATTEMPTS)),
        base_s=draw(st.floats(min_value=1e-6, max_value=1)) * cap_s,
        cap_s=cap_s,
    )


@given(policies(), st.integers(1, 2 * MAX_ATTEMPTS), DRAWS)
def test_a_delay_is_in_the_upper_half_of_what_is_allowed(
    policy: RetryPolicy, attempt: int, draw: float
) -> None:
    delay_s = policy.next_delay_s(attempt, draw=draw)
    if attempt >= policy.attempts:
        assert delay_s is None
        return
    assert delay_s is not None
    whole_s = policy.longest_delay_s(attempt)
    assert whole_s / 2 <= delay_s <= whole_s <= policy.cap_s
    assert delay_s > 0


@given(policies(), st.integers(1, MAX_ATTEMPTS))
def test_the_longest_delay_never_shrinks_and_doubles_up_to_the_cap(policy: RetryPolicy, attempt: int) -> None:
    now_s, next_s = policy.longest_delay_s(attempt), policy.longest_delay_s(attempt + 1)
    assert next_s in (now_s, policy.cap_s) or next_s == 2 * now_s
    assert now_s <= next_s <= policy.cap_s


@given(policies(), DRAWS, DRAWS)
def test_another_draw_gives_another_delay(policy: RetryPolicy, one: float, other: float) -> None:
    if policy.attempts > 1:
        first, second = (
            policy.next_delay_s(1, draw=min(one, other)),
            policy.next_delay_s(1, draw=max(one, other)),
        )
        assert first is not None
        assert second is not None
        assert first <= second
        if abs(one - other) > 1e-6:
            assert first < second
