"""What a witness keeps: synced before it returns, one process, nothing that it did not sign."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jurat.audit.checkpoint import Checkpoint
from jurat.audit.witness import Cosigned
from jurat.audit.witness_store import MAX_FORKS, WitnessStore
from jurat.schemas.errors import ConfigurationError
from tests.witness_log import NOW, ORIGIN, MadeLog, witness


def cosigned(size: int, *, seen: dict[str, Checkpoint] | None = None) -> Cosigned:
    old = 0 if not seen else seen[ORIGIN].size
    return witness().cosign(MadeLog().request(old, size), seen=seen or {}, time=NOW)


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WitnessStore(folder, witness()) as store:
        assert store.seen == {}
        first = cosigned(3)
        store.keep(first)
        store.keep(cosigned(5, seen=dict(store.seen)))
        assert store.seen[ORIGIN].size == 5
    with WitnessStore(folder, witness()) as store:
        assert store.seen[ORIGIN].size == 5
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()] == [0o600]


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="chmod o-w"), WitnessStore(tmp_path, witness()):
        pass


def test_what_a_kill_left_over_is_removed(tmp_path: Path) -> None:
    with WitnessStore(tmp_path, witness()) as store:
        store.keep(cosigned(3))
    (state,) = tmp_path.iterdir()
    for name in (f".{state.name}.0123456789abcdef", f".{state.stem}.fork.0123456789abcdef"):
        (tmp_path / name).write_bytes(b"half")
    with WitnessStore(tmp_path, witness()) as store:
        assert (store.seen[ORIGIN].size, store.told) == (3, NOW)
    assert list(tmp_path.iterdir()) == [state]


def test_it_is_on_the_disk_before_keep_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append("replace")
        return real_replace(self, target)

    with WitnessStore(tmp_path, witness()) as store:
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(Path, "replace", replace)
        store.keep(cosigned(3))
    assert done == ["file", "replace", "folder"]


def test_a_full_disk_leaves_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with WitnessStore(tmp_path, witness()) as store:
        store.keep(cosigned(3))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.keep(cosigned(5, seen=dict(store.seen)))
        assert store.seen[ORIGIN].size == 3
    assert len(list(tmp_path.iterdir())) == 1, "no temporary file stays"
    monkeypatch.undo()
    with WitnessStore(tmp_path, witness()) as store:
        assert store.seen[ORIGIN].size == 3


def test_a_second_process_does_not_get_the_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from jurat.audit.witness_store import WitnessStore\n"
        "from jurat.audit.log_key import LogKey\n"
        "from jurat.audit.witness import Witness\n"
        "with WitnessStore(Path(sys.argv[1]), Witness('w', LogKey(bytes(32)), [])): pass\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with WitnessStore(tmp_path, witness()):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "in use by another process" in second.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("change", ["emptied", "flipped", "another's", "moved"])
def test_a_state_that_it_did_not_write_stops_it(tmp_path: Path, change: str) -> None:
    with WitnessStore(tmp_path, witness()) as store:
        store.keep(cosigned(3))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    match change:
        case "emptied":
            path.write_bytes(b"")
        case "flipped":
            path.write_bytes(data.replace(b"\n3\n", b"\n2\n"))
        case "another's":
            path.write_bytes(MadeLog().checkpoint(3))
        case "moved":
            path.rename(path.with_name("0" * 64 + ".note"))
    with pytest.raises(ConfigurationError, match=r"\.note"), WitnessStore(tmp_path, witness()):
        pass
    # The folder is free again.
    for one in tmp_path.iterdir():
        one.unlink()
    with WitnessStore(tmp_path, witness()) as store:
        assert store.seen == {}


def test_forks_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    with WitnessStore(tmp_path, witness()) as store:
        first = store.keep_fork(MadeLog(salt=b"x").checkpoint(3))
        assert first is not None
        assert store.keep_fork(MadeLog(salt=b"x").checkpoint(3)) == first
        assert first.read_bytes() == MadeLog(salt=b"x").checkpoint(3)
        for number in range(1, MAX_FORKS):
            assert store.keep_fork(b"%d" % number) is not None
        assert store.keep_fork(b"one more") is None
    with WitnessStore(tmp_path, witness()) as store:
        assert store.seen == {}


def test_a_folder_that_cannot_be_made_and_one_that_nobody_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--data"), WitnessStore(tmp_path / "file", witness()):
        pass
    with pytest.raises(ConfigurationError, match="nobody holds"):
        WitnessStore(tmp_path, witness()).keep(cosigned(3))
