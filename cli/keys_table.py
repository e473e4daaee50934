"""What `jurat keys list` shows of keys: whether they are here, and until when they hold.

Not here: who is trusted (`jurat.audit.keys`, `jurat.audit.trust_log`).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from jurat.audit.credential import AgentCredential, Issuer, Revocation, Root, SessionCredential
from jurat.audit.key_store import KeyKind, load_key, names_here
from jurat.audit.trust_log import Admitted, TrustLog
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected

HERE: Final = "here"
NOT_HERE: Final = "not here"
ANOTHER: Final = "not here; another key of that name is"
UNREADABLE: Final = "not readable"


def private_key(folder: Path, name: str, kind: KeyKind, keyid: str, secret: bytes | None) -> str:
    """Whether the private key of a key id is here, under the name that it should have."""
    try:
        here = load_key(folder, name, kind, secret).keyid
    except KeyNotFound:
        return NOT_HERE
    except (KeyRejected, ConfigurationError):
        return UNREADABLE
    return HERE if here == keyid else ANOTHER


def trust_log_table(folder: Path, log: TrustLog, *, now: datetime, secret: bytes | None) -> Table:
    """The root that holds and all credentials but those of sessions, which are counted, as of now."""
    table = Table(title=Text("the trust log"), box=None)
    for name in ("what", "name", "key id", "holds", "private key"):
        table.add_column(name, no_wrap=True)
    root, _digest = log.root
    for keyid in root.keys:
        held = f"version {root.version}, {root.threshold} of {len(root.keys)} sign"
        names, where = _root_holders(folder, keyid, secret)
        table.add_row(*map(Text, ("root", f"{root.org}{names}", keyid, held, where)))
    sessions = 0
    at = int(now.timestamp())
    for one in log.statements:
        made = one.statement
        if isinstance(made, SessionCredential):
            sessions += _state(log, one, at).startswith("until")
        elif not isinstance(made, Root | Revocation):
            kind = KeyKind.ISSUER if isinstance(made, Issuer) else KeyKind.AGENT
            what = "delegation" if isinstance(made, AgentCredential) and one.depth > 1 else made.type
            where = private_key(folder, made.name, kind, made.keyid, secret)
            table.add_row(*map(Text, (what, made.name, made.keyid, _state(log, one, at), where)))
    table.add_row(*map(Text, ("session", f"{sessions} that hold", "", "", "")))
    return table


def _root_holders(folder: Path, keyid: str, secret: bytes | None) -> tuple[str, str]:
    """Whose root key it is here, as an addition to the organisation's name, and whether it can sign.

    A root names keys and not their holders, who may keep them elsewhere; each file here is tried under its name.
    """
    unreadable = False
    for name in names_here(folder, KeyKind.ROOT):
        where = private_key(folder, name, KeyKind.ROOT, keyid, secret)
        if where == HERE:
            return f", {name}", HERE
        unreadable |= where == UNREADABLE
    return "", f"{NOT_HERE}, or {UNREADABLE}" if unreadable else NOT_HERE


def _state(log: TrustLog, one: Admitted, at: int) -> str:
    """Until when it holds, or why it does not."""
    made = one.statement
    if isinstance(made, Root | Revocation):
        return ""
    links = log.links(one)
    for link in links:
        if link.effective is not None:
            return "revoked" if link is links[0] else f"no: {link.what} was revoked"
        if at < link.not_before:
            return f"not yet, from {made.not_before}"
        if at > link.expiry:
            return f"expired {made.expiry}"
    return f"until {made.expiry}"
