"""How long a worker waits for what may pass, and what it says meanwhile.

Rules upheld here: every wait has a bound; a broker that is away is waited for longer than a partition that fails, as a
restart of the worker mends only the latter; nothing is waited for in silence. Not here: what may pass (`errors.py`).
"""

from __future__ import annotations

import logging
from typing import Final

from jurat.schemas.errors import BrokerUnreachable, PartitionFenced, Retryable, StreamError

log = logging.getLogger(__name__)

MAX_REOPENS: Final = 6
"""Consecutive failures of a partition before the worker gives up and its supervisor starts it again."""

REOPEN_BACKOFF_S: Final = 1.0
"""Doubled with each failure, the first one included. The first wait is longer than a heartbeat: a worker that was
fenced because the group gave the partition to another one has heard of it by then, and does not fence it back."""

MAX_BACKOFF_S: Final = 32.0

UNREACHABLE_PAUSE_S: Final = 2.0
UNREACHABLE_S: Final = 900.0
"""How long a partition waits for a broker: longer than a restart of brokers one after the other, and bounded, as
another worker may reach the broker that this one does not."""

SILENCE_S: Final = 15.0
"""Brokers answer a fetch within `FETCH_MAX_WAIT_MS` when there is nothing: this long is no pause."""

TELL_EVERY_S: Final = 60.0


class Patience:
    """What to do after a failure of one partition.

    Attributes:
        level: how loud the last failure is worth telling; of a broker that is away, once a minute.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._unreachable_since: float | None = None
        self._told_at = 0.0
        self.level = logging.WARNING

    def after(self, error: BaseException, *, opened: bool, committed: bool, now: float) -> float | None:
        """How long to wait before the partition is opened anew, in seconds; None to give up.

        Args:
            error: what ended it.
            opened: whether it was open.
            committed: whether it had committed anything since.
            now: the loop's time.
        """
        if opened:
            self._unreachable_since = None
        self.level = logging.WARNING
        if isinstance(error, BrokerUnreachable):
            if self._unreachable_since is None:
                self._unreachable_since = self._told_at = now
            elif now - self._told_at < TELL_EVERY_S:
                self.level = logging.DEBUG
            else:
                self._told_at = now
            return UNREACHABLE_PAUSE_S if now - self._unreachable_since < UNREACHABLE_S else None
        self._unreachable_since = None
        self._failures = 1 if committed else self._failures + 1
        # Being fenced is the group's way of saying who owns a partition, or Kafka's of ending a transaction that took
        # too long: neither is a fault as long as the group goes on assigning it to us.
        if not isinstance(error, Retryable | PartitionFenced) or self._failures >= MAX_REOPENS:
            return None
        return min(REOPEN_BACKOFF_S * 2.0**self._failures, MAX_BACKOFF_S)

    def given_up(self, error: BaseException, *, topic: str, partition: int) -> BaseException:
        """What ends the worker, in words for who reads nothing else."""
        if not isinstance(error, Retryable | PartitionFenced):
            return error
        why = (
            f"could not reach its brokers for {UNREACHABLE_S / 60:.0f} minutes"
            if isinstance(error, BrokerUnreachable)
            else f"failed {self._failures} times in a row without a commit between"
        )
        given_up = StreamError(
            f"{topic}, partition {partition}, {why}; the last time because {error}. Nothing is lost: the next worker"
            " goes on where this one ended",
            topic=topic,
            partition=partition,
        )
        given_up.__cause__ = error
        return given_up


class Silence:
    """Tells when brokers stop answering, that they still do not, and when they answer again."""

    def __init__(self, agent: str, bootstrap_servers: str) -> None:
        self._agent = agent
        self._bootstrap_servers = bootstrap_servers
        self._longest_s = 0.0
        self._told_s = 0.0

    def see(self, silence_s: float) -> None:
        """Take how long no broker has answered by now; 0 says nothing, as it is also told where nothing is fetched."""
        if not silence_s:
            return
        if silence_s >= SILENCE_S:
            if not self._told_s or silence_s - self._told_s >= TELL_EVERY_S:
                self._told_s = silence_s
                log.warning(
                    "no broker answers agent=%s bootstrap_servers=%s silence_s=%.0f: the worker goes on when one does;"
                    " is Kafka up, and reachable from here?",
                    self._agent,
                    self._bootstrap_servers,
                    silence_s,
                )
        elif self._told_s:
            log.warning("brokers answer again agent=%s silence_s=%.0f", self._agent, self._longest_s)
            self._told_s = 0.0
        self._longest_s = silence_s if silence_s >= SILENCE_S else 0.0
