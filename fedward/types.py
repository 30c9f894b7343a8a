"""Types of the values that pass between stages: images, models, updates, commitments, aggregates, reports, votes.

What each stage hands on is a type of its own. `ModelUpdate` or `SampledUpdate` -> `PrivateUpdate` ->
`EncryptedUpdate` -> `VerifiedUpdate` is the only way into an aggregate: each of these is built in exactly one module
(held by tests/architecture), so that an update without its privacy stage, or one that the ledger did not accept, is a
type error and not an oversight.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NewType

import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import Length, Matching
from fedward.tables import Between

HospitalId = NewType("HospitalId", str)  # "hospital-1": names a hospital's folder
Address = NewType("Address", str)  # checksummed Ethereum address: names a hospital on the ledger
ABSTAINED = "Abstained"  # reason of a rejection: the hospital itself said that it gives no update in this round
# Reasons of rejections: a hospital's dealt shares do not fit, its answers about others' do not, its release does not.
WRONG_DEALING, WRONG_ANSWERS, WRONG_RELEASE = "WrongDealing", "WrongAnswers", "WrongRelease"
UNKNOWN_ADDRESS = Address("")  # of a message that does not say, or cannot prove, whom it is from
NodeId = NewType("NodeId", int)  # Flower's number for a connected process

Vector = NDArray[np.float32]  # all trainable weights, concatenated in the model's own order

# Members of what parties sign: `fedward.messages.signed` writes and reads them by these annotations alone.
Word = Annotated[bytes, Length(32)]
Whole = Annotated[int, Between(0, 2**63 - 1)]
Signature = Annotated[bytes, Length(65)]  # r, s, v
Signer = Annotated[Address, Matching("0x[0-9a-fA-F]{40}", "an address of 0x and 40 hexadecimal digits")]
ShortName = Annotated[str, Matching("[a-z]{1,16}", "a name of at most 16 lower-case letters")]


@dataclass(frozen=True)
class Member:
    """A hospital on the roster, as everybody may know it."""

    hospital: HospitalId
    address: Address
    weight: int


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, without anything that names a person.

    Attributes:
        images: uint8, shape (n, height, width); 0 is black, 255 white. `pixels()` gives the model's input.
        labels: float32, shape (n, findings), each 0 or 1.
        patients: str, shape (n,); keyed pseudonyms, equal where the patient is the same.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def some(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "ImageSet":
        """Some of the images, by their places or by which of all they are, with labels and patients."""
        return ImageSet(self.images[rows], self.labels[rows], self.patients[rows])

    @classmethod
    def joined(cls, parts: Sequence["ImageSet"]) -> "ImageSet":
        """Several sets as one, in their order; at least one."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.patients for part in parts]),
        )

    def pixels(self) -> Vector:
        """Model input: float32, shape (n, height, width, 1), values in [0, 1]."""
        return (self.images[..., None] / np.float32(255.0)).astype(np.float32)


@dataclass(frozen=True)
class Partition:
    """What one hospital holds: its own patients, each in exactly one of the three splits.

    Attributes:
        hospital: Whose patients these are.
        findings: Names of the findings, one a column of the labels.
        train, val, test: The splits; any of them may be empty.
    """

    hospital: HospitalId
    findings: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class GlobalModel:
    """The model that the consortium agrees on at one point of its history.

    Attributes:
        weights: float32, shape (parameters,).
        base_id: 32 bytes; the ledger's hash chain over everything that led to these weights.
        moments: float32; what the server optimizer remembers of past rounds, empty where it remembers nothing.
    """

    weights: Vector
    base_id: bytes
    moments: Vector = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class ModelUpdate:
    """What training changed: weights after minus weights before. Never leaves the hospital before it is privatized.

    Attributes:
        delta: float32, shape (parameters,).
        examples: Number of images trained on.
        loss: Mean training loss of the last epoch.
    """

    delta: Vector
    examples: int
    loss: float


@dataclass(frozen=True)
class PrivacyEvent:
    """One release, as the accountant counts it and the ledger records it.

    Attributes:
        mode: "none", "update" or "sample".
        unit: Whom the guarantee protects: "none", "hospital", "patient" or "image".
        sampling_rate: Share of units that takes part in a step, in [0, 1].
        noise_multiplier: Standard deviation of the noise over the clip norm; 0 without noise.
        steps: Number of noisy steps in this release.
        clip_norm: L2 bound on one unit's contribution; 0 without clipping.
        delta: The delta for which epsilon is stated, in [0, 1).
    """

    mode: ShortName
    unit: ShortName
    sampling_rate: float
    noise_multiplier: float
    steps: Whole
    clip_norm: float
    delta: float


@dataclass(frozen=True)
class SampledUpdate:
    """What private training changed, noise included; built by `fedward.privacy.private_training.train_privately` only.

    It has no training loss, which would tell about the patients without noise.

    Attributes:
        delta: float32, shape (parameters,).
        event: How it was trained, as the accountant counts it.
    """

    delta: Vector
    event: PrivacyEvent


@dataclass(frozen=True)
class PrivateUpdate:
    """An update after its privacy stage; built by `fedward.privacy.mechanism.privatize` only.

    Attributes:
        delta: float32, shape (parameters,); clipped and noised as `event` says.
        event: What the accountant was charged for it.
    """

    delta: Vector
    event: PrivacyEvent


@dataclass(frozen=True)
class EncryptedUpdate:
    """A weighted, quantized and encrypted update; built by `encryption.encrypt` only.

    Attributes:
        chunks: Serialized ciphertexts in the order of the parameters.
        weight: The hospital's enrolled weight, a whole number (its example count).
        event: The privacy event of the update inside.
        saturated: Number of coordinates that did not fit the public value range and were cut to it.
    """

    chunks: tuple[bytes, ...] = field(repr=False)
    weight: int
    event: PrivacyEvent
    saturated: int


@dataclass(frozen=True)
class Commitment:
    """What a hospital signs about its encrypted update (EIP-712), and the contract checks.

    Attributes:
        chain_id, contract: The ledger it is meant for.
        round_index: The round it is meant for, from 1.
        hospital: Who signs.
        ledger_head: 32 bytes; the ledger's running hash right after the round was opened.
        base_id: 32 bytes; the model that training started from.
        context_fingerprint: 32 bytes; fingerprint of the key epoch's channel key.
        update_root: 32 bytes; Merkle root of the chunks' sha256 hashes.
        update_bytes: Total length of the chunks.
        shares_root: 32 bytes, not all zeros; Merkle root of the sealed key shares' sha256 hashes, in roster order.
        weight: Enrolled weight.
        event: The privacy event.
    """

    chain_id: Whole
    contract: Signer
    round_index: Whole
    hospital: Signer
    ledger_head: Word
    base_id: Word
    context_fingerprint: Word
    update_root: Word
    update_bytes: Whole
    shares_root: Word
    weight: Whole
    event: PrivacyEvent


@dataclass(frozen=True)
class SignedCommitment:
    """A commitment with its signature: 65 bytes r, s, v."""

    commitment: Commitment
    signature: Signature


@dataclass(frozen=True)
class StoredUpdate:
    """An update as the server received it: its chunks lie on disk, and nothing about it is verified yet.

    Attributes:
        hospital: Who claims to have sent it.
        chunk_files: The chunks in order, each named by its sha256.
        share_files: The sealed shares of the round's keys in roster order, each named by its sha256.
        signed: The commitment that came with it.
    """

    hospital: Address
    chunk_files: tuple[Path, ...]
    share_files: tuple[Path, ...]
    signed: SignedCommitment


@dataclass(frozen=True)
class VerifiedUpdate:
    """An update that is wholly present, matches its commitment, and whose commitment the contract accepted.

    Built by `blockchain.verification.verify` only.
    """

    hospital: Address
    roster_index: int
    chunk_files: tuple[Path, ...]
    share_files: tuple[Path, ...]
    signed: SignedCommitment

    @property
    def weight(self) -> int:
        """The enrolled weight, as it was committed to."""
        return self.signed.commitment.weight


@dataclass(frozen=True)
class Rejection:
    """An update that is not added, and why; the round goes on without it.

    Attributes:
        hospital: Who sent it, as claimed.
        reason: A short stable name: the contract's custom error, or one of ours.
        evidence: One sentence that a person can act on.
    """

    hospital: Address
    reason: str
    evidence: str


@dataclass(frozen=True)
class EncryptedAggregate:
    """The sum of the verified updates' ciphertexts; built by `fedward.ciphertexts.aggregation.aggregate` only.

    Attributes:
        chunk_files: The sum's ciphertexts in order, each named by its sha256.
        aggregate_hash: 32 bytes; Merkle root of the chunk hashes, recorded on the ledger.
        included: Roster indices of the hospitals whose updates are in the sum.
    """

    chunk_files: tuple[Path, ...]
    aggregate_hash: bytes
    included: tuple[int, ...]


@dataclass(frozen=True)
class DetectorReport:
    """What a hospital's detectors found in a candidate model.

    Attributes:
        detector: Name of the detector.
        suspicious: Whether the candidate should be rejected.
        score: The detector's statistic; larger is worse.
        evidence: One sentence that a person can act on.
    """

    detector: str
    suspicious: bool
    score: float
    evidence: str


@dataclass(frozen=True)
class DecodeFailure:
    """Why an aggregate that is on the ledger gives no candidate model; a hospital votes against such a round.

    Attributes:
        evidence: What is wrong with the aggregate, and what to do about it.
    """

    evidence: str


@dataclass(frozen=True)
class Vote:
    """A hospital's verdict on a candidate, as signed (EIP-712) and recorded.

    Attributes:
        chain_id, contract, round_index, hospital: As in `Commitment`.
        aggregate_hash: 32 bytes; which aggregate the candidate came from.
        accept: The verdict.
        candidate_digest: 32 bytes; sha256 of the candidate's weights and moments as this hospital decrypted them.
        counts_hash: 32 bytes; hash of this hospital's counts on its own images, zeros where it gives none.
        evidence_hash: 32 bytes; sha256 of the detector reports, which stay at the hospital.
    """

    chain_id: Whole
    contract: Signer
    round_index: Whole
    hospital: Signer
    aggregate_hash: Word
    accept: bool
    candidate_digest: Word
    counts_hash: Word
    evidence_hash: Word


@dataclass(frozen=True)
class SignedVote:
    """A vote with its signature: 65 bytes r, s, v."""

    vote: Vote
    signature: Signature
