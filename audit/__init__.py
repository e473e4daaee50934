"""The trust core of jurat: keys, envelopes, chains, trees and the verifier. No Kafka in here."""

from __future__ import annotations

from jurat.audit.chain import ChainHead
from jurat.audit.dsse import sign
from jurat.audit.key_store import InitResult, init_keys, load_signer, load_trust
from jurat.audit.keys import PemSigner, Signer, Trust, TrustedKey
from jurat.audit.ledger import DecisionLedger
from jurat.audit.log import Fault, LogEntry, Place, TreeHead, WitnessedHead
from jurat.audit.record import DecisionRecord, Outcome, Statement
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report

__all__ = [
    "ChainHead",
    "DecisionLedger",
    "DecisionRecord",
    "Fault",
    "InitResult",
    "LogEntry",
    "LogVerdict",
    "Outcome",
    "PemSigner",
    "Place",
    "Report",
    "Signer",
    "Statement",
    "TreeHead",
    "Trust",
    "TrustedKey",
    "Verifier",
    "WitnessedHead",
    "init_keys",
    "load_signer",
    "load_trust",
    "sign",
]
