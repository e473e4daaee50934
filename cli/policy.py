"""`jurat policy`: check, test and describe policy bundles.

Rules upheld here: a bundle is named by its folder or, where it comes with jurat, by its name; nothing here
decides, all of it is `jurat.policies`. Exit code 1 means that something is wrong with a bundle, 0 that
nothing is.
"""

from __future__ import annotations

from pathlib import Path

import click

from jurat.cli.bundles import bundle_folder, say
from jurat.cli.policy_backtest import backtest
from jurat.policies import PolicyEngine, generate, load_bundle, run_cases, shipped_bundles
from jurat.policies.cedar_schema import DEFAULT_NAMESPACE
from jurat.schemas.errors import BundleError, ConfigurationError


@click.group(name="policy")
def command() -> None:
    """Check, test and describe policy bundles."""


@command.command()
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
def check(bundles: tuple[str, ...]) -> None:
    """Load bundles and tell every fault; without a name, all that come with jurat."""
    _report([_checked(folder) for folder in _folders(bundles)])


@command.command()
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
def test(bundles: tuple[str, ...]) -> None:
    """Run the cases in tests/*.yaml; without a name, of all bundles that come with jurat."""
    _report([_tested(folder) for folder in _folders(bundles)])


@command.command()
@click.argument("bundle")
@click.option("--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="The Cedar namespace.")
def schema(bundle: str, namespace: str) -> None:
    """Print the Cedar schema of the agents whose bundle this is, from the models that they declare."""
    from jurat.agents.catalogue import AGENTS  # noqa: PLC0415  # imports every agent, which the other commands need not

    actions = [action for agent in AGENTS.values() if agent.bundle == bundle for action in agent.actions]
    if not actions:
        known = ", ".join(sorted({agent.bundle for agent in AGENTS.values()}))
        raise ConfigurationError(f"got the bundle {bundle!r}, expected one that an agent names: {known}")
    click.echo(generate(namespace, actions), nl=False)


def _folders(bundles: tuple[str, ...]) -> list[Path]:
    return [bundle_folder(name) for name in bundles or shipped_bundles()]


def _checked(folder: Path) -> bool:
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        say(str(error), style="red")
        return False
    say(
        f"{bundle.name}: {len(bundle.policies)} policies for {len(bundle.actions)} actions"
        f" of {len(bundle.agents)} agents, sha256 {bundle.digest}"
    )
    return True


def _tested(folder: Path) -> bool:
    try:
        bundle = load_bundle(folder)
        report = run_cases(PolicyEngine(bundle))
    except BundleError as error:
        say(str(error), style="red")
        return False
    for failure in report.failures:
        say(f"{bundle.name}/{failure.file}: {failure.name}: {failure.message}", style="red")
    say(f"{bundle.name}: {report.run} cases, {len(report.failures)} failed")
    return not report.failures


def _report(fine: list[bool]) -> None:
    if not all(fine):
        raise click.exceptions.Exit(1)


command.add_command(backtest)
