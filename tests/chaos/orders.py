"""Who is to die where: every step before and after, as evenly as it can be had, and the count of what happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from tests.chaos.steps import STEPS, Arm, Deed, When

Place = tuple[str, When]

PLACES: tuple[Place, ...] = tuple((step.name, when) for step in STEPS for when in When)
_PASSINGS = {step.name: step.passings for step in STEPS}


@dataclass
class Orders:
    """Hands out steps to die at, and counts.

    Attributes:
        kills: by step and side, and `random`.
        counts: everything else that was done to processes and brokers.
    """

    draws: Random
    kills: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    _given: Counter[Place] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Processes killed so far."""
        return self.kills.total()

    @property
    def missing(self) -> list[Place]:
        """Where nobody died yet."""
        return [place for place in PLACES if not self.kills[_spoken(place)]]

    def next(self) -> Arm:
        """Where the next one is to die: where the fewest were sent to."""
        fewest = min(self._given[place] for place in PLACES)
        place = self.draws.choice([place for place in PLACES if self._given[place] == fewest])
        self._given[place] += 1
        # Early passings more often: late ones may not come before the worker is killed anyway.
        nth = self.draws.randint(1, self.draws.randint(1, self.draws.randint(1, _PASSINGS[place[0]])))
        return Arm(place[0], place[1], nth)

    def freeze(self) -> Arm:
        """Where one is to fall asleep."""
        name, when = self.draws.choice(PLACES)
        return Arm(name, when, self.draws.randint(1, _PASSINGS[name]), Deed.FREEZE)

    def died_at(self, arm: Arm) -> None:
        """A process died at its step."""
        self.kills[arm.spoken()] += 1

    def killed(self) -> None:
        """A process was killed at no particular step."""
        self.kills["random"] += 1

    def not_met(self, arm: Arm) -> None:
        """The step did not come: somebody else is to be sent there."""
        self._given[arm.step, arm.when] -= 1
        self.counts["orders that were not met"] += 1


def _spoken(place: Place) -> str:
    return Arm(*place).spoken()
