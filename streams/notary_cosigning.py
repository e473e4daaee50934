"""Asking the witnesses of one log to cosign a checkpoint.

Rules upheld here:

1. all are asked at once, and none is waited for longer than `WITNESS_S`; one that did not answer is left out for
   `AGAIN_S`, so that it does not hold up the checkpoints that come;
2. each is asked with a proof from the size that it cosigned last; a witness that knows better is believed once a
   checkpoint; one that is further behind than the tree remembers is led on beside (`notary_leading.py`);
3. a witness cannot stop the log: what it refuses is told loudly, and its cosignature is missing.

Not here: the network (`witness_http.py`), which witnesses are enough (`jurat.audit.tlog_policy`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from jurat.audit.merkle import Tree
from jurat.audit.note import MAX_SIGNATURES, Note, NoteSignature
from jurat.audit.witnessing import Witness
from jurat.schemas.errors import (
    AuditError,
    ConfigurationError,
    StreamError,
    WitnessConflict,
    WitnessUnavailable,
)
from jurat.streams.kafka_ending import end_tasks

log = logging.getLogger(__name__)

WITNESS_S: Final = 2.0
"""How long a checkpoint waits for its witnesses: some round trips across an ocean, and a disk that is busy."""

AGAIN_S: Final = 10.0
REFUSED_AGAIN_S: Final = 300.0
"""A refusal does not pass by itself, but an operator who mends it wants to see so."""

SIGNATURES_EACH: Final = 2
MAX_WITNESSES: Final = (MAX_SIGNATURES - SIGNATURES_EACH) // SIGNATURES_EACH
"""Each signs with two keys, as the log does, and a note has at most a hundred signatures."""


@dataclass(slots=True, eq=False)
class _Asked:
    """What is known of one witness: the size that it cosigned last, 0 where that is not known."""

    witness: Witness
    size: int = 0
    again_at: float = 0.0
    is_led: bool = False
    is_away: bool = False


class Cosigning:
    """The witnesses of one log.

    Args:
        origin: the log's name, for messages.
        tree: the log's tree.
        witnesses: whom to ask.

    Raises:
        ConfigurationError: there are more than a note has room for.
    """

    def __init__(self, origin: str, tree: Tree, witnesses: Sequence[Witness]) -> None:
        if len(witnesses) > MAX_WITNESSES:
            raise ConfigurationError(f"got {len(witnesses)} witnesses, expected at most {MAX_WITNESSES}")
        self._origin = origin
        self._tree = tree
        self._asked = [_Asked(one) for one in witnesses]

    @property
    def sizes(self) -> tuple[int, ...]:
        """What each witness cosigned last, as far as it is known; 0 where it is not."""
        return tuple([one.size for one in self._asked])

    async def lead(self, lead: Callable[[Witness, int], Awaitable[int]]) -> None:
        """Lead the first witness on that is behind the tree's base, if there is one; it is not asked meanwhile.

        Args:
            lead: is given the witness and what it cosigned last, and returns what it has cosigned when it has ended.
        """
        one = next((one for one in self._asked if 0 < one.size < self._tree.base), None)
        if one is None or one.again_at > asyncio.get_running_loop().time():
            return
        one.is_led = True
        try:
            one.size = await lead(one.witness, one.size)
        except WitnessConflict as error:
            # The log is read from its beginning for each try, which a witness must not have for the asking.
            one.size = error.size
            self._leave_out(one, REFUSED_AGAIN_S, f"it said another size while it was led on: {error}")
        except (AuditError, StreamError) as error:
            self._leave_out(one, AGAIN_S, f"it could not be led on from {one.size} leaves: {error}")
        finally:
            one.is_led = False

    async def ask(self, made: Note, size: int) -> Note:
        """Ask for cosignatures.

        Args:
            made: the checkpoint, signed by its log.
            size: how many leaves it has.

        Returns:
            The checkpoint with the cosignatures that came in time.
        """
        loop = asyncio.get_running_loop()
        asked = [one for one in self._asked if one.again_at <= loop.time() and not one.is_led]
        if not asked:
            return made
        signed = made.print()
        tasks = {asyncio.create_task(self._ask(one, signed, size)): one for one in asked}
        try:
            done, late = await asyncio.wait(tasks, timeout=WITNESS_S)
        finally:
            await end_tasks([task for task in tasks if not task.done()])
        for task in late:
            self._leave_out(tasks[task], AGAIN_S, f"it did not answer within {WITNESS_S:.0f} s")
        return Note(made.text, (*made.signatures, *_lines(task.result() for task in tasks if task in done)))

    async def _ask(self, one: _Asked, signed: bytes, size: int) -> tuple[NoteSignature, ...]:
        for _ in range(2):  # the second time with the size that it named
            old = one.size
            if old > size:
                one.size = 0  # it is asked anew: what it said may have been wrong
                self._leave_out(one, 0.0, f"it cosigned {old} leaves, and this log has {size} so far")
                return ()
            if 0 < old < self._tree.base:
                return ()  # it has to be led
            proof = self._tree.consistency(old, size) if old else ()
            try:
                lines = await one.witness.add_checkpoint(old_size=old, proof=proof, signed=signed)
            except WitnessConflict as error:
                if error.size == old:
                    self._leave_out(one, REFUSED_AGAIN_S, f"it saw another history of {old} leaves: {error}")
                    return ()
                one.size = error.size
            except WitnessUnavailable as error:
                self._leave_out(one, AGAIN_S, str(error))
                return ()
            except AuditError as error:
                self._leave_out(one, REFUSED_AGAIN_S, f"it refused: {error}")
                return ()
            else:
                one.size, one.again_at, one.is_away = size, 0.0, False
                return lines
        return ()

    def _leave_out(self, one: _Asked, again_s: float, why: str) -> None:
        """Leave a witness out for a while; that it is still away is told more quietly than that it went."""
        one.again_at = asyncio.get_running_loop().time() + again_s
        level = logging.INFO if one.is_away else logging.WARNING
        one.is_away = True
        log.log(
            logging.ERROR if again_s == REFUSED_AGAIN_S else level,
            "witness left out log=%s witness=%s again_in_s=%.0f: %s",
            self._origin,
            one.witness.name,
            again_s,
            why,
        )


def _lines(answers: Iterable[tuple[NoteSignature, ...]]) -> list[NoteSignature]:
    return [line for answer in answers for line in answer[:SIGNATURES_EACH]]
