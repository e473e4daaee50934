"""Text from outside as it is shown to people: on a terminal, in a message, in a table.

Rules upheld here: what is shown cannot steer a terminal, turn its text around or begin a line of its own. Not here:
what files hold, which keep text as it is.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

MAX_FAULT: Final = 300
"""Characters of a fault that are shown: enough to mend it."""


def printable(text: str) -> str:
    """Escape everything that a terminal might act on: control characters, line ends, marks of direction."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


_EXPECTED: Final = {
    "string_pattern_mismatch": "expected text of the form {pattern}",
    "string_too_short": "expected text of {min_length} characters or more",
    "string_too_long": "expected text of {max_length} characters or fewer",
    "missing": "expected it, got nothing",
    "extra_forbidden": "expected no such member",
}
"""What is told of the faults that people make, in place of the validator's words."""


def first_fault(error: ValidationError) -> str:
    """The first place that breaks a schema, and how; the names of members come from outside."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the whole"
    said = _EXPECTED.get(fault["type"], "").format_map(fault.get("ctx", {}))
    what = said or fault["msg"].removeprefix("Value error, ")
    return printable(f"{where[:MAX_FAULT]}: {what[:MAX_FAULT]}")
