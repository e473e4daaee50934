"""A word to who signs with a key that the trust file at hand does not trust for it; the workers' own file decides."""

from __future__ import annotations

from pathlib import Path

import click

from jurat import settings
from jurat.audit.key_store import TRUST_FILE, load_trust


def hint(keys: Path | None, keyid: str, *, name: str, role: str) -> None:
    """Say so on standard error where the trust file beside the key does not trust it for a role.

    An approver's own machine need not have such a file: then there is nothing to say.
    """
    path = settings.keys_dir(keys) / TRUST_FILE
    if not path.exists():
        return
    held = next((one.roles for one in load_trust(path).approvers if one.keyid == keyid), None)
    if held is not None and role in held:
        return
    what = (
        "does not know the key" if held is None else f"trusts the key for {', '.join(held)}, not for {role}"
    )
    click.echo(
        f"jurat: {path} {what} of {name}; if the workers' trust file is the same, they reject this. To trust it, there:"
        f" jurat keys trust --approver {name} --role {role} {keyid}",
        err=True,
    )
