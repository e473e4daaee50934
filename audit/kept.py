"""How much of what others wrote a record keeps: cut to its bounds, so that it is never what makes a record invalid.

Not here: the record (`record.py`).
"""

from __future__ import annotations

from typing import Final

MAX_ERRORS: Final = 16
MAX_ERROR: Final = 500
"""Errors kept of one judgement, and characters kept of each: more repeat themselves, and they may quote input."""

MAX_ALTERNATIVES: Final = 16
"""Names of alternatives kept of one proposal: more than the actions of an agent that anybody would weigh at once."""


def kept_errors(errors: tuple[str, ...]) -> tuple[str, ...]:
    """Cut the errors of a judgement to their bounds: they must not be what makes a record invalid."""
    return tuple([cut(error, MAX_ERROR) for error in errors[:MAX_ERRORS]])


def kept_alternatives(names: tuple[str, ...]) -> tuple[str, ...]:
    """The first names, each once, cut to their bounds."""
    return tuple(dict.fromkeys([cut(name, 200) for name in names if name]))[:MAX_ALTERNATIVES]


def cut(text: str, most: int) -> str:
    """The first characters of a text that may quote what is no Unicode."""
    return text[:most].encode(errors="replace").decode()
