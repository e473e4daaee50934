"""Reasoning agents: how they are declared, the kernel that decides, and who proposes."""

from __future__ import annotations

from jurat.agents.action_schema import decision_schema
from jurat.agents.action_space import ActionSpace, DecisionSpace
from jurat.agents.agent import (
    Action,
    Agent,
    Candidate,
    ContextTable,
    GlobalTable,
    Judged,
    Lookup,
    Meanwhile,
    Signal,
    Situation,
    Tool,
    View,
)
from jurat.agents.kernel import Decided, decide
from jurat.agents.reasoner import (
    Proposal,
    ProposalRequest,
    RawArguments,
    Reasoner,
    ToolCall,
    ToolResult,
)

__all__ = [
    "Action",
    "ActionSpace",
    "Agent",
    "Candidate",
    "ContextTable",
    "Decided",
    "DecisionSpace",
    "GlobalTable",
    "Judged",
    "Lookup",
    "Meanwhile",
    "Proposal",
    "ProposalRequest",
    "RawArguments",
    "Reasoner",
    "Signal",
    "Situation",
    "Tool",
    "ToolCall",
    "ToolResult",
    "View",
    "decide",
    "decision_schema",
]
