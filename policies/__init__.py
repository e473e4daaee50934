"""The policy room: Cedar bundles, and the engine that judges by them.

A bundle is a folder (`load_bundle`), an engine answers requests by it (`PolicyEngine`). Only `cedar.py`
calls cedarpy.
"""

from __future__ import annotations

from jurat.policies.bundle import Bundle, Policy, load_bundle
from jurat.policies.bundle_tests import CaseFailure, CaseReport, run_cases
from jurat.policies.cedar_schema import ActionDeclaration, generate
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import known_bundle, shipped_bundle, shipped_bundles
from jurat.policies.objectives import Objectives
from jurat.policies.request import Entity, Facts, Judgement, PolicyRequest

__all__ = [
    "ActionDeclaration",
    "Bundle",
    "CaseFailure",
    "CaseReport",
    "Entity",
    "Facts",
    "Judgement",
    "Objectives",
    "Policy",
    "PolicyEngine",
    "PolicyRequest",
    "generate",
    "known_bundle",
    "load_bundle",
    "run_cases",
    "shipped_bundle",
    "shipped_bundles",
]
