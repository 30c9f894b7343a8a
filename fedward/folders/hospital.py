"""A hospital's folder on its own disk: membership, keys, models, submissions, reports, privacy record, checkpoints.

Processes are shared or restarted, so that a hospital remembers only what is in this folder:

hospital.json  ledger.json (where its node of the ledger listens)  identity/  partition.npz (or partition.sealed)
keys/0001-<fingerprint>.key (one for each key epoch)  model.npz  candidate.npz  outbox/round-0001/
reports/round-0001.json  privacy.jsonl  checkpoints.jsonl  outgoing.jsonl (what left)
sealing-keys.json  study-place.json (where its record of all studies lies, outside of this folder)
image-encryption.json  image-encryption.png.sealed (a run's last act, with image-encryption.method set)
sharing/round-0001/ (see `release_book`)  measures/ (see `measure_book`)
.lock (held while a message is answered)
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import read_json, to_json
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, ResourceError
from fedward.files import PART, append_line, make_folder, read_file, read_lines, remove_file, sha256, write_atomic
from fedward.folders.arrays import PRIVATE, RESTORE, arrays_as_bytes, damaged, read_arrays, read_content
from fedward.folders.measure_book import MeasureBook
from fedward.folders.parts import joined, parted
from fedward.folders.release_book import ReleaseBook
from fedward.folders.whereabouts import NodeAddress
from fedward.messages.signed import MAX_BYTES, read_signed, write_signed
from fedward.privacy.study_files import STUDY_PLACE
from fedward.types import Address, GlobalModel, HospitalId, SignedCommitment, Vector, Word

_SEALED = "sealed-shares"  # in a submission; shares in the clear are called `shares`, in `ReleaseBook`

_KEY_NAME = re.compile(r"([0-9]{4,10})-([0-9a-f]{64})\.key")


@dataclass(frozen=True)
class Membership:
    """What a hospital knows of its consortium before the first round.

    Attributes:
        hospital: Its own name.
        contract: The ledger's address, as agreed outside of any message.
        weight: Its enrolled example count.
        settings_digest: Hexadecimal; the settings that it joined under. A server that sends others is refused.
        roster_digest: Hexadecimal; who else joined, with which weights. A round with another roster is refused.
        chain_id: The ledger's chain.
        genesis_hash: Hexadecimal; the hash of block 0. Another chain is refused.
        witnesses: Who may attest to aggregates. Where a witness is required, a round with others is refused.
    """

    hospital: HospitalId
    contract: Address
    weight: int
    settings_digest: str
    roster_digest: str
    chain_id: int
    genesis_hash: str
    witnesses: tuple[Address, ...]


class HeldKey(NamedTuple):
    """Names a channel key that a hospital has: key epoch, from 1, and fingerprint, 32 bytes."""

    epoch: int
    fingerprint: bytes


@dataclass(frozen=True)
class MeanUpdate:
    """The mean of a round's updates, before any server optimizer.

    Attributes:
        values: float64, shape (parameters,).
        shares: Weights in the mean, which add up to 1, by place on the roster.
    """

    values: NDArray[np.float64] = field(repr=False)
    shares: Mapping[int, float]

    @property
    def norm(self) -> float:
        """L2 norm."""
        return float(np.linalg.norm(self.values))

    @property
    def concentration(self) -> float:
        """Sum of the weights' squares: 1 / n for n equal ones."""
        return sum(share**2 for share in self.shares.values())


@dataclass(frozen=True)
class Candidate:
    """A decrypted model that was voted on and is not yet known to be accepted.

    Attributes:
        round_index: The round it came from.
        aggregate_hash: 32 bytes; the aggregate it came from.
        weights: float32, shape (parameters,).
        moments: float32; the server optimizer's, which come into force with the weights.
        mean: The mean update that it was made from; None where that is not known.
    """

    round_index: int
    aggregate_hash: bytes
    weights: Vector
    moments: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    mean: MeanUpdate | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outgoing:
    """A submission as it leaves a hospital.

    Attributes:
        signed: The commitment to it.
        chunks: The update's ciphertexts.
        sealed_shares: The round's keys in shares, sealed to each hospital, in roster order.
        counts: The encrypted validation counts; None before they were encrypted.
    """

    signed: SignedCommitment
    chunks: tuple[bytes, ...] = field(repr=False)
    sealed_shares: tuple[bytes, ...] = field(repr=False)
    counts: tuple[bytes, ...] | None = field(default=None, repr=False)


class HospitalFolder:
    """Reads and writes one hospital's folder; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path / "identity"
        self.partition = path / "partition.npz"
        self.sealed_partition = path / "partition.sealed"
        self.image_figures = path / "image-encryption.json"
        self.sealed_picture = path / "image-encryption.png.sealed"
        self.keys = path / "keys"
        self.transactions = path / "transactions"
        self.privacy_record = path / "privacy.jsonl"
        self.study_place = path / STUDY_PLACE
        self.outgoing = path / "outgoing.jsonl"
        self.fork = path / "fork.json"
        self.sharing = ReleaseBook(path / "sharing")
        self.measures = MeasureBook(path / "measures")

    @classmethod
    def create(cls, path: Path) -> "HospitalFolder":
        """Make the folder, readable by its owner only."""
        make_folder(path)
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that one message at a time is answered; waits for whoever holds it.

        Raises:
            ResourceError: the folder cannot be written.
        """
        lock = filelock.FileLock(self.path / ".lock")
        try:
            lock.acquire()
        except OSError as error:
            raise ResourceError(
                f"{self.path} cannot be locked: {error.strerror or error}.", "Make the folder writable."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def join(self, membership: Membership) -> None:
        """Write down which consortium this hospital belongs to."""
        write_atomic(self.path / "hospital.json", json.dumps(to_json(membership), indent=2).encode())

    def membership(self) -> Membership:
        """Which consortium this hospital belongs to.

        Raises:
            EvidenceError: the file is missing or damaged.
        """
        return read_json(Membership, self.path / "hospital.json", "The hospital's membership", RESTORE)

    def save_ledger_node(self, node: NodeAddress) -> None:
        """Write down where the node listens that this hospital reads the ledger from and sends transactions to."""
        write_atomic(self.path / "ledger.json", json.dumps(to_json(node)).encode(), PRIVATE)

    def ledger_node(self) -> NodeAddress:
        """Where this hospital's node of the ledger listens.

        Raises:
            EvidenceError: the file is missing or damaged.
        """
        return read_json(NodeAddress, self.path / "ledger.json", "The address of the ledger's node", RESTORE)

    def save_channel_key(self, key: HeldKey, content: bytes) -> None:
        """Keep the consortium's channel key of an epoch; older keys stay, to open the sums of earlier rounds."""
        make_folder(self.keys)
        write_atomic(self._key_file(key), content, PRIVATE)

    def held_keys(self) -> tuple[HeldKey, ...]:
        """Which channel keys are here, oldest epoch first."""
        found = (_KEY_NAME.fullmatch(path.name) for path in self.keys.glob("*.key"))
        return tuple(sorted(HeldKey(int(name[1]), bytes.fromhex(name[2])) for name in found if name))

    def load_channel_key(self, fingerprint: bytes | None = None) -> bytes:
        """A channel key, serialized; the caller parses it.

        Args:
            fingerprint: 32 bytes; which. None: the one of the latest epoch.

        Raises:
            EvidenceError: it is missing or cannot be read.
        """
        held = [key for key in self.held_keys() if fingerprint in (None, key.fingerprint)]
        if not held:
            which = f"key {fingerprint.hex()}" if fingerprint else "key"
            raise EvidenceError(
                f"There is no channel {which} in {self.keys}.", "Take the dealer's sealed key, or restore a backup."
            )
        return read_content(self._key_file(held[-1]))

    def save_sealing_keys(self, keys: Mapping[Address, bytes]) -> None:
        """Keep the X25519 public keys (32 bytes) of all hospitals, as their signed cards have them."""
        content = {address: key.hex() for address, key in keys.items()}
        write_atomic(self.path / "sealing-keys.json", json.dumps(content, indent=2).encode())

    def sealing_keys(self) -> dict[Address, bytes]:
        """The X25519 public keys that shares are sealed to, by hospital.

        Raises:
            EvidenceError: the file is missing or damaged.
        """
        what = "The list of the hospitals' sealing keys"
        return read_json(dict[Address, Word], self.path / "sealing-keys.json", what, RESTORE)

    def _key_file(self, key: HeldKey) -> Path:
        return self.keys / f"{key.epoch:04d}-{key.fingerprint.hex()}.key"

    def save_model(self, model: GlobalModel) -> None:
        """Replace the model in force."""
        base_id = np.frombuffer(model.base_id, np.uint8)
        content = arrays_as_bytes(weights=model.weights, base_id=base_id, moments=model.moments)
        write_atomic(self.path / "model.npz", content, PRIVATE)

    def has_model(self) -> bool:
        """Whether there is a model; a hospital that has just joined has none."""
        return (self.path / "model.npz").exists()

    def load_model(self) -> GlobalModel:
        """The model in force.

        Raises:
            EvidenceError: the file is missing or damaged.
        """
        arrays = read_arrays(self.path / "model.npz", ("weights", "base_id", "moments"))
        weights, moments = (arrays[name].astype(np.float32) for name in ("weights", "moments"))
        return GlobalModel(weights, arrays["base_id"].tobytes(), moments)

    def save_candidate(self, candidate: Candidate) -> None:
        """Keep a candidate until the ledger says what became of its round."""
        content = arrays_as_bytes(
            weights=candidate.weights,
            moments=candidate.moments,
            round_index=np.int64(candidate.round_index),
            aggregate_hash=np.frombuffer(candidate.aggregate_hash, np.uint8),
        )
        write_atomic(self.path / "candidate.npz", content, PRIVATE)

    def load_candidate(self) -> Candidate | None:
        """The last candidate, or None."""
        path = self.path / "candidate.npz"
        if not path.exists():
            return None
        arrays = read_arrays(path, ("weights", "moments", "round_index", "aggregate_hash"))
        weights, moments = (arrays[name].astype(np.float32) for name in ("weights", "moments"))
        return Candidate(int(arrays["round_index"]), arrays["aggregate_hash"].tobytes(), weights, moments)

    def save_submission(self, kept: Outgoing) -> None:
        """Keep what is about to leave, so that a retry resends the same bytes; older rounds' are removed."""
        outbox = self.path / "outbox"
        folder = outbox / _round_name(kept.signed.commitment.round_index)
        shutil.rmtree(outbox, ignore_errors=True)
        make_folder(folder)
        # A file each, however many parts: to flush one takes milliseconds.
        for name, parts in (("chunks", kept.chunks), (_SEALED, kept.sealed_shares)):
            write_atomic(folder / name, joined(parts), PRIVATE)
        # Written last: a folder without it is a submission that never left.
        write_atomic(folder / "commitment.json", write_signed(kept.signed))

    def load_submission(self, round_index: int) -> Outgoing | None:
        """What was sent, or about to be sent, in this round; None when nothing was.

        Raises:
            EvidenceError, VerificationError: the commitment is damaged.
        """
        folder = self.path / "outbox" / _round_name(round_index)
        path = folder / "commitment.json"
        if not path.exists():
            return None
        content = read_file(path, MAX_BYTES, "The commitment", RESTORE)
        signed = read_signed(SignedCommitment, content, f"The commitment in {path}", EvidenceError, RESTORE)
        chunks = _parted(folder / "chunks")
        shares = _parted(folder / _SEALED) if (folder / _SEALED).exists() else ()
        if not (folder / "counts").exists():
            return Outgoing(signed, chunks, shares)
        counts = read_content(folder / "counts")
        starts = range(0, len(counts), CHUNK_BYTES)
        return Outgoing(signed, chunks, shares, tuple(counts[start : start + CHUNK_BYTES] for start in starts))

    def forget_round(self, round_index: int) -> None:
        """Remove the keys and shares of a round that are here, and the sealed ones that left; what left else stays.

        Raises:
            ResourceError: a file cannot be removed.
        """
        self.sharing.forget_round(round_index)
        sent = self.path / "outbox" / _round_name(round_index)
        for path in (sent / _SEALED, *sent.glob(f".*{PART}")):  # and what a crash left of them
            remove_file(path)

    def save_counts(self, round_index: int, chunks: Sequence[bytes]) -> None:
        """Keep a round's encrypted validation counts: their key must never encrypt anything else."""
        write_atomic(self.path / "outbox" / _round_name(round_index) / "counts", b"".join(chunks), PRIVATE)

    def save_report(self, round_index: int, content: bytes) -> None:
        """Keep the detector reports that this hospital's vote rests on."""
        make_folder(self.path / "reports")
        write_atomic(self._report_file(round_index), content, PRIVATE)

    def load_report(self, round_index: int) -> bytes | None:
        """The detector reports of a vote in this round; None before the first.

        Raises:
            EvidenceError: they cannot be read.
        """
        path = self._report_file(round_index)
        return read_content(path) if path.exists() else None

    def _report_file(self, round_index: int) -> Path:
        return self.path / "reports" / f"{_round_name(round_index)}.json"

    def save_checkpoint(self, signed: bytes) -> None:
        """Remember a point of the ledger's history, so that it cannot be cut or rewritten unnoticed.

        Args:
            signed: A `SignedCheckpoint`, as `fedward.messages.signed.write_signed` writes it: one line.
        """
        append_line(self.path / "checkpoints.jsonl", signed.decode())

    def checkpoints(self) -> list[bytes]:
        """All remembered points as they were saved, oldest first; whoever reads them checks them.

        Raises:
            EvidenceError, VerificationError: the file cannot be read.
        """
        return [line.encode() for line in read_lines(self.path / "checkpoints.jsonl")]


def model_bytes(model: GlobalModel | Candidate) -> bytes:
    """Weights, then moments, as little-endian float32; their SHA-256 is the digest that votes name."""
    return b"".join(np.ascontiguousarray(part, dtype="<f4").tobytes() for part in (model.weights, model.moments))


def roster_digest(members: Iterable[tuple[Address, int]]) -> str:
    """Hexadecimal SHA-256 of addresses and weights in roster order."""
    return sha256("\n".join(f"{address} {weight}" for address, weight in members).encode()).hex()


def _round_name(round_index: int) -> str:
    return f"round-{round_index:04d}"


def _parted(path: Path) -> tuple[bytes, ...]:
    """The parts in a file of `joined` parts."""
    try:
        return parted(read_content(path))
    except ValueError as error:
        raise damaged(path, error) from error
