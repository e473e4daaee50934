"""The input manifest: which inputs stood before an agent, so that omissions show without Kafka. Pure.

Rules upheld here: a line is canonical JSON and has one spelling (parse then print is identity); offsets rise and runs
do not touch, so that one stretch has one form; what Kafka deleted is not claimed.

Specified in `docs/spec/input-manifest.md`. Not here: reading topics (`jurat.streams.inputs_held`), comparing with
records (`verifier.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from jurat.audit.coordinates import chain_name
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, RecordInvalid

MAX_RUNS: Final = 4_096
"""Runs of offsets in one line: where every input was a transaction of its own, some 4,000 inputs and 70 KB."""

MAX_INPUTS: Final = 1_000_000
"""Inputs of one line: whoever compares them with records is busy for a second at most."""

MAX_LINE_BYTES: Final = 262_144
"""As a line of a log export; `MAX_RUNS` of the longest offsets fit."""

_MEMBERS: Final = {"agent", "end", "first", "offsets", "partition", "topic"}


@dataclass(frozen=True, slots=True)
class InputsHeld:
    """The inputs that stand in one stretch of a partition.

    Attributes:
        agent: who reads them.
        topic: the topic's full name.
        first: where the stretch begins.
        end: the offset after it: at most what the agent committed.
        offsets: runs of offsets that hold an input, each as its first and last one. Between them stand markers of
            transactions, or what compaction took.
    """

    agent: str
    topic: str
    partition: int
    first: int
    end: int
    offsets: tuple[tuple[int, int], ...]

    @property
    def chain(self) -> str:
        """The chain whose records are about these inputs."""
        return chain_name(self.agent, self.topic, self.partition)

    @property
    def inputs(self) -> int:
        """How many inputs there are."""
        return sum(last - first + 1 for first, last in self.offsets)


def stretches(
    offsets: Iterable[int], *, agent: str, topic: str, partition: int, first: int, end: int
) -> Iterator[InputsHeld]:
    """Cut the inputs of a partition into stretches that fit into a line each.

    Args:
        offsets: of the inputs that stand there, rising.
        agent: who reads them.
        topic: the topic's full name.
        partition: the partition's number.
        first: where the partition begins.
        end: the offset after the last one that counts; what stands there or later is left out.
    """
    runs: list[tuple[int, int]] = []
    inputs = 0
    for offset in offsets:
        if offset >= end:
            break
        if inputs >= MAX_INPUTS or (len(runs) >= MAX_RUNS and offset != runs[-1][1] + 1):
            yield InputsHeld(agent, topic, partition, first, offset, tuple(runs))
            first, runs, inputs = offset, [], 0
        if runs and offset == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], offset)
        else:
            runs.append((offset, offset))
        inputs += 1
    yield InputsHeld(agent, topic, partition, first, end, tuple(runs))


def print_inputs(held: InputsHeld) -> bytes:
    """Print one stretch as a line, without the line feed.

    Raises:
        RecordInvalid: it contradicts itself or is too long for a line.
    """
    _check(held, 0)
    return canonical.dumps(
        {
            "agent": held.agent,
            "end": held.end,
            "first": held.first,
            "offsets": held.offsets,
            "partition": held.partition,
            "topic": held.topic,
        }
    )


def parse_inputs(line: bytes, number: int) -> InputsHeld:
    """Read one line.

    Args:
        line: with or without its line feed.
        number: its number in the file, from 1, for messages.

    Raises:
        RecordInvalid: not exactly what `print_inputs` prints.
    """
    if len(line) > MAX_LINE_BYTES:
        raise _refuse(number, f"it has {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    try:
        fields = canonical.loads_object(line.removesuffix(b"\n"))
    except CanonicalError as error:
        raise _refuse(number, str(error)) from error
    if fields.keys() != _MEMBERS:
        odd = ", ".join(sorted(fields.keys() ^ _MEMBERS))[:200]
        raise _refuse(number, f"members missing or unknown: {odd}")
    listed = fields["offsets"]
    held = InputsHeld(
        agent=_text(fields, "agent", number),
        topic=_text(fields, "topic", number),
        partition=_count(fields["partition"], number),
        first=_count(fields["first"], number),
        end=_count(fields["end"], number),
        offsets=tuple(_run(one, number) for one in (listed if isinstance(listed, list) else [listed])),
    )
    _check(held, number)
    return held


def _check(held: InputsHeld, number: int) -> None:
    if len(held.offsets) > MAX_RUNS or held.inputs > MAX_INPUTS:
        raise _refuse(
            number,
            f"it has {held.inputs} inputs in {len(held.offsets)} runs, expected at most {MAX_INPUTS} in {MAX_RUNS}",
        )
    free = held.first
    for first, last in held.offsets:
        if not free <= first <= last:
            raise _refuse(number, f"the run {first} to {last} does not rise, or touches the one before it")
        free = last + 2
    if free > held.end + 1 or held.first > held.end:
        raise _refuse(number, f"it ends before {held.end}, or holds offsets from there on")


def _run(value: canonical.JsonValue, number: int) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise _refuse(number, "a run of offsets is not its first and last one")
    return _count(value[0], number), _count(value[1], number)


def _text(fields: canonical.JsonObject, name: str, number: int) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _refuse(number, f"{name} is not a string")
    return value


def _count(value: canonical.JsonValue, number: int) -> int:
    if type(value) is not int or value < 0:
        raise _refuse(number, f"got {str(value)[:40]!r}, expected an integer from 0")
    return value


def _refuse(number: int, reason: str) -> RecordInvalid:
    return RecordInvalid(f"line {number} is not a line of an input manifest: {reason}", line=number)
