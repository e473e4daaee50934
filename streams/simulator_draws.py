"""Seeded draws that come out the same on every platform and every Python.

Rules upheld here: the only source is `random.Random.random`, whose sequence the standard library promises to
keep (`randrange`, `choice` and `gauss` carry no such promise); it is turned into integers at once, and
everything after that is integer arithmetic. One `Draws` per concern, seeded by the seed and a label: a new
draw in one concern does not shift the others.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_BITS = 53
_SCALE = 1 << _BITS
"""`random()` is an exact multiple of 2**-53, so that multiplying by this loses nothing."""

# -1000 * ln(1 - (i + 1/2) / 32) for i in 0..31, rounded: the exponential distribution without a logarithm at
# run time.
_WAITS_PER_MILLE = (
    16, 48, 81, 116, 152, 189, 227, 267, 309, 352, 398, 445, 495, 548, 604, 662,
    725, 792, 863, 940, 1023, 1114, 1214, 1326, 1451, 1594, 1761, 1962, 2213, 2549, 3060, 4159,
)  # fmt: skip


class Draws:
    """A stream of draws for one concern.

    Args:
        seed: the simulation's seed.
        label: the concern's name.
    """

    def __init__(self, seed: int, label: str) -> None:
        digest = hashlib.sha256(f"{seed}\n{label}\n".encode()).digest()
        self._uniform = random.Random(int.from_bytes(digest, "big")).random

    def below(self, bound: int) -> int:
        """Draw from 0 to bound - 1."""
        return int(self._uniform() * _SCALE) * bound >> _BITS

    def between(self, low: int, high: int) -> int:
        """Draw from low to high, both included."""
        return low + self.below(high - low + 1)

    def happens(self, per_mille: int) -> bool:
        """Draw yes in `per_mille` of a thousand cases."""
        return self.below(1000) < per_mille

    def pick(self, values: Sequence[T]) -> T:
        """Draw one of the values."""
        return values[self.below(len(values))]

    def weighted(self, values: Sequence[tuple[T, int]]) -> T:
        """Draw one of the values by its weight."""
        left = self.below(sum(weight for _, weight in values))
        for value, weight in values[:-1]:
            if left < weight:
                return value
            left -= weight
        return values[-1][0]

    def wait(self, mean: int) -> int:
        """Draw a waiting time of about this mean: mostly short, seldom up to five times as long."""
        return mean * _WAITS_PER_MILLE[self.below(len(_WAITS_PER_MILLE))] // 1000 + self.below(mean // 16 + 1)
