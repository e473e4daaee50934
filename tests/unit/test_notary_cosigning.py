"""Asking witnesses: all at once, none for long, each from where it is; none of them can stop the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from jurat.audit import note
from jurat.audit.history import History
from jurat.audit.merkle import Tree, leaf_hash
from jurat.audit.notary import Notary
from jurat.audit.note import Note, NoteSignature
from jurat.audit.witnessing import Witness
from jurat.schemas.errors import ConfigurationError, LogForked, SignatureInvalid, WitnessConflict
from jurat.streams import notary_cosigning
from jurat.streams.notary_cosigning import MAX_WITNESSES, Cosigning
from tests.notary_stage import KEY, ORIGIN, TIME, InMemoryWitness, leaves, policy_of


class Sleeping:
    """A witness that takes its time."""

    name = "sleeping"

    def __init__(self) -> None:
        self.asked = 0

    async def add_checkpoint(
        self, *, old_size: int, proof: Sequence[bytes], signed: bytes
    ) -> tuple[NoteSignature, ...]:
        self.asked += 1
        await asyncio.sleep(60)
        raise AssertionError


class Saying:
    """A witness that answers with an error."""

    name = "saying"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def add_checkpoint(
        self, *, old_size: int, proof: Sequence[bytes], signed: bytes
    ) -> tuple[NoteSignature, ...]:
        self.asked += 1
        raise self.error


class Stage:
    """A log that grows, and its witnesses."""

    def __init__(self, *witnesses: Witness) -> None:
        self.notary = Notary(ORIGIN, KEY)
        self.cosigning = Cosigning(self.notary.origin, self.notary.tree, witnesses)

    @property
    def tree(self) -> Tree:
        return self.notary.tree

    def grow(self, size: int) -> Stage:
        for leaf in leaves(size)[self.tree.size :]:
            self.notary.append(leaf)
        return self

    async def ask(self) -> list[str]:
        """Who cosigned."""
        made = self.notary.sign(TIME)
        got = await self.cosigning.ask(made, self.tree.size)
        assert got.signatures[:2] == made.signatures
        assert note.parse(got.print()) == got
        return [line.name for line in got.signatures[2:]]


async def test_each_is_asked_from_where_it_is() -> None:
    first, second = InMemoryWitness("w1"), InMemoryWitness("w2")
    assert await Stage(first).grow(5).ask() == ["w1"]
    stage = Stage(first, second).grow(9)
    assert await stage.ask() == ["w1", "w2"]
    assert first.asked == [0, 0, 5], "it says where it is, and is asked again at once"
    assert second.asked == [0]
    assert await stage.ask() == ["w1", "w2"], "the same tree once more, for a later time"
    assert await stage.grow(12).ask() == ["w1", "w2"]
    assert first.asked[3:] == [9, 9]
    assert stage.cosigning.sizes == (12, 12)


async def test_one_that_does_not_answer_in_time_is_left_out_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notary_cosigning, "WITNESS_S", 0.1)
    monkeypatch.setattr(notary_cosigning, "AGAIN_S", 1.0)
    slow, near, away = Sleeping(), InMemoryWitness("w1"), InMemoryWitness("w2", away=True)
    stage = Stage(slow, near, away).grow(3)
    assert await stage.ask() == ["w1"]
    assert await stage.ask() == ["w1"]
    assert (slow.asked, len(away.asked)) == (1, 1)
    await asyncio.sleep(1.1)
    away.away = False
    assert await stage.ask() == ["w1", "w2"]
    assert slow.asked == 2


@pytest.mark.parametrize(
    "error",
    [
        SignatureInvalid("it does not know this log"),
        WitnessConflict("it saw another history", size=0),
        WitnessConflict("it has seen more than there is", size=100),
    ],
)
async def test_a_witness_that_refuses_stops_nobody(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    refuses, near = Saying(error), InMemoryWitness("w1")
    assert await Stage(refuses, near).grow(3).ask() == ["w1"]
    assert "witness left out" in caplog.text
    assert refuses.asked == 1


async def test_one_that_is_ahead_is_asked_again_when_the_log_has_come_so_far() -> None:
    """Somebody was killed between a cosignature and its publication."""
    first = InMemoryWitness("w1")
    await Stage(first).grow(8).ask()
    stage = Stage(first).grow(5)
    assert await stage.ask() == []
    assert await stage.grow(8).ask() == ["w1"]


async def test_one_that_is_behind_the_base_is_led_and_not_asked() -> None:
    first = InMemoryWitness("w1")
    await Stage(first).grow(2).ask()
    stage = Stage(first).grow(9)
    stage.tree.forget(7)
    assert await stage.ask() == []

    async def lead(witness: Witness, size: int) -> int:
        assert (witness, size) == (first, 2)
        assert await stage.ask() == [], "it is being led"
        whole = Stage(first).grow(9)
        await whole.ask()
        return 9

    await stage.cosigning.lead(lead)
    assert stage.cosigning.sizes == (9,)
    assert await stage.ask() == ["w1"]


async def test_one_that_said_a_mad_size_once_is_asked_again() -> None:
    first = InMemoryWitness("w1")
    stage, mad = Stage(first).grow(5), WitnessConflict("mad", size=2**63 - 1)
    answer = first.add_checkpoint

    async def says_so(**_asked: object) -> tuple[NoteSignature, ...]:
        raise mad

    first.add_checkpoint = says_so  # type: ignore[method-assign]
    assert await stage.ask() == []
    first.add_checkpoint = answer  # type: ignore[method-assign]
    assert await stage.grow(6).ask() == ["w1"]


async def test_one_that_contradicts_itself_while_it_is_led_does_not_have_the_log_read_again_at_once() -> None:
    first = InMemoryWitness("w1")
    await Stage(first).grow(2).ask()
    stage = Stage(first).grow(9)
    stage.tree.forget(7)
    assert await stage.ask() == []
    led: list[int] = []

    async def lead(_witness: Witness, size: int) -> int:
        led.append(size)
        raise WitnessConflict("another", size=3)

    for _ in range(3):
        await stage.cosigning.lead(lead)
    assert led == [2]


def test_a_note_has_room_for_so_many() -> None:
    with pytest.raises(ConfigurationError, match="expected at most 49"):
        Stage(*[InMemoryWitness(f"w{number}") for number in range(MAX_WITNESSES + 1)])


async def test_without_witnesses_a_checkpoint_stays_as_it_is() -> None:
    stage = Stage().grow(1)
    made = stage.notary.sign(TIME)
    got: Note = await stage.cosigning.ask(made, 1)
    assert got is made


async def test_a_split_view_gets_no_quorum_though_one_witness_of_three_colludes() -> None:
    """Whoever has the log's key shows the auditor another history; one witness signs whatever it is shown."""

    class Colluding(InMemoryWitness):
        async def add_checkpoint(
            self, *, old_size: int, proof: Sequence[bytes], signed: bytes
        ) -> tuple[NoteSignature, ...]:
            return (self.cosign(note.parse(signed).text, TIME),)

    witnesses = (Colluding("w1"), InMemoryWitness("w2"), InMemoryWitness("w3"))
    policy = policy_of([one.name for one in witnesses], quorum="2")

    shown = Stage(*witnesses).grow(5)
    made = shown.notary.sign(TIME)
    honest = (await shown.cosigning.ask(made, 5)).print()
    head = History(policy).add(honest)
    assert head is not None

    other = Stage(*witnesses)
    for number in range(7):
        other.notary.append(leaf_hash(b"another %d" % number))
    forked = await other.cosigning.ask(other.notary.sign(TIME), 7)
    assert {line.name for line in forked.signatures[2:]} == {"w1"}
    read = History(policy)
    assert read.add(forked.print()) is None, "nothing of it is proven"
    assert read.latest == {}


async def test_a_split_view_at_one_size_is_a_fork_for_who_sees_both() -> None:
    policy = policy_of(["w1"], quorum="w1")
    views = []
    for text in (b"one", b"other"):
        stage = Stage(InMemoryWitness("w1"))  # who forgot, or colludes
        stage.notary.append(leaf_hash(text))
        views.append((await stage.cosigning.ask(stage.notary.sign(TIME), 1)).print())
    read = History(policy)
    assert read.add(views[0]) is not None
    with pytest.raises(LogForked, match="two histories"):
        read.add(views[1])
