"""What a published bundle must pass before it judges anything.

The steps (the numbers come back in the code): 1. it loads without a fault; 2. its digest is the one that was
activated; 3. it covers the agents; 4. all of its own cases come out as expected.

Rules upheld here: the publisher and every worker run the same steps, so that what one activates the others take. Not
here: signatures (`jurat.audit.dsse`), what is active (`publication.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from jurat.policies.bundle import bundle_of
from jurat.policies.bundle_tests import run_cases
from jurat.policies.cedar_schema import ActionDeclaration
from jurat.policies.covering import check_covers
from jurat.policies.engine import PolicyEngine
from jurat.policies.publication import PublishedBundle
from jurat.schemas.errors import BundleUnfit

MAX_FAILURES_TOLD: Final = 20
"""Failed cases that a message tells: a bundle that fails more has one cause, and logs are read by people."""


def try_bundle(
    name: str,
    published: PublishedBundle,
    *,
    digest: str,
    agents: Mapping[str, Iterable[ActionDeclaration]],
) -> PolicyEngine:
    """Make an engine of a published bundle, if it is fit to judge.

    Args:
        name: what the bundle is called.
        published: its files.
        digest: the digest that was asked for.
        agents: whom it must cover: their names and actions.

    Raises:
        BundleError: it does not load, or its cases cannot be read.
        BundleUnfit: it is another one, does not cover an agent, has no case, or fails one.
    """
    bundle = bundle_of(name, published.files)  # 1
    if bundle.digest != digest:  # 2
        raise BundleUnfit(
            f"got the bundle {bundle.digest}, expected {digest}", bundle=name, digest=bundle.digest
        )
    for agent, actions in agents.items():  # 3
        check_covers(bundle, agent=agent, actions=actions)
    engine = PolicyEngine(bundle)
    report = run_cases(engine)  # 4
    if not report.run:
        raise BundleUnfit(
            f"the bundle {name} {digest} has no cases of its own, expected at least one in tests/*.yaml",
            bundle=name,
            digest=digest,
        )
    if report.failures:
        told = [f"{one.file}: {one.name}: {one.message}" for one in report.failures[:MAX_FAILURES_TOLD]]
        raise BundleUnfit(
            f"the bundle {name} {digest} fails {len(report.failures)} of its own {report.run} cases,"
            " expected all to pass:",
            faults=tuple(told),
            bundle=name,
            digest=digest,
        )
    return engine
