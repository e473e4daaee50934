"""The window of seen ids: its bounds, its hash, its changelog entries, and what it refuses to read."""

from __future__ import annotations

import hashlib
import struct

import pytest

from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, StreamError
from jurat.streams.duplicates import MAX_BATCH_IDS, MAX_LEAVING, Seen, SeenWindow, pair_hash

DIGEST = hashlib.sha256(b"value").hexdigest()
T0 = 1_790_000_000_000


def remember(window: SeenWindow, *names: str, at_s: float = 0, offset: int | None = None) -> None:
    for name in names:
        window.remember(
            "/shop",
            name,
            offset=int(name) if offset is None else offset,
            sha256=DIGEST,
            timestamp_ms=T0 + int(at_s * 1000),
        )


def commit(window: SeenWindow) -> list[tuple[str, bytes | None]]:
    entries = window.flush()
    window.committed()
    return entries


def known(window: SeenWindow, name: str, *, at_s: float = 0) -> bool:
    return window.first("/shop", name, timestamp_ms=T0 + int(at_s * 1000)) is not None


def test_a_repeat_is_told_where_the_first_stands() -> None:
    window = SeenWindow()
    remember(window, "7")
    assert window.first("/shop", "7", timestamp_ms=T0 + 5) == Seen(offset=7, sha256=DIGEST)
    assert window.first("/other", "7", timestamp_ms=T0 + 5) is None
    assert window.first("/shop", "8", timestamp_ms=T0 + 5) is None


def test_the_window_reaches_as_far_back_as_forward_and_no_further() -> None:
    window = SeenWindow(window_s=10)
    remember(window, "1", at_s=100)
    assert [known(window, "1", at_s=at) for at in (89.999, 90, 110, 110.001)] == [False, True, True, False]


def test_pairs_do_not_meet_by_concatenation() -> None:
    pairs = [("/shop", "a1"), ("/shopa", "1"), ("", "/shopa1"), ("/shopa1", ""), ("/shop\0", "a1")]
    assert len({pair_hash(*pair) for pair in pairs}) == len(pairs)
    # As a reader of the spec would compute it.
    raw = struct.pack(">I", 5) + b"/shop" + struct.pack(">I", 2) + "ü".encode()
    assert pair_hash("/shop", "ü") == hashlib.sha256(raw).digest()[:16]


def test_the_entry_is_what_the_spec_says() -> None:
    window = SeenWindow()
    remember(window, "12", "5")
    ((suffix, value),) = window.flush()
    assert suffix == "5"
    assert value is not None
    assert canonical.loads(value) == {
        "ids": [[pair_hash("/shop", str(n)).hex(), n, DIGEST, T0] for n in (5, 12)]
    }


def test_an_aborted_transaction_writes_the_same_again_and_what_came_since() -> None:
    window = SeenWindow()
    remember(window, "1")
    first = window.flush()
    assert window.flush() == first
    remember(window, "2")
    (entry,) = window.flush()
    assert entry[0] == "1"
    assert entry[1] is not None
    assert entry[1].count(DIGEST.encode()) == 2
    remember(window, "3")  # while the transaction is on its way
    window.committed()
    assert [suffix for suffix, _ in commit(window)] == ["3"]
    assert commit(window) == []


def test_the_oldest_batches_leave_when_there_are_too_many() -> None:
    window = SeenWindow(max_ids=4)
    for first in ("1", "3", "5"):
        remember(window, first, str(int(first) + 1))
        entries = commit(window)
        assert len(window) <= 4
    assert [suffix for suffix, value in entries if value is None] == ["1"]
    assert [known(window, str(n)) for n in range(1, 7)] == [False, False, True, True, True, True]
    remember(window, *map(str, range(10, 20)))
    assert [suffix for suffix, value in commit(window) if value is None] == ["3", "5"]
    assert len(window) == 10, "a batch that is larger than the bound stays whole"


def test_a_batch_leaves_when_all_of_it_is_older_than_the_window() -> None:
    window = SeenWindow(window_s=60)
    remember(window, "1", at_s=0)
    remember(window, "2", at_s=50)
    commit(window)
    remember(window, "3", at_s=100)
    assert [value is None for _, value in commit(window)] == [False]
    remember(window, "4", at_s=110.001)
    assert [(suffix, value is None) for suffix, value in commit(window)] == [("4", False), ("1", True)]
    assert len(window) == 2


def test_one_record_from_the_future_or_the_past_empties_nothing() -> None:
    window = SeenWindow(window_s=60)
    remember(window, "1", at_s=0)
    commit(window)
    remember(window, "2", at_s=10**9)
    remember(window, "3", at_s=1)
    assert [value is None for _, value in commit(window)] == [False]
    remember(window, "4", at_s=-(10**9))
    commit(window)
    assert known(window, "4", at_s=-(10**9) - 1), "a backfill's repeats are known too"
    assert known(window, "1")


def test_after_a_silence_a_transaction_drops_a_bounded_number() -> None:
    window = SeenWindow(window_s=1)
    for number in range(MAX_LEAVING + 5):
        remember(window, str(number), at_s=0)
        commit(window)
    remember(window, "5000", at_s=100)
    assert len(window.flush()) == 1 + MAX_LEAVING
    window.committed()
    assert len(window) == 6
    remember(window, "5001", at_s=101)
    assert len(commit(window)) == 1 + 5


def test_more_ids_than_one_record_holds_become_several_entries() -> None:
    window = SeenWindow()
    remember(window, *map(str, range(MAX_BATCH_IDS + 1)))
    entries = commit(window)
    assert [suffix for suffix, _ in entries] == ["0", str(MAX_BATCH_IDS)]
    assert all(value is not None and len(value) < 900_000 for _, value in entries)
    other = SeenWindow()
    for suffix, value in reversed(entries):
        other.restore(suffix, value)
    assert len(other) == len(window) == MAX_BATCH_IDS + 1


def test_timestamps_beyond_what_json_holds_are_kept_at_its_bound() -> None:
    window = SeenWindow()
    window.remember("/s", "a", offset=0, sha256=DIGEST, timestamp_ms=2**63 - 1)
    window.remember("/s", "b", offset=1, sha256=DIGEST, timestamp_ms=-(2**63))
    ((suffix, value),) = window.flush()
    other = SeenWindow()
    other.restore(suffix, value)
    assert other.first("/s", "a", timestamp_ms=2**63 - 2) == Seen(0, DIGEST)
    assert other.first("/s", "b", timestamp_ms=-1) is None


ROW = f'["{"0" * 32}",3,"{"0" * 64}",5]'
GOOD = f'{{"ids":[{ROW}]}}'


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("", GOOD),
        ("03", GOOD),
        ("-3", GOOD),
        ("3\n", GOOD),
        ("\u0663", GOOD),
        ("9" * 40, GOOD),
        ("4", GOOD),
        ("3", "not JSON"),
        ("3", "[]"),
        ("3", '{"ids":[]}'),
        ("3", GOOD.replace("ids", "idz")),
        ("3", GOOD.replace("0" * 32, "0" * 31)),
        ("3", GOOD.replace("0" * 64, "G" * 64)),
        ("3", GOOD.replace(",5]", ',"5"]')),
        ("3", GOOD.replace(",3,", ",3.0,")),
        ("3", f'{{"ids":[{ROW},{ROW}]}}'),
    ],
)
def test_an_entry_that_is_not_ours_is_refused(suffix: str, value: str) -> None:
    window = SeenWindow()
    window.restore("3", GOOD.encode())
    with pytest.raises(StreamError, match="seen ids"):
        window.restore(suffix, value.encode())
    assert len(window) == 1, "what was refused changed nothing"


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(StreamError, match="expected a SHA-256"):
        SeenWindow().remember("/s", "a", offset=0, sha256="00", timestamp_ms=0)


@pytest.mark.parametrize("given", [{"window_s": 0}, {"window_s": float("inf")}, {"max_ids": 0}])
def test_a_window_without_bounds_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        SeenWindow(**given)  # type: ignore[arg-type]  # max_ids is whole in every row
