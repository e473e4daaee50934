"""How a fault of a bundle reads: file and line first, then what was got, what was expected, and what was likely meant.

Rules upheld here: a suggestion is a name that exists, never one that is only similar to others; a name is shown cut and
printable, as it may come from anywhere. Not here: finding faults (`bundle.py`, `lint.py`, `names.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, get_args

from pydantic import BaseModel, ValidationError

from jurat.policies.normal import printable
from jurat.policies.strict_yaml import Document, Place

CUTOFF: Final = 0.6
"""How alike a name must be to be suggested; difflib's own measure and default."""

MAX_COMPARED: Final = 2_000
"""Names that one is compared with: more are not written by people, and each comparison costs microseconds."""

MAX_LISTED: Final = 12
"""Names that a fault lists: more are not read."""


def at(file: str, line: int | None) -> str:
    """`file:line: `, in the form that editors jump to."""
    return f"{file}: " if line is None else f"{file}:{line}: "


def did_you_mean(got: str, known: Iterable[str], *, before: str = "") -> str:
    """The end of a fault: the known name that is most like the one that was got.

    Args:
        got: the name that is not known.
        known: the names that are.
        before: what stands before the suggested name, for example `resource.customer.`.

    Returns:
        `; did you mean ...?`, or nothing where no name is alike.
    """
    close = closest(got, known)
    return f"; did you mean `{before}{close}`?" if close is not None else ""


def closest(got: str, known: Iterable[str]) -> str | None:
    """The known name that is most like another one, if any is."""
    names = sorted(known)[:MAX_COMPARED]
    lowered = {name.lower(): name for name in reversed(names)}
    if got.lower() in lowered:
        return lowered[got.lower()]
    found = difflib.get_close_matches(printable(got), names, n=1, cutoff=CUTOFF)
    return found[0] if found else None


def listed(names: Iterable[str]) -> str:
    """Names in a row, the first few of many."""
    known = sorted(names)
    more = f" and {len(known) - MAX_LISTED} more" if len(known) > MAX_LISTED else ""
    return (", ".join(known[:MAX_LISTED]) or "none") + more


def validation_faults(
    file: str,
    error: ValidationError,
    *,
    model: type[BaseModel],
    document: Document,
    below: Place = (),
    label: str = "",
) -> list[str]:
    """A validation error as one fault for each place that is wrong.

    Args:
        file: the bundle's file.
        error: what pydantic objects to.
        model: what was expected.
        document: the file's content, for the lines.
        below: where in the document the validated value stands.
        label: what people call that value, with a colon and a space behind it.
    """
    found = []
    for fault in error.errors(include_url=False, include_input=False):
        place = fault["loc"]
        words = fault["msg"]
        if fault["type"] == "extra_forbidden":
            known = _fields(model, place[:-1])
            words += f", expected one of {listed(known)}{did_you_mean(str(place[-1]), known)}"
        name = printable(".".join(str(part) for part in place)) or "the file"
        found.append(f"{at(file, document.line((*below, *place)))}{label}{name}: {words}")
    return found


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    """The fields of the model that stands at a place."""
    for part in place:
        field = model.model_fields.get(str(part))
        if field is not None:
            annotation = field.annotation
            inner = next((a for a in (annotation, *get_args(annotation)) if _is_model(a)), None)
            if inner is None:
                return []
            model = inner
    return sorted(model.model_fields)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
