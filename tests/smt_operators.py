"""One policy for every operator of Cedar: those that the encoding covers, and those that it leaves open."""

from __future__ import annotations

SCHEMA = """
type Level = Long;
namespace T {
  entity Role;
  entity Agent in [Role];
  entity Item = {
    n: Long, m?: Level, s: String, b: Bool, d: datetime, e: duration, l: Set<String>, k: Set<Long>,
    r?: { x: Long, y?: String, "odd name": Bool },
    price: decimal, from: ipaddr, owner: Agent, nested: Set<Set<String>>,
  };
  action "all";
  action "do" in ["all"] appliesTo {
    principal: [Agent], resource: [Item], context: { c: Long, t?: String, approvals: Set<String>, now: datetime }
  };
}
"""
ROLES = "agents: {a-1: [left], a-2: [left, right], a-3: []}\napprovers: [lead]\n"

CONDITIONS = {
    "literal": "true",
    "bool": "resource.b",
    "not": "!resource.b",
    "bool-equal": "resource.b == (resource.n > 0)",
    "equal": "resource.n == 5",
    "not-equal": "resource.n != 5",
    "less": "resource.n < context.c",
    "less-or-equal": "resource.n <= 5",
    "greater": "resource.n > 5",
    "greater-or-equal": "resource.n >= context.c",
    "and": "resource.b && resource.n > 0",
    "or": "resource.b || resource.n > 0",
    "if": "if resource.b then resource.n > 0 else resource.n < 0",
    "if-number": "(if resource.b then resource.n else context.c) > 0",
    "if-set": 'if resource.b then resource.l.contains("a") else resource.l.isEmpty()',
    "if-of-sets": '(if resource.b then resource.l else ["abc"]).contains(resource.s)',
    "if-of-sets-empty": "(if resource.b then resource.k else [1]).isEmpty()",
    "plus": "resource.n + context.c > 5",
    "minus": "resource.n - context.c > 5",
    "minus-sign": "-resource.n > 5",
    "times": "resource.n * 3 > 16",
    "times-overflow": "resource.n * 4096 > 5",
    "plus-overflow": "resource.n + 9223372036854775807 > 9223372036854775800",
    "minus-overflow": "-9223372036854775808 - resource.n < -9223372036854775806",
    "sign-overflow": "-(resource.n - 9223372036854775807 - 1) > 9223372036854775806",
    "product-of-unknowns": "resource.n * context.c > 16",
    "and-stops": "resource.b && resource.n * 4096 > 5",
    "or-stops": "resource.b || resource.n * 4096 > 5",
    "if-stops": "(if resource.b then 1 else resource.n * 4096) > 5",
    "error-first": "resource.n * 4096 > 5 && resource.b",
    "has": "resource has m",
    "has-and-use": "resource has m && resource.m > 5",
    "has-not": "if resource has m then resource.m > 5 else true",
    "has-required": "resource has n",
    "has-path": "resource has r.y",
    "record": "resource has r && resource.r.x > 0",
    "record-deep": 'resource has r && resource.r has y && resource.r.y like "a*"',
    "odd-name": 'resource has r && resource.r["odd name"]',
    "context-optional": 'context has t && context.t like "a*"',
    "text": 'resource.s == "abc"',
    "text-of-marks": 'resource.s == "é\\"\\n"',
    "text-of-escapes": 'resource.s == "zz\\\\u{41}"',
    "like": 'resource.s like "a*c"',
    "like-star": 'resource.s like "a\\*c"',
    "like-exact": 'resource.s like "abc"',
    "like-anything": 'resource.s like "*"',
    "like-nothing": 'resource.s like ""',
    "like-middle": 'resource.s like "*b*"',
    "contains": 'resource.l.contains("a")',
    "contains-unknown": "resource.l.contains(resource.s)",
    "contains-number": "resource.k.contains(7)",
    "contains-computed": "resource.k.contains(resource.n + 1)",
    "one-of": '["a", "abc"].contains(resource.s)',
    "one-of-numbers": "[1, 5, context.c].contains(resource.n)",
    "one-of-moments": '[datetime("2026-03-02T09:00:00Z")].contains(resource.d)',
    "contains-all": 'resource.l.containsAll(["a", resource.s])',
    "contains-any": 'resource.l.containsAny(["a", resource.s])',
    "any-of-written": '["a", "abc"].containsAny(resource.l)',
    "all-of-written": '["a", "abc"].containsAll([resource.s])',
    "empty": "resource.l.isEmpty()",
    "empty-numbers": "resource.k.isEmpty()",
    "not-empty-nor-known": '!resource.l.isEmpty() && !resource.l.contains("a")',
    "moment": 'resource.d < datetime("2026-03-02T10:00:00+0100")',
    "moment-equal": 'resource.d == datetime("2026-03-02T09:00:00.000Z")',
    "moment-day": 'resource.d >= datetime("1970-01-01")',
    "offset": "resource.d.offset(resource.e) > context.now",
    "offset-overflow": 'resource.d.offset(duration("9223372036854775807ms")).toTime() > duration("25975806ms")',
    "since": 'context.now.durationSince(resource.d) > duration("1d1h1m1s1ms")',
    "to-date": 'resource.d.toDate() == datetime("1969-12-31")',
    "to-time": 'resource.d.toTime() == duration("23h59m59s999ms")',
    "to-milliseconds": "resource.e.toMilliseconds() < 0",
    "to-seconds": "resource.e.toSeconds() == -90061",
    "to-minutes": "resource.e.toMinutes() == 1439",
    "to-hours": "resource.e.toHours() == -25",
    "to-days": "resource.e.toDays() == -1",
    "duration": 'resource.e <= duration("-1ms")',
    "principal-in": 'principal in T::Role::"left"',
    "principal-in-some": 'principal in [T::Role::"right", T::Role::"left"]',
    "principal-in-itself": 'principal in T::Agent::"a-3"',
    "principal-is": 'principal == T::Agent::"a-1"',
    "principal-is-not": 'principal != T::Agent::"a-1"',
    "principal-type": "principal is T::Agent",
    "principal-type-in": 'principal is T::Agent in T::Role::"right"',
    "resource-is": 'resource == T::Item::"special"',
    "resource-in": 'resource in T::Item::"special"',
    "resource-type": "resource is T::Item",
    "action-is": 'action == T::Action::"do"',
    "action-in": 'action in T::Action::"all"',
    "same-entity": "principal == principal",
}
SCOPES = {
    "scope-equal": '(principal == T::Agent::"a-2", action, resource)',
    "scope-in": '(principal in T::Role::"left", action in [T::Action::"all"], resource)',
    "scope-type": "(principal is T::Agent, action, resource is T::Item)",
    "scope-type-in": '(principal is T::Agent in T::Role::"right", action, resource == T::Item::"special")',
}
OPEN = {
    "decimal": 'resource.price.lessThan(decimal("1.5"))',
    "address": 'resource.from.isInRange(ip("127.0.0.0/8"))',
    "owner": "resource.owner == principal",
    "owner-in": 'resource.owner in T::Role::"left"',
    "set-equality": 'resource.l == ["a"]',
    "set-in-set": 'resource.nested.contains(["a"])',
    "unknown-all": "resource.l.containsAll(resource.l)",
    "far-character": 'resource.s == "\U0004f600"',
    "record-equality": "resource has r && resource.r == resource.r",
}
ALWAYS = {
    "literal",
    "has-required",
    "principal-type",
    "resource-type",
    "action-is",
    "action-in",
    "scope-type",
    "same-entity",
    "like-anything",
}


def policies(conditions: dict[str, str], scopes: dict[str, str]) -> str:
    heads = [
        (id_, "(principal, action, resource)", f" when {{ {text} }}") for id_, text in conditions.items()
    ]
    heads += [(id_, scope, "") for id_, scope in scopes.items()]
    return "\n".join(f'@id("{id_}") @title("T")\npermit {scope}{when};' for id_, scope, when in heads)


def plain(schema: str) -> str:
    """The schema without the types that have no unknown."""
    return schema.replace("price: decimal, from: ipaddr, owner: Agent, nested: Set<Set<String>>,", "")
