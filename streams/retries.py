"""How long to wait before an input is tried again, and when to give it up.

Exponential backoff with equal jitter: the n-th failure waits between half and the whole of `base_s * 2**(n - 1)`, at
most `cap_s`. Half of it is kept so that a retry never comes at once; the other half is drawn so that inputs that
failed together do not come back together.

Rules upheld here: no clock and no randomness, the caller draws; a policy always ends. Not here: which errors are worth
a retry (`schemas/errors.py`: `Retryable`), parking and its order (`parking.py`).

Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

from jurat.schemas.errors import ConfigurationError

MAX_ATTEMPTS: Final = 1_000
"""A bound for whoever configures it: with the default cap most of a day, and the input's key waits all of it."""

MAX_CAP_S: Final = 24 * 60 * 60.0
"""A wait of more than a day is a person's business: the dead letter is there for it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an input is tried, and how long it waits in between.

    The defaults try ten times, waiting 0.5, 1, 2, 4, 8, 16, 32, 60 and 60 seconds at most: 92 to 184 seconds in all.
    That outlasts what passes by itself, a rate limit's minute or the restart of a model server, and ends before people
    ask where the decision is; what is broken for longer is mended by a person and replayed from the dead letters.

    Attributes:
        attempts: tries in all, the first one included; 1 to `MAX_ATTEMPTS`.
        base_s: the longest wait after the first failure.
        cap_s: the longest wait after any failure; `base_s` to `MAX_CAP_S`.
    """

    attempts: int = 10
    base_s: float = 0.5
    cap_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a policy that does not end or does not wait.

        Raises:
            ConfigurationError: a number is out of its bounds.
        """
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ConfigurationError(f"got {self.attempts} attempts, expected 1 to {MAX_ATTEMPTS}")
        if not (isfinite(self.base_s) and self.base_s > 0):
            raise ConfigurationError(f"got a first wait of {self.base_s} s, expected more than 0")
        if not self.base_s <= self.cap_s <= MAX_CAP_S:
            raise ConfigurationError(
                f"got a longest wait of {self.cap_s} s, expected {self.base_s} (the first one) to {MAX_CAP_S:.0f}"
            )

    def next_delay_s(self, attempt: int, *, draw: float) -> float | None:
        """How long to wait after a failure.

        Args:
            attempt: failures so far, this one included; from 1.
            draw: a number drawn evenly from 0 (included) to 1 (excluded).

        Returns:
            Seconds, or None to give up.
        """
        if attempt >= self.attempts:
            return None
        whole_s = self.longest_delay_s(attempt)
        return whole_s / 2 + whole_s / 2 * draw

    def longest_delay_s(self, attempt: int) -> float:
        """The wait after so many failures if the draw is the highest."""
        # 2**1000 times a day is still a float, so that nothing overflows before the cap is taken.
        return min(self.cap_s, self.base_s * 2.0 ** (min(attempt, MAX_ATTEMPTS) - 1))

    @property
    def longest_s(self) -> float:
        """All waits together before an input is given up, if every draw is the highest."""
        return sum(self.longest_delay_s(attempt) for attempt in range(1, self.attempts))
