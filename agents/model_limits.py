"""Limits on what calls of models may take, and the seam to whoever keeps what was taken.

Rules upheld here: a limit is counted in whole minutes and days of UTC, as bills and quotas are; what a request may take
at most is set aside before it is sent, so that requests under way count. Not here: keeping it
(`jurat.streams.spending`), asking (`reasoner_limited.py`), settings (`jurat.models`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from jurat.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from jurat.agents.reasoner import Spent

REQUESTS: Final = "requests"
TOKENS: Final = "tokens"


class Per(StrEnum):
    """How long a limit is for."""

    MINUTE = "min"
    DAY = "day"

    def begin(self, now: datetime) -> datetime:
        """When the minute or day began that holds a moment of UTC."""
        minute = now.replace(second=0, microsecond=0)
        return minute if self is Per.MINUTE else minute.replace(hour=0, minute=0)

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return timedelta(minutes=1) if self is Per.MINUTE else timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """What all workers of an agent may spend in a minute or a day.

    Attributes:
        unit: `requests`, `tokens` (in and out together), or an ISO 4217 code.
        per: how long it is for.
        amount: requests, tokens, or millionths of the currency.
    """

    unit: str
    per: Per
    amount: int

    def of(self, spent: Spent) -> int:
        """How much of it something takes."""
        if self.unit == REQUESTS:
            return spent.calls
        if self.unit == TOKENS:
            return spent.input_tokens + spent.output_tokens
        return spent.cost_micros or 0 if spent.currency == self.unit else 0

    def __str__(self) -> str:
        """As it is set, but for the amount of money, which stands in millionths."""
        return f"{self.unit}/{self.per}={self.amount}"


Settle = Callable[["Spent"], None]
"""Says what was really taken of what was set aside; what is never said stays taken."""


class Purse(Protocol):
    """Keeps what was spent."""

    async def reserve(self, most: Spent, limits: Sequence[Limit]) -> Settle:
        """Set aside what one request may take at most; returns when no crash forgets it.

        Raises:
            LimitReached: it would go over a limit; nothing was set aside.
            StreamError: it could not be written down, and may count all the same.
        """
        ...


class NoPurse:
    """Stands for the purse of a request that nobody gave one."""

    async def reserve(self, most: Spent, limits: Sequence[Limit]) -> Settle:  # noqa: ARG002 - the protocol has them
        """Refuse.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "got limits on calls of models (JURAT_MODEL_LIMITS) where nobody keeps what was spent, expected a worker:"
            " only there do limits hold; unset the variable for this command"
        )
