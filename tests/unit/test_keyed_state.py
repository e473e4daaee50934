"""Keyed state: what is put is what comes back, from memory, from the disk and from the changelog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, InputRejected
from jurat.schemas.model import Model
from jurat.streams.keyed_state import MAX_DOCUMENT_BYTES, KeyedState


class Kept(Model):
    """A state that counts."""

    count: int
    note: str = ""
    ratio: float | None = None


class Other(Model):
    """A state of another agent."""

    count: int


@pytest.fixture(
    params=[(0, 0), (600, 40), (10_000_000, 10_000_000)], ids=["on disk", "spilling", "in memory"]
)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyedState]:
    def folder() -> Path:
        (tmp_path / "own").mkdir()
        return tmp_path / "own"

    max_bytes, max_hot_bytes = request.param
    made = KeyedState(Kept, max_bytes=max_bytes, max_hot_bytes=max_hot_bytes, folder=folder)
    yield made
    made.close()


def test_what_is_put_is_found_and_is_what_the_changelog_gets(state: KeyedState) -> None:
    documents = {f"c/{number}": Kept(count=number, note="é") for number in range(20)}
    values = {key: state.put(key, document) for key, document in documents.items()}
    assert {key: state.get(key) for key in documents} == documents
    assert values["c/3"] == canonical.dumps({"count": 3, "note": "é", "ratio": None})
    assert (len(state), state.get("c/20")) == (20, None)
    state.put("c/3", Kept(count=99))
    assert (len(state), state.get("c/3")) == (20, Kept(count=99))


def test_what_is_restored_is_found(state: KeyedState) -> None:
    for number in range(20):
        state.restore(f"c/{number}", KeyedState(Kept).put("x", Kept(count=number)))
    state.restore("c/7", None)
    state.restore("never there", None)
    state.put("c/1", Kept(count=50))
    state.restore("c/1", b'{"count":51}')
    assert (len(state), state.get("c/7"), state.get("c/6")) == (19, None, Kept(count=6))
    assert state.get("c/1") == Kept(count=51)


@pytest.mark.parametrize("value", [b"", b"not json", b'{"count":"1"}', b'{"count":1,"later":1}', b"\xff\xfe"])
def test_what_is_not_ours_is_refused_at_the_restore(state: KeyedState, value: bytes) -> None:
    with pytest.raises(ValidationError):
        state.restore("c-1", value)
    assert (state.get("c-1"), len(state)) == (None, 0)


def test_what_cannot_be_written_is_not_held(state: KeyedState) -> None:
    state.put("c-1", Kept(count=1))
    with pytest.raises(CanonicalError):
        state.put("c-1", Kept(count=2, ratio=0.5))
    with pytest.raises(InputRejected, match=str(MAX_DOCUMENT_BYTES)):
        state.put("c-1", Kept(count=2, note="x" * MAX_DOCUMENT_BYTES))
    with pytest.raises(TypeError, match="got a state document of class Other, expected Kept"):
        state.put("c-1", Other(count=2))
    assert state.get("c-1") == Kept(count=1)


def test_an_agent_without_state_keeps_none() -> None:
    state = KeyedState(None)
    state.restore("c-1", b'{"count":1}')
    assert (state.get("c-1"), len(state)) == (None, 0)
    with pytest.raises(TypeError, match="expected none"):
        state.put("c-1", Kept(count=1))


def test_memory_is_bounded_and_the_folder_goes(tmp_path: Path) -> None:
    def folder() -> Path:
        (tmp_path / "own").mkdir()
        return tmp_path / "own"

    state = KeyedState(Kept, max_bytes=20_000, max_hot_bytes=5_000, folder=folder)
    for number in range(500):
        state.put(f"c-{number}", Kept(count=number))
    assert state.spilled
    assert state.bytes_in_memory <= 25_000
    assert [state.get(f"c-{number}") for number in range(500)] == [Kept(count=n) for n in range(500)]
    assert state.bytes_in_memory <= 25_000
    state.close()
    assert list(tmp_path.iterdir()) == []
