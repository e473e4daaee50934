"""Reasoning agents: how they are declared, the kernel that decides, and who proposes."""

from __future__ import annotations

from jurat.agents.agent import Action, Agent, Candidate, Judged, Lookup, Signal, Situation, View
from jurat.agents.kernel import Decided, decide
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner

__all__ = [
    "Action",
    "Agent",
    "Candidate",
    "Decided",
    "Judged",
    "Lookup",
    "Proposal",
    "ProposalRequest",
    "Reasoner",
    "Signal",
    "Situation",
    "View",
    "decide",
]
