"""The notary of one log: when it signs, what it goes on with, what it refuses; the examples of its specification."""

from __future__ import annotations

import re

import pytest

from jurat.audit import cosignature, history, note, origin, tiles, tlog_policy
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.history import MAX_LINE_BYTES, History
from jurat.audit.log_key import LogKey
from jurat.audit.notary import IDLE_S, Notary, Resume, own_checkpoint, verifiers
from jurat.audit.origin import Origin
from jurat.schemas.errors import LogForked, NoteInvalid, SignatureInvalid
from tests.notary_stage import KEY, ORIGIN, TIME, head_of, leaves, policy_of, signed_by, tree_of
from tests.tree import ROOT


def notary_of(count: int, *, resume: Resume | None = None, last: Checkpoint | None = None) -> Notary:
    notary = Notary(ORIGIN, KEY, resume=resume, last=last)
    for leaf in leaves(count)[notary.tree.size :]:
        notary.append(leaf)
    return notary


def test_a_checkpoint_bears_both_signatures_of_its_log() -> None:
    made = notary_of(5).sign(TIME).print()
    assert own_checkpoint(made, verifiers(KEY, ORIGIN), str(ORIGIN)) == head_of(5)
    assert [line.name for line in note.parse(made).signatures] == [str(ORIGIN)] * 2
    for vkey in KEY.log_vkeys(str(ORIGIN)):
        tlog_policy.parse(f"log {vkey}\nquorum none\n".encode()).check(made)


def test_when_a_checkpoint_is_due() -> None:
    notary = notary_of(0)
    assert not notary.is_due(0.0), "its records may be on their way"
    assert not notary.is_due(0.9)
    assert notary.is_due(1.0), "an empty log has a checkpoint, too: one that is hidden has none"
    hashes = leaves(1_200)
    notary.append(hashes[0])
    assert notary.is_due(0.0), "it has signed nothing yet"
    notary.publishing(1, 0.0)
    assert not notary.is_due(IDLE_S - 0.1)
    assert notary.is_due(IDLE_S), "nothing came, but one wants to see that it lives"
    notary.append(hashes[1])
    assert not notary.is_due(0.9)
    assert notary.is_due(1.0)
    for leaf in hashes[2:1_000]:
        notary.append(leaf)
    assert not notary.is_due(0.0)
    notary.append(hashes[1_000])
    assert notary.is_due(0.0), "a thousand leaves do not wait"


@pytest.mark.parametrize("read", [0, 3, 7])
def test_a_notary_goes_on_where_it_was(read: int) -> None:
    resume = Resume(read, tree_of(leaves(read)).edge())
    notary = Notary(ORIGIN, KEY, resume=resume, last=head_of(7))
    for leaf in leaves(7)[read:]:
        assert not notary.is_due(1e9)
        with pytest.raises(LogForked, match="expected the 7"):
            notary.sign(TIME)
        notary.append(leaf)
    assert notary.is_due(0.0)
    notary.append(leaves(8)[7])
    assert own_checkpoint(notary.sign(TIME).print(), notary.verifiers, notary.origin) == head_of(8)


def test_a_log_that_was_rewritten_is_refused() -> None:
    notary = Notary(ORIGIN, KEY, last=head_of(7))
    for leaf in leaves(6):
        notary.append(leaf)
    with pytest.raises(LogForked, match="rewritten"):
        notary.append(bytes(32))


def test_a_place_to_go_on_from_that_was_made_up_is_refused() -> None:
    with pytest.raises(LogForked, match="rewritten"):
        Notary(ORIGIN, KEY, resume=Resume(1, (bytes(32),)), last=head_of(1))


def test_a_topic_that_lost_its_checkpoints_is_refused() -> None:
    resume = Resume(7, tree_of(leaves(7)).edge())
    for last in (None, head_of(6)):
        with pytest.raises(LogForked, match="checkpoints were removed"):
            Notary(ORIGIN, KEY, resume=resume, last=last)


@pytest.mark.parametrize("last", [None, 3])
def test_a_checkpoint_of_its_own_key_that_it_did_not_make_is_a_fork(last: int | None) -> None:
    notary = notary_of(7, last=None if last is None else head_of(last))
    notary.sign(TIME)
    if last is not None:
        notary.check_seen(signed_by(head_of(3)))
    notary.check_seen(signed_by(head_of(7)))
    for other in (head_of(5), head_of(8), Checkpoint(str(ORIGIN), 7, bytes(32))):
        with pytest.raises(LogForked, match="somebody else has the key"):
            notary.check_seen(signed_by(other))
    one = note.sign(head_of(8).print(), name=notary.origin, key=KEY.ed25519(notary.origin))
    with pytest.raises(LogForked, match="somebody else has the key"):
        notary.check_seen(one.print())


def test_what_others_write_to_the_topic_is_no_fork() -> None:
    notary = notary_of(7)
    stranger = LogKey(bytes(32))
    with pytest.raises(SignatureInvalid):
        notary.check_seen(signed_by(Checkpoint(str(ORIGIN), 3, bytes(32)), key=stranger))
    with pytest.raises(NoteInvalid):
        notary.check_seen(b"not a note")
    with pytest.raises(SignatureInvalid):
        notary.check_seen(signed_by(Checkpoint("another", 3, bytes(32))))


def test_what_was_signed_before_all_that_is_remembered_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jurat.audit.notary.MAX_REMEMBERED", 3)
    forged = [signed_by(Checkpoint(str(ORIGIN), size, bytes(32))) for size in range(1, 11)]
    notary = notary_of(7, last=head_of(5))
    notary.check_seen(forged[3])
    for leaf in leaves(10)[7:]:
        notary.append(leaf)
        notary.sign(TIME)
    notary.check_seen(forged[3])
    with pytest.raises(LogForked):
        notary.check_seen(forged[7])
    notary.append(bytes(32))
    notary.sign(TIME)
    notary.check_seen(forged[4])


@pytest.mark.parametrize(
    "text",
    [
        "audit.example.com/c/t",
        "audit.example.com/c/t/01",
        "audit.Example.com/c/t/0",
        "audit.-a/c/t/0",
        "audit.a..b/c/t/0",
        "audit.a/c c/t/0",
        "audit.a/c/t/0\n",
        "log.a/c/t/0",
        "audit.a/c/../0",
        f"audit.a/c/{'t' * 249}/0",
    ],
)
def test_what_is_no_name_of_a_log(text: str) -> None:
    with pytest.raises(NoteInvalid, match=r"expected audit\.DOMAIN"):
        origin.parse(text)


def test_a_name_is_its_parts() -> None:
    assert origin.parse(str(ORIGIN)) == ORIGIN
    with pytest.raises(NoteInvalid):
        Origin("example.com", "c", "t", -1)


def test_a_log_that_the_policy_does_not_name_is_passed_over() -> None:
    """A topic may hold the checkpoints of a log that ended, or was begun under a wrong name; its own are judged."""
    read = History(policy_of())
    assert read.add(signed_by(Checkpoint("audit.ended.example/c/audit.decisions/0", 9, bytes(32)))) is None
    head = read.add(signed_by(head_of(3)))
    assert head is not None
    assert head.size == 3
    with pytest.raises(SignatureInvalid, match="no known key"):
        read.add(signed_by(head_of(4), key=LogKey(bytes(32))))


def test_a_history_is_of_one_topic() -> None:
    other = str(Origin("example.com", "c", "other", 0))
    logs = [*KEY.log_vkeys(str(ORIGIN)), *KEY.log_vkeys(other)]
    read = History(tlog_policy.parse("".join(f"log {vkey}\n" for vkey in logs).encode() + b"quorum none\n"))
    read.add(signed_by(head_of(3)))
    with pytest.raises(NoteInvalid, match="of one topic"):
        read.add(signed_by(Checkpoint(other, 3, bytes(32))))


def test_without_a_quorum_a_checkpoint_proves_nothing_and_is_no_fault() -> None:
    read = History(policy_of(("w1", "w2", "w3"), quorum="2"))
    assert read.add(signed_by(head_of(3), witnesses=(("w2", TIME),))) is None
    assert read.latest == {}
    seen = read.add(signed_by(head_of(3), witnesses=(("w2", TIME), ("w3", TIME + 9))))
    assert seen is not None
    assert (seen.size, seen.time) == (3, TIME + 9)
    assert read.latest == {0: seen}


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (0, 0, 1, "tile/0/000.p/1"),
        (1, 999, 256, "tile/1/999"),
        (2, 1_000, 255, "tile/2/x001/000.p/255"),
        (None, 273, 112, "tile/entries/273.p/112"),
    ],
)
def test_paths_of_tiles(level: int | None, index: int, width: int, path: str) -> None:
    assert tiles.tile_path(level, index, width) == path


def test_the_files_of_a_tree_of_seventy_thousand() -> None:
    """The example of the specification."""
    tiling, paths = tiles.Tiling(), []
    for number in range(70_000):
        paths += [path for path, _ in tiling.add(b"%d" % number)]
    partial = [path for path, _ in tiling.partial()]
    assert sum(path.startswith("tile/0/") for path in paths) == 273
    assert "tile/1/000" in paths
    assert partial == ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]


def test_an_entry_too_long_for_a_bundle_is_refused() -> None:
    with pytest.raises(NoteInvalid, match="at most 65535"):
        list(tiles.Tiling().add(bytes(2**16)))


def test_the_examples_of_the_specification() -> None:
    text = (ROOT / "docs" / "spec" / "log.md").read_text()
    made = signed_by(head_of(3), witnesses=(("w1", TIME + 1),)).decode()
    body, first, second, third = re.fullmatch(r"(.*\n\n)(— .*\n)(— .*\n)(— .*\n)", made, re.DOTALL).groups()  # type: ignore[union-attr]
    assert body + first in text
    assert third in text
    assert second[: second.index("qRXWHAAAAABpgA6A")] + "qRXWHAAAAABpgA6A..." in text
    assert f"{len(second.split()[-1]):,} characters" in text
    assert f"\n{Resume(3, tree_of(leaves(3)).edge(), 5).print(str(ORIGIN), KEY)}\n" in text
    line = history.print_line(made.encode()).decode()
    assert line[: line.index("— ")] + "— audit.example.com/..." in text
    assert f"{MAX_LINE_BYTES:,}" in text
    assert cosignature.MLDSA44 == 0x06
