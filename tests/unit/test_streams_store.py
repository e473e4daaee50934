"""Where documents go when there are many: the bound, the folder, what is left of it, and what the disk says."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from jurat.schemas.errors import StreamError
from jurat.streams import store as store_module
from jurat.streams.store import ENTRY_OVERHEAD_BYTES, LEFT_BEHIND_S, SPILL_BYTES, SpillingStore

ENTRY = ENTRY_OVERHEAD_BYTES + 1 + 100
VALUE = bytes(100)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store_module.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def filled(keys: str, *, max_bytes: int) -> SpillingStore:
    made = SpillingStore(max_bytes=max_bytes)
    for key in keys:
        made.put(key, VALUE)
    return made


def test_nothing_is_written_below_the_bound(folder: Path) -> None:
    held = filled("abcd", max_bytes=4 * ENTRY)
    assert (held.spilled, held.bytes_in_memory, len(held)) == (False, 4 * ENTRY, 4)
    held.put("a", b"")
    held.delete("b")
    assert held.bytes_in_memory == 3 * ENTRY - 100
    assert list(folder.iterdir()) == []
    held.close()


def test_above_it_the_oldest_writes_make_room(folder: Path) -> None:
    held = filled("abcdabx", max_bytes=4 * ENTRY)
    assert held.spilled
    assert sorted(held._memory) == ["b", "x"], "half of a bound as small as this is given back at once"
    assert held.bytes_in_memory == 2 * ENTRY
    assert [held.get(key) for key in "abcdx"] == [VALUE] * 5
    assert len(held) == 5
    (own,) = folder.iterdir()
    assert own.stat().st_mode & 0o077 == 0, "others cannot read what is kept there"
    held.close()
    assert list(folder.iterdir()) == []


def test_room_is_made_for_many_writes_at_once() -> None:
    held = SpillingStore(max_bytes=4 * SPILL_BYTES)
    written = 0
    while not held.spilled:
        held.put(f"key-{written}", VALUE)
        written += 1
    assert 3 * SPILL_BYTES - 1_000 < held.bytes_in_memory <= 3 * SPILL_BYTES
    assert len(held) == written
    assert all(held.get(f"key-{number}") == VALUE for number in range(written))
    held.close()


def test_a_new_value_hides_the_spilled_one_and_a_deleted_key_stays_away() -> None:
    held = filled("abc", max_bytes=ENTRY)
    held.put("a", b"new")
    assert held.get("a") == b"new"
    held.delete("a")
    held.delete("never there")
    assert (held.get("a"), len(held)) == (None, 2)
    assert [held.get(key) for key in "bc"] == [VALUE, VALUE]
    held.close()


def test_a_closed_store_is_not_an_empty_one() -> None:
    held = filled("ab", max_bytes=ENTRY)
    held.close()
    held.close()
    for call in (lambda: held.get("a"), lambda: held.put("a", b""), lambda: held.delete("a")):
        with pytest.raises(StreamError, match="closed"):
            call()


def test_a_store_that_nobody_closes_leaves_nothing_behind(folder: Path) -> None:
    held = filled("ab", max_bytes=0)
    assert list(folder.iterdir()) != []
    del held
    gc.collect()
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(folder: Path) -> None:
    in_use = filled("ab", max_bytes=0)
    (used,) = folder.iterdir()
    left = folder / "jurat-store-left"
    young = folder / "jurat-store-young"
    foreign = folder / "another"
    for one in (left, young, foreign):
        one.mkdir()
        (one / "owner").touch()
        (one / "data").touch()
    ages_ago = left.stat().st_mtime - LEFT_BEHIND_S - 1
    for one in (used, left, foreign):
        os.utime(one, (ages_ago, ages_ago))
    other = filled("ab", max_bytes=0)
    assert not left.exists()
    assert young.exists()
    assert foreign.exists()
    assert in_use.get("a") == VALUE
    assert other.get("a") == VALUE
    in_use.close()
    other.close()


def test_a_disk_that_refuses_is_said_and_loses_nothing(folder: Path) -> None:
    held = filled("a", max_bytes=ENTRY)
    gone = folder / "gone"
    held._new_folder = lambda: gone  # a folder that is not there
    with pytest.raises(StreamError, match="No such file"):
        held.put("b", VALUE)
    gone.mkdir()
    (gone / "rocks").write_text("not a folder")
    with pytest.raises(StreamError, match="TMPDIR"):
        held.put("c", VALUE)
    assert [held.get(key) for key in "abc"] == [VALUE] * 3
    assert len(held) == 3
