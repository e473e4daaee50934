"""The only module that calls z3: terms, and what can be proved about them.

Rules upheld here:
1. "no" is said only when z3 proved it; whatever else comes back is an assignment or `GaveUp`, with z3's reason;
2. effort is bounded by z3's own count of steps, not by a clock: an answer does not depend on the machine's speed;
3. a term knows its sort, and terms of different sorts are never put together.

Not here: what Cedar's expressions mean (`smt_expression.py`). Terms of one process share z3's global context, which is
not safe between threads: analysis is run by a command line.
Source: z3 5.4; https://smt-lib.org/theories.shtml (Ints, UnicodeStrings, UF)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import z3

MAX_STEPS: Final = 10_000_000
"""z3's resource units for one question: 3 to 8 s of one core. Those about the shipped bundles take 20,000 at most."""

MAX_CHARACTER: Final = 0x2FFFF
"""The last character of SMT-LIB's strings; Unicode goes on to 0x10FFFF."""

_ESCAPED: Final = re.compile(r"\\u\{([0-9a-fA-F]+)\}")


class NotCoveredError(ValueError):
    """What has no term; the message says why."""


class Sort(Enum):
    """What a term is."""

    BOOL = "Bool"
    INT = "Int"
    TEXT = "String"


@dataclass(frozen=True, slots=True)
class Term:
    """A term; `raw` is z3's, and nobody else's business."""

    sort: Sort
    raw: z3.ExprRef

    @property
    def key(self) -> int:
        """The same for terms that are written alike, as long as one of them lives."""
        return int(self.raw.get_id())


@dataclass(frozen=True, slots=True)
class Predicate:
    """An unknown property of the values of one sort: which of them are in a set."""

    sort: Sort
    raw: z3.FuncDeclRef

    def of(self, element: Term) -> Term:
        """Tell whether an element has the property."""
        _same(self, element)
        return Term(Sort.BOOL, self.raw(element.raw))


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer, and z3's reason."""

    reason: str


class Assignment:
    """Values for all variables under which everything that was asked for holds."""

    def __init__(self, model: z3.ModelRef) -> None:
        self._model = model

    def truth(self, term: Term) -> bool:
        """The value of a Boolean term."""
        return bool(z3.is_true(self._value(term)))

    def integer(self, term: Term) -> int:
        """The value of an integer term."""
        return int(self._value(term).as_long())

    def text(self, term: Term) -> str:
        """The value of a text term; it may hold surrogates, which Unicode text may not."""
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), self._value(term).as_string())

    def _value(self, term: Term) -> z3.ExprRef:
        # What was never constrained gets a value too: nought, false or the empty text.
        return self._model.eval(term.raw, model_completion=True)


def solve(claims: Iterable[Term]) -> Assignment | GaveUp | None:
    """Look for values under which all claims hold.

    Returns:
        The values; None where it is proved that there are none; `GaveUp` where neither was found.
    """
    solver = z3.Solver()
    solver.set("rlimit", MAX_STEPS)  # 2
    solver.add(*(claim.raw for claim in claims))
    answer = solver.check()
    if answer == z3.sat:
        return Assignment(solver.model())
    if answer == z3.unsat:  # 1
        return None
    return GaveUp(f"the solver gave up after {MAX_STEPS} steps ({solver.reason_unknown()})")


def cause(claims: Iterable[Term], suspects: Iterable[Term]) -> frozenset[int] | GaveUp | None:
    """Look for suspects that rule the claims out.

    Returns:
        The positions of suspects that cannot hold together with the claims, none of which can be left out; None where
        all of them can hold; `GaveUp` where neither was found.
    """
    solver = z3.Solver()
    solver.set("rlimit", MAX_STEPS)
    solver.set(**{"core.minimize": True})
    solver.add(*(claim.raw for claim in claims))
    held = [*suspects]
    marks = [z3.Bool(f"suspect {index}") for index in range(len(held))]
    solver.add(*(z3.Implies(mark, suspect.raw) for mark, suspect in zip(marks, held, strict=True)))
    answer = solver.check(*marks)
    if answer == z3.unsat:
        core = {str(mark) for mark in solver.unsat_core()}
        return frozenset(index for index, mark in enumerate(marks) if str(mark) in core)
    if answer == z3.sat:
        return None
    return GaveUp(f"the solver gave up after {MAX_STEPS} steps ({solver.reason_unknown()})")


def variable(sort: Sort, name: str) -> Term:
    """An unknown value; the same name is the same value."""
    return Term(sort, {Sort.BOOL: z3.Bool, Sort.INT: z3.Int, Sort.TEXT: z3.String}[sort](name))


def predicate(sort: Sort, name: str) -> Predicate:
    """An unknown property; the same name is the same property."""
    of = {Sort.BOOL: z3.BoolSort, Sort.INT: z3.IntSort, Sort.TEXT: z3.StringSort}[sort]
    return Predicate(sort, z3.Function(name, of(), z3.BoolSort()))


def truth(value: bool) -> Term:  # noqa: FBT001 - the value of a literal, not a mode
    """A Boolean literal."""
    return Term(Sort.BOOL, z3.BoolVal(value))


def integer(value: int) -> Term:
    """An integer literal."""
    return Term(Sort.INT, z3.IntVal(value))


def text(value: str) -> Term:
    """A text literal.

    Raises:
        NotCoveredError: it holds a character that SMT-LIB's strings do not have.
    """
    return Term(Sort.TEXT, z3.StringVal(_escaped(value)))


def every(terms: Iterable[Term]) -> Term:
    """All of them; true where there is none."""
    return Term(Sort.BOOL, z3.And(*(term.raw for term in terms)))


def some(terms: Iterable[Term]) -> Term:
    """At least one of them; false where there is none."""
    return Term(Sort.BOOL, z3.Or(*(term.raw for term in terms)))


def no(term: Term) -> Term:
    """The opposite."""
    return Term(Sort.BOOL, z3.Not(term.raw))


def choice(condition: Term, one: Term, other: Term) -> Term:
    """One term where the condition holds, the other where it does not."""
    _same(one, other)
    return Term(one.sort, z3.If(condition.raw, one.raw, other.raw))


def equal(left: Term, right: Term) -> Term:
    """Equality."""
    _same(left, right)
    return Term(Sort.BOOL, left.raw == right.raw)


def less(left: Term, right: Term) -> Term:
    """Order of integers."""
    return Term(Sort.BOOL, left.raw < right.raw)


def at_most(left: Term, right: Term) -> Term:
    """Order of integers, equality included."""
    return Term(Sort.BOOL, left.raw <= right.raw)


def plus(left: Term, right: Term) -> Term:
    """The sum of integers."""
    return Term(Sort.INT, left.raw + right.raw)


def minus(left: Term, right: Term) -> Term:
    """The difference of integers."""
    return Term(Sort.INT, left.raw - right.raw)


def times(left: Term, right: Term) -> Term:
    """The product of integers."""
    return Term(Sort.INT, left.raw * right.raw)


def floor(term: Term, step: int) -> Term:
    """The integer divided by a positive one, rounded down."""
    return Term(Sort.INT, term.raw / z3.IntVal(step))


def like(term: Term, pieces: Iterable[str | None]) -> Term:
    """Tell whether a text is made of these pieces, None standing for any text.

    Raises:
        NotCoveredError: a piece holds a character that SMT-LIB's strings do not have.
    """
    anything = z3.Star(z3.AllChar(z3.ReSort(z3.StringSort())))
    parts = [anything if piece is None else z3.Re(z3.StringVal(_escaped(piece))) for piece in pieces]
    pattern = z3.Re(z3.StringVal("")) if not parts else z3.Concat(*parts) if len(parts) > 1 else parts[0]
    return Term(Sort.BOOL, z3.InRe(term.raw, pattern))


def _escaped(value: str) -> str:
    if any(ord(character) > MAX_CHARACTER for character in value):
        raise NotCoveredError(
            f"got a character above U+{MAX_CHARACTER:X}, which the solver's strings do not have"
        )
    # z3 reads `\u{41}` within a literal as a letter: so everything but plain text is written that way.
    return re.sub(r"[^ -\[\]-~]", lambda match: f"\\u{{{ord(match[0]):x}}}", value)


def _same(one: Term | Predicate, other: Term) -> None:  # 3
    if one.sort is not other.sort:
        raise TypeError(f"got terms of the sorts {one.sort.value} and {other.sort.value}, expected one sort")
