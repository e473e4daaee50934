"""Small files are there as a whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jurat.audit import durable

Put = Callable[[Path, bytes], None]


def put(path: Path, data: bytes) -> None:
    durable.put(path, data, mode=0o600)


def put_new(path: Path, data: bytes) -> None:
    durable.put_new(path, data, mode=0o640)


def test_a_file_takes_the_place_of_another_one_or_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    put(path, b"one")
    put(path, b"two")
    with pytest.raises(FileExistsError):
        put_new(path, b"three")
    assert path.read_bytes() == b"two"
    put_new(tmp_path / "new", b"three")
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["file", "new"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("puts", [put, put_new])
@pytest.mark.parametrize("fails", ["fsync", "write", "link", "replace"])
def test_a_disk_that_fails_leaves_what_was_there(
    tmp_path: Path, puts: Put, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full(*_words: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "write":
        monkeypatch.setattr(os, "fdopen", full)
    elif fails == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(os, fails, full)
    if (puts, fails) == (put, "link"):
        puts(path, b"after")
    else:
        with pytest.raises(OSError, match=r"space|File exists"):
            puts(path, b"after")
        assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
