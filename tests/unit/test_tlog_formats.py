"""Notes, policies and histories where implementations disagree: an outside vector, and what the specifications say."""

from __future__ import annotations

import pytest

from jurat.audit import checkpoint, cosignature, note, tlog_policy
from jurat.audit.history import History
from jurat.audit.log import WitnessedHead
from jurat.audit.note import Note
from jurat.schemas.errors import KeyRejected, NoteInvalid, SignatureInvalid
from tests.notary_stage import KEY, ORIGIN, TIME, InMemoryWitness, head_of, policy_of, signed_by

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of golang.org/x/mod/sumdb/note."""

LINE = NOTE.rpartition("\n\n")[2]
STRANGER = "\u2014 EnochRoot " + LINE.split(" ")[2]


def opened(text: str) -> list[str]:
    return [key.name for key in note.verify(text.encode(), [cosignature.verifier_of(PETER)])[1]]


@pytest.mark.parametrize(
    "text",
    [
        NOTE,
        NOTE + LINE,
        NOTE + STRANGER,
        NOTE.replace(LINE, STRANGER * 15 + LINE),
        NOTE.replace(LINE, "\u2014 PeterNeumann AAAAAAA=\n" + LINE),
        NOTE.replace(LINE, "\u2014 \u3042/\u00e9:8080 AAAAAAA=\n" + LINE),
    ],
)
def test_what_must_be_accepted(text: str) -> None:
    assert opened(text) == ["PeterNeumann"]
    assert note.parse(text.encode()).print() == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        NOTE.replace("\n", "\r\n"),
        NOTE.removesuffix("\n"),
        NOTE + "\n",
        NOTE + LINE.removeprefix("\u2014"),
        NOTE.replace("PeterNeumann x", "PeterNeumann  x"),
        NOTE.replace("PeterNeumann x", "Peter\u00a0Neumann x"),
        NOTE.replace("PeterNeumann x", "Peter+Neumann x"),
        NOTE.replace("nAM=", "nAN="),
        NOTE.replace("nAM=", "nAM"),
        NOTE + "\u2014 EnochRoot AAAAAA==\n",
        NOTE.replace("problem,", "problem,\t"),
        NOTE + STRANGER * 100,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        opened(text)


def test_each_signature_of_a_known_key_is_verified() -> None:
    wrong = LINE.replace("x08go/Z", "x08go/Y")
    for lines in (LINE + wrong, wrong + LINE):
        with pytest.raises(SignatureInvalid):
            opened(NOTE.replace(LINE, lines))


def test_a_checkpoint_is_read_from_text_and_from_bytes() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    head = checkpoint.parse(text)
    assert (head.origin, head.size, head.root[:4].hex()) == (
        "example.com/behind-the-sofa",
        20_852_163,
        "0ac5186a",
    )
    assert checkpoint.parse(text.encode()) == head
    assert head.print() == text
    with pytest.raises(NoteInvalid, match="not UTF-8"):
        checkpoint.parse(b"\xff\n1\n")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2028b", "a\x85b", "\udcff"])
def test_what_no_key_is_called(name: str) -> None:
    with pytest.raises(NoteInvalid):
        KEY.witness_vkeys(name)
    with pytest.raises(KeyRejected):
        note.parse_vkey(f"{name}+c74f20a3+{PETER.rpartition('+')[2]}")


def test_one_key_may_be_a_logs_and_a_witnesses() -> None:
    """A log may cosign for its own quorum, as a policy may say."""
    of_log = KEY.log_vkeys(str(ORIGIN))[1]
    policy = tlog_policy.parse(f"log {of_log}\nwitness itself {of_log}\nquorum itself\n".encode())
    assert policy.check(signed_by(head_of(3))).times == {"itself": TIME}


def cosigned(*times: int) -> bytes:
    """By one witness, again and again."""
    made = note.parse(signed_by(head_of(3)))
    lines = [InMemoryWitness("w1").cosign(made.text, time) for time in times]
    return Note(made.text, (*made.signatures, *lines)).print()


@pytest.mark.parametrize(
    ("times", "time"), [((TIME,), TIME), ((TIME + 5, TIME), TIME), ((0,), None), ((0, TIME), None)]
)
def test_a_witness_that_tells_no_time_is_none_of_a_quorum(times: tuple[int, ...], time: int | None) -> None:
    head = head_of(3)
    seen = History(policy_of(["w1"], quorum="w1")).add(cosigned(*times))
    assert seen == (None if time is None else WitnessedHead(0, 3, head.root, time))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# comment\n",
        " \t# comment\n",
        "  witness\tw2  {w2}\t \n",
        "witness \xe2\x84\xaa {w2} http://w2.example/\xc3\xa9\n",
        "group g all w1\n",
        "group g 1 w1\n",
        "witness w2 {w2}\ngroup a any w1\ngroup b all a w2\n",
    ],
)
def test_policies_that_are_read(text: str) -> None:
    one, two = (InMemoryWitness(name).vkey for name in ("w1", "w2"))
    made = f"witness w1 {one}\n" + text.replace("{w2}", two) + "quorum w1\n"
    assert tlog_policy.parse(made.encode("latin-1")).quorum == "w1"


def test_the_address_of_a_witness_is_read_as_utf_8() -> None:
    made = f"witness w {InMemoryWitness('w1').vkey} http://\u00e9.example/\nquorum w\n"
    assert tlog_policy.parse(made.encode()).witnesses["w"].url == "http://\u00e9.example/"
