"""The error tree of jurat.

Rules upheld here: one base; retryable and permanent failures differ by class, never by a flag; a message says
what was got, what was expected and how to mend it; coordinates, key ids and policy ids travel as attributes
(`error.details`), so that no caller has to parse a message.

::

    JuratError
    ├── ConfigurationError        a setting, a flag or a file the user gave is missing or wrong
    │   └── KeyNotFound           no signing key for this agent
    ├── SchemaError               bytes or values that are not what their contract says
    │   ├── CanonicalError        not in the canonical JSON profile
    │   ├── DecodeError           not Avro / JSON of the named schema
    │   ├── EnvelopeError         CloudEvents headers missing or malformed
    │   └── UnknownSchema         no contract by that name, fingerprint or registry id
    ├── PolicyError               the policy room
    │   ├── ActivationStale       an activation that does not follow the one that holds
    │   ├── BundleError           a bundle does not load; lists every fault
    │   ├── BundleUnfit           a bundle that fails its own cases, or does not cover an agent
    │   ├── PolicyInputError      a normalised policy input that the schema refuses
    │   └── PublicationInvalid    a record on the topic of policies that is not what it should be
    ├── AgentError                the agents room
    │   ├── InputRejected         this input can never be decided (ends as a `rejected` record)
    │   └── ReasonerError         the reasoner failed
    │       ├── ReasonerUnavailable   (Retryable)
    │       │   └── LimitReached      a limit on calls of models is used up
    │       └── ProposalInvalid       answered, but not with an action of this agent
    ├── AuditError                the audit room: a proof does not hold
    │   ├── KeyRejected           a public key or private key that must not be used
    │   ├── SignatureInvalid
    │   ├── RecordInvalid         a record that is not canonical or breaks its schema
    │   ├── ChainBroken           seq or prev does not follow
    │   ├── DisclosureInvalid     a disclosure, sealed evidence or subject key that is not what was committed to
    │   ├── ProofInvalid          a Merkle proof or root that does not match
    │   ├── LogForked             a log that is not what it was when it was signed
    │   ├── WitnessConflict       a witness that cosigned another size of this log last
    │   ├── WitnessUnavailable    (Retryable) a witness that did not answer, or asks to be tried later
    │   ├── WitnessRefused        a checkpoint that a witness does not cosign
    │   ├── NoteInvalid           a note, checkpoint or proof file that is not of its form
    │   ├── PolicyFileInvalid     a trust policy file that is not of its form
    │   ├── BundleInvalid         an auditor's bundle that is not of its form
    │   ├── StatementInvalid      a statement of the trust log that is not of its form, or must not be made
    │   ├── CredentialInvalid     a record outside what its credential allows, or when it held
    │   └── UsageWrong            what a record says was used of a budget does not follow
    ├── BrokerError               the local broker could not be started or stopped
    └── StreamError               Kafka said no
        ├── BrokerUnreachable     (Retryable)
        ├── RegistryUnreachable   (Retryable)
        ├── TopicMissing
        ├── TopicMismatch         a topic exists but is not what its declaration says
        ├── NotAuthenticated      the broker does not take us for who we say we are, or we do not trust it
        ├── NotAuthorized         an ACL is missing
        ├── BrokerRefused         a setting of the brokers, a topic or this machine is in the way
        ├── RecordTooLarge
        ├── ReopenPartition       (Retryable) not known whether a transaction committed
        └── PartitionFenced       another worker owns this partition now
"""

from __future__ import annotations


class JuratError(Exception):
    """Base of every error that jurat raises on purpose.

    Args:
        message: what was got, what was expected, how to mend it.
        details: ids and coordinates (topic, partition, offset, key id, policy id); never payloads.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


class Retryable(JuratError):
    """Mixed into errors that may go away when tried again; everything else is permanent."""


class ConfigurationError(JuratError):
    """A setting, a flag or a file given by the user is missing or wrong."""


class KeyNotFound(ConfigurationError):
    """There is no signing key for this agent where one was looked for."""


class SchemaError(JuratError):
    """Bytes or values that are not what their contract says."""


class CanonicalError(SchemaError):
    """A value outside the canonical JSON profile, or bytes that are not in canonical form."""


class DecodeError(SchemaError):
    """Bytes that cannot be read with the schema that they name."""


class EnvelopeError(SchemaError):
    """CloudEvents attributes that are missing or malformed."""


class UnknownSchema(SchemaError):
    """No contract is known by this event type, Avro fingerprint or registry id."""


class PolicyError(JuratError):
    """Base of the policy room."""


class BundleError(PolicyError):
    """A policy bundle that does not load; `faults` lists everything that is wrong with it."""

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), **details: object) -> None:
        super().__init__("\n".join((message, *(f"  {fault}" for fault in faults))), **details)
        self.faults = faults


class BundleUnfit(PolicyError):
    """A bundle that loads, but fails its own cases or does not cover an agent; `faults` lists what is wrong."""

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), **details: object) -> None:
        super().__init__("\n".join((message, *(f"  {fault}" for fault in faults))), **details)
        self.faults = faults


class ActivationStale(PolicyError):
    """An activation that is not newer than the one that holds: written again, or by somebody who did not know of it."""


class PolicyInputError(PolicyError):
    """A normalised policy input that does not fit the bundle's schema."""


class PublicationInvalid(PolicyError):
    """A record on the topic of policies that is not what its key says, or has no form that is known."""


class AgentError(JuratError):
    """Base of the agents room."""


class InputRejected(AgentError):
    """An input that can never be decided; it ends as a `rejected` record and a dead letter."""


class ReasonerError(AgentError):
    """A reasoner did not give a usable proposal."""


class ReasonerUnavailable(ReasonerError, Retryable):
    """A reasoner could not be reached or asked to be tried later."""


class LimitReached(ReasonerUnavailable):
    """A call of a model would go over a limit of ours, so it was not made; `retry_after_s` says when there is room."""


class ProposalInvalid(ReasonerError):
    """A reasoner answered with something that is not an action of this agent."""


class AuditError(JuratError):
    """Base of the audit room: something does not prove what it should."""


class KeyRejected(AuditError):
    """A key that must not be used: malformed, small order, wrong passphrase."""


class SignatureInvalid(AuditError):
    """A signature that does not verify under the key that should have made it."""


class RecordInvalid(AuditError):
    """A record whose bytes are not canonical or whose fields break its schema."""


class BundleInvalid(AuditError):
    """An auditor's bundle that is not of its form, or does not hold what it says that it holds."""


class ChainBroken(AuditError):
    """A record whose `seq` or `prev` does not follow its predecessor."""


class DisclosureInvalid(AuditError):
    """A disclosure that no commitment stands for, or sealed evidence or a subject key that does not open."""


class WitnessRefused(AuditError):
    """A checkpoint that a witness does not cosign.

    Args:
        message: why.
        status: the HTTP status of its answer.
        size: the size that it cosigned last, where the request names another one or shows a fork.
        fork: whether a log signed two histories.
    """

    def __init__(self, message: str, *, status: int, size: int | None = None, fork: bool = False) -> None:
        super().__init__(message, status=status, size=size, fork=fork)
        self.status = status
        self.size = size
        self.fork = fork


class ProofInvalid(AuditError):
    """A Merkle proof or root that does not match."""


class LogForked(AuditError):
    """A log that is not what it was when it was signed: shorter, or with other leaves; or signed by somebody else."""


class WitnessConflict(AuditError):
    """A witness that cosigned another checkpoint of this log last.

    Args:
        message: what was asked, and what it answered.
        size: of that checkpoint. Where it is the size that was asked from, the roots differ: a fork.
    """

    def __init__(self, message: str, *, size: int, **details: object) -> None:
        super().__init__(message, size=size, **details)
        self.size = size


class WitnessUnavailable(AuditError, Retryable):
    """A witness that did not answer within its time, or asks to be tried later."""


class NoteInvalid(AuditError):
    """A signed note, a checkpoint or a proof file that is not of its form."""


class PolicyFileInvalid(AuditError):
    """A trust policy file that is not of its form; `line` is the number of the line."""


class StatementInvalid(AuditError):
    """A statement of the trust log that is not of its form, does not follow, or that its signer must not make."""


class CredentialInvalid(AuditError):
    """A record outside what the credential of its key allows, or outside the time in which that held."""


class UsageWrong(AuditError):
    """A record that says something else was used of a budget than the records before it took."""


class BrokerError(JuratError):
    """The local broker could not be started, reached or stopped."""


class StreamError(JuratError):
    """Kafka refused, or holds something else than was expected."""


class BrokerUnreachable(StreamError, Retryable):
    """No Kafka broker answered at the bootstrap address."""


class RegistryUnreachable(StreamError, Retryable):
    """The Schema Registry did not answer."""


class TopicMissing(StreamError):
    """A topic that is needed does not exist."""


class TopicMismatch(StreamError):
    """A topic exists, but not as it is declared."""


class NotAuthenticated(StreamError):
    """The broker does not take us for who we say we are, or its certificate is not to be trusted."""


class NotAuthorized(StreamError):
    """The broker does not allow this to us."""


class BrokerRefused(StreamError):
    """A setting of the brokers, of a topic or of this machine does not allow it; the message names the setting."""


class ReopenPartition(StreamError, Retryable):
    """It is not known what of a partition is committed: it must be opened anew to find out."""


class RecordTooLarge(StreamError):
    """A record is larger than its topic accepts."""


class PartitionFenced(StreamError):
    """Another worker owns this partition now; nothing of ours may be written to it."""
