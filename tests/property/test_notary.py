"""Notaries, their history and their tiles: proofs across what was forgotten, and every flipped bit is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit import history, merkle, note, tiles
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.history import History, WitnessedHead
from jurat.audit.log_key import LogKey
from jurat.audit.merkle import Tree
from jurat.audit.notary import Notary, Resume, parse_resume
from jurat.schemas.errors import AuditError, LogForked, NoteInvalid, ProofInvalid, SignatureInvalid
from tests.notary_stage import KEY, ORIGIN, TIME, entries, leaves, policy_of, signed_by, tree_of

sizes = st.integers(0, 70)


@given(sizes, sizes, sizes, sizes)
def test_a_tree_that_forgot_its_first_leaves_proves_the_same(
    base: int, first: int, second: int, more: int
) -> None:
    base, first, second = sorted((base, first, second))
    hashes = leaves(second + more)
    whole = tree_of(hashes)
    began = Tree(base, tree_of(hashes[:base]).edge())
    for leaf in hashes[base:]:
        began.append(leaf)
    forgot = tree_of(hashes)
    forgot.forget(base)
    for tree in (began, forgot):
        assert (tree.base, tree.size) == (base, len(hashes))
        assert tree.root() == whole.root()
        assert tree.root(first) == whole.root(first)
        assert tree.edge(first) == whole.edge(first)
        if first:
            assert tree.consistency(first, second) == whole.consistency(first, second)
            proof = tree.consistency(first)
            merkle.verify_consistency(first, len(hashes), whole.root(first), whole.root(), proof)
        if base:
            with pytest.raises(ProofInvalid, match="got the size"):
                tree.root(base - 1)
            with pytest.raises(ProofInvalid, match="does not keep"):
                tree.inclusion(len(hashes) - 1)


def test_what_is_forgotten_takes_no_memory() -> None:
    tree = Tree()
    for leaf in leaves(5_000):
        tree.append(leaf)
        tree.forget(tree.size)
    kept = sum(len(level) for level in tree._levels)
    assert kept <= 13 * merkle.HASH_SIZE


@given(sizes)
def test_where_to_go_on_is_printed_and_read(size: int) -> None:
    resume = Resume(size, tree_of(leaves(size)).edge(), 2 * size)
    assert parse_resume(resume.print(str(ORIGIN), KEY), offset=2 * size, key=KEY) == (str(ORIGIN), resume)
    for offset, key in ((2 * size + 1, KEY), (2 * size, LogKey(bytes(32)))):
        with pytest.raises(NoteInvalid, match="this notary's own code"):
            parse_resume(resume.print(str(ORIGIN), KEY), offset=offset, key=key)
    longest = Resume(2**63 - 1, (bytes(32),) * 63, 2**63 - 1)
    assert len(longest.print("o" * 255, KEY)) <= 3_029, "Kafka takes 4,096 bytes"


PLACE = Resume(7, tree_of(leaves(7)).edge(), 9).print(str(ORIGIN), KEY)


@given(st.integers(0, 8 * len(PLACE) - 1))
def test_no_flipped_bit_moves_the_place_to_go_on_from(bit: int) -> None:
    with pytest.raises(NoteInvalid):
        parse_resume(flipped(PLACE.encode(), bit).decode("latin-1"), offset=9, key=KEY)


@given(st.text(max_size=40))
def test_what_is_no_place_to_go_on_from_is_refused(text: str) -> None:
    try:
        named, resume = parse_resume(text, offset=7, key=KEY)
        assert resume.print(named, KEY) == text
    except AuditError:
        return


@given(st.lists(st.sampled_from(("append", "sign", "restart")), max_size=60))
def test_whatever_happens_to_a_notary_it_signs_one_history(steps: list[str]) -> None:
    hashes = leaves(60)
    notary = Notary(ORIGIN, KEY)
    signed = History(policy_of())
    heads: list[WitnessedHead] = []
    last: Checkpoint | None = None
    resume = Resume()
    for step in steps:
        if step == "append":
            notary.append(hashes[notary.tree.size])
        elif step == "sign" and notary.is_restored and notary.tree.size:
            made = notary.sign(TIME)
            head = signed.add(made.print())
            assert head is not None
            heads.append(head)
            last = Checkpoint(notary.origin, head.size, head.root)
            if len(heads) % 2:
                resume = Resume(notary.tree.size, notary.tree.edge())
                notary.tree.forget(notary.tree.size)
        elif step == "restart":
            notary = Notary(ORIGIN, KEY, resume=resume, last=last)
    whole = tree_of(hashes)
    for head in heads:
        assert head.root == whole.root(head.size)


HEAD = Checkpoint(str(ORIGIN), 700, tree_of(leaves(700)).root())
POLICY = policy_of(("w1", "w2", "w3"), quorum="2")
SIGNED = signed_by(HEAD, witnesses=(("w1", TIME + 5), ("w3", TIME + 1)))
LINE = history.print_line(SIGNED)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 8 * len(SIGNED) - 1))
def test_no_flipped_bit_in_a_checkpoint_says_anything_else(bit: int) -> None:
    expected = History(POLICY).add(SIGNED)
    assert expected == WitnessedHead(0, HEAD.size, HEAD.root, TIME + 5)
    try:
        seen = History(POLICY).add(flipped(SIGNED, bit))
    except AuditError:
        return
    # A line of a key that the change made unknown is ignored: one of the log's two, or one of a witness, and then too
    # few are left.
    assert seen in (expected, None)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 8 * len(LINE) - 1))
def test_no_flipped_bit_in_a_line_of_a_history_says_anything_else(bit: int) -> None:
    assert history.parse_line(LINE + b"\n", 1) == SIGNED
    try:
        seen = History(POLICY).add(history.parse_line(flipped(LINE, bit), 1))
    except AuditError:
        return
    assert seen in (WitnessedHead(0, HEAD.size, HEAD.root, TIME + 5), None)


@given(st.binary(max_size=200))
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(NoteInvalid, match="line 7"):
        history.parse_line(line, 7)


@given(st.permutations(["w1", "w2", "w3"]), st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_the_time_of_a_head_is_when_the_quorum_was_complete(names: list[str], times: list[int]) -> None:
    witnesses = [(name, TIME + time) for name, time in zip(names, times, strict=True)]
    seen = History(POLICY).add(signed_by(HEAD, witnesses=witnesses))
    assert seen is not None
    assert seen.time == TIME + sorted(times)[1]


def files_of(count: int) -> dict[str, bytes]:
    tiling, files = tiles.Tiling(), {}
    for entry in entries(count):
        files.update(tiling.add(entry))
    return files | dict(tiling.partial())


FILES = files_of(HEAD.size)
BITS = [(path, 8 * len(data)) for path, data in sorted(FILES.items())]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BITS).flatmap(lambda one: st.tuples(st.just(one[0]), st.integers(0, one[1] - 1))))
def test_no_flipped_bit_in_a_tile_is_taken(changed: tuple[str, int]) -> None:
    path, bit = changed
    files = FILES | {path: flipped(FILES[path], bit)}
    with pytest.raises(AuditError):
        tiles.read(files.__getitem__, HEAD)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 600))
def test_tiles_hold_the_tree(count: int) -> None:
    files, whole = files_of(count), tree_of(leaves(count))
    head = Checkpoint(str(ORIGIN), count, whole.root())
    tree = tiles.read(files.__getitem__, head)
    assert tree.root() == whole.root()
    assert len(files) == len({path for path, _ in tiles.bundles(count)}) + sum(
        (count // 256**level + 255) // 256 for level in range(3) if count // 256**level
    )
    with pytest.raises(ProofInvalid, match="the root"):
        tiles.read(files.__getitem__, replace(head, root=bytes(32)))
    if count:
        index = count // 2
        merkle.verify_inclusion(index, count, leaves(count)[index], tree.inclusion(index), head.root)


def test_a_history_of_one_log_is_of_one_mind() -> None:
    read = History(policy_of())
    other = Checkpoint(HEAD.origin, HEAD.size, bytes(32))
    read.add(signed_by(HEAD))
    read.add(signed_by(HEAD))
    with pytest.raises(LogForked, match="two histories"):
        read.add(signed_by(other))
    smaller = Checkpoint(HEAD.origin, HEAD.size - 1, bytes(32))
    with pytest.raises(NoteInvalid, match="sizes that rise"):
        read.add(signed_by(smaller))
    with pytest.raises(SignatureInvalid):
        read.add(note.sign(HEAD.print(), name=HEAD.origin, key=KEY.ed25519("another")).print())
