"""The bundles that come with jurat: they load, their cases hold, their schemas are what the agents declare."""

from __future__ import annotations

import subprocess

import pytest
from click.testing import CliRunner

from jurat.agents.catalogue import AGENTS
from jurat.cli.policy import command
from jurat.policies import PolicyEngine, load_bundle, run_cases, shipped_bundle, shipped_bundles
from jurat.schemas.errors import ConfigurationError

BUNDLES = sorted({agent.bundle for agent in AGENTS.values()})


def test_every_shipped_bundle_belongs_to_an_agent() -> None:
    assert list(shipped_bundles()) == BUNDLES


def test_an_unknown_bundle_is_named() -> None:
    with pytest.raises(ConfigurationError, match="got the bundle 'nope'"):
        shipped_bundle("nope")


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_bundle_loads_and_its_cases_hold(name: str) -> None:
    engine = PolicyEngine(load_bundle(shipped_bundle(name)))
    report = run_cases(engine)
    assert report.failures == ()
    assert report.run > 0
    assert set(engine.bundle.agents) == {agent.name for agent in AGENTS.values() if agent.bundle == name}


@pytest.mark.parametrize("name", BUNDLES)
def test_every_policy_of_a_shipped_bundle_determines_a_case(name: str) -> None:
    bundle = load_bundle(shipped_bundle(name))
    engine = PolicyEngine(bundle)
    from jurat.policies.bundle_tests import cases

    named = {id_ for _file, case in cases(engine.bundle) for id_ in case.expect.policies or ()}
    assert set(bundle.policies) - named == set()


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_schema_is_the_generated_one(name: str) -> None:
    printed = CliRunner().invoke(command, ["schema", name])
    assert printed.exit_code == 0
    assert printed.output == (shipped_bundle(name) / "schema.cedarschema").read_text(encoding="utf-8"), (
        f"the models of {name} changed: jurat policy schema {name} > policies/{name}/schema.cedarschema"
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_digest_is_what_coreutils_print(name: str) -> None:
    folder = shipped_bundle(name)
    shell = "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", shell], cwd=folder, check=True, capture_output=True, text=True)
    assert load_bundle(folder).digest == printed.stdout.split()[0]
