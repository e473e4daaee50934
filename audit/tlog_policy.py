"""Trust policies: which logs and witnesses are known, and which witnesses are enough.

Rules upheld here: a file of octets, read line by line; a name is defined before it is used, once, and is a member of
one group at most; a key stands once among logs and once among witnesses; there is exactly one quorum. What a policy
says of a checkpoint is the log that signed it and the witnesses that count, or an error.

Not here: URLs (they are kept, and asked by whoever talks to logs), the proof behind a checkpoint (`tlog_proof.py`).

Source: https://c2sp.org/tlog-policy
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jurat.audit import checkpoint, note
from jurat.audit.checkpoint import Checkpoint
from jurat.audit.cosignature import ED25519, MLDSA44, timed, verifier_of
from jurat.audit.note import Verifier
from jurat.schemas.errors import KeyRejected, PolicyFileInvalid, SignatureInvalid

MAX_POLICY_BYTES: Final = 1_000_000
MAX_LOGS: Final = 256
MAX_WITNESSES: Final = 256
MAX_GROUPS: Final = 256
"""Eight times what the specification asks of an implementation."""

NONE: Final = "none"
_ALLOWED: Final = re.compile(rb"[\x09\x0a\x20-\x7e\x80-\xff]*")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Party:
    """A log or a witness: its key, and where it is asked; the URL is None where nobody asks it."""

    key: Verifier
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Members, and how many of them are enough."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that a policy accepts.

    Attributes:
        head: the checkpoint.
        log: the log's key.
        times: by the name of each known witness that signed, its time in seconds since the Epoch; 0 where it signed
            without one, which says that the tree is the log's, and nothing of when.
    """

    head: Checkpoint
    log: Verifier
    times: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TlogPolicy:
    """A policy.

    Attributes:
        logs: the known logs.
        witnesses: the known witnesses, by the names that this policy gives them.
        groups: by name.
        quorum: the witness or group whose word is enough; `none` where nobody's is needed.
    """

    logs: tuple[Party, ...]
    witnesses: Mapping[str, Party]
    groups: Mapping[str, Group]
    quorum: str

    def check(self, data: bytes) -> Witnessed:
        """Check a signed checkpoint.

        Raises:
            NoteInvalid: it is not of the form of one.
            SignatureInvalid: a known key's signature is wrong, no known log of this origin signed it, or too few
                witnesses did.
        """
        parsed = note.parse(data)
        head = checkpoint.parse(parsed.text)
        # One key may be a log's and a witness's at once.
        logs = {(p.key.name, p.key.key_id): p.key for p in self.logs if p.key.name == head.origin}
        witnesses = {(p.key.name, p.key.key_id): (name, p.key) for name, p in self.witnesses.items()}
        note.verify(data, [*logs.values(), *(key for _name, key in witnesses.values())])
        signed = [(line.name, line.key_id) for line in parsed.signatures]
        log = next((logs[key] for key in signed if key in logs), None)
        if log is None:
            raise SignatureInvalid(
                f"got a checkpoint of {head.origin[:100]!r} that no known log of this name signed"
            )
        times: dict[str, int] = {}
        for key, line in zip(signed, parsed.signatures, strict=True):
            if key in witnesses:
                name, time = witnesses[key][0], timed(line.signature)[0]
                times[name] = min(time, times.get(name, time))
        if not self.witnessed(frozenset(times)):
            raise SignatureInvalid(
                f"got cosignatures of {', '.join(sorted(times)) or 'no known witness'}, which is not the quorum"
                f" {self.quorum}"
            )
        return Witnessed(head, log, times)

    def witnessed(self, names: frozenset[str]) -> bool:
        """Whether these witnesses are enough."""
        return self.quorum == NONE or self._has(self.quorum, names)

    def _has(self, name: str, names: frozenset[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in names
        return sum(self._has(member, names) for member in group.members) >= group.threshold


def parse(data: bytes) -> TlogPolicy:
    """Read a policy file.

    Raises:
        PolicyFileInvalid: it is not of the form of one; the message names the line.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileInvalid(f"got a policy of {len(data)} bytes, expected at most {MAX_POLICY_BYTES}")
    if not _ALLOWED.fullmatch(data):
        raise PolicyFileInvalid("got a control character in a policy, expected none but tabs and newlines")
    if data and not data.endswith(b"\n"):
        raise PolicyFileInvalid("got a last line without its newline")
    reading = _Reading()
    # Octets beyond ASCII are opaque: each stands for itself.
    for number, line in enumerate(data.decode("latin-1").split("\n"), start=1):
        words = [word for word in re.split(r"[ \t]+", line.strip(" \t")) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reading.take(words)
        except (KeyRejected, PolicyFileInvalid) as error:
            raise PolicyFileInvalid(f"line {number}: {error}", line=number) from error
    return reading.policy()


@dataclass(slots=True)
class _Reading:
    logs: list[Party] = field(default_factory=list)
    witnesses: dict[str, Party] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    quorum: str | None = None

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._log(vkey, url)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._witness(name, vkey, url)
            case ["group", name, threshold, *members]:
                self._group(name, threshold, tuple(members))
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise PolicyFileInvalid(
                    f"got a line that begins with {words[0][:30]!r}, expected log, witness, group or quorum with"
                    " its parts"
                )

    def policy(self) -> TlogPolicy:
        if self.quorum is None:
            raise PolicyFileInvalid("got no quorum, expected exactly one line of it")
        return TlogPolicy(tuple(self.logs), self.witnesses, self.groups, self.quorum)

    def _log(self, vkey: str, url: list[str]) -> None:
        key = verifier_of(_utf8(vkey))
        if any(party.key.public_key == key.public_key for party in self.logs):
            raise PolicyFileInvalid(
                f"got the key of the log {key.name[:100]!r} twice, expected each key once"
            )
        if len(self.logs) >= MAX_LOGS:
            raise PolicyFileInvalid(f"got more than {MAX_LOGS} logs")
        self.logs.append(Party(key, _url(url)))

    def _witness(self, name: str, vkey: str, url: list[str]) -> None:
        self._define(name)
        key = verifier_of(_utf8(vkey))
        if key.kind not in (ED25519, MLDSA44):
            raise PolicyFileInvalid(
                f"got a witness's key of the type {key.kind:#04x}, expected one of cosignatures"
            )
        if any(party.key.public_key == key.public_key for party in self.witnesses.values()):
            raise PolicyFileInvalid(f"got the key of the witness {name[:50]!r} twice, expected each key once")
        if len(self.witnesses) >= MAX_WITNESSES:
            raise PolicyFileInvalid(f"got more than {MAX_WITNESSES} witnesses")
        self.witnesses[name] = Party(key, _url(url))

    def _group(self, name: str, told: str, members: tuple[str, ...]) -> None:
        self._define(name)
        if not members:
            raise PolicyFileInvalid(f"got the group {name[:50]!r} without members")
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise PolicyFileInvalid(f"got the member {member[:50]!r}, which no line above defines")
            if member in self.members:
                raise PolicyFileInvalid(f"got the member {member[:50]!r} a second time")
            self.members.add(member)
        if told not in ("all", "any") and not _NUMBER.fullmatch(told):
            raise PolicyFileInvalid(f"got the threshold {told[:30]!r}, expected all, any or a number")
        threshold = {"all": len(members), "any": 1}.get(told) or int(told)
        if not 1 <= threshold <= len(members):
            raise PolicyFileInvalid(f"got the threshold {told[:30]} of {len(members)} members")
        if len(self.groups) >= MAX_GROUPS:
            raise PolicyFileInvalid(f"got more than {MAX_GROUPS} groups")
        self.groups[name] = Group(threshold, members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise PolicyFileInvalid("got a second quorum")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise PolicyFileInvalid(f"got the quorum {name[:50]!r}, which no line above defines")
        self.quorum = name

    def _define(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise PolicyFileInvalid(f"got the name {name[:50]!r} a second time, or the predefined one")


def _url(words: list[str]) -> str | None:
    return words[0].encode("latin-1").decode(errors="replace") if words else None


def _utf8(opaque: str) -> str:
    try:
        return opaque.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise PolicyFileInvalid("got a key whose name is not UTF-8") from error
