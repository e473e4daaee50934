"""`jurat policy`: check, test, describe, analyse, try and publish policy bundles.

Rules upheld here: nothing here decides, all of it is `jurat.policies`. Exit code 1 means that something is wrong with
a bundle, 0 that nothing is; a warning is nothing wrong.
"""

from __future__ import annotations

from pathlib import Path

import click

from jurat import app
from jurat.cli import (
    policy_ask,
    policy_backtest,
    policy_budgets,
    policy_diff,
    policy_eval,
    policy_page,
    policy_publication,
    policy_space,
)
from jurat.cli.bundles import bundle_folder, say
from jurat.policies import (
    Bundle,
    PolicyEngine,
    generate,
    known_bundle,
    load_bundle,
    run_cases,
    shipped_bundles,
    strict_yaml,
)
from jurat.policies.budgets import NO_BUDGETS, Budgets, read_budgets
from jurat.policies.bundle_tests import cases
from jurat.policies.cedar_schema import DEFAULT_NAMESPACE
from jurat.policies.faults import at
from jurat.policies.folder import BUDGETS_FILE, SCHEMA_FILE
from jurat.schemas.errors import BundleError, ConfigurationError


@click.group(name="policy")
def command() -> None:
    """Check, test, describe, analyse, try and publish policy bundles, and tell what is left of budgets."""


command.add_command(policy_ask.ask)
command.add_command(policy_backtest.backtest)
command.add_command(policy_budgets.budgets)
command.add_command(policy_diff.diff)
command.add_command(policy_eval.command)
command.add_command(policy_page.command)
command.add_command(policy_publication.activate)
command.add_command(policy_publication.active)
command.add_command(policy_publication.publish)
command.add_command(policy_space.command)


@command.command(short_help="Tell every fault of bundles.")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
def check(bundles: tuple[str, ...]) -> None:
    """Load bundles and their cases, tell every fault, and prove what is wrong with valid policies.

    Without a name, all of the project's agents; outside of a project, all that come with jurat.
    """
    _report([_checked(folder) for folder in _folders(bundles)])


@command.command(short_help="Run the cases of bundles.")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
def test(bundles: tuple[str, ...]) -> None:
    """Run the cases in tests/*.yaml; without a name, of the same bundles as `check`."""
    _report([_tested(folder) for folder in _folders(bundles)])


@command.command(short_help="Print the Cedar schema of a bundle.")
@click.argument("bundle")
@click.option("--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="The Cedar namespace.")
@click.option("--write", is_flag=True, help=f"Write it into the bundle, as {SCHEMA_FILE}, instead.")
def schema(bundle: str, namespace: str, *, write: bool) -> None:
    """Print the Cedar schema of the agents whose bundle this is, from the models that they declare.

    After a change of an event, an action or its facts: jurat policy schema BUNDLE --write
    """
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not

    actions = [action for agent in AGENTS.values() if agent.bundle == bundle for action in agent.actions]
    if not actions:
        known = ", ".join(sorted({agent.bundle for agent in AGENTS.values()}))
        raise ConfigurationError(f"got the bundle {bundle!r}, expected one that an agent names: {known}")
    text = generate(namespace, actions, usage=_budgets(bundle).usage_fields())
    if not write:
        click.echo(text, nl=False)
        return
    file = known_bundle(bundle) / SCHEMA_FILE
    file.write_text(text, encoding="utf-8")
    say(f"wrote {file}")


def _budgets(bundle: str) -> Budgets:
    """The budgets of a bundle, which need no schema: the one that is there may be the wrong one."""
    file = known_bundle(bundle) / BUDGETS_FILE
    if not file.exists():
        return NO_BUDGETS
    try:
        budgets, faults = read_budgets(strict_yaml.load(file.read_text(encoding="utf-8")))
    except strict_yaml.StrictYamlError as error:
        budgets, faults = NO_BUDGETS, [f"{at(BUDGETS_FILE, error.line)}{error}"]
    if faults:
        raise BundleError(f"the budgets of {bundle} cannot be read:", faults=tuple(faults), bundle=bundle)
    return budgets


def _folders(bundles: tuple[str, ...]) -> list[Path]:
    own = app.in_use()
    named = shipped_bundles() if own is None else dict.fromkeys(agent.bundle for agent in own.agents)
    return [bundle_folder(name) for name in bundles or named]


def _checked(folder: Path) -> bool:
    try:
        bundle = load_bundle(folder)
        count = len(cases(bundle))
    except BundleError as error:
        say(str(error), style="red")
        return False
    say(
        f"{bundle.name}: {len(bundle.policies)} policies for {len(bundle.actions)} actions"
        f" of {len(bundle.agents)} agents, {count} cases, sha256 {bundle.digest}"
    )
    return _analysed(bundle)


def _analysed(bundle: Bundle) -> bool:
    from jurat.policies.analysis_check import Level, analyse  # noqa: PLC0415  # loads z3, which `test` need not

    styles = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: None}
    findings = analyse(bundle)
    for finding in findings:
        say(f"{finding.level.value}: {bundle.name}/{finding.text}", style=styles[finding.level])
    return all(finding.level is not Level.ERROR for finding in findings)


def _tested(folder: Path) -> bool:
    try:
        bundle = load_bundle(folder)
        report = run_cases(PolicyEngine(bundle))
    except BundleError as error:
        say(str(error), style="red")
        return False
    for failure in report.failures:
        where = f"{bundle.name}/{failure.file}:{failure.line}"
        say(f"{where}: {failure.name}: {failure.message}", style="red")
    if not report.run:
        say(
            f"{bundle.name}: got no case in tests/*.yaml, expected at least one: without, no bundle is activated",
            "red",
        )
        return False
    say(f"{bundle.name}: {report.run} cases, {len(report.failures)} failed")
    return not report.failures


def _report(fine: list[bool]) -> None:
    if not all(fine):
        raise click.exceptions.Exit(1)
